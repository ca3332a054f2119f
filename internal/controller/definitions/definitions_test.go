package definitions_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/knarr-io/knarr/internal/state/statetest"
	"github.com/knarr-io/knarr/internal/store"
)

const good = "NamesAccepted=True NoConflicts, Established=True InitialNamesAccepted"

// What is defined is served when the create returns, without anything running
// in the background.
func TestServedAtOnce(t *testing.T) {
	c := newStill(t, statetest.Start(t))
	c.must(c.define("widgets", ""))
	if got := c.conditions("widgets"); got != good {
		t.Errorf("the conditions are %s", got)
	}
	if got := c.definition("widgets").Status; got.AcceptedNames.Kind != "Widget" || !slices.Equal(got.StoredVersions, []string{"v1"}) {
		t.Errorf("the status is %+v", got)
	}
	c.must(c.make(gvr("v1", "widgets"), "w"))
	c.must(c.patch(gvr("v1", "widgets"), "applied", types.ApplyYAMLPatchType, `{apiVersion: example.com/v1, kind: Widget, metadata: {name: applied}, spec: {a: b}}`))
	if got, want := c.service("v1.example.com"), "{{map[kube-aggregator.kubernetes.io/automanaged:true]} {1000 100} {[{Available True Local Local APIServices are always available}]}}"; got != want {
		t.Errorf("the APIService is %s, want %s", got, want)
	}
	owned := slices.ContainsFunc(c.definition("widgets").ManagedFields, func(f metav1.ManagedFieldsEntry) bool {
		return f.Manager == "kube-apiserver" && f.Subresource == "status" && f.Operation == metav1.ManagedFieldsOperationUpdate
	})
	if !owned {
		t.Errorf("the status is owned by %v", c.definition("widgets").ManagedFields)
	}
	// A new version is there at once, too, and replaces the kind.
	before := c.keeper.Catalogue().Lookup(gvr("v1", "widgets")).Resource
	c.must(c.patch(crds, "widgets.example.com", types.JSONPatchType, `[{"op":"add","path":"/spec/versions/-","value":{"name":"v2beta1","served":true,"storage":false,"schema":{"openAPIV3Schema":{"type":"object"}}}}]`))
	if got, want := c.served("example.com"), "[v1 v2beta1] [v1/widgets v2beta1/widgets]"; got != want {
		t.Errorf("served is %s, want %s", got, want)
	}
	if !closed(before.Gone) || closed(c.keeper.Catalogue().Lookup(gvr("v1", "widgets")).Resource.Gone) {
		t.Error("the old kind should be gone, and the new one not")
	}
	if c.service("v2beta1.example.com") == "" {
		t.Error("the new version has no APIService")
	}
	// What does not change what is defined keeps the kind.
	before = c.keeper.Catalogue().Lookup(gvr("v1", "widgets")).Resource
	c.must(c.patch(crds, "widgets.example.com", types.MergePatchType, `{"metadata":{"labels":{"a":"b"}}}`))
	if now := c.keeper.Catalogue().Lookup(gvr("v1", "widgets")).Resource; now != before || closed(before.Gone) {
		t.Error("a label has made another kind")
	}
	// A version that is no longer served is gone at once.
	c.must(c.patch(crds, "widgets.example.com", types.JSONPatchType, `[{"op":"replace","path":"/spec/versions/1/served","value":false}]`))
	if got, want := c.served("example.com"), "[v1] [v1/widgets]"; got != want || c.service("v2beta1.example.com") != "" {
		t.Errorf("served is %s, want %s; the APIService is %s", got, want, c.service("v2beta1.example.com"))
	}
}

