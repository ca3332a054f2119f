package knarrtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"

	"github.com/knarr-io/knarr"
)

// object is something to be made.
type object struct {
	*unstructured.Unstructured
	from string // where it was read, or nothing
}

func (o *object) String() string {
	s := o.GetKind() + " " + o.GetName()
	if o.from != "" {
		s += " of " + o.from
	}
	return s
}

// The kinds that there are options for.
var (
	definitionKind = apiextensionsv1.SchemeGroupVersion.WithKind("CustomResourceDefinition")
	mutatingKind   = admissionv1.SchemeGroupVersion.WithKind("MutatingWebhookConfiguration")
	validatingKind = admissionv1.SchemeGroupVersion.WithKind("ValidatingWebhookConfiguration")
)

// install makes what the options ask for: in their order, but definitions first, as
// webhooks may look at them.
func install(ctx context.Context, server *knarr.Server, with []Option) error {
	if len(with) == 0 {
		return nil
	}
	var all []*object
	for _, option := range with {
		objects, err := option.objects()
		if err != nil {
			return err
		}
		all = append(all, objects...)
	}
	slices.SortStableFunc(all, func(a, b *object) int { return order(a) - order(b) })
	client, err := dynamic.NewForConfig(server.ClientConfig())
	if err != nil {
		return err
	}
	for _, o := range all {
		for _, option := range with {
			if err := option.change(o); err != nil {
				return fmt.Errorf("%s: %w", o, err)
			}
		}
		gvr, _ := meta.UnsafeGuessKindToResource(o.GroupVersionKind())
		if _, err := client.Resource(gvr).Create(ctx, o.Unstructured, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("%s: %w", o, err)
		}
	}
	_ = server.Checkpoint(ctx) // where there is no way back, Reset says so
	return nil
}

func order(o *object) int {
	if o.GroupVersionKind() == definitionKind {
		return 0
	}
	return 1
}

// readAll returns the objects of the kinds in files and, not below them, directories.
func readAll(paths []string, kinds ...schema.GroupVersionKind) ([]*object, error) {
	var all []*object
	for _, path := range paths {
		files, err := filesIn(path)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			objects, err := readFile(file)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
			for _, o := range objects {
				if slices.Contains(kinds, o.GroupVersionKind()) {
					all = append(all, o)
				}
			}
		}
	}
	return all, nil
}

// filesIn returns path, if it is a file, or the YAML and JSON files in it.
func filesIn(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return []string{path}, err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if !e.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(e.Name())) {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	return files, nil
}

func readFile(file string) ([]*object, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []*object
	for documents := yaml.NewYAMLOrJSONDecoder(f, 4096); ; {
		o := &object{Unstructured: &unstructured.Unstructured{}, from: file}
		switch err := documents.Decode(&o.Object); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, err
		case len(o.Object) > 0:
			all = append(all, o)
		}
	}
}

// given returns objects of a Go type.
func given[P runtime.Object](gvk schema.GroupVersionKind, objects []P) ([]*object, error) {
	var all []*object
	for _, obj := range objects {
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
		if err != nil {
			return nil, err
		}
		o := &object{Unstructured: &unstructured.Unstructured{Object: content}}
		o.SetGroupVersionKind(gvk)
		unstructured.RemoveNestedField(o.Object, "status")
		unstructured.RemoveNestedField(o.Object, "metadata", "resourceVersion")
		all = append(all, o)
	}
	return all, nil
}
