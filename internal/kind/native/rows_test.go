package native

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/rest"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	featuregatetesting "k8s.io/component-base/featuregate/testing"
	"k8s.io/kubernetes/pkg/features"

	"github.com/knarr-io/knarr/internal/kind"
)

// TestRows compares every row, in every version that can be switched on, with
// the stores that kube-apiserver makes.
func TestRows(t *testing.T) {
	moreFeatures(t)
	want := newUpstream(t, allOn())
	c := catalogue(t, Options{RuntimeConfig: allOn()})
	got := map[string]bool{}
	for _, g := range c.Groups {
		for _, r := range g.Resources {
			for _, v := range r.Versions {
				name := g.Name + "/" + v.Name + "/" + r.Name
				got[name] = true
				if s, ok := want[name]; ok {
					t.Run(name, func(t *testing.T) { compareRow(t, v, s) })
				}
				for _, sub := range r.Subresources {
					if v.Subresource(sub.Name) == nil {
						continue
					}
					name := name + "/" + sub.Name
					got[name] = true
					if s, ok := want[name]; ok {
						t.Run(name, func(t *testing.T) { compareSubresource(t, v, sub, s) })
					}
				}
			}
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); diff != "" {
		t.Errorf("what there is differs from kube-apiserver's (-want +got):\n%s", diff)
	}
	if len(got) < 150 {
		t.Errorf("only %d resources compared", len(got))
	}
}

// moreFeatures turns on the features that bring resources of their own.
func moreFeatures(t *testing.T) {
	t.Helper()
	featuregatetesting.SetFeatureGatesDuringTest(t, utilfeature.DefaultFeatureGate, featuregatetesting.FeatureOverrides{
		features.GenericWorkload: true, features.TopologyAwareWorkloadScheduling: true, features.CompositePodGroup: true,
		features.EvictionRequestAPI: true,
	})
}

func compareRow(t *testing.T, v *kind.Version, s rest.Storage) {
	r := v.Resource
	check(t, "namespaced", r.Namespaced, s.(rest.Scoper).NamespaceScoped())
	check(t, "singular", r.Singular, s.(rest.SingularNameProvider).GetSingularName())
	check(t, "verbs", r.Verbs, verbsOf(s))
	var short, categories []string
	if p, ok := s.(rest.ShortNamesProvider); ok {
		short = p.ShortNames()
	}
	if p, ok := s.(rest.CategoriesProvider); ok {
		categories = p.Categories()
	}
	check(t, "short names", r.ShortNames, short)
	check(t, "categories", r.Categories, categories)
	check(t, "hub type", fmt.Sprintf("%T", r.New()), fmt.Sprintf("%T", s.New()))

	store := storeOf(s)
	if (store != nil) != (r.Storage != nil) {
		t.Fatalf("stored = %v, want %v", r.Storage != nil, store != nil)
	}
	if store == nil {
		return
	}
	check(t, "list type", fmt.Sprintf("%T", r.NewList()), fmt.Sprintf("%T", store.NewListFunc()))
	check(t, "create strategy", typeName(r.Create), typeName(store.CreateStrategy))
	check(t, "update strategy", typeName(r.Update), typeName(store.UpdateStrategy))
	check(t, "delete strategy", typeName(r.Delete), typeName(store.DeleteStrategy))
	if r.Name != "apiservices" { // whose table is not its store's
		check(t, "table convertor", typeName(r.Table), typeName(store.TableConvertor))
	}
	check(t, "decorates", r.Decorate != nil, store.Decorator != nil)
	check(t, "has time to live", r.TTL != nil, store.TTLFunc != nil)
	check(t, "rule for delete during update", r.DeleteDuringUpdate != nil, store.ShouldDeleteDuringUpdate != nil)
	check(t, "returns deleted", v.ReturnDeleted, store.ReturnDeletedObject)
	_, deletesUnreadable := s.(rest.CorruptObjectDeleterProvider)
	check(t, "keeps what cannot be read", r.KeepUnreadable, !deletesUnreadable)
	var resets any
	if store.ResetFieldsStrategy != nil {
		resets = store.ResetFieldsStrategy.GetResetFields()
	}
	compareResets(t, r.ResetFields, resets)
	back := store.Storage.Storage.(*backend)
	check(t, "prefix", r.Storage.Prefix, back.prefix)
	gvk, _ := store.StorageVersion().KindForGroupVersionKinds(kindsOf(t, r))
	check(t, "storage version", r.Storage.Version.WithKind(r.Kind), gvk)
}

func compareSubresource(t *testing.T, v *kind.Version, sub *kind.Subresource, s rest.Storage) {
	check(t, "verbs", sub.Verbs, verbsOf(s))
	gvk := schema.GroupVersionKind{}
	if p, ok := s.(rest.GroupVersionKindProvider); ok {
		gvk = p.GroupVersionKind(v.GroupVersion())
	} else if kinds, _, err := v.Resource.Scheme.ObjectKinds(s.New()); err == nil {
		gvk.Kind = kinds[0].Kind
	}
	// A connecter's kind is that of its options.
	if c, ok := s.(rest.Connecter); ok {
		options, _, _ := c.NewConnectOptions()
		kinds, _, _ := v.Resource.Scheme.ObjectKinds(options)
		gvk.Kind = kinds[0].Kind
	}
	check(t, "kind", sub.Kind, gvk)
	isObject := fmt.Sprintf("%T", s.New()) == fmt.Sprintf("%T", v.Resource.New()) && slices.Contains(sub.Verbs, "update")
	check(t, "is the object", sub.Update != nil, isObject)
	if !isObject {
		return
	}
	check(t, "strategy", typeName(sub.Update), typeName(storeOf(s).UpdateStrategy))
	var resets any
	if p, ok := s.(rest.ResetFieldsStrategy); ok && p.GetResetFields() != nil {
		resets = p.GetResetFields()
	}
	compareResets(t, sub.ResetFields, resets)
}

// verbsOf tells a storage's verbs as kube-apiserver's installer does.
func verbsOf(s rest.Storage) []string {
	var verbs []string
	add := func(ok bool, names ...string) {
		if ok {
			verbs = append(verbs, names...)
		}
	}
	_, creates := s.(rest.Creater)
	_, createsNamed := s.(rest.NamedCreater)
	_, deletes := s.(rest.GracefulDeleter)
	_, deletesAll := s.(rest.CollectionDeleter)
	_, gets := s.(rest.Getter)
	_, getsWith := s.(rest.GetterWithOptions)
	_, lists := s.(rest.Lister)
	_, patches := s.(rest.Patcher)
	_, updates := s.(rest.Updater)
	_, watches := s.(rest.Watcher)
	add(creates || createsNamed, "create")
	add(deletes, "delete")
	add(deletesAll, "deletecollection")
	add(gets || getsWith, "get")
	add(lists, "list")
	add(patches, "patch")
	add(updates, "update")
	add(watches, "watch")
	if c, ok := s.(rest.Connecter); ok {
		byMethod := map[string]string{"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
		for _, method := range c.ConnectMethods() {
			if verb, ok := byMethod[method]; ok {
				verbs = append(verbs, verb)
			}
		}
	}
	slices.Sort(verbs)
	return slices.Compact(verbs)
}

func kindsOf(t *testing.T, r *kind.Resource) []schema.GroupVersionKind {
	t.Helper()
	kinds, _, err := r.Scheme.ObjectKinds(r.New())
	if err != nil {
		t.Fatal(err)
	}
	return kinds
}

func compareResets(t *testing.T, got any, want any) {
	t.Helper()
	var fields any
	if f := reflect.ValueOf(got); !f.IsNil() {
		fields = f.Call(nil)[0].Interface()
	}
	check(t, "reset fields", fmt.Sprint(fields), fmt.Sprint(want))
}

func typeName(value any) string { return fmt.Sprintf("%T", value) }

func check[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) && fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s = %v, want %v", what, got, want)
	}
}
