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
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/knarr-io/knarr/internal/store"
)

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
	s.pause()
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
