package gc_test

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	api "k8s.io/kubernetes/pkg/apis/core"

	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/state/statetest"
)

const (
	background = metav1.DeletePropagationBackground
	foreground = metav1.DeletePropagationForeground
	orphan     = metav1.DeletePropagationOrphan
)

func TestBackground(t *testing.T) {
	c := newCollected(t)
	owner := c.make(maps, "a", "owner")
	dependent := c.make(secrets, "a", "dependent", owner.owner())
	theirs := c.make(maps, "a", "theirs", dependent.owner())
	other := c.make(maps, "a", "other")
	c.stays(owner, dependent, theirs)
	c.delete(owner, background)
	c.goes(dependent, theirs)
	c.stays(other)
}

// Who owns the collector's objects and asks what it is to others: what it writes is
// kube-controller-manager's.
func TestSeveralOwners(t *testing.T) {
	c := newCollected(t)
	one, other := c.make(maps, "a", "one"), c.make(maps, "a", "other")
	dependent := c.make(maps, "a", "dependent", one.owner(blocking), absent(), other.owner())
	eventually(t, "the absent owner is no longer named", func() bool { return c.names(dependent) == "[one other]" })
	c.delete(one, foreground) // it does not wait for who stays
	c.goes(one)
	eventually(t, "it is named no longer", func() bool { return c.names(dependent) == "[other]" })
	c.delete(other, background)
	c.goes(dependent)
}

func TestForeground(t *testing.T) {
	c := newCollected(t)
	owner := c.make(maps, "a", "owner")
	blocker := c.make(maps, "a", "blocker", owner.owner(blocking))
	theirs := c.make(maps, "a", "theirs", blocker.owner(blocking))
	other := c.make(maps, "a", "other", owner.owner())
	c.set(theirs, `{finalizers: [example.com/hold]}`)
	c.delete(owner, foreground)
	c.goes(other)
	eventually(t, "the last is being deleted", func() bool { return c.get(theirs).DeletionTimestamp != nil })
	c.stays(owner, blocker, theirs)
	if f := fmt.Sprint(c.get(blocker).Finalizers); f != "[foregroundDeletion]" {
		t.Errorf("the blocker has the finalizers %s", f)
	}
	c.set(theirs, `{finalizers: null}`)
	c.goes(theirs, blocker, owner)
}

// An owner waits no longer for who names it no longer, or no longer so.
func TestUnblocked(t *testing.T) {
	c := newCollected(t)
	owner := c.make(maps, "a", "owner")
	x, y := c.make(maps, "a", "x", owner.owner(blocking)), c.make(maps, "a", "y", owner.owner(blocking))
	for _, m := range []made{x, y} {
		c.set(m, `{finalizers: [example.com/hold]}`)
	}
	c.delete(owner, foreground)
	c.set(x, `{ownerReferences: null}`)
	c.stays(owner)
	c.set(y, fmt.Sprintf(`{ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: owner, uid: %s}]}`, owner.uid))
	c.goes(owner)
}

func TestCycles(t *testing.T) {
	c := newCollected(t)
	cycle := func() (x, y made) {
		x = c.make(maps, "a", "x")
		y = c.make(maps, "a", "y", x.owner(blocking))
		c.set(x, fmt.Sprintf(`{ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: "y", uid: %s, blockOwnerDeletion: true}]}`, y.uid))
		c.stays(x, y)
		return x, y
	}
	for _, policy := range []metav1.DeletionPropagation{background, foreground} {
		x, y := cycle()
		c.delete(x, policy)
		c.goes(x, y)
	}
}

// The dependents of an orphaning owner stay, those that were made the moment before
// it was deleted, too.
func TestOrphans(t *testing.T) {
	c := newCollected(t)
	for i := range 20 {
		owner := c.make(maps, "a", fmt.Sprint("owner-", i))
		other := c.make(maps, "a", fmt.Sprint("other-", i))
		var all []made
		for j := range 10 {
			all = append(all, c.make(secrets, "a", fmt.Sprint("dependent-", i, "-", j), owner.owner(), other.owner()))
		}
		c.delete(owner, orphan)
		c.goes(owner)
		for _, m := range all {
			if names := c.names(m); names != fmt.Sprintf("[other-%d]", i) {
				t.Fatalf("%s names %s", m.name, names)
			}
		}
	}
}

func TestCascadeByFinalizers(t *testing.T) {
	c := newCollected(t)
	owner := c.make(maps, "a", "owner")
	orphaning := c.make(maps, "a", "orphaning", owner.owner())
	c.set(orphaning, `{finalizers: [orphan]}`)
	left := c.make(maps, "a", "left", orphaning.owner())
	waiting := c.make(maps, "a", "waiting", owner.owner())
	c.set(waiting, `{finalizers: [foregroundDeletion]}`)
	blocker := c.make(maps, "a", "blocker", waiting.owner(blocking))
	c.set(blocker, `{finalizers: [example.com/hold]}`)
	c.delete(owner, background)
	c.goes(orphaning)
	if names := c.names(left); names != "[]" {
		t.Errorf("what was left behind names %s", names)
	}
	c.stays(waiting, blocker)
	c.set(blocker, `{finalizers: null}`)
	c.goes(waiting)
}

