package state

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/store/embedded"
)

// Revisions pass without a change here where others share the store.
func TestProgress(t *testing.T) {
	s := startInMemory(t)
	put(t, s, pods+"/ns/a", "1")
	w := watch(t, s, pods, 2)
	(*follower)(s).Progress(50)
	if s.Rev() != 50 || w.Delivered() != 50 {
		t.Errorf("revision %d, delivered %d, want 50", s.Rev(), w.Delivered())
	}
	if err := s.WaitFor(context.Background(), 50); err != nil {
		t.Error(err)
	}
	(*follower)(s).Progress(40)
	if s.Rev() != 50 {
		t.Errorf("the revision went back to %d", s.Rev())
	}
	if snapshot, err := s.SnapshotAt(pods, 30); err != nil || snapshot.Rev != 30 || snapshot.Len("") != 1 {
		t.Errorf("at 30: revision %d, error %v", snapshot.Rev, err)
	}
}

// A value that cannot be read is an object like any other, but for its Err.
func TestUnreadable(t *testing.T) {
	k := newKeeper()
	key := pods + "/ns/a"
	s := start(t, embedded.New(k, embedded.Options{}), Options{})
	put(t, s, key, "1")
	put(t, s, key, "2")
	put(t, s, pods+"/ns/b", "3")

	noKey := errors.New("no key")
	k.unreadable = map[string]error{key: noKey}
	for _, floor := range []uint64{1, 3} { // as events, then as the base
		if err := k.Compact(context.Background(), floor); err != nil {
			t.Fatal(err)
		}
		s := start(t, embedded.New(k, embedded.Options{}), Options{})
		if o := s.Get(key); o == nil || o.Err != noKey || o.Rev != 3 {
			t.Fatalf("with floor %d: loaded %+v", floor, o)
		}
		if n := s.Snapshot(pods).Len("ns"); n != 2 {
			t.Fatalf("with floor %d: %d objects, want 2", floor, n)
		}
	}

	s = start(t, embedded.New(k, embedded.Options{}), Options{})
	w := watch(t, s, pods, s.Rev())
	put(t, s, key, "4") // the key may come back, or the object be replaced
	if o := s.Get(key); o.Err != nil || string(o.Value) != "4" {
		t.Errorf("replaced by %+v", o)
	}
	if was, err := s.SnapshotAt(pods, 4); err != nil || was.Get("ns", "a").Err != noKey {
		t.Errorf("before it was replaced: error %v, %+v", err, was.Get("ns", "a"))
	}
	wantStrings(t, "events", next(t, w, 5), []string{"5 ns/a=4 was @3"})

	// As another server's write arrives, and goes away again.
	f := (*follower)(s)
	f.Apply([]store.Event{{Key: key, Rev: 6, Prev: 5, Err: noKey, Time: time.Now()}})
	if o := s.Get(key); o == nil || o.Err != noKey || o.Rev != 6 {
		t.Errorf("applied as %+v", o)
	}
	f.Apply([]store.Event{{Key: key, Rev: 7, Prev: 6, Time: time.Now()}})
	if o := s.Get(key); o != nil {
		t.Errorf("after its deletion there is %+v", o)
	}
	events := make([]Event, 2)
	n, err := w.Next(context.Background(), events)
	if n != 2 || err != nil || !events[1].Deleted || events[1].Object.Err != noKey || events[1].Object.Rev != 7 {
		t.Errorf("%d events, error %v: %+v", n, err, events)
	}

	// A deletion of what nobody has seen is no event, but a revision.
	f.Apply([]store.Event{{Key: pods + "/ns/never", Rev: 8, Prev: 1, Time: time.Now()}})
	if told := next(t, w, 1); told != nil || w.Delivered() != 8 || s.Rev() != 8 {
		t.Errorf("told %q, delivered %d at %d", told, w.Delivered(), s.Rev())
	}
}

