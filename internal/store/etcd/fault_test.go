package etcd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/store/storetest"
)

// raw are the keys below a prefix as etcd has them, by what a follower would call
// them.
func (s *server) raw(prefix string) map[string]store.Event {
	s.t.Helper()
	c := s.client()
	defer c.Close()
	resp, err := c.Get(context.Background(), prefix+"/", clientv3.WithPrefix())
	if err != nil {
		s.t.Fatal(err)
	}
	all := map[string]store.Event{}
	for _, kv := range resp.Kvs {
		all[strings.TrimPrefix(string(kv.Key), prefix)] = store.Event{Rev: uint64(kv.ModRevision), Value: kv.Value}
	}
	return all
}

// same compares what a follower has with what etcd has.
func (s *server) same(prefix string, seen *storetest.Recorder) {
	s.t.Helper()
	have, want := seen.Current(), s.raw(prefix)
	if len(have) != len(want) {
		s.t.Errorf("the follower has %d keys, etcd %d", len(have), len(want))
	}
	for key, w := range want {
		if h := have[key]; h.Rev != w.Rev || !bytes.Equal(h.Value, w.Value) {
			s.t.Errorf("%s is %.20q at %d, in etcd %.20q at %d", key, h.Value, h.Rev, w.Value, w.Rev)
		}
	}
}

// writers write by themselves until they are stopped, whatever happens. What was
// acknowledged must be there.
type writers struct {
	running sync.WaitGroup
	stop    atomic.Bool

	mu     sync.Mutex
	acked  map[string]uint64
	failed int
}

func startWriters(t *testing.T, st store.Store, n int) *writers {
	w := &writers{acked: map[string]uint64{}}
	for i := range n {
		w.running.Go(func() {
			for j := 0; !w.stop.Load(); j++ {
				key := fmt.Sprintf("/w/%d/%d", i, j)
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				revs, err := st.Commit(ctx, []store.Change{{Key: key, Value: []byte(key)}})
				cancel()
				var conflict *store.Conflict
				w.mu.Lock()
				if err == nil {
					w.acked[key] = revs[0]
				} else if w.failed++; errors.As(err, &conflict) {
					t.Errorf("a conflict over %s, which nobody else writes: %v", key, err)
				}
				w.mu.Unlock()
			}
		})
	}
	return w
}

func (w *writers) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.acked)
}

// more waits until n more commits were acknowledged.
func (w *writers) more(t *testing.T, n int) {
	t.Helper()
	n += w.count()
	eventually(t, "commits are acknowledged again", func() bool { return w.count() >= n })
}

func (w *writers) finish(t *testing.T, have map[string]store.Event) {
	t.Helper()
	w.stop.Store(true)
	w.running.Wait()
	for key, rev := range w.acked {
		if have[key].Rev != rev {
			t.Errorf("%s was acknowledged at %d and is at %d", key, rev, have[key].Rev)
		}
	}
	t.Logf("%d commits were acknowledged, %d failed", len(w.acked), w.failed)
}

// Whatever happens to etcd or to the way there, what is acknowledged is there, and
// the follower sees every change once and in order.
func TestFaults(t *testing.T) {
	s := startServer(t)
	p := startProxy(t, s.address())
	o := s.options()
	o.Servers = []string{p.url()}
	st, seen := started(t, o)
	w := startWriters(t, st, 4)
	for name, fault := range map[string]func(){
		"killed and restarted": func() { s.kill(); s.start() },
		"paused":               func() { s.pause(); time.Sleep(3 * time.Second); s.signal(syscall.SIGCONT) },
		"cut off": func() {
			for range 10 {
				p.cut(false)
				w.more(t, 5)
			}
		},
		"away for a while": func() { p.cut(true); time.Sleep(2 * time.Second); p.mend() },
	} {
		w.more(t, 50)
		fault()
		w.more(t, 50)
		t.Log("etcd was ", name)
	}
	w.stop.Store(true)
	w.running.Wait()
	latest, err := st.Latest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the follower is at the latest revision", func() bool { return seen.Rev() >= latest })
	s.same(o.Prefix, seen)
	w.finish(t, seen.Current())
	if n := seen.Reloads(); n != 0 {
		t.Errorf("all was loaded again %d times, where nothing was compacted", n)
	}
}

