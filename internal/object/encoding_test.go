package object

import (
	"bytes"
	"errors"
	"flag"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"weak"
)

var seed = flag.Uint64("seed", 0, "replays a random test; 0 takes a new seed")

// random returns a source that a failed test can be replayed with.
func random(t testing.TB) *rand.Rand {
	n := *seed
	if n == 0 {
		n = uint64(time.Now().UnixNano())
	}
	t.Logf("replay with -seed=%d", n)
	return rand.New(rand.NewPCG(n, 0))
}

// form encodes the revision, padded with zeros to a size.
type form struct {
	size  int
	calls atomic.Int64
	err   error
	// entered, if set, is told of each call, which then waits for leave.
	entered, leave chan struct{}
}

func (f *form) Encode(o *Object) ([]byte, error) {
	f.calls.Add(1)
	if f.entered != nil {
		f.entered <- struct{}{}
		<-f.leave
	}
	if f.err != nil {
		return nil, f.err
	}
	return f.of(o), nil
}

func (f *form) of(o *Object) []byte {
	b := make([]byte, f.size)
	copy(b, strconv.FormatUint(o.Rev, 10))
	return b
}

func encode(t testing.TB, c *Cache, o *Object, f *form) []byte {
	t.Helper()
	b, err := c.Encoded(o, f)
	if err != nil || !bytes.Equal(b, f.of(o)) {
		t.Fatalf("encoded as %q, error %v, want %q", b, err, f.of(o))
	}
	return b
}

// check compares the cache's accounts with what the objects hold.
func check(t testing.TB, c *Cache, objects []*Object) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	var total int64
	for _, o := range objects {
		var weight int64
		for e := o.encodings.Load(); e != nil; e = e.next {
			weight += int64(len(e.bytes) + overhead)
		}
		switch i := o.slot - c.first; {
		case weight == 0 && o.slot != 0:
			t.Fatalf("object %d has a slot and no encodings", o.Rev)
		case weight > 0 && (i < 0 || i >= len(c.queue) || c.queue[i].object.Value() != o):
			t.Fatalf("object %d has encodings, but slot %d is not its own", o.Rev, o.slot)
		case weight > 0 && c.queue[i].weight != weight:
			t.Fatalf("object %d weighs %d, in its slot %d", o.Rev, weight, c.queue[i].weight)
		}
		total += weight
	}
	if size := c.Size(); size != total || size > c.limit {
		t.Fatalf("size is %d, the objects' encodings weigh %d, the limit is %d", size, total, c.limit)
	}
}

// Random reads: the accounts are right after each, and the limit holds.
func TestCacheAccounts(t *testing.T) {
	r := random(t)
	c := NewCache(100_000)
	forms := []*form{{size: 10}, {size: 300}, {size: 5_000}, {size: 30_000}}
	objects := make([]*Object, 200)
	for i := range objects {
		objects[i] = &Object{Rev: uint64(i)}
	}
	for range 2_000 {
		encode(t, c, objects[r.IntN(len(objects))], forms[r.IntN(len(forms))])
		check(t, c, objects)
	}
	if calls := forms[0].calls.Load(); calls == 0 || c.Size() < c.limit/2 {
		t.Errorf("size %d after %d calls: the cache was not at its limit", c.Size(), calls)
	}
}

func TestCacheKeepsWhatIsRead(t *testing.T) {
	c := NewCache(100_000)
	hot, f := &Object{Rev: 1}, &form{size: 1000}
	encode(t, c, hot, f)
	for i := range 1000 {
		encode(t, c, hot, f)
		encode(t, c, &Object{Rev: uint64(i + 2)}, &form{size: 1000})
	}
	if calls := f.calls.Load(); calls != 1 {
		t.Errorf("an encoding read all the time was made %d times", calls)
	}
}

func TestCacheLargeEncoding(t *testing.T) {
	c := NewCache(10_000)
	o := &Object{Rev: 1}
	fits, large := &form{size: 2500 - overhead}, &form{size: 2500 - overhead + 1}
	for range 2 {
		encode(t, c, o, fits)
		encode(t, c, o, large)
	}
	if fits.calls.Load() != 1 || large.calls.Load() != 2 {
		t.Errorf("made a quarter of the limit %d times, more %d times, want 1 and 2", fits.calls.Load(), large.calls.Load())
	}
	check(t, c, []*Object{o})
}