// Who comes second waits until the names are free.
func TestNamesInConflict(t *testing.T) {
	c := newCluster(t, statetest.Start(t))
	c.must(c.define("widgets", "spec: {names: {plural: widgets, singular: widget, kind: Widget, listKind: WidgetList, shortNames: [w]}}"))
	c.must(c.define("gadgets", "spec: {names: {plural: gadgets, singular: gadget, kind: Widget, listKind: GadgetList, shortNames: [w]}}"))
	if got, want := c.conditions("gadgets"), "NamesAccepted=False KindConflict, Established=False NotAccepted"; got != want {
		t.Errorf("the conditions are %s, want %s", got, want)
	}
	if a := c.definition("gadgets").Status.AcceptedNames; a.Plural != "gadgets" || a.Kind != "" || a.ShortNames != nil {
		t.Errorf("accepted are %v", a)
	}
	if got, want := c.served("example.com"), "[v1] [v1/widgets]"; got != want {
		t.Errorf("served is %s, want %s", got, want)
	}
	c.delete(crds, "widgets.example.com")
	c.eventually("the second is established", func() bool { return c.conditions("gadgets") == good })
	if got, want := c.served("example.com"), "[v1] [v1/gadgets]"; got != want || c.definition("widgets") != nil {
		t.Errorf("served is %s, want %s", got, want)
	}
	c.must(c.make(gvr("v1", "gadgets"), "g"))
}

// A definition that is deleted takes its objects with it, and waits for those
// that have finalizers.
func TestEnds(t *testing.T) {
	c := newCluster(t, statetest.Start(t))
	c.must(c.define("widgets", ""))
	widgets := gvr("v1", "widgets")
	c.must(c.make(widgets, "plain"))
	c.must(c.make(widgets, "stays", "example.com/stay"))
	served := c.keeper.Catalogue().Lookup(widgets)
	prefix := served.Resource.Storage.Prefix
	c.delete(crds, "widgets.example.com")
	c.eventually("one object is left", func() bool { return c.verbs.State.Snapshot(prefix).Len("") == 1 })
	c.eventually("the end is told", func() bool {
		return c.conditions("widgets") == good+", Terminating=True InstanceDeletionInProgress"
	})
	before := c.definition("widgets").ResourceVersion
	err := c.make(widgets, "late")
	if want := `widgets.example.com "late" is forbidden: create not allowed while custom resource definition is terminating`; !apierrors.IsForbidden(err) || err.Error() != want {
		t.Errorf("a create is refused with %v, want %s", err, want)
	}
	err = c.patch(widgets, "late", types.ApplyYAMLPatchType, `{apiVersion: example.com/v1, kind: Widget, metadata: {name: late}}`)
	if !apierrors.IsForbidden(err) {
		t.Errorf("an apply that would create is refused with %v", err)
	}
	if g := c.keeper.Catalogue().Group("example.com"); !slices.Equal(g.Told(g.Resources[0]), strings.Fields("delete deletecollection get list watch")) {
		t.Errorf("clients are told of the verbs %v", g.Told(g.Resources[0]))
	}
	if closed(served.Resource.Gone) {
		t.Error("the kind is gone before its objects")
	}
	c.must(c.patch(widgets, "stays", types.MergePatchType, `{"spec":{"a":"b"}}`)) // which is no end
	if now := c.definition("widgets").ResourceVersion; now != before {
		t.Error("the definition is written while it waits")
	}
	c.must(c.patch(widgets, "stays", types.JSONPatchType, `[{"op":"remove","path":"/metadata/finalizers"}]`))
	c.eventually("the definition is gone", func() bool { return c.definition("widgets") == nil })
	c.eventually("the kind is gone", func() bool { return closed(served.Resource.Gone) })
	if got := c.served("example.com"); got != "none" {
		t.Errorf("served is %s", got)
	}
	c.eventually("the APIService is gone", func() bool { return c.service("v1.example.com") == "" })
	// The same again is new.
	c.must(c.define("widgets", ""))
	c.must(c.make(widgets, "late"))
}