// While etcd cannot be reached, calls end with their contexts or with an error
// that says so.
func TestAway(t *testing.T) {
	s := startServer(t)
	p := startProxy(t, s.address())
	o := s.options()
	o.Servers = []string{p.url()}
	st, seen := started(t, o)
	at := put(t, st, "/a", "1", 0)
	p.cut(true)
	check := st.Probe(time.Second)
	if err := check(); err == nil || !strings.Contains(err.Error(), "error getting data from etcd") {
		t.Errorf("the check says %v", err)
	}
	why := errors.New("the client is gone")
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, why)
	defer cancel()
	if _, err := st.Latest(ctx); err == nil {
		t.Error("etcd tells its revision, which cannot be reached")
	}
	ctx, cancel = context.WithTimeoutCause(t.Context(), time.Second, why)
	defer cancel()
	if _, err := st.Commit(ctx, []store.Change{{Key: "/a", Value: []byte("2"), If: at}}); !errors.Is(err, store.ErrUnknown) || !errors.Is(err, why) {
		t.Errorf("Commit: %v, want an error after which the outcome is not known", err)
	}

	// An etcd that does not answer.
	p.mend()
	eventually(t, "the store is back", func() bool { return check() == nil })
	s.pause()
	ctx, cancel = context.WithTimeoutCause(t.Context(), time.Second, why)
	defer cancel()
	if _, err := st.Commit(ctx, []store.Change{{Key: "/b", Value: []byte("2")}}); !errors.Is(err, store.ErrUnknown) || !errors.Is(err, why) {
		t.Errorf("Commit: %v, want the cause, and that the outcome is not known", err)
	}
	ctx, cancel = context.WithTimeoutCause(t.Context(), time.Second, why)
	defer cancel()
	if _, err := st.Latest(ctx); !errors.Is(err, why) {
		t.Errorf("Latest: %v, want the cause", err)
	}
	s.signal(syscall.SIGCONT)
	latest, err := st.Latest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the follower is at the latest revision", func() bool { return seen.Rev() >= latest })
	s.same(o.Prefix, seen)
}

// A store that closes while etcd does not answer does not wait for ever, and tells
// those who wait.
func TestCloseWhileAway(t *testing.T) {
	s := startServer(t)
	st, _ := started(t, s.options())
	s.pause()
	failed := make(chan error, 1)
	go func() {
		_, err := st.Commit(context.Background(), []store.Change{{Key: "/a", Value: []byte("1")}})
		failed <- err
	}()
	go func() { _, _ = st.Latest(context.Background()) }()
	time.Sleep(50 * time.Millisecond)
	if err := st.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := <-failed; !errors.Is(err, store.ErrClosed) {
		t.Errorf("Commit: %v", err)
	}
}

// Without etcd, Start says where it should be.
func TestNobodyThere(t *testing.T) {
	o := (&server{}).options()
	o.Servers = []string{fmt.Sprintf("http://127.0.0.1:%d", freePort(t))}
	o.StartTimeout = time.Second
	st := open(t, o)
	if err := st.Start(t.Context(), storetest.NewRecorder(false)); err == nil || !strings.Contains(err.Error(), o.Servers[0]) {
		t.Errorf("Start: %v, want where etcd should be", err)
	}
	if err := st.Close(); err != nil {
		t.Error(err)
	}
}

