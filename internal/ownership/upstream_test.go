package ownership_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	openapinamer "k8s.io/apiserver/pkg/endpoints/openapi"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/kube-openapi/pkg/builder3"
	"k8s.io/kube-openapi/pkg/util"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/generated/openapi"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	extensions "k8s.io/apiextensions-apiserver/pkg/apiserver"
	aggregation "k8s.io/kube-aggregator/pkg/apiserver/scheme"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/native"
	"github.com/knarr-io/knarr/internal/ownership"
)

// everything is a catalogue in which all versions are on.
func everything(t testing.TB) *kind.Catalogue {
	t.Helper()
	c, err := native.Catalogue(native.Options{RuntimeConfig: map[string]string{"api/all": "true"}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// upstream makes field managers as kube-apiserver does: by the definitions of
// what its groups serve, those of the core group apart from the rest.
type upstream struct {
	core, others managedfields.TypeConverter
}

func newUpstream(t testing.TB, c *kind.Catalogue) *upstream {
	t.Helper()
	namer := openapinamer.NewDefinitionNamer(legacyscheme.Scheme, extensions.Scheme, aggregation.Scheme)
	config := genericapiserver.DefaultOpenAPIV3Config(openapi.GetOpenAPIDefinitions, namer)
	converter := func(wanted func(group string) bool) managedfields.TypeConverter {
		var names []string
		add := func(scheme *runtime.Scheme, gvk schema.GroupVersionKind) {
			sample, err := scheme.New(gvk)
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, util.GetCanonicalTypeName(sample))
		}
		for _, g := range c.Groups {
			for _, r := range g.Resources {
				for _, v := range r.Versions {
					if !wanted(g.Name) {
						continue
					}
					add(r.Scheme, v.GVK())
					for _, sub := range r.Subresources {
						if sub.View != nil {
							add(r.Scheme, sub.GVK(v))
						}
					}
				}
			}
		}
		definitions, err := builder3.BuildOpenAPIDefinitionsForResources(config, names...)
		if err != nil {
			t.Fatal(err)
		}
		made, err := managedfields.NewTypeConverter(definitions, false)
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	return &upstream{
		core:   converter(func(group string) bool { return group == "" }),
		others: converter(func(group string) bool { return group != "" }),
	}
}

func (u *upstream) manager(t testing.TB, v *kind.Version, sub *kind.Subresource) *managedfields.FieldManager {
	t.Helper()
	converter := u.others
	if v.Resource.Group == "" {
		converter = u.core
	}
	gvk, name, resets := v.GVK(), "", v.Resource.ResetFields
	if sub != nil {
		gvk, name, resets = sub.GVK(v), sub.Name, sub.ResetFields
	}
	var filter map[fieldpath.APIVersion]fieldpath.Filter
	if resets != nil {
		filter = fieldpath.NewExcludeFilterSetMap(resets())
	}
	s := v.Resource.Scheme
	m, err := managedfields.NewDefaultFieldManager(converter, runtime.UnsafeObjectConvertor(s), s, s, gvk,
		schema.GroupVersion{Group: gvk.Group, Version: runtime.APIVersionInternal}, name, filter)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// full is an object of v with all fields filled, from upstream's samples.
func full(t testing.TB, v *kind.Version) runtime.Object {
	t.Helper()
	group := v.Resource.Group
	if group == "" {
		group = "core"
	}
	dir, err := sampleDir()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, group+"."+v.Name+"."+v.Resource.Kind+".json"))
	var obj runtime.Object
	if err == nil {
		obj, err = runtime.Decode(v.Resource.Serializer.DecoderToVersion(jsonOf(v.Resource), v.Resource.Hub), data)
	} else if os.IsNotExist(err) { // of other modules than k8s.io/api
		u := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"name": "it", "labels": map[string]any{"a": "b"}}}}
		u.SetGroupVersionKind(v.GVK())
		obj, err = v.Resource.ToHub(u)
	}
	if err != nil {
		t.Fatal(err)
	}
	m, _ := meta.Accessor(obj)
	m.SetManagedFields(nil)
	return obj
}

func jsonOf(r *kind.Resource) runtime.Decoder {
	info, _ := runtime.SerializerInfoForMediaType(r.Serializer.SupportedMediaTypes(), runtime.ContentTypeJSON)
	return info.Serializer
}

// pair does the same with upstream's manager and with ours.
type pair struct {
	t      *testing.T
	v      *kind.Version
	theirs *managedfields.FieldManager
	ours   ownership.Manager
}