func TestPeekKeepsNothing(t *testing.T) {
	c := NewCache(10_000)
	o, f := &Object{Rev: 1}, &form{size: 10}
	peek := func(calls int64) {
		t.Helper()
		if b, err := c.Peek(o, f); err != nil || !bytes.Equal(b, f.of(o)) || f.calls.Load() != calls {
			t.Errorf("%q, %v after %d calls, want %d", b, err, f.calls.Load(), calls)
		}
	}
	peek(1)
	peek(2)
	if c.Size() != 0 {
		t.Errorf("size %d, want 0", c.Size())
	}
	encode(t, c, o, f)
	peek(3) // finds what a reader has left
	check(t, c, []*Object{o})
}

func TestNoCache(t *testing.T) {
	for _, c := range []*Cache{nil, NewCache(0)} {
		o, f := &Object{Rev: 1}, &form{size: 10}
		encode(t, c, o, f)
		encode(t, c, o, f)
		if f.calls.Load() != 2 || c.Size() != 0 {
			t.Errorf("%d calls, size %d, want 2 and 0", f.calls.Load(), c.Size())
		}
	}
}

func TestEncodeError(t *testing.T) {
	c := NewCache(10_000)
	o, f := &Object{}, &form{err: errors.New("cannot be converted")}
	for range 2 {
		if b, err := c.Encoded(o, f); err != f.err || b != nil {
			t.Fatalf("encoded as %q, error %v, want %v", b, err, f.err)
		}
	}
	if f.calls.Load() != 2 || c.Size() != 0 {
		t.Errorf("%d calls, size %d: an error must not be cached", f.calls.Load(), c.Size())
	}
}

// Bytes that a reader holds stay as they are when the cache has dropped them.
func TestDroppedBytesStayValid(t *testing.T) {
	c := NewCache(10_000)
	o, f := &Object{Rev: 1}, &form{size: 1000}
	held := encode(t, c, o, f)
	for i := range 100 {
		encode(t, c, &Object{Rev: uint64(i + 2)}, &form{size: 1000})
	}
	if o.encodings.Load() != nil {
		t.Fatal("the encoding was to be dropped")
	}
	if !bytes.Equal(held, f.of(o)) {
		t.Errorf("the bytes changed to %q", held)
	}
}

// The cache keeps nothing alive: not an object that was read when it had been
// replaced already, nor one that was never current.
func TestCacheKeepsNoObjectAlive(t *testing.T) {
	c := NewCache(1 << 20)
	f := &form{size: 100}
	gone := make([]weak.Pointer[Object], 100)
	for i := range gone {
		o := &Object{Rev: uint64(i), Value: make([]byte, 1000)}
		encode(t, c, o, f)
		gone[i] = weak.Make(o)
	}
	kept := &Object{Rev: 1000}
	encode(t, c, kept, f)
	runtime.GC()
	for i, p := range gone {
		if p.Value() != nil {
			t.Fatalf("object %d is still alive", i)
		}
	}
	// What they weighed goes when the cache looks at them, all of it.
	c.mu.Lock()
	c.evict(0)
	c.mu.Unlock()
	check(t, c, []*Object{kept})
	if len(c.queue) != 0 {
		t.Errorf("%d slots left", len(c.queue))
	}
}

// Objects that go away all the time do not crowd out for good those that stay.
func TestCacheAfterCollection(t *testing.T) {
	c := NewCache(100_000)
	f := &form{size: 1000}
	for i := range 1000 {
		encode(t, c, &Object{Rev: uint64(i)}, f)
		if i%10 == 0 {
			runtime.GC()
		}
		if size := c.Size(); size > c.limit {
			t.Fatalf("size %d is over the limit %d", size, c.limit)
		}
	}
	runtime.GC()
	live := make([]*Object, 80)
	for i := range live {
		live[i] = &Object{Rev: uint64(i)}
	}
	for range 3 {
		for _, o := range live {
			encode(t, c, o, f)
		}
	}
	before := f.calls.Load()
	for _, o := range live {
		encode(t, c, o, f)
	}
	if made := f.calls.Load() - before; made != 0 {
		t.Errorf("%d of %d encodings were made again though all have room", made, len(live))
	}
}

