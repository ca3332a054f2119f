package encrypted

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/server/options/encryptionconfig"
	"k8s.io/apiserver/pkg/storage/value"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/store/disk"
	"github.com/knarr-io/knarr/internal/store/memory"
	"github.com/knarr-io/knarr/internal/store/storetest"
)

// key is one of 32 bytes, made of a name.
func key(name string) string {
	return base64.StdEncoding.EncodeToString([]byte((name + strings.Repeat("-", 32))[:32]))
}

// keyed is a provider with keys of these names.
func keyed(provider string, names ...string) string {
	var keys []string
	for _, name := range names {
		keys = append(keys, fmt.Sprintf("{name: %s, secret: %q}", name, key(name)))
	}
	return fmt.Sprintf("{%s: {keys: [%s]}}", provider, strings.Join(keys, ", "))
}

func kmsAt(socket string) string {
	return fmt.Sprintf("{kms: {apiVersion: v2, name: test, timeout: 1s, endpoint: %q}}", "unix://"+socket)
}

const plain = "{identity: {}}"

// config is a file that has secrets kept by providers.
func config(t testing.TB, providers ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "encryption.yaml")
	write(t, path, providers...)
	return path
}

func write(t testing.TB, path string, providers ...string) {
	t.Helper()
	content := "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n" +
		"- resources: [secrets, '*.example.com']\n  providers: [" + strings.Join(providers, ", ") + "]\n"
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// resource knows the keys of secrets, and leaves leases alone.
func resource(key string) (schema.GroupResource, bool) {
	switch parts := strings.Split(key, "/"); {
	case parts[2] == "masterleases":
		return schema.GroupResource{}, false
	case strings.Contains(parts[2], "."):
		return schema.GroupResource{Group: parts[2], Resource: parts[3]}, true
	default:
		return schema.GroupResource{Resource: parts[2]}, true
	}
}

func load(t testing.TB, o Options) *Keys {
	t.Helper()
	if o.Resource == nil {
		o.Resource = resource
	}
	keys, err := Load(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// values follows a store: what each key has now.
type values struct {
	mu     sync.Mutex
	now    map[string]store.Event
	reread chan string
}

func newValues() *values {
	return &values{now: map[string]store.Event{}, reread: make(chan string, 100)}
}

func (v *values) see(e store.Event) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.now[e.Key] = e; e.Deleted() {
		delete(v.now, e.Key)
	}
	return nil
}

func (v *values) Load(l store.Load) error { return errors.Join(l.Base(v.see), l.Events(v.see)) }
func (v *values) Progress(uint64)         {}

func (v *values) Apply(events []store.Event) {
	for _, e := range events {
		_ = v.see(e)
	}
}

func (v *values) Reread(e store.Event) {
	_ = v.see(e)
	v.reread <- e.Key
}

func (v *values) get(key string) store.Event {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.now[key]
}

// start opens the store in dir with what it holds.
func start(t *testing.T, dir string, wrap func(store.Store) store.Store) (store.Store, *values) {
	t.Helper()
	kept, err := disk.Open(dir, disk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	st, v := wrap(kept), newValues()
	if err := st.Start(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	return st, v
}

func around(keys *Keys) func(store.Store) store.Store {
	return func(st store.Store) store.Store { return Around(st, keys) }
}

func raw(st store.Store) store.Store { return st }

func stop(t *testing.T, st store.Store) {
	t.Helper()
	if err := st.Close(); err != nil {
		t.Error(err)
	}
}

func put(t *testing.T, st store.Store, v *values, key, value string) {
	t.Helper()
	c := store.Change{Key: key, Value: []byte(value), If: v.get(key).Rev}
	if _, err := st.Commit(t.Context(), []store.Change{c}); err != nil {
		t.Fatal(err)
	}
}

func (v *values) want(t *testing.T, key, value string) store.Event {
	t.Helper()
	e := v.get(key)
	if e.Err != nil || string(e.Value) != value {
		t.Errorf("%s is %q, %v; want %q", key, e.Value, e.Err, value)
	}
	return e
}

func (v *values) fails(t *testing.T, key, because string) {
	t.Helper()
	if e := v.get(key); e.Err == nil || !strings.Contains(e.Err.Error(), because) {
		t.Errorf("%s is %q, %v; want an error with %q", key, e.Value, e.Err, because)
	}
}

const (
	secretKey = "/registry/secrets/default/s"
	customKey = "/registry/example.com/widgets/default/w"
	openKey   = "/registry/configmaps/default/c"
	secret    = "k8s\x00hunter2"
)

// With whatever it keeps its values, it is a store.
func TestStore(t *testing.T) {
	for _, provider := range []string{"aesgcm", "aescbc"} {
		t.Run(provider, func(t *testing.T) {
			path := config(t, keyed(provider, "a"))
			storetest.Run(t, func(t *testing.T) storetest.Backend {
				clock := clocktesting.NewFakeClock(time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC))
				return storetest.Backend{
					Open: func(tb testing.TB) store.Store {
						keys := load(tb, Options{ConfigFile: path, Resource: func(string) (schema.GroupResource, bool) {
							return schema.GroupResource{Resource: "secrets"}, true
						}})
						return Around(memory.New(memory.Options{Clock: clock}), keys)
					},
					Embedded: true,
					Clock:    clock,
				}
			})
		})
	}
}

// What each provider keeps is what upstream keeps, and the reverse.
func TestProviders(t *testing.T) {
	socket := socketPath(t)
	startPlugin(t, socket, "k1")
	for prefix, provider := range map[string]string{
		"k8s:enc:aescbc:v1:a:":    keyed("aescbc", "a"),
		"k8s:enc:aesgcm:v1:a:":    keyed("aesgcm", "a", "b"),
		"k8s:enc:secretbox:v1:a:": keyed("secretbox", "a"),
		"k8s:enc:kms:v2:test:":    kmsAt(socket),
		"k8s\x00":                 plain,
	} {
		t.Run(prefix, func(t *testing.T) {
			dir, path := t.TempDir(), config(t, provider)
			st, v := start(t, dir, around(load(t, Options{ConfigFile: path})))
			for _, key := range []string{secretKey, customKey, openKey, "/registry/masterleases/1"} {
				put(t, st, v, key, secret)
				e := v.want(t, key, secret)
				if st.(store.Sealer).Outdated(key, e.Seal) {
					t.Errorf("%s is outdated at once", key)
				}
			}
			stop(t, st)

			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			upstream, err := encryptionconfig.LoadEncryptionConfig(ctx, path, false, "")
			if err != nil {
				t.Fatal(err)
			}
			theirs := encryptionconfig.StaticTransformers(upstream.Transformers)
			kept, v := start(t, dir, raw)
			for key, encrypted := range map[string]bool{secretKey: true, customKey: true, openKey: false, "/registry/masterleases/1": false} {
				b := v.get(key).Value
				if encrypted != bytes.HasPrefix(b, []byte(prefix)) && provider != plain {
					t.Errorf("%s is kept as %q", key, b)
				}
				if encrypted && provider != plain && bytes.Contains(b, []byte("hunter2")) {
					t.Errorf("%s shows in %q", key, b)
				}
				gr, _ := resource(key)
				got, old, err := theirs.TransformerForResource(gr).TransformFromStorage(ctx, b, value.DefaultContext(key))
				if err != nil || old || string(got) != secret {
					t.Errorf("%s is %q, %v, %v to upstream", key, got, old, err)
				}
			}
			theirKey := "/registry/secrets/default/theirs"
			b, err := theirs.TransformerForResource(schema.GroupResource{Resource: "secrets"}).TransformToStorage(ctx, []byte("k8s\x00x"), value.DefaultContext(theirKey))
			if err != nil {
				t.Fatal(err)
			}
			put(t, kept, v, theirKey, string(b))
			// In another's place, a value is not what it was.
			put(t, kept, v, "/registry/secrets/default/moved", string(b))
			stop(t, kept)

			st, v = start(t, dir, around(load(t, Options{ConfigFile: path})))
			defer stop(t, st)
			v.want(t, theirKey, "k8s\x00x")
			for _, key := range []string{secretKey, customKey, openKey} {
				v.want(t, key, secret)
			}
			if !strings.Contains(prefix, "aescbc") && !strings.Contains(prefix, "secretbox") && provider != plain { // which do not look at it
				v.fails(t, "/registry/secrets/default/moved", "")
			}
		})
	}
}

// A new key is written with; what was kept with an older one is outdated, and
// can be read for as long as that one is known.
func TestRotation(t *testing.T) {
	dir := t.TempDir()
	written := map[string]bool{}
	for i, step := range []struct {
		providers []string
		outdated  []int // of the values written in earlier steps
		fails     []int
	}{
		{providers: []string{plain}},
		{providers: []string{keyed("aescbc", "a"), plain}, outdated: []int{0}},
		{providers: []string{keyed("aescbc", "b", "a"), plain}, outdated: []int{0, 1}},
		{providers: []string{keyed("secretbox", "b"), keyed("aescbc", "b", "a"), plain}, outdated: []int{0, 1, 2}},
		{providers: []string{plain, keyed("secretbox", "b"), keyed("aescbc", "b", "a")}, outdated: []int{1, 2, 3}},
		{providers: []string{keyed("secretbox", "b"), plain}, outdated: []int{0, 4}, fails: []int{1, 2}},
	} {
		st, v := start(t, dir, around(load(t, Options{ConfigFile: config(t, step.providers...)})))
		name := func(i int) string { return fmt.Sprintf("/registry/secrets/default/s%d", i) }
		for j := range i {
			outdated, fails := false, false
			for _, k := range step.outdated {
				outdated = outdated || j == k
			}
			for _, k := range step.fails {
				fails = fails || j == k
			}
			if fails {
				v.fails(t, name(j), "")
				continue
			}
			e := v.want(t, name(j), secret)
			if got := st.(store.Sealer).Outdated(name(j), e.Seal); got != outdated {
				t.Errorf("step %d: value %d is outdated: %v", i, j, got)
			}
			if outdated && i < 5 { // it is not, written again
				again := fmt.Sprintf("/registry/secrets/default/again-%d-%d", i, j)
				put(t, st, v, again, secret)
				if st.(store.Sealer).Outdated(again, v.get(again).Seal) {
					t.Errorf("step %d: a value is outdated at once", i)
				}
			}
		}
		put(t, st, v, name(i), secret)
		written[name(i)] = true
		stop(t, st)
	}
}

// The same name may stand for two keys. One is told from the other by trying.
func TestKeysOfOneName(t *testing.T) {
	dir := t.TempDir()
	named := func(secret string) string {
		return fmt.Sprintf("{aesgcm: {keys: [{name: k, secret: %q}]}}", key(secret))
	}
	st, v := start(t, dir, around(load(t, Options{ConfigFile: config(t, named("old"))})))
	put(t, st, v, secretKey, secret)
	stop(t, st)
	st, v = start(t, dir, around(load(t, Options{ConfigFile: config(t, named("new"), named("old"))})))
	e := v.want(t, secretKey, secret)
	if !st.(store.Sealer).Outdated(secretKey, e.Seal) {
		t.Error("the old key's is not outdated")
	}
	put(t, st, v, secretKey, secret)
	if st.(store.Sealer).Outdated(secretKey, v.get(secretKey).Seal) {
		t.Error("the new key's is outdated")
	}
	stop(t, st)
}

// A value that cannot be decrypted is an error of its key, and of no other.
func TestDamage(t *testing.T) {
	dir, path := t.TempDir(), config(t, keyed("aesgcm", "a"))
	st, v := start(t, dir, around(load(t, Options{ConfigFile: path})))
	put(t, st, v, secretKey, secret)
	put(t, st, v, "/registry/secrets/default/fine", secret)
	stop(t, st)
	kept, v := start(t, dir, raw)
	b := bytes.Clone(v.get(secretKey).Value)
	b[len(b)-1] ^= 1
	put(t, kept, v, secretKey, string(b))
	put(t, kept, v, openKey, "k8s:enc:aesgcm:v1:a:x")
	stop(t, kept)
	st, v = start(t, dir, around(load(t, Options{ConfigFile: path})))
	defer stop(t, st)
	v.fails(t, secretKey, "message authentication failed")
	v.fails(t, openKey, "identity transformer tried to read encrypted data")
	v.want(t, "/registry/secrets/default/fine", secret)
	if _, err := st.Commit(t.Context(), []store.Change{{Key: secretKey, If: v.get(secretKey).Rev}}); err != nil {
		t.Errorf("it cannot be deleted: %v", err)
	}
}

// A changed file is used once it can be, and what could not be read before is.
func TestReload(t *testing.T) {
	dir, path := t.TempDir(), config(t, keyed("aesgcm", "a"))
	st, v := start(t, dir, around(load(t, Options{ConfigFile: path})))
	put(t, st, v, secretKey, secret)
	stop(t, st)

	write(t, path, keyed("aesgcm", "b"))
	clock := clocktesting.NewFakeClock(time.Now())
	keys := load(t, Options{ConfigFile: path, Reload: true, Clock: clock})
	if checks := keys.Checks(); len(checks) != 1 || checks[0].Name != "kms-providers" || checks[0].Check(httptest.NewRequest("GET", "/", nil)) != nil {
		t.Errorf("%v", checks)
	}
	st, v = start(t, dir, around(keys))
	defer stop(t, st)
	v.fails(t, secretKey, "no matching key")
	put(t, st, v, customKey, secret)

	write(t, path, "{nonsense: {}}")
	if err := keys.renew(); err == nil {
		t.Error("nonsense is used")
	}
	put(t, st, v, customKey, secret+"2") // with the keys that there were
	write(t, path, keyed("aesgcm", "a", "b"))
	for !clock.HasWaiters() { // for the watcher to wait
		time.Sleep(time.Millisecond)
	}
	clock.Step(lookAgain)
	if got := <-v.reread; got != secretKey {
		t.Errorf("%s can be read", got)
	}
	e := v.want(t, secretKey, secret)
	if st.(store.Sealer).Outdated(secretKey, e.Seal) {
		t.Error("what was read with the first key is outdated")
	}
	e = v.want(t, customKey, secret+"2")
	if !st.(store.Sealer).Outdated(customKey, e.Seal) {
		t.Error("what was written with the second key is not outdated")
	}
}

// A plugin may come after the server, and its key may be another later.
func TestPlugin(t *testing.T) {
	dir, socket := t.TempDir(), socketPath(t)
	path := config(t, kmsAt(socket))
	end := startPlugin(t, socket, "k1")
	st, v := start(t, dir, around(load(t, Options{ConfigFile: path})))
	put(t, st, v, secretKey, secret)
	stop(t, st)
	end()

	keys := load(t, Options{ConfigFile: path}) // waits as long as the plugin may take
	checks := keys.Checks()
	request := httptest.NewRequest("GET", "/readyz", nil)
	if len(checks) != 1 || checks[0].Name != "kms-providers" || checks[0].Check(request) == nil {
		t.Fatalf("a plugin that is not there is well: %v", checks)
	}
	st, v = start(t, dir, around(keys))
	v.fails(t, secretKey, "")
	var unwritable *store.Unwritable
	if _, err := st.Commit(t.Context(), []store.Change{{Key: customKey, Value: []byte(secret)}}); !errors.As(err, &unwritable) {
		t.Errorf("written without the plugin: %v", err)
	}
	put(t, st, v, openKey, secret) // which is not encrypted

	startPlugin(t, socket, "k2")
	if got := <-v.reread; got != secretKey {
		t.Errorf("%s can be read", got)
	}
	e := v.want(t, secretKey, secret)
	if !st.(store.Sealer).Outdated(secretKey, e.Seal) {
		t.Error("what the plugin's former key encrypted is not outdated")
	}
	put(t, st, v, secretKey, secret)
	if st.(store.Sealer).Outdated(secretKey, v.get(secretKey).Seal) {
		t.Error("what the plugin's key encrypted is outdated")
	}
	stop(t, st)
}

func TestRefusals(t *testing.T) {
	for want, path := range map[string]string{
		"no such file": "/none",
		"KMSv1 is deprecated and will only receive security updates going forward": config(t, "{kms: {apiVersion: v1, name: x, endpoint: 'unix:///tmp/none'}}"),
		"secret is not of the expected length":                                     config(t, "{aescbc: {keys: [{name: a, secret: c2hvcnQ=}]}}"),
	} {
		keys, err := Load(t.Context(), Options{ConfigFile: path, Resource: resource})
		if err == nil {
			keys.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "c2hvcnQ") {
			t.Errorf("%v; want %q", err, want)
		}
	}
}