func (p *pair) update(live, obj runtime.Object, by string) runtime.Object {
	p.t.Helper()
	want, err := p.theirs.Update(live.DeepCopyObject(), obj.DeepCopyObject(), by)
	if err != nil {
		p.t.Fatalf("upstream: %v", err)
	}
	got := p.ours.Update(live.DeepCopyObject(), obj.DeepCopyObject(), by)
	p.compare(got, want)
	return got
}

func (p *pair) apply(live runtime.Object, patch *unstructured.Unstructured, by string, force bool) (runtime.Object, error) {
	p.t.Helper()
	want, wantErr := p.theirs.Apply(live.DeepCopyObject(), patch.DeepCopy(), by, force)
	got, err := p.ours.Apply(live.DeepCopyObject(), patch.DeepCopy(), by, force)
	if wantErr != nil || err != nil {
		if err == nil || wantErr == nil || err.Error() != wantErr.Error() || !reflect.DeepEqual(err, wantErr) {
			p.t.Fatalf("error = %v, want %v", err, wantErr)
		}
		return nil, err
	}
	p.compare(got, want)
	return got, nil
}

func (p *pair) compare(got, want runtime.Object) {
	p.t.Helper()
	timeless(got)
	timeless(want)
	if !equality.Semantic.DeepEqual(got, want) {
		a, _ := json.Marshal(owners(got))
		b, _ := json.Marshal(owners(want))
		p.t.Fatalf("differs from upstream's:\n%s\n%s", a, b)
	}
}

// as is obj as clients of the version write it.
func (p *pair) as(obj runtime.Object) *unstructured.Unstructured {
	p.t.Helper()
	versioned, err := p.v.FromHub(obj)
	if err != nil {
		p.t.Fatal(err)
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(versioned)
	if err != nil {
		p.t.Fatal(err)
	}
	return &unstructured.Unstructured{Object: content}
}

func owners(obj runtime.Object) []metav1.ManagedFieldsEntry {
	m, _ := meta.Accessor(obj)
	return m.GetManagedFields()
}

// timeless takes the times of owners away, by which two runs differ.
func timeless(obj runtime.Object) {
	entries := owners(obj)
	for i := range entries {
		entries[i].Time = nil
	}
}

// Every kind, in every version, with all of its fields: created, changed by
// another, changed through status, applied with force and without.
func TestEqualsUpstream(t *testing.T) {
	catalogue := everything(t)
	reference := newUpstream(t, catalogue)
	managers := &ownership.Managers{}
	kinds := 0
	for _, g := range catalogue.Groups {
		for _, r := range g.Resources {
			if r.Storage == nil {
				continue
			}
			for _, v := range r.Versions {
				t.Run(v.GVK().String(), func(t *testing.T) {
					kinds++
					p := &pair{t, v, reference.manager(t, v, nil), managers.For(v, nil)}
					none, err := r.Scheme.New(v.GVK())
					if err != nil {
						t.Fatal(err)
					}
					obj := full(t, v)
					created := p.update(none, obj, "creator")
					if len(owners(created)) != 1 {
						t.Fatalf("a creator owns what it creates, but owners are %v", owners(created))
					}
					m, _ := meta.Accessor(created)
					m.SetUID("u")

					changed := created.DeepCopyObject()
					m, _ = meta.Accessor(changed)
					for name := range m.GetLabels() {
						m.GetLabels()[name] = "changed"
					}
					changed = p.update(created, changed, "changer")

					for _, sub := range r.Subresources {
						if sub.Update != nil {
							p := &pair{t, v, reference.manager(t, v, sub), managers.For(v, sub)}
							less := r.New()
							m, _ := meta.Accessor(less)
							m.SetName("it")
							m.SetUID("u")
							p.update(changed, less, "controller")
						}
					}
					patch := p.as(obj)
					if _, err := p.apply(changed, patch, "applier", false); err == nil {
						t.Error("no conflict about the labels")
					}
					applied, err := p.apply(changed, patch, "applier", true)
					if err != nil {
						t.Fatal(err)
					}
					same, err := p.apply(applied, patch, "applier", false)
					if err != nil {
						t.Fatal(err)
					}
					unstructured.RemoveNestedField(patch.Object, "metadata", "labels")
					if _, err := p.apply(same, patch, "applier", false); err != nil {
						t.Fatal(err)
					}
				})
			}
		}
	}
	if kinds < 80 {
		t.Errorf("only %d kinds", kinds)
	}
}
