package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

var (
	definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	configMaps  = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	secrets     = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	services    = schema.GroupVersionResource{Version: "v1", Resource: "services"}
	leases      = schema.GroupVersionResource{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}
	events      = schema.GroupVersionResource{Version: "v1", Resource: "events"}
	widgets     = schema.GroupVersionResource{Group: "sharing.example.com", Version: "v1", Resource: "widgets"}
)

const (
	namespace = "default"
	workers   = 6
)

// kinds are what is written; spec is what of it is changed.
var kinds = []struct {
	of             schema.GroupVersionResource
	apiVersion     string
	kind           string
	first, changed map[string]any
}{
	{configMaps, "v1", "ConfigMap", map[string]any{"data": map[string]any{"a": "1"}}, map[string]any{"data": map[string]any{"b": "2"}}},
	{secrets, "v1", "Secret", map[string]any{"data": map[string]any{"a": "MQ=="}}, map[string]any{"data": map[string]any{"b": "Mg=="}}},
	{services, "v1", "Service", map[string]any{"spec": map[string]any{"clusterIP": "None", "selector": map[string]any{"a": "b"}, "ports": []any{map[string]any{"port": int64(80)}}}},
		map[string]any{"spec": map[string]any{"selector": map[string]any{"c": "d"}}}},
	{leases, "coordination.k8s.io/v1", "Lease", map[string]any{"spec": map[string]any{"holderIdentity": "a"}}, map[string]any{"spec": map[string]any{"holderIdentity": "b"}}},
	{events, "v1", "Event", map[string]any{"reason": "R", "message": "m", "involvedObject": map[string]any{"namespace": namespace}}, map[string]any{"count": int64(2)}},
	{widgets, "sharing.example.com/v1", "Widget", map[string]any{"spec": map[string]any{"size": int64(1)}}, map[string]any{"spec": map[string]any{"color": "red"}}},
}

// define has one server define what all are to serve, and waits until they do.
func define(ctx context.Context, sides []*side) error {
	object := map[string]any{"type": "object", "properties": map[string]any{"spec": map[string]any{"type": "object", "properties": map[string]any{
		"size": map[string]any{"type": "integer"}, "color": map[string]any{"type": "string", "default": "blue"},
	}}}}
	crd := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": map[string]any{"name": "widgets.sharing.example.com"},
		"spec": map[string]any{
			"group": widgets.Group, "scope": "Namespaced", "names": map[string]any{"plural": "widgets", "kind": "Widget"},
			"versions": []any{map[string]any{"name": "v1", "served": true, "storage": true, "schema": map[string]any{"openAPIV3Schema": object}}},
		},
	}}
	if _, err := sides[1].objects.Resource(definitions).Create(ctx, crd, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("defining widgets: %w", err)
	}
	for _, s := range sides {
		for {
			_, err := s.objects.Resource(widgets).List(ctx, metav1.ListOptions{})
			if err == nil {
				break
			}
			if !apierrors.IsNotFound(err) || ctx.Err() != nil {
				return fmt.Errorf("%s does not serve what another has defined: %w", s.name, err)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	return nil
}

// writeAll writes n objects, each by a server drawn for every step, and counts up one
// object by all.
func writeAll(ctx context.Context, sides []*side, n int, seed uint64) error {
	counter := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "counter"}, "data": map[string]any{"n": "0"},
	}}
	if _, err := sides[0].objects.Resource(configMaps).Namespace(namespace).Create(ctx, counter, metav1.CreateOptions{}); err != nil {
		return err
	}
	group, together := errgroup.WithContext(ctx)
	for w := range workers {
		r := rand.New(rand.NewPCG(seed, uint64(w)))
		group.Go(func() error {
			for i := w; i < n; i += workers {
				if err := life(together, sides, r, i); err != nil {
					return fmt.Errorf("object %d: %w", i, err)
				}
				if i%10 == 0 {
					if err := count(together, sides[r.IntN(len(sides))]); err != nil {
						return fmt.Errorf("counting: %w", err)
					}
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, s := range sides {
		have, err := s.objects.Resource(configMaps).Namespace(namespace).Get(ctx, "counter", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if got, _, _ := unstructured.NestedString(have.Object, "data", "n"); got != strconv.Itoa((n+9)/10) {
			return fmt.Errorf("%s: %d were counted as %s", s.name, (n+9)/10, got)
		}
	}
	return nil
}

// life is that of one object. Each step is another server's, most likely, and finds
// what the one before has done.
func life(ctx context.Context, sides []*side, r *rand.Rand, i int) error {
	draw := func() *side { return sides[r.IntN(len(sides))] }
	k := kinds[i%len(kinds)]
	name := fmt.Sprint("object-", i)
	obj := &unstructured.Unstructured{Object: map[string]any{"apiVersion": k.apiVersion, "kind": k.kind, "metadata": map[string]any{"name": name, "namespace": namespace}}}
	for field, value := range k.first {
		obj.Object[field] = value
	}
	at := draw()
	is, err := at.objects.Resource(k.of).Namespace(namespace).Create(ctx, obj.DeepCopy(), metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("%s: create: %w", at.name, err)
	}
	for step := range 1 + r.IntN(4) {
		at := draw()
		of := at.objects.Resource(k.of).Namespace(namespace)
		have, err := of.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("%s: get: %w", at.name, err)
		}
		if have.GetResourceVersion() != is.GetResourceVersion() {
			return fmt.Errorf("%s: it has %s after a write at %s", at.name, have.GetResourceVersion(), is.GetResourceVersion())
		}
		switch r.IntN(4) {
		case 0:
			have.SetLabels(map[string]string{"step": strconv.Itoa(step)})
			is, err = of.Update(ctx, have, metav1.UpdateOptions{})
		case 1:
			patch := fmt.Sprintf(`{"metadata":{"annotations":{"step":"%d"}}}`, step)
			is, err = of.Patch(ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		case 2:
			is, err = of.Patch(ctx, name, types.MergePatchType, []byte(`{}`), metav1.PatchOptions{}) // writes nothing
		case 3:
			applied := &unstructured.Unstructured{Object: map[string]any{"apiVersion": k.apiVersion, "kind": k.kind, "metadata": map[string]any{"name": name}}}
			for field, value := range k.changed {
				applied.Object[field] = value
			}
			is, err = of.Apply(ctx, name, applied, metav1.ApplyOptions{FieldManager: "sharing", Force: true})
		}
		if err != nil {
			return fmt.Errorf("%s: step %d: %w", at.name, step, err)
		}
	}
	if r.IntN(3) > 0 {
		return nil
	}
	at = draw()
	if err := at.objects.Resource(k.of).Namespace(namespace).Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("%s: delete: %w", at.name, err)
	}
	at = draw()
	if _, err := at.objects.Resource(k.of).Namespace(namespace).Get(ctx, name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		return fmt.Errorf("%s: after it was deleted: %w", at.name, err)
	}
	return nil
}

// count counts up by one, again for as long as others count at the same time.
func count(ctx context.Context, s *side) error {
	of := s.objects.Resource(configMaps).Namespace(namespace)
	for {
		have, err := of.Get(ctx, "counter", metav1.GetOptions{})
		if err != nil {
			return err
		}
		text, _, _ := unstructured.NestedString(have.Object, "data", "n")
		n, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		_ = unstructured.SetNestedField(have.Object, strconv.Itoa(n+1), "data", "n") // it is a string
		if _, err = of.Update(ctx, have, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
			return err
		}
	}
}