func TestResourceOf(t *testing.T) {
	for key, want := range map[string]string{
		"/registry/pods/default/web-0":                                 "/registry/pods",
		"/registry/pods/default/web.example.com":                       "/registry/pods",
		"/registry/pods/example.com/web":                               "/registry/pods",
		"/registry/namespaces/default":                                 "/registry/namespaces",
		"/registry/minions/node-1.example.com":                         "/registry/minions",
		"/registry/controllers/default/rc":                             "/registry/controllers",
		"/registry/ingress/default/web":                                "/registry/ingress",
		"/registry/services/specs/default/kubernetes":                  "/registry/services/specs",
		"/registry/services/endpoints/default/kubernetes":              "/registry/services/endpoints",
		"/registry/ranges/serviceips":                                  "/registry/ranges",
		"/registry/ranges/servicenodeports":                            "/registry/ranges",
		"/registry/masterleases/10.0.0.1":                              "/registry/masterleases",
		"/registry/peerserverleases/apiserver-abc":                     "/registry/peerserverleases",
		"/registry/clusterroles/system:controller:job-controller":      "/registry/clusterroles",
		"/registry/ipaddresses/2001:db8::1":                            "/registry/ipaddresses",
		"/registry/csinodes/n":                                         "/registry/csinodes",
		"/registry/apiextensions.k8s.io/customresourcedefinitions/a.b": "/registry/apiextensions.k8s.io/customresourcedefinitions",
		"/registry/apiregistration.k8s.io/apiservices/v1.apps":         "/registry/apiregistration.k8s.io/apiservices",
		"/registry/example.com/widgets/ns/w":                           "/registry/example.com/widgets",
		"/registry/example.com/clusterwidgets/w":                       "/registry/example.com/clusterwidgets",
		"/registry/services.example.com/specs/ns/w":                    "/registry/services.example.com/specs",
		"/registry/pods":                                               "/registry/pods",
		"compact_rev_key":                                              "",
		"":                                                             "",
	} {
		got := ResourceOf(key)
		if got != want {
			t.Errorf("ResourceOf(%q) = %q, want %q", key, got, want)
		}
		object.New(got, key, nil, 0, nil) // takes any key apart that there may be
	}
}

// What can be read after all takes the place of the error, if it is still there.
func TestReread(t *testing.T) {
	k := newKeeper()
	key := pods + "/ns/a"
	s := start(t, embedded.New(k, embedded.Options{}), Options{})
	put(t, s, key, "1")
	k.unreadable = map[string]error{key: errors.New("no key")}
	s = start(t, embedded.New(k, embedded.Options{}), Options{})
	before := s.Snapshot(pods)
	f := (*follower)(s)
	f.Reread(store.Event{Key: key, Value: []byte("other"), Rev: 1})
	f.Reread(store.Event{Key: pods + "/ns/none", Value: []byte("1"), Rev: 2})
	if o := s.Get(key); o.Err == nil || s.Get(pods+"/ns/none") != nil {
		t.Fatalf("of another revision: %+v", o)
	}
	f.Reread(store.Event{Key: key, Value: []byte("1"), Rev: 2, Seal: 7})
	if o := s.Get(key); o.Err != nil || string(o.Value) != "1" || o.Rev != 2 || o.Seal != 7 {
		t.Errorf("%+v", o)
	}
	if n := s.Snapshot(pods).Len("ns"); n != 1 || before.Len("ns") != 1 {
		t.Errorf("there are %d objects", n)
	}
	f.Reread(store.Event{Key: key, Value: []byte("2"), Rev: 2})
	if o := s.Get(key); string(o.Value) != "1" {
		t.Errorf("what could be read has changed: %+v", o)
	}
}

// A value that the store cannot keep as it has to be does not make it broken.
func TestUnwritable(t *testing.T) {
	s := start(t, refusing{embedded.New(newKeeper(), embedded.Options{})}, Options{})
	_, err := tryPut(s, pods+"/ns/a", "1")
	if unwritable := (*store.Unwritable)(nil); !errors.As(err, &unwritable) || s.Err() != nil {
		t.Errorf("%v; the store is broken: %v", err, s.Err())
	}
	if s.Outdated(pods+"/ns/a", &object.Object{Seal: 1}) {
		t.Error("a store without seals has an outdated value")
	}
}

// refusing is a store that keeps nothing.
type refusing struct{ store.Store }

func (refusing) Commit(_ context.Context, changes []store.Change) ([]uint64, error) {
	return nil, &store.Unwritable{Key: changes[0].Key, Err: errors.New("no key")}
}