// Two readers that come first both make the encoding, but get the same bytes.
func TestConcurrentFirstReaders(t *testing.T) {
	c := NewCache(1 << 20)
	o := &Object{Rev: 1}
	f := &form{size: 10, entered: make(chan struct{}), leave: make(chan struct{})}
	results := make(chan []byte, 2)
	for range 2 {
		go func() {
			b, _ := c.Encoded(o, f)
			results <- b
		}()
	}
	<-f.entered
	<-f.entered // neither waits for the other
	close(f.leave)
	one, two := <-results, <-results
	if &one[0] != &two[0] {
		t.Error("two readers got different copies")
	}
	check(t, c, []*Object{o})
}

func TestConcurrentReaders(t *testing.T) {
	c := NewCache(50_000)
	forms := []*form{{size: 10}, {size: 1000}, {size: 3000}}
	objects := make([]*Object, 100)
	for i := range objects {
		objects[i] = &Object{Rev: uint64(i)}
	}
	r := random(t)
	var readers sync.WaitGroup
	for range 8 {
		a, b := r.Uint64(), r.Uint64()
		readers.Go(func() {
			r := rand.New(rand.NewPCG(a, b))
			for range 2000 {
				o := objects[r.IntN(len(objects))]
				if r.IntN(10) == 0 {
					o = o.At(r.Uint64N(1000)) // soon garbage
				}
				f := forms[r.IntN(len(forms))]
				if b, err := c.Encoded(o, f); err != nil || !bytes.Equal(b, f.of(o)) {
					t.Errorf("encoded as %q, error %v, want %q", b, err, f.of(o))
					return
				}
				if size := c.Size(); size > c.limit+3000+overhead {
					t.Errorf("size %d is over the limit %d by more than an encoding", size, c.limit)
					return
				}
			}
		})
	}
	readers.Wait()
	c.mu.Lock()
	c.evict(0)
	c.mu.Unlock()
	check(t, c, objects)
}

func BenchmarkEncoded(b *testing.B) {
	c := NewCache(1 << 30)
	f := &form{size: 1000}
	o := &Object{}
	encode(b, c, o, f)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.Encoded(o, f); err != nil {
				b.Error(err)
			}
		}
	})
}

// shared is a form that costs nothing, to see what the cache costs.
type shared []byte

func (s *shared) Encode(*Object) ([]byte, error) { return *s, nil }

// BenchmarkAdd is a first read, at the limit, of objects that stay or go.
func BenchmarkAdd(b *testing.B) {
	for _, stay := range []bool{true, false} {
		b.Run("stay="+strconv.FormatBool(stay), func(b *testing.B) {
			f := shared(make([]byte, 1000))
			c := NewCache(8 << 20)
			var objects []*Object
			b.ReportAllocs()
			for b.Loop() {
				o := &Object{}
				if stay {
					objects = append(objects, o)
				}
				if _, err := c.Encoded(o, &f); err != nil {
					b.Fatal(err)
				}
			}
			runtime.KeepAlive(objects)
		})
	}
}

// derivation counts its calls.
type derivation struct{ calls atomic.Int64 }

func (d *derivation) Derive(o *Object) (any, error) {
	d.calls.Add(1)
	if o.Err != nil {
		return nil, o.Err
	}
	return &o.Rev, nil
}

// What is derived of an object is kept like its encodings, and weighs more.
func TestDerived(t *testing.T) {
	c := NewCache(1 << 20)
	o := New("/p", "/p/a", make([]byte, 1000), 7, nil)
	d, f := &derivation{}, &form{size: 10}
	for range 2 {
		if got, err := c.Derived(o, d); err != nil || *got.(*uint64) != 7 {
			t.Errorf("got %v, %v", got, err)
		}
		encode(t, c, o, f)
	}
	if d.calls.Load() != 1 || f.calls.Load() != 1 {
		t.Errorf("derived %d times, encoded %d times", d.calls.Load(), f.calls.Load())
	}
	if c.Size() < 5000 {
		t.Errorf("weighs %d", c.Size())
	}
	bad := New("/p", "/p/b", nil, 8, errors.New("damaged"))
	for range 2 {
		if _, err := c.Derived(bad, d); err == nil {
			t.Error("no error")
		}
	}
	if d.calls.Load() != 3 {
		t.Errorf("an error was kept: %d calls", d.calls.Load())
	}
}