// As upstream, definitions that are deleted as a collection leave their objects
// behind, for those to come.
func TestDeletedAsCollection(t *testing.T) {
	c := newStill(t, statetest.Start(t))
	c.must(c.define("widgets", ""))
	c.must(c.make(gvr("v1", "widgets"), "w"))
	all := c.target(crds, "")
	ctx := all.Context(t.Context(), "deletecollection", admin)
	if _, err := c.verbs.DeleteCollection(ctx, all, &metainternalversion.ListOptions{}, &metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := c.served("example.com"); got != "none" || c.definition("widgets") != nil {
		t.Errorf("served is %s", got)
	}
	c.must(c.define("widgets", ""))
	if err := c.make(gvr("v1", "widgets"), "w"); !apierrors.IsAlreadyExists(err) {
		t.Errorf("an object is made that was there: %v", err)
	}
}

// One that never was established has nothing to delete.
func TestNeverEstablished(t *testing.T) {
	c := newCluster(t, statetest.Start(t))
	c.must(c.define("widgets", ""))
	c.must(c.define("gadgets", "spec: {names: {plural: gadgets, singular: gadget, kind: Widget, listKind: GadgetList}}"))
	c.delete(crds, "gadgets.example.com")
	c.eventually("it is gone", func() bool { return c.definition("gadgets") == nil })
	if got := c.conditions("widgets"); got != good {
		t.Errorf("the other's conditions are %s", got)
	}
}

// After a restart everything is served that was; what was not finished is.
func TestStartsWithWhatIsStored(t *testing.T) {
	st := statetest.Start(t)
	c := newStill(t, st)
	c.must(c.define("widgets", ""))
	c.must(c.make(gvr("v1", "widgets"), "w"))
	c.must(c.define("ends", "spec: {names: {plural: ends, singular: end, kind: End, listKind: EndList}}"))
	c.delete(crds, "ends.example.com") // nobody takes its objects away
	c.must(c.patch(services, "v1.example.com", types.MergePatchType, `{"spec":{"versionPriority":1}}`))
	before := c.definition("widgets").ResourceVersion

	c = newStill(t, st)
	c.must(c.make(gvr("v1", "widgets"), "v"))
	if got := c.definition("widgets").ResourceVersion; got != before {
		t.Error("a start has written a definition that was as it should be")
	}
	if got := c.service("v1.example.com"); !strings.Contains(got, "{1000 100}") {
		t.Errorf("the APIService is %s", got)
	}
	c = newCluster(t, st)
	c.eventually("what was to go is gone", func() bool { return c.definition("ends") == nil })
}

// Definitions that another server has written are served, too, and APIServices
// are put right.
func TestWritesOfOthers(t *testing.T) {
	st := statetest.Start(t)
	other, c := newStill(t, st), newCluster(t, st)
	other.must(other.define("widgets", ""))
	c.eventually("it is served", func() bool { return c.served("example.com") == "[v1] [v1/widgets]" })
	c.delete(services, "v1.example.com")
	c.eventually("the APIService is there again", func() bool { return c.service("v1.example.com") != "" })
	c.delete(crds, "widgets.example.com")
	c.eventually("it is gone", func() bool { return c.definition("widgets") == nil && c.served("example.com") == "none" })
}

// Groups that are defined come after the native ones, by name; a version that
// is defined in a native group comes first there, and a native one is not
// replaced.
func TestOrderOfGroups(t *testing.T) {
	c := newStill(t, statetest.Start(t))
	define := func(plural, group, version string) {
		c.must(c.define(plural, fmt.Sprintf(`
metadata: {name: %[1]s.%[2]s, annotations: {api-approved.kubernetes.io: unapproved}}
spec:
  group: %[2]s
  versions: [{name: %[3]s, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]`, plural, group, version)))
	}
	define("widgets", "z.example.com", "v1")
	define("widgets", "a.example.com", "v1alpha1")
	define("gadgets", "a.example.com", "v2")
	if got, want := c.last(2), []string{"a.example.com", "z.example.com"}; !slices.Equal(got, want) {
		t.Errorf("the last groups are %v, want %v", got, want)
	}
	if got, want := c.served("a.example.com"), "[v2 v1alpha1] [v2/gadgets v1alpha1/widgets]"; got != want {
		t.Errorf("served is %s, want %s", got, want)
	}
	define("widgets", "networking.k8s.io", "v2")
	define("gadgets", "networking.k8s.io", "v1")
	if g := c.keeper.Catalogue().Group("networking.k8s.io"); !slices.Equal(g.Versions[:2], []string{"v2", "v1"}) || strings.Contains(c.served(g.Name), "gadgets") {
		t.Errorf("served is %s", c.served(g.Name))
	}
	if c.service("v2.networking.k8s.io") == "" || c.service("v1.networking.k8s.io") != "" {
		t.Error("there should be an APIService for the version that is defined alone")
	}
	if got, want := c.last(2), []string{"a.example.com", "z.example.com"}; !slices.Equal(got, want) {
		t.Errorf("the last groups are %v, want %v", got, want)
	}
}

// What cannot be read or served does not keep the rest from it, and those of
// old are told what is wrong with them.
func TestOddDefinitions(t *testing.T) {
	st := statetest.Start(t)
	c := newStill(t, st)
	c.must(c.define("widgets", ""))
	put := func(name, value string) {
		t.Helper()
		if _, err := st.Commit(t.Context(), store.Change{Key: "/registry/apiextensions.k8s.io/customresourcedefinitions/" + name, Value: []byte(value)}); err != nil {
			t.Fatal(err)
		}
	}
	put("nonsense.example.com", "nonsense")
	put("olds.example.com", `{"kind":"CustomResourceDefinition","apiVersion":"apiextensions.k8s.io/v1beta1",
		"metadata":{"name":"olds.example.com","uid":"u","generation":1},
		"spec":{"group":"example.com","version":"v1","versions":[{"name":"v1","served":true,"storage":true}],"scope":"Namespaced","preserveUnknownFields":true,
			"names":{"plural":"olds","singular":"old","kind":"Old","listKind":"OldList"},
			"validation":{"openAPIV3Schema":{"type":"object","properties":{"spec":{}}}}},"status":{}}`)
	c = newStill(t, st)
	if got, want := c.served("example.com"), "[v1] [v1/olds v1/widgets]"; got != want {
		t.Errorf("served is %s, want %s", got, want)
	}
	if got, want := c.conditions("olds"), "NonStructuralSchema=True Violations, "+good; got != want {
		t.Errorf("the conditions are %s, want %s", got, want)
	}
	c.must(c.make(gvr("v1", "olds"), "o"))
	c.must(c.patch(gvr("v1", "olds"), "o", types.MergePatchType, `{"spec":{"anything":1}}`))
	var kept struct{ Spec map[string]int }
	if c.get(gvr("v1", "olds"), "o", &kept); kept.Spec["anything"] != 1 {
		t.Errorf("the object is %v", kept)
	}
}

// Many define things at the same time, and each finds its own.
func TestManyAtOnce(t *testing.T) {
	c := newCluster(t, statetest.Start(t))
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for i := range 5 {
				plural, group := fmt.Sprintf("w%d-%ds", w, i), fmt.Sprintf("g%d.example.com", w%3)
				if err := c.define(plural, fmt.Sprintf("{metadata: {name: %s.%s}, spec: {group: %[2]s}}", plural, group)); err != nil {
					t.Errorf("%s: %v", plural, err)
					continue
				}
				of := schema.GroupVersionResource{Group: group, Version: "v1", Resource: plural}
				if err := c.make(of, "w"); err != nil {
					t.Errorf("%s: %v", plural, err)
				}
				if i%2 == 0 {
					c.delete(crds, plural+"."+group)
				}
			}
		})
	}
	writers.Wait()
	c.eventually("those that are to go are gone", func() bool {
		all := 0
		for g := range 3 {
			if group := c.keeper.Catalogue().Group(fmt.Sprintf("g%d.example.com", g)); group != nil {
				all += len(group.Resources)
			}
		}
		return all == 16
	})
}