// warnings are the notes of events about an object.
func (c *cluster) warnings(m made) string {
	c.t.Helper()
	r := c.target(events, "", "").Version.Resource
	var all []string
	c.verbs.State.Snapshot(r.Storage.Prefix).Each(state.Range{}, func(o *object.Object) bool {
		e, err := controller.Read[*api.Event](r, o)
		if err != nil {
			c.t.Fatal(err)
		}
		if e.InvolvedObject.UID == m.uid {
			all = append(all, fmt.Sprintf("%s %s %s %s %s: %s", e.Namespace, e.Type, e.Reason, e.Source.Component, e.InvolvedObject.Kind, e.Message))
		}
		return true
	})
	return strings.Join(all, "\n")
}

func TestOwnersInOtherPlaces(t *testing.T) {
	c := newCollected(t)
	there := c.make(maps, "b", "there")
	here := c.make(maps, "a", "here")
	dependent := c.make(maps, "a", "dependent", there.owner())
	c.goes(dependent)
	want := fmt.Sprintf(`a Warning OwnerRefInvalidNamespace garbage-collector-controller ConfigMap: `+
		`ownerRef [v1/ConfigMap, namespace: a, name: there, uid: %s] does not exist in namespace "a"`, there.uid)
	eventually(t, "there is an event: "+want, func() bool { return c.warnings(dependent) == want })

	both := c.make(maps, "a", "both", there.owner(), here.owner())
	eventually(t, "it names the owner that is here", func() bool { return c.names(both) == "[here]" })

	role := c.make(roles, "", "role", here.owner())
	want = fmt.Sprintf(`default Warning OwnerRefInvalidNamespace garbage-collector-controller ClusterRole: `+
		`ownerRef [v1/ConfigMap, namespace: , name: here, uid: %s] does not exist in namespace ""`, here.uid)
	eventually(t, "there is an event: "+want, func() bool { return c.warnings(role) == want })
	c.delete(here, background)
	c.goes(both)
	c.stays(role, there)

	owner := c.make(roles, "", "owner")
	of := []made{c.make(maps, "a", "of", owner.owner()), c.make(maps, "b", "of", owner.owner()), c.make(roles, "", "of", owner.owner())}
	c.stays(of...)
	c.delete(owner, background)
	c.goes(of...)
}

// Nothing is deleted for want of an owner whose kind is not served; when it is, it
// shows who is there.
func TestUnknownKinds(t *testing.T) {
	c := newCollected(t)
	owner := c.make(maps, "a", "owner")
	unknown := metav1.OwnerReference{APIVersion: "example.com/v1", Kind: "Widget", Name: "w", UID: "w"}
	var all []made
	for i, reference := range []metav1.OwnerReference{
		unknown,
		{APIVersion: "v9", Kind: "ConfigMap", Name: "owner", UID: owner.uid},
		{APIVersion: "v1", Kind: "Unknown", Name: "owner", UID: owner.uid},
	} {
		all = append(all, c.make(maps, "a", fmt.Sprint("dependent-", i), reference, owner.owner()))
	}
	c.goes(c.make(maps, "a", "reviewed", metav1.OwnerReference{APIVersion: "authorization.k8s.io/v1", Kind: "SubjectAccessReview", Name: "x", UID: "x"}))
	c.delete(owner, background)
	c.stays(all...)
	c.define("v1")
	c.goes(all[0])
	c.stays(all[1:]...)
}

// Custom resources own, are owned, and go with their definition; what they have owned
// goes, too.
func TestCustomResources(t *testing.T) {
	c := newCollected(t)
	crd := c.define("v1", "v2")
	owner := c.make(maps, "a", "owner")
	w := c.make(widgets, "a", "w", owner.owner())
	of := c.make(maps, "a", "of", w.owner(func(o *metav1.OwnerReference) { o.APIVersion = "example.com/v2" }))
	c.stays(w, of)
	c.delete(owner, background)
	c.goes(w, of)

	other := c.make(maps, "a", "other")
	w = c.make(widgets, "a", "w", other.owner(), absent())
	eventually(t, "the absent owner is named no longer", func() bool { return c.names(w) == "[other]" })
	left := c.make(widgets, "a", "left", w.owner())
	c.delete(w, orphan)
	c.goes(w)
	if names := c.names(left); names != "[]" {
		t.Errorf("what was left behind names %s", names)
	}

	w = c.make(widgets, "a", "w")
	of = c.make(maps, "a", "of", w.owner())
	c.delete(crd, background)
	eventually(t, "widgets are gone", func() bool { return c.keeper.Catalogue().Lookup(widgets) == nil })
	c.goes(of)
	later := c.make(maps, "a", "later", w.owner())
	c.stays(later)
	c.define("v1")
	c.goes(later)
}

// What is true at the start is dealt with, and what has happened between two runs.
func TestRunsAgain(t *testing.T) {
	c := newCluster(t, statetest.Start(t))
	owner := c.make(maps, "a", "owner")
	dependent := c.make(maps, "a", "dependent", owner.owner())
	dangling := c.make(maps, "a", "dangling", absent())
	waiting := c.make(maps, "a", "waiting")
	blocker := c.make(maps, "a", "blocker", waiting.owner(blocking))
	orphaning := c.make(maps, "a", "orphaning")
	left := c.make(maps, "a", "left", orphaning.owner())
	c.delete(waiting, foreground)
	c.delete(orphaning, orphan)
	stop := c.collect()
	c.goes(dangling, blocker, waiting, orphaning)
	if names := c.names(left); names != "[]" {
		t.Errorf("what was left behind names %s", names)
	}
	c.stays(dependent)
	stop()
	c.delete(owner, background)
	if c.get(dependent) == nil {
		t.Error("somebody collects still")
	}
	c.collect()
	c.goes(dependent)
}