// A store that was cut off while etcd was compacted begins again, with what there
// is.
func TestCompactedBeyond(t *testing.T) {
	s := startServer(t)
	p := startProxy(t, s.address())
	o := s.options()
	direct, _ := started(t, o)
	o.Servers = []string{p.url()}
	st, seen := started(t, o)
	same := put(t, direct, "/same", "1", 0)
	changed := put(t, direct, "/changed", "1", 0)
	gone := put(t, direct, "/gone", "1", 0)
	eventually(t, "all has come", func() bool { return seen.Rev() >= gone })
	p.cut(true)
	put(t, direct, "/changed", "2", changed)
	if _, err := direct.Commit(t.Context(), []store.Change{{Key: "/gone", If: gone}}); err != nil {
		t.Fatal(err)
	}
	last := put(t, direct, "/new", "1", 0)
	s.compact(last)
	p.mend()
	eventually(t, "all is loaded again", func() bool { return seen.Rev() >= last })
	if n := seen.Reloads(); n == 0 {
		t.Error("nothing was loaded again")
	}
	if floor := seen.Floor(); floor < last {
		t.Errorf("the floor is %d, and etcd was compacted at %d", floor, last)
	}
	s.same(o.Prefix, seen)
	if rev := put(t, st, "/same", "2", same); seen.Current()["/same"].Rev != rev {
		t.Error("after all was loaded again, nothing is followed")
	}
}

// An etcd that was made again from a backup is at an earlier revision: what was
// after it is gone, for the follower too.
func TestFromBackup(t *testing.T) {
	s := startServer(t)
	o := s.options()
	st, seen := started(t, o)
	first := put(t, st, "/a", "1", 0)
	s.kill()
	data, backup := filepath.Join(s.dir, "data"), filepath.Join(s.dir, "backup")
	if err := os.CopyFS(backup, os.DirFS(data)); err != nil {
		t.Fatal(err)
	}
	s.start()
	for i := range 20 {
		put(t, st, fmt.Sprint("/lost-", i), "1", 0)
	}
	s.kill()
	if err := errors.Join(os.RemoveAll(data), os.Rename(backup, data)); err != nil {
		t.Fatal(err)
	}
	s.start()
	eventually(t, "all is loaded again", func() bool { return seen.Reloads() > 0 && len(seen.Current()) == 1 })
	put(t, st, "/a", "2", first)
	s.same(o.Prefix, seen)
	latest, err := st.Latest(t.Context())
	if err != nil || latest > first+10 {
		t.Errorf("the latest revision is %d, %v; it was %d when etcd was saved", latest, err, first)
	}
}

// Keys that expire at about the same time share a lease; one that is gone is not
// used again.
func TestLeasesAreShared(t *testing.T) {
	s := startServer(t)
	st, seen := started(t, s.options())
	c := s.client()
	defer c.Close()
	event := func(i int) {
		t.Helper()
		if _, err := st.Commit(t.Context(), []store.Change{{Key: fmt.Sprint("/", i), Value: []byte("x"), TTL: time.Hour}}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 50 {
		event(i)
	}
	all, err := c.Leases(t.Context())
	if err != nil || len(all.Leases) != 1 {
		t.Fatalf("50 keys hang on %v leases, %v", all, err)
	}
	is, err := c.TimeToLive(t.Context(), all.Leases[0].ID, clientv3.WithAttachedKeys())
	if err != nil || len(is.Keys) != 50 || is.GrantedTTL != 3660 {
		t.Errorf("the lease is for %d seconds and has %d keys, %v; want 3660 and 50", is.GrantedTTL, len(is.Keys), err)
	}
	if _, err := c.Revoke(t.Context(), all.Leases[0].ID); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what hung on the lease is gone", func() bool { return len(seen.Current()) == 0 })
	event(100)
	if n := len(seen.Current()); n != 1 {
		t.Errorf("there are %d keys", n)
	}
}

func (s *server) compact(rev uint64) {
	s.t.Helper()
	c := s.client()
	defer c.Close()
	if _, err := c.Compact(context.Background(), int64(rev)); err != nil {
		s.t.Fatal(err)
	}
}
