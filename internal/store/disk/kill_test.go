package disk

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/store/storetest"
)

const (
	// childVariable makes this test binary a child that commits in the
	// directory it names until it is killed.
	childVariable = "KNARR_KILL_TEST_DIR"
	// roundsVariable sets how many children TestKill kills.
	roundsVariable = "KNARR_KILL_TEST_ROUNDS"

	childWriters = 8
	childKeys    = 5 // of each writer
	childHistory = 300
)

// child commits and prints each change when it is acknowledged.
func child(dir string) {
	s, err := Open(dir, Options{})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	seen := storetest.NewRecorder(true)
	if err := s.Start(context.Background(), seen); err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	out := make(chan string, 1000)
	at := seen.Current()
	for w := range childWriters {
		revs := map[string]uint64{}
		for k, e := range at {
			revs[k] = e.Rev
		}
		go childWriter(s, w, revs, out)
	}
	go func() {
		for rev := uint64(0); ; time.Sleep(20 * time.Millisecond) {
			if rev = seen.Rev(); rev > childHistory {
				if err := s.Compact(context.Background(), rev-childHistory); err != nil {
					out <- fmt.Sprintln("error", err)
				}
			}
		}
	}()
	for line := range out {
		if _, err := io.WriteString(os.Stdout, line); err != nil {
			os.Exit(1) // the parent is gone
		}
	}
}

func childWriter(s store.Store, w int, at map[string]uint64, out chan<- string) {
	for {
		var changes []store.Change
		for _, k := range rand.Perm(childKeys)[:1+rand.IntN(2)] {
			c := store.Change{Key: fmt.Sprintf("/%d/%d", w, k)}
			if c.If = at[c.Key]; c.If == 0 || rand.IntN(5) > 0 {
				c.Value = make([]byte, rand.IntN(4000))
				for i := range c.Value {
					c.Value[i] = byte(rand.Uint32())
				}
			}
			changes = append(changes, c)
		}
		revs, err := s.Commit(context.Background(), changes)
		if err != nil {
			out <- fmt.Sprintln("error", err)
			return
		}
		var lines strings.Builder
		for i, c := range changes {
			if at[c.Key] = revs[i]; c.Value == nil {
				at[c.Key] = 0
			}
			fmt.Fprintln(&lines, "ack", c.Key, revs[i], describe(c.Value))
		}
		out <- lines.String()
	}
}

// describe identifies a value.
func describe(value []byte) string {
	if value == nil {
		return "deleted"
	}
	return fmt.Sprintf("%d-%08x", len(value), crc32.ChecksumIEEE(value))
}

// TestKill kills processes that commit, at any moment, and checks each time
// that all they were told is durable is there, and nothing is torn.
func TestKill(t *testing.T) {
	rounds := 30
	if s := os.Getenv(roundsVariable); s != "" {
		var err error
		if rounds, err = strconv.Atoi(s); err != nil {
			t.Fatalf("%s: %v", roundsVariable, err)
		}
	} else if testing.Short() {
		rounds = 5
	}
	dir := t.TempDir()
	acked := map[uint64]ack{}
	total := 0
	for round := range rounds {
		delay := time.Duration(rand.IntN(200)) * time.Millisecond
		if round%5 == 4 {
			delay = 0 // while it opens and repairs
		}
		n := killOne(t, dir, delay, acked)
		total += n
		checkAcked(t, dir, acked)
		if t.Failed() {
			t.Fatalf("in round %d, killed after %v and %d commits", round, delay, n)
		}
	}
	t.Logf("%d children acknowledged %d changes", rounds, total)
	if total < rounds {
		t.Errorf("only %d changes were acknowledged: this tests nothing", total)
	}
}

// ack is a change the child was told is durable.
type ack struct{ key, value string }

// killOne runs a child, kills it and adds to acked what it printed.
func killOne(t *testing.T, dir string, delay time.Duration, acked map[uint64]ack) (n int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+dir)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := func() { _ = cmd.Process.Kill() }
	if delay == 0 {
		time.AfterFunc(time.Duration(rand.IntN(20))*time.Millisecond, kill)
	}
	for lines := bufio.NewReader(stdout); ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // what has no newline was cut off
		}
		var (
			a   ack
			rev uint64
		)
		if _, err := fmt.Sscanf(line, "ack %s %d %s\n", &a.key, &rev, &a.value); err != nil {
			kill()
			t.Errorf("the child says: %s", line)
			break
		}
		if n++; n == 1 && delay > 0 {
			time.AfterFunc(delay, kill)
		}
		acked[rev] = a
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the child ended by itself")
	}
	return n
}

// checkAcked opens the store and compares it with what was acknowledged.
func checkAcked(t *testing.T, dir string, acked map[uint64]ack) {
	t.Helper()
	if _, err := os.Stat(dir + "/" + FileName); errors.Is(err, os.ErrNotExist) && len(acked) == 0 {
		return // killed before it made the file
	}
	mustCheck(t, dir)
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	seen := storetest.NewRecorder(true)
	if err := s.Start(t.Context(), seen); err != nil {
		t.Fatal(err)
	}
	for _, problem := range seen.Problems() {
		t.Error(problem)
	}

	history := map[uint64]store.Event{}
	for _, e := range slices.Concat(seen.Base(), seen.History()) {
		history[e.Rev] = e
		if e.Err != nil {
			t.Errorf("revision %d of %s is torn: %v", e.Rev, e.Key, e.Err)
		}
	}
	current := seen.Current()
	last := map[string]uint64{}
	for rev, a := range acked {
		last[a.key] = max(last[a.key], rev)
		e, ok := history[rev]
		switch {
		case ok && (e.Key != a.key || describe(e.Value) != a.value):
			t.Errorf("revision %d was acknowledged as %v, found as %s %s", rev, a, e.Key, describe(e.Value))
		case !ok && rev > seen.Floor():
			t.Errorf("revision %d (%v) was acknowledged and is lost", rev, a)
		}
	}
	for key, rev := range last {
		// A later change may have happened without being acknowledged.
		if e, ok := current[key]; ok && e.Rev < rev {
			t.Errorf("%s was acknowledged at %d and is at %d", key, rev, e.Rev)
		} else if !ok && acked[rev].value != "deleted" && rev <= seen.Floor() && !deletedAfter(seen.History(), key, rev) {
			t.Errorf("%s was acknowledged at %d and is gone", key, rev)
		}
	}
	for rev := range acked {
		if rev <= seen.Floor() && last[acked[rev].key] != rev {
			delete(acked, rev) // it has been compacted, as it should be
		}
	}
}

func deletedAfter(history []store.Event, key string, rev uint64) bool {
	return slices.ContainsFunc(history, func(e store.Event) bool {
		return e.Key == key && e.Rev > rev && e.Deleted()
	})
}
