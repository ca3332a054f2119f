// Package encrypted keeps values encrypted in another store. What is above sees
// them plain; what is below, and on disk, is what a kube-apiserver with the same
// configuration writes, and can read.
//
// The keys, providers and plugins are upstream's
// (k8s.io/apiserver/pkg/server/options/encryptionconfig). It must not know what
// is in a value.
package encrypted

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/server/options/encryptionconfig"
	"k8s.io/apiserver/pkg/storage/value"
	kmstypes "k8s.io/apiserver/pkg/storage/value/encrypt/envelope/kmsv2/v2"
	"k8s.io/apiserver/pkg/storage/value/encrypt/identity"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

// Options say what is encrypted, and how.
type Options struct {
	// ConfigFile is an EncryptionConfiguration. With Reload it is read again when
	// it has changed.
	ConfigFile string
	Reload     bool
	// Resource returns the resource that a key belongs to; false for one that is
	// never encrypted.
	Resource func(key string) (schema.GroupResource, bool)
	// Clock tells when to look again; default the real one.
	Clock clock.Clock
}

// How often is looked whether the file has changed, and how soon again after
// something has failed: the file's, or a plugin's.
const (
	lookAgain = time.Minute
	retryMin  = time.Second
	retryMax  = 10 * time.Second
)

// Keys is what values are encrypted with. It is safe for concurrent use.
type Keys struct {
	o       Options
	current atomic.Pointer[generation]
	// renewed is closed when current has changed, and replaced.
	renewed atomic.Pointer[chan struct{}]

	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu    sync.RWMutex // guards what follows
	seals []seal       // by their number, less one
	known map[seal]uint32
}

// generation is the configuration as it was read once.
type generation struct {
	number int
	config *encryptionconfig.EncryptionConfiguration
	close  context.CancelFunc // ends what serves it in the background

	mu           sync.RWMutex // guards what follows
	transformers map[schema.GroupResource]value.Transformer
}

// seal is how a value was found to be encrypted.
type seal struct {
	// print names the provider and its key.
	print string
	// old tells that another would have been used at the time, and generation
	// when that was.
	old        bool
	generation int
}

// Load reads the configuration. What it starts ends with Close.
func Load(ctx context.Context, o Options) (*Keys, error) {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	k := &Keys{o: o, known: map[seal]uint32{}}
	renewed := make(chan struct{})
	k.renewed.Store(&renewed)
	k.ctx, k.cancel = context.WithCancel(context.WithoutCancel(ctx))
	g, err := k.read(0)
	if err != nil {
		k.cancel()
		return nil, fmt.Errorf("encryption configuration: %w", err)
	}
	k.current.Store(g)
	if o.Reload {
		k.work.Go(k.watch)
	}
	return k, nil
}

// Close ends what runs in the background.
func (k *Keys) Close() {
	k.cancel()
	k.work.Wait()
}

// read reads the file.
func (k *Keys) read(number int) (*generation, error) {
	ctx, cancel := context.WithCancel(k.ctx)
	config, err := encryptionconfig.LoadEncryptionConfig(ctx, k.o.ConfigFile, k.o.Reload, "")
	if err != nil {
		cancel()
		return nil, err
	}
	return &generation{number: number, config: config, close: cancel, transformers: map[schema.GroupResource]value.Transformer{}}, nil
}

// watch reads the file again when it has changed, until k is closed. What cannot
// be used is not: the keys stay what they were.
func (k *Keys) watch() {
	wait := lookAgain
	for {
		timer := k.o.Clock.NewTimer(wait)
		select {
		case <-k.ctx.Done():
			timer.Stop()
			return
		case <-timer.C():
		}
		if err := k.renew(); err != nil && k.ctx.Err() == nil {
			klog.ErrorS(err, "Cannot use the changed encryption configuration", "file", k.o.ConfigFile)
			wait = retryMax
			continue
		}
		wait = lookAgain
	}
}

// renew reads the file if it has changed.
func (k *Keys) renew() error {
	before := k.current.Load()
	hash, err := encryptionconfig.GetEncryptionConfigHash(k.o.ConfigFile)
	if err != nil || hash == before.config.EncryptionFileContentHash {
		return err
	}
	g, err := k.read(before.number + 1)
	if err != nil {
		return err
	}
	if err := healthy(k.ctx, g); err != nil {
		g.close()
		return err
	}
	k.current.Store(g)
	renewed := make(chan struct{})
	close(*k.renewed.Swap(&renewed))
	klog.InfoS("The encryption configuration has changed", "file", k.o.ConfigFile)
	k.work.Go(func() { // once nothing uses the old plugins any more
		timer := k.o.Clock.NewTimer(before.config.KMSCloseGracePeriod)
		defer timer.Stop()
		select {
		case <-timer.C():
		case <-k.ctx.Done():
		}
		before.close()
	})
	return nil
}

