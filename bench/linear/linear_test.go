package linear

import (
	"context"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

var (
	binary  = flag.String("knarr", "", "the program to test")
	rounds  = flag.Int("rounds", 3, "how many histories of each kind to make")
	seed    = flag.Uint64("seed", 0, "what the load begins with; 0 for one of the time")
	perOne  = flag.Int("ops", 60, "how many requests each client makes in a round")
	clients = flag.Int("clients", 6, "how many clients there are")
)

const keys = 3

// input is a request. A value is a token that is written once; if is the token of the
// revision that a write is conditioned on.
type input struct {
	op    string // create, update, delete, get, list
	key   int
	token string
	if_   string
}

// output is what a request came to.
type output struct {
	result string // ok, refused; unknown if there was no answer
	seen   [keys]string
}

// step says whether a request may have come to that in a state, and what is then.
func step(state [keys]string, in input, out output) (bool, [keys]string) {
	now, next := state[in.key], state
	holds := now == in.if_ && (in.op == "create" || now != "")
	switch in.op {
	case "get":
		return out.seen[in.key] == now, state
	case "list":
		return out.seen == state, state
	}
	next[in.key] = in.token // empty for a deletion
	switch {
	case out.result == "unknown" && holds:
		return true, next
	case out.result == "unknown":
		return true, state
	case out.result == "ok":
		return holds, next
	}
	return !holds, state
}

var model = porcupine.Model{
	Init: func() any { return [keys]string{} },
	Step: func(state, in, out any) (bool, any) {
		ok, next := step(state.([keys]string), in.(input), out.(output))
		return ok, next
	},
	DescribeOperation: func(in, out any) string { return fmt.Sprintf("%+v -> %+v", in, out) },
}

// TestModel judges histories of which it is known what they are.
func TestModel(t *testing.T) {
	create := porcupine.Operation{Input: input{op: "create", token: "a"}, Call: 1, Output: output{result: "ok"}, Return: 2}
	lost := porcupine.Operation{Input: input{op: "get"}, Call: 3, Output: output{}, Return: 4}
	if porcupine.CheckOperations(model, []porcupine.Operation{create, lost}) {
		t.Error("a lost write is passed over")
	}
	lost.Call = 1
	if !porcupine.CheckOperations(model, []porcupine.Operation{create, lost}) {
		t.Error("a read beside a write must not have seen it")
	}
	create.Output, create.Return = output{result: "unknown"}, math.MaxInt64
	late := porcupine.Operation{Input: input{op: "get"}, Call: 5, Output: output{seen: [keys]string{"a"}}, Return: 6}
	if !porcupine.CheckOperations(model, []porcupine.Operation{create, lost, late}) {
		t.Error("a write without an answer may have happened late")
	}
	twice := porcupine.Operation{Input: input{op: "update", if_: "a", token: "b"}, Call: 7, Output: output{result: "ok"}, Return: 8}
	again := porcupine.Operation{Input: input{op: "update", if_: "a", token: "c"}, Call: 7, Output: output{result: "ok"}, Return: 8}
	create.Output, create.Return = output{result: "ok"}, 2
	if porcupine.CheckOperations(model, []porcupine.Operation{create, twice, again}) {
		t.Error("two updates of one revision are passed over")
	}
}

func TestMemory(t *testing.T) { test(t, "memory", 0) }
func TestDisk(t *testing.T)   { test(t, "disk", 0) }

// TestKilled has the server killed twice in each round.
func TestKilled(t *testing.T) { test(t, "disk", 2) }

func test(t *testing.T, store string, kills int) {
	if *binary == "" {
		t.Skip("name a program with -knarr")
	}
	first := *seed
	if first == 0 {
		first = uint64(time.Now().UnixNano())
	}
	for i := range *rounds {
		round(t, store, kills, first+uint64(i))
	}
}

func round(t *testing.T, store string, kills int, seed uint64) {
	t.Logf("-seed %d -rounds 1", seed)
	s := newServer(t, store)
	defer s.stop()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	h := &history{began: time.Now(), written: map[string]int64{}}
	w := s.watch(ctx, h)

	var work sync.WaitGroup
	for c := range *clients {
		r := rand.New(rand.NewPCG(seed, uint64(c)))
		work.Go(func() { s.load(ctx, h, c, r) })
	}
	done := make(chan struct{})
	go func() { work.Wait(); close(done) }()
	r := rand.New(rand.NewPCG(seed, 1<<32))
	for range kills {
		select {
		case <-time.After(time.Duration(50+r.IntN(300)) * time.Millisecond):
			s.kill()
			s.start()
		case <-done:
		}
	}
	<-done
	end := s.do(ctx, h, *clients, input{op: "list"}) // with no one beside it
	problems, events := w.judge(ctx, h, end)
	for _, p := range problems {
		t.Error(p)
	}
	result := porcupine.CheckOperationsTimeout(model, h.ops, 2*time.Minute)
	t.Logf("%s, killed %d times: %d requests, %d of them without an answer, %d events: %s", store, s.killed, len(h.ops), h.unknown, events, result)
	if result != porcupine.Ok {
		t.Errorf("seed %d: the history is %s", seed, result)
	}
}

// history is what clients did and saw.
type history struct {
	began time.Time

	mu      sync.Mutex
	ops     []porcupine.Operation
	unknown int
	written map[string]int64 // when the write of a token was begun
	acked   []input          // writes that were acknowledged
}

func (h *history) now() int64 { return int64(time.Since(h.began)) }

// add records what a request came to. Of a read without an answer nothing is known.
func (h *history) add(client int, in input, call int64, out output) {
	h.mu.Lock()
	defer h.mu.Unlock()
	end := h.now()
	write := in.op != "get" && in.op != "list"
	if out.result == "unknown" {
		h.unknown++
		if !write {
			return
		}
		end = math.MaxInt64
	}
	if write && out.result == "ok" {
		h.acked = append(h.acked, in)
	}
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: in, Call: call, Output: out, Return: end})
}

// load has a client make its requests.
func (s *server) load(ctx context.Context, h *history, client int, r *rand.Rand) {
	known := [keys]string{}
	for i := range *perOne {
		in := input{key: r.IntN(keys), token: fmt.Sprintf("c%d-%d", client, i)}
		in.if_ = known[in.key]
		switch n := r.IntN(10); {
		case n < 2:
			in.op, in.token, in.if_ = "list", "", ""
		case n < 4:
			in.op, in.token, in.if_ = "get", "", ""
		case in.if_ == "":
			in.op = "create"
		case n < 6:
			in.op, in.token = "delete", ""
		default:
			in.op = "update"
		}
		out := s.do(ctx, h, client, in)
		switch {
		case in.op == "list":
			known = out.seen
		case in.op == "get":
			known[in.key] = out.seen[in.key]
		case out.result == "ok":
			known[in.key] = in.token
		default: // somebody else was there
			known[in.key] = s.do(ctx, h, client, input{op: "get", key: in.key}).seen[in.key]
		}
	}
}
