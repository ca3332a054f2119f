package gc_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/state/statetest"
)

// To tell one of the random graphs again: -seed N -graphs 1.
var (
	seedFlag = flag.Uint64("seed", 0, "the seed of the first graph; 0 for one of the time")
	graphs   = flag.Int("graphs", 5, "how many random graphs")
)

func eachSeed(t *testing.T, test func(t *testing.T, r *rand.Rand)) {
	first := *seedFlag
	if first == 0 {
		first = uint64(time.Now().UnixNano())
	}
	for i := range *graphs {
		seed := first + uint64(i)
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { test(t, rand.New(rand.NewPCG(seed, 0))) })
	}
}

// model is what should be true: the objects, and whom they name.
type model struct {
	objects []made
	owners  map[types.UID][]made // of those that are there
}

// isThere reports whether m is there for who is in a namespace.
func (w *model) isThere(m made, namespace string) bool {
	_, is := w.owners[m.uid]
	return is && (m.namespace == "" || m.namespace == namespace)
}

// settle collects the garbage.
func (w *model) settle() {
	for again := true; again; {
		again = false
		for _, m := range w.objects {
			owners, is := w.owners[m.uid]
			if !is || len(owners) == 0 {
				continue
			}
			there := slices.DeleteFunc(slices.Clone(owners), func(o made) bool { return !w.isThere(o, m.namespace) })
			if len(there) == 0 {
				delete(w.owners, m.uid)
				again = true
			} else {
				w.owners[m.uid] = there
			}
		}
	}
}

// delete deletes one object.
func (w *model) delete(m made, policy metav1.DeletionPropagation) {
	delete(w.owners, m.uid)
	if policy == orphan {
		for uid, owners := range w.owners {
			w.owners[uid] = slices.DeleteFunc(slices.Clone(owners), func(o made) bool { return o.uid == m.uid })
		}
	}
	w.settle()
}

// differences tells where c is not as w says.
func (w *model) differences(c *cluster) (all []string) {
	for _, m := range w.objects {
		want := "gone"
		if owners, is := w.owners[m.uid]; is {
			names := []string{}
			for _, o := range owners {
				names = append(names, o.name)
			}
			want = fmt.Sprint(names)
		}
		if got := c.names(m); got != want {
			all = append(all, fmt.Sprintf("%s %s/%s names %s, want %s", m.kind, m.namespace, m.name, got, want))
		}
	}
	return all
}

// randomKind is a resource and the namespace of an object of it.
func randomKind(r *rand.Rand) (schema.GroupVersionResource, string) {
	gvr := []schema.GroupVersionResource{maps, secrets, widgets, roles}[r.IntN(4)]
	if gvr == roles {
		return gvr, ""
	}
	return gvr, []string{"a", "b"}[r.IntN(2)]
}

// randomOwners are some of candidates that who is in a namespace may name: what
// is in no namespace is not owned by what is in one.
func randomOwners(r *rand.Rand, candidates []made, namespace string) []made {
	var owners []made
	for range []int{0, 0, 1, 1, 1, 2, 3}[r.IntN(7)] {
		if len(candidates) == 0 {
			break
		}
		o := candidates[r.IntN(len(candidates))]
		if (namespace != "" || o.namespace == "") && !slices.Contains(owners, o) {
			owners = append(owners, o)
		}
	}
	return owners
}

func references(r *rand.Rand, owners []made) []metav1.OwnerReference {
	var all []metav1.OwnerReference
	for _, o := range owners {
		if r.IntN(2) == 0 {
			all = append(all, o.owner(blocking))
		} else {
			all = append(all, o.owner())
		}
	}
	return all
}

func randomPolicy(r *rand.Rand) metav1.DeletionPropagation {
	return []metav1.DeletionPropagation{background, foreground, orphan}[r.IntN(3)]
}

