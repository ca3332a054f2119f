package rbac

import (
	"encoding/binary"
	"sync"

	"k8s.io/apiserver/pkg/authorization/authorizer"
)

const (
	// keySize is the size of the largest question that is remembered.
	keySize = 512
	// generation is how many decisions are remembered before older ones are
	// forgotten: two of them are kept, some 2 MB at worst.
	generation = 2048
)

// decided is a decision and why.
type decided struct {
	decision authorizer.Decision
	reason   string
}

// decisions remembers what was decided, by the whole question: two that differ
// are never taken for one another. Those not asked for while as many others as
// make a generation were, are forgotten.
type decisions struct {
	mu            sync.RWMutex
	young, former map[string]decided
}

// forget forgets all.
func (d *decisions) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.young, d.former = nil, nil
}

func (d *decisions) find(key []byte) (decided, bool) {
	d.mu.RLock()
	known, ok := d.young[string(key)]
	if ok {
		d.mu.RUnlock()
		return known, true
	}
	known, ok = d.former[string(key)]
	d.mu.RUnlock()
	if ok {
		d.add(key, known)
	}
	return known, ok
}

func (d *decisions) add(key []byte, what decided) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.young) >= generation {
		d.former, d.young = d.young, nil
	}
	if d.young == nil {
		d.young = map[string]decided{}
	}
	d.young[string(key)] = what
}

// keyOf appends to buffer all that upstream's rules look at, each part with its
// length before it. It is false if that is too much to remember.
func keyOf(buffer []byte, a authorizer.Attributes) ([]byte, bool) {
	who := a.GetUser()
	if who == nil {
		return nil, false
	}
	add := func(s string) { buffer = append(binary.AppendUvarint(buffer, uint64(len(s))), s...) }
	resource := byte(0)
	if a.IsResourceRequest() {
		resource = 1
	}
	buffer = append(buffer, resource)
	for _, s := range [...]string{who.GetName(), a.GetVerb(), a.GetNamespace(), a.GetAPIGroup(), a.GetResource(), a.GetSubresource(), a.GetName()} {
		add(s)
	}
	if resource == 0 {
		add(a.GetPath())
	}
	for _, group := range who.GetGroups() {
		if len(buffer)+len(group) > keySize {
			return nil, false
		}
		add(group)
	}
	return buffer, len(buffer) <= keySize
}
