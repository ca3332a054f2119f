package etcd_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
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
		"paused":               func() { s.signal(syscall.SIGSTOP); time.Sleep(3 * time.Second); s.signal(syscall.SIGCONT) },
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
	s.signal(syscall.SIGSTOP)
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
	s.signal(syscall.SIGSTOP)
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

func (s *server) compact(rev uint64) {
	s.t.Helper()
	c := s.client()
	defer c.Close()
	if _, err := c.Compact(context.Background(), int64(rev)); err != nil {
		s.t.Fatal(err)
	}
}

// What is loaded begins where etcd has been compacted, or with the last revisions
// that are asked for.
func TestHistory(t *testing.T) {
	s := startServer(t)
	o := s.options()
	st, _ := started(t, o)
	var revs []uint64
	for i := range 40 {
		revs = append(revs, put(t, st, fmt.Sprint("/", i), "x", 0))
	}
	_, seen := started(t, o)
	if seen.Floor() != 1 || len(seen.History()) != 40 || len(seen.Base()) != 0 {
		t.Errorf("floor %d, %d in the base, %d in the history; want 1, 0, 40", seen.Floor(), len(seen.Base()), len(seen.History()))
	}
	s.compact(revs[9])
	_, seen = started(t, o)
	if seen.Floor() != revs[9] || len(seen.History()) != 30 || len(seen.Base()) != 10 {
		t.Errorf("floor %d, %d in the base, %d in the history; want %d, 10, 30", seen.Floor(), len(seen.Base()), len(seen.History()), revs[9])
	}
	o.HistoryRevisions = 5
	_, seen = started(t, o)
	if seen.Floor() != revs[34] || len(seen.History()) != 5 || len(seen.Base()) != 35 {
		t.Errorf("floor %d, %d in the base, %d in the history; want %d, 35, 5", seen.Floor(), len(seen.Base()), len(seen.History()), revs[34])
	}
	s.compact(revs[39])
	_, seen = started(t, o)
	if seen.Floor() != revs[39] || len(seen.Base()) != 40 {
		t.Errorf("floor %d, %d in the base; want %d, 40", seen.Floor(), len(seen.Base()), revs[39])
	}
}

// Revisions that are not ours are told of where somebody waits for them.
func TestForeignRevisions(t *testing.T) {
	s := startServer(t)
	st, seen := started(t, s.options())
	c := s.client()
	defer c.Close()
	for range 20 {
		resp, err := c.Put(t.Context(), "/foreign", "x")
		if err != nil {
			t.Fatal(err)
		}
		latest, err := st.Latest(t.Context())
		if err != nil || latest < uint64(resp.Header.Revision) {
			t.Fatalf("the latest revision is %d, %v, after %d", latest, err, resp.Header.Revision)
		}
		eventually(t, "progress is told", func() bool { return seen.Rev() >= latest })
	}
}

// A transaction that does not fit into one message of etcd's is told as a whole.
func TestLargeTransaction(t *testing.T) {
	s := startServer(t)
	st, seen := started(t, s.options())
	n := len(seen.Commits())
	var changes []store.Change
	for i := range 100 {
		changes = append(changes, store.Change{Key: fmt.Sprint("/", i), Value: bytes.Repeat([]byte{'x'}, 14_000)})
	}
	first, err := st.Commit(t.Context(), changes)
	if err != nil {
		t.Fatal(err)
	}
	for i := range changes {
		changes[i].If, changes[i].Value = first[i], bytes.Repeat([]byte{'y'}, 14_000)
	}
	if _, err := st.Commit(t.Context(), changes); err != nil {
		t.Fatal(err)
	}
	if commits := seen.Commits()[n:]; len(commits) != 2 || len(commits[0]) != 100 || len(commits[1]) != 100 {
		t.Errorf("two commits of 100 changes came as %d", len(commits))
	}
	// In a watch from the past, both are behind one another.
	o := s.options()
	o.Prefix = fmt.Sprint("/test-", s.used.Load()-1)
	_, seen = started(t, o)
	if len(seen.History()) != 200 {
		t.Errorf("the history has %d events, want 200", len(seen.History()))
	}
	if _, err := st.Commit(t.Context(), []store.Change{{Key: "/large", Value: make([]byte, 1700_000)}}); err == nil || errors.Is(err, store.ErrUnknown) {
		t.Errorf("a value that etcd does not take: %v, want that nothing was changed", err)
	}
}

// Many readers share few reads of etcd.
func TestReadsAreShared(t *testing.T) {
	s := startServer(t)
	st, _ := started(t, s.options())
	before := s.ranges()
	s.signal(syscall.SIGSTOP)
	var readers sync.WaitGroup
	for range 1000 {
		readers.Go(func() {
			if _, err := st.Latest(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	time.Sleep(200 * time.Millisecond)
	s.signal(syscall.SIGCONT)
	readers.Wait()
	// A paused server may cost a try or two.
	if n := s.ranges() - before; n == 0 || n > 10 {
		t.Errorf("1000 readers made %d reads", n)
	}
}

// ranges is how many reads etcd has answered.
func (s *server) ranges() (n int) {
	s.t.Helper()
	resp, err := http.Get("http://" + s.address() + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "grpc_server_handled_total{") && strings.Contains(lines.Text(), `grpc_method="Range"`) {
			fields := strings.Fields(lines.Text())
			counted, err := strconv.ParseFloat(fields[len(fields)-1], 64)
			if err != nil {
				s.t.Fatal(err)
			}
			n += int(counted)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	return n
}

// Several that compact one cluster do so once in an interval, and leave what is
// younger than that.
func TestCompactor(t *testing.T) {
	s := startServer(t)
	const interval = 700 * time.Millisecond
	o := s.options()
	o.CompactionInterval = interval
	st, _ := started(t, o)
	started(t, o)
	c := s.client()
	defer c.Close()
	at := uint64(0)
	compacted := func() uint64 {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for resp := range c.Watch(ctx, "nothing", clientv3.WithRev(1), clientv3.WithCreatedNotify()) {
			if resp.CompactRevision != 0 {
				return uint64(resp.CompactRevision)
			}
			if !resp.Created || len(resp.Events) > 0 {
				break
			}
			time.AfterFunc(300*time.Millisecond, cancel)
		}
		return 0
	}
	began := time.Now()
	eventually(t, "etcd is compacted", func() bool { at = put(t, st, "/a", "x", at); return compacted() > 1 })
	if took := time.Since(began); took < interval {
		t.Errorf("etcd was compacted after %v", took)
	}
	key, err := c.Get(t.Context(), "compact_rev_key")
	if err != nil || len(key.Kvs) != 1 {
		t.Fatalf("compact_rev_key: %v, %v", key, err)
	}
	if most := int64(time.Since(began)/interval) + 1; key.Kvs[0].Version > most {
		t.Errorf("it was counted %d times in %d intervals", key.Kvs[0].Version, most)
	}
}
