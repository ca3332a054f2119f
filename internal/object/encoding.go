package object

import (
	"sync"
	"sync/atomic"
	"weak"
)

// Form is one way in which objects of a kind are sent to clients: a served
// version in a media type. It must be comparable (a pointer): encodings are
// cached under it, so that a kind whose rules change uses new Forms and the
// old encodings are never found again.
type Form interface {
	// Encode makes the encoding of o, its resourceVersion included. The
	// result belongs to the caller and must not share memory with o.Value.
	Encode(o *Object) ([]byte, error)
}

// encoding is one cached encoding of an object, or what else was made of it;
// they form a short list.
type encoding struct {
	form  any // a Form, or a Derivation
	bytes []byte
	value any // of a Derivation
	next  *encoding
}

func (e *encoding) find(form any) *encoding {
	for e != nil && e.form != form {
		e = e.next
	}
	return e
}

// overhead is what a cached encoding weighs beside its bytes: list node, slot
// in the queue, weak pointer.
const overhead = 128

// Cache bounds the bytes that cached encodings of all objects together may
// take. Encodings that were not read since the cache last looked at them are
// dropped first (CLOCK). A nil *Cache caches nothing.
//
// The encodings belong to their object and the cache does not keep it alive:
// what no one refers to any more goes with its encodings, whether it was
// replaced, or made for a dry run and never current. It counts until the cache
// looks at it.
//
// A Cache is safe for concurrent use. It never blocks a reader on an encoding
// being made: two readers that come first at the same time may both make it.
// An object must not be used with two caches, so states that share objects
// share their cache.
type Cache struct {
	limit int64
	size  atomic.Int64

	mu    sync.Mutex // guards what follows, and Object.slot
	queue []slot     // in the order in which the cache will look at them
	first int        // position of queue[0]; positions are never used again
}

// slot is an object that has encodings, and what they weigh.
type slot struct {
	object weak.Pointer[Object]
	weight int64
}

// NewCache returns a cache of limit bytes.
func NewCache(limit int64) *Cache { return &Cache{limit: limit, first: 1} }

// Size returns the bytes that cached encodings take now, those of objects that
// are gone unnoticed included. It does not exceed the limit by more than the
// encoding that is being added.
func (c *Cache) Size() int64 {
	if c == nil {
		return 0
	}
	return c.size.Load()
}

// Peek returns o in form like Encoded, but does not keep what it has to make:
// for answers to writes, which few others will ask for.
func (c *Cache) Peek(o *Object, form Form) ([]byte, error) {
	if e := o.encodings.Load().find(form); e != nil {
		return e.bytes, nil
	}
	return encodeIn(o, form)
}

func encodeIn(o *Object, form Form) ([]byte, error) {
	b, err := form.Encode(o)
	if err == nil {
		o.mark(encoded)
	}
	return b, err
}

// Encoded returns o in form, made now or earlier. The bytes are shared: they
// must not be modified. They stay valid whatever the cache drops. One larger
// than a quarter of the limit is made each time.
func (c *Cache) Encoded(o *Object, form Form) ([]byte, error) {
	if e := o.encodings.Load().find(form); e != nil {
		o.mark(used)
		return e.bytes, nil
	}
	b, err := encodeIn(o, form)
	if err != nil || c == nil {
		return b, err
	}
	return c.add(o, encoding{form: form, bytes: b}, len(b)).bytes, nil
}

// Derivation is what else can be made of an object than an encoding, and be
// kept for those who ask again: the object decoded. Like a Form it must be
// comparable.
type Derivation interface {
	// Derive makes it of o. It must not share memory with o.Value.
	Derive(o *Object) (any, error)
}

// decodedWeight is how many times the bytes of the storage form the decoded
// object weighs, about.
const decodedWeight = 5

// Derived returns what d makes of o, made now or earlier. It is shared: it must
// not be modified. An error is not kept.
func (c *Cache) Derived(o *Object, d Derivation) (any, error) {
	if e := o.encodings.Load().find(d); e != nil {
		o.mark(used)
		return e.value, nil
	}
	value, err := d.Derive(o)
	if err != nil || c == nil {
		return value, err
	}
	return c.add(o, encoding{form: d, value: value}, decodedWeight*len(o.Value)).value, nil
}

// Kept returns o in form if that was made already and is still cached, and else
// nil. The bytes are shared.
func (o *Object) Kept(form Form) []byte {
	e := o.encodings.Load().find(form)
	if e == nil {
		return nil
	}
	o.mark(used)
	return e.bytes
}

// Keep caches b, which is o in form and must not be modified any more.
func (c *Cache) Keep(o *Object, form Form, b []byte) {
	if c != nil {
		c.add(o, encoding{form: form, bytes: b}, len(b))
	}
}

// add caches what was made and returns it, or what another reader cached
// meanwhile. size is its bytes.
func (c *Cache) add(o *Object, made encoding, size int) *encoding {
	weight := int64(size + overhead)
	if weight > c.limit/4 {
		return &made
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	others := o.encodings.Load()
	if e := others.find(made.form); e != nil {
		return e
	}
	made.next = others
	o.encodings.Store(&made)
	if o.slot == 0 {
		c.push(o, slot{object: weak.Make(o)})
	}
	c.queue[o.slot-c.first].weight += weight
	if c.size.Add(weight) > c.limit {
		c.evict(c.limit - c.limit/16)
	}
	return &made
}

// push puts o's slot at the end of the queue. c.mu is held.
func (c *Cache) push(o *Object, s slot) {
	o.slot = c.first + len(c.queue)
	c.queue = append(c.queue, s)
}

// evict drops encodings until at most want bytes are left. c.mu is held.
func (c *Cache) evict(want int64) {
	for c.size.Load() > want {
		s := c.queue[0]
		c.queue = c.queue[1:]
		c.first++
		o := s.object.Value()
		if o != nil && o.marks.And(^uint32(used))&used != 0 {
			c.push(o, s)
			continue
		}
		if o != nil {
			o.encodings.Store(nil)
			o.slot = 0
		}
		c.size.Add(-s.weight)
	}
}