// What is left of a random graph after each of many deletions and changes is what a
// simple model says.
func TestRandomGraphs(t *testing.T) {
	eachSeed(t, func(t *testing.T, r *rand.Rand) {
		c := newCollected(t)
		c.define("v1")
		w := &model{owners: map[types.UID][]made{}}
		expect := func(what string) {
			t.Helper()
			var differences []string
			for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
				if differences = w.differences(c); differences == nil {
					return
				}
			}
			t.Fatalf("after %s:\n%s", what, strings.Join(differences, "\n"))
		}
		for i := range 40 {
			gvr, namespace := randomKind(r)
			owners := randomOwners(r, w.objects, namespace)
			m := c.make(gvr, namespace, fmt.Sprint("o", i), references(r, owners)...)
			w.objects = append(w.objects, m)
			w.owners[m.uid] = owners
			w.settle()
		}
		expect("all was made")
		for range 20 {
			m := w.objects[r.IntN(len(w.objects))]
			if _, is := w.owners[m.uid]; !is {
				continue
			}
			if r.IntN(3) == 0 { // other owners, perhaps in a cycle
				owners := randomOwners(r, w.objects, m.namespace)
				c.own(m, references(r, owners))
				w.owners[m.uid] = owners
				w.settle()
				expect(fmt.Sprint(m.name, " was given other owners"))
				continue
			}
			policy := randomPolicy(r)
			c.delete(m, policy)
			w.delete(m, policy)
			expect(fmt.Sprint(policy, " deletion of ", m.name))
		}
		c.stays()
		expect("all was done") // nothing more is
	})
}

// own gives an object other owners.
func (c *cluster) own(m made, owners []metav1.OwnerReference) {
	c.t.Helper()
	if owners == nil {
		c.set(m, "{ownerReferences: null}")
		return
	}
	var all []string
	for _, o := range owners {
		all = append(all, fmt.Sprintf("{apiVersion: %s, kind: %s, name: %s, uid: %q, blockOwnerDeletion: %v}", o.APIVersion, o.Kind, o.Name, o.UID, o.BlockOwnerDeletion != nil))
	}
	c.set(m, "{ownerReferences: ["+strings.Join(all, ", ")+"]}")
}

// While many write at once: nobody is deleted who has an owner at that moment, in the end
// none is left that has none of those it names, nobody waits, and none that was there
// and named an owner goes or loses another because that owner left its dependents behind.
func TestManyWritersAtOnce(t *testing.T) {
	eachSeed(t, func(t *testing.T, r *rand.Rand) {
		c := newCluster(t, statetest.Start(t))
		c.make(namespaces, "", "a")
		c.make(namespaces, "", "b")
		c.define("v1")
		c.collect()
		begin := c.verbs.State.Rev()
		var mu sync.Mutex // guards what follows
		var objects []made
		asked := map[types.UID]metav1.DeletionPropagation{}
		var writing sync.WaitGroup
		for n := range 6 {
			r := rand.New(rand.NewPCG(r.Uint64(), 0))
			writing.Go(func() {
				for i := range 40 {
					mu.Lock()
					gvr, namespace := randomKind(r)
					owners := randomOwners(r, objects, namespace)
					var victim made
					if len(objects) > 0 && r.IntN(3) == 0 {
						victim = objects[r.IntN(len(objects))]
					}
					mu.Unlock()
					m, err := c.tryMake(gvr, namespace, fmt.Sprintf("o-%d-%d", n, i), references(r, owners)...)
					if err != nil {
						t.Errorf("making an object: %v", err)
						return
					}
					mu.Lock()
					objects = append(objects, m)
					policy := randomPolicy(r)
					if victim.uid != "" && asked[victim.uid] == "" {
						asked[victim.uid] = policy
					} else {
						victim = made{}
					}
					mu.Unlock()
					if victim.uid == "" {
						continue
					}
					if err := c.tryDelete(victim, policy); err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
						t.Errorf("deleting an object: %v", err)
					}
				}
			})
		}
		writing.Wait()
		h := &history{c: c, asked: asked}
		var left []string
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			if left = h.left(); left == nil || time.Now().After(deadline) {
				break
			}
		}
		if left != nil {
			t.Fatalf("left are\n%s", strings.Join(left, "\n"))
		}
		c.stays()
		for _, wrong := range h.read(begin) {
			t.Error(wrong)
		}
	})
}

// history judges what has happened.
type history struct {
	c     *cluster
	asked map[types.UID]metav1.DeletionPropagation
}

// version is an object as it was for a while.
type version struct {
	made
	meta *metav1.ObjectMeta
}

func (h *history) resources() (all []*kind.Version) {
	for _, gvr := range []schema.GroupVersionResource{maps, secrets, widgets, roles} {
		all = append(all, h.c.keeper.Catalogue().Lookup(gvr))
	}
	return all
}