func healthy(ctx context.Context, g *generation) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "/healthz", nil)
	if err != nil {
		return err
	}
	for _, check := range g.config.HealthChecks {
		if err := check.Check(r); err != nil {
			return fmt.Errorf("%s: %w", check.Name(), err)
		}
	}
	return nil
}

// Check tells whether a part of what encrypts is well.
type Check struct {
	Name  string
	Check func(*http.Request) error
}

// Checks are those of the plugins, named as upstream's.
func (k *Keys) Checks() []Check {
	var checks []Check
	for i, c := range k.current.Load().config.HealthChecks {
		checks = append(checks, Check{c.Name(), func(r *http.Request) error {
			return k.current.Load().config.HealthChecks[i].Check(r) // one, if it may change
		}})
	}
	return checks
}

// transformer returns what encrypts and decrypts the values of a key.
func (k *Keys) transformer(key string) (value.Transformer, int) {
	g := k.current.Load()
	resource, ok := k.o.Resource(key)
	if !ok {
		return identity.NewEncryptCheckTransformer(), g.number
	}
	g.mu.RLock()
	t := g.transformers[resource]
	g.mu.RUnlock()
	if t == nil {
		t = encryptionconfig.StaticTransformers(g.config.Transformers).TransformerForResource(resource)
		g.mu.Lock()
		g.transformers[resource] = t
		g.mu.Unlock()
	}
	return t, g.number
}

// lock returns a key's value as it is kept.
func (k *Keys) lock(ctx context.Context, key string, plain []byte) ([]byte, error) {
	t, _ := k.transformer(key)
	return t.TransformToStorage(ctx, plain, value.DefaultContext(key))
}

// open returns the value that is kept of a key, and how it is sealed.
func (k *Keys) open(key string, kept []byte) ([]byte, uint32, error) {
	t, generation := k.transformer(key)
	plain, old, err := t.TransformFromStorage(k.ctx, kept, value.DefaultContext(key))
	if err != nil {
		return nil, 0, err
	}
	if plain == nil {
		plain = []byte{} // an empty value is not none
	}
	print := printOf(kept)
	if print == "" {
		return plain, 0, nil
	}
	s := seal{print, old, generation}
	k.mu.RLock()
	number, ok := k.known[s]
	k.mu.RUnlock()
	if ok {
		return plain, number, nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if number, ok = k.known[s]; !ok {
		k.seals = append(k.seals, s)
		number = uint32(len(k.seals))
		k.known[s] = number
	}
	return plain, number, nil
}

// outdated reports whether a value would be kept in another way now.
func (k *Keys) outdated(key string, number uint32) bool {
	t, generation := k.transformer(key)
	kept, err := t.TransformToStorage(k.ctx, []byte("probe"), value.DefaultContext(key))
	if err != nil {
		return false // nor could it be written
	}
	print := printOf(kept)
	if number == 0 {
		return print != ""
	}
	k.mu.RLock()
	s := k.seals[number-1]
	k.mu.RUnlock()
	if s.print != print {
		return true
	}
	// A plugin's key has a name of its own. Of others the names may be given
	// again: what was read before the file changed is taken for another key's.
	return !bytes.HasPrefix(kept, kmsV2) && (s.old || s.generation != generation)
}

var (
	marked = []byte("k8s:enc:")
	kmsV2  = []byte("k8s:enc:kms:v2:")
)

// printOf tells what a value is encrypted with; "" for a plain one.
func printOf(kept []byte) string {
	if !bytes.HasPrefix(kept, marked) {
		return ""
	}
	// k8s:enc:<provider>:<version>:<name>:
	end := 0
	for range 5 {
		i := bytes.IndexByte(kept[end:], ':')
		if i < 0 {
			break
		}
		end += i + 1
	}
	print := string(kept[:end])
	if !bytes.HasPrefix(kept, kmsV2) {
		return print
	}
	var e kmstypes.EncryptedObject
	if err := proto.Unmarshal(kept[end:], &e); err != nil {
		return print
	}
	return fmt.Sprintf("%s%d:%s", print, e.EncryptedDEKSourceType, e.KeyID)
}