// now returns all objects.
func (h *history) now() map[types.UID]version {
	all := map[types.UID]version{}
	for _, v := range h.resources() {
		state.AsNew(func(e *state.Event) {
			o := h.version(v, e)
			all[o.uid] = o
		})(h.c.verbs.State.Snapshot(v.Resource.Storage.Prefix))
	}
	return all
}

func (h *history) version(v *kind.Version, e *state.Event) version {
	m, err := kind.Metadata(e.Object)
	if err != nil {
		panic(err)
	}
	return version{made{v.GVR(), v.Resource.Kind, e.Object.Namespace, e.Object.Name, m.UID}, m}
}

// standing counts the owners of an object that are there and that are not.
func standing(all map[types.UID]version, o version) (there, absent int) {
	for _, owner := range o.meta.OwnerReferences {
		found, is := all[owner.UID]
		waits := is && found.meta.DeletionTimestamp != nil && slices.Contains(found.meta.Finalizers, metav1.FinalizerDeleteDependents)
		if is && !waits && (found.namespace == "" || found.namespace == o.namespace) {
			there++
		} else {
			absent++
		}
	}
	return there, absent
}

// left tells of objects that should not be as they are in the end.
func (h *history) left() (wrong []string) {
	all := h.now()
	for _, o := range all {
		there, absent := standing(all, o)
		if absent > 0 || o.meta.DeletionTimestamp != nil {
			wrong = append(wrong, fmt.Sprintf("%s/%s: %d owners are there, %d are not; deleted %v, with %v", o.namespace, o.name, there, absent, o.meta.DeletionTimestamp, o.meta.Finalizers))
		}
	}
	return wrong
}

var errGone = errors.New("the history is gone")

// read tells what was wrong at some time since a revision.
func (h *history) read(since uint64) (wrong []string) {
	type event struct {
		state.Event
		of *kind.Version
	}
	var events []event
	for _, v := range h.resources() {
		cursor, err := h.c.verbs.State.Watch(v.Resource.Storage.Prefix, since)
		if err != nil {
			return []string{errGone.Error()}
		}
		for size := 1 << 16; ; {
			buffer := make([]state.Event, size)
			if h.c.verbs.State.Snapshot(v.Resource.Storage.Prefix).Len("") == 0 && cursor.Delivered() >= h.c.verbs.State.Rev() {
				break
			}
			n, err := cursor.Next(h.c.t.Context(), buffer)
			if err != nil {
				return []string{errGone.Error()}
			}
			for _, e := range buffer[:n] {
				events = append(events, event{e, v})
			}
			if n < size {
				break
			}
		}
	}
	slices.SortFunc(events, func(a, b event) int { return int(a.Rev()) - int(b.Rev()) })
	all := map[types.UID]version{}
	left := map[types.UID]map[types.UID]bool{} // whom orphaning owners have to leave behind
	for _, e := range events {
		o := h.version(e.of, &e.Event)
		before, known := all[o.uid]
		deleting := func(v version) bool { return v.meta != nil && v.meta.DeletionTimestamp != nil }
		begins := deleting(o) && !(known && deleting(before)) || e.Deleted && !(known && deleting(before))
		if begins && h.asked[o.uid] == "" && known {
			if there, absent := standing(all, before); there > 0 || absent == 0 {
				wrong = append(wrong, fmt.Sprintf("%s/%s was deleted at revision %d, where %d of its owners were there, %d not", o.namespace, o.name, e.Rev(), there, absent))
			}
		}
		if begins && !e.Deleted && slices.Contains(o.meta.Finalizers, metav1.FinalizerOrphanDependents) {
			left[o.uid] = map[types.UID]bool{}
			for uid, d := range all {
				if slices.ContainsFunc(d.meta.OwnerReferences, func(r metav1.OwnerReference) bool { return r.UID == o.uid }) {
					left[o.uid][uid] = true
				}
			}
		}
		if !e.Deleted {
			all[o.uid] = o
			continue
		}
		delete(all, o.uid)
		for uid := range left[o.uid] {
			if d, is := all[uid]; is && slices.ContainsFunc(d.meta.OwnerReferences, func(r metav1.OwnerReference) bool { return r.UID == o.uid }) {
				wrong = append(wrong, fmt.Sprintf("%s/%s went at revision %d, and %s/%s, which it leaves behind, names it", o.namespace, o.name, e.Rev(), d.namespace, d.name))
			}
		}
	}
	return wrong
}
