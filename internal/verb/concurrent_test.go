package verb_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	api "k8s.io/kubernetes/pkg/apis/core"
)

// Many writers of one object, each in its own way, lose no update: not those
// that were acknowledged of a counter that all read and write again, nor any of
// the keys that each sets on its own.
func TestConcurrentWriters(t *testing.T) {
	c := newCluster(t)
	c.must(write{"create", "configmaps", `{"metadata":{"name":"it"},"data":{"counter":"0"}}`, "creator", nil})
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	const writers, rounds = 12, 25
	want := make([]map[string]string, writers)
	counted := make([]int, writers)
	var wg sync.WaitGroup
	for n := range writers {
		w := &writer{cluster: c, name: fmt.Sprintf("w%d", n), rand: rand.New(rand.NewPCG(seed, uint64(n))), data: map[string]string{}}
		want[n] = w.data
		wg.Go(func() {
			for i := range rounds {
				if err := w.write(i); err != nil {
					t.Errorf("%s, round %d: %v", w.name, i, err)
					return
				}
			}
			counted[n] = w.counted
		})
	}
	wg.Wait()
	total := 0
	all := map[string]string{}
	for n := range writers {
		total += counted[n]
		maps.Copy(all, want[n])
	}
	all["counter"] = strconv.Itoa(total)
	if got := c.config().Data; !maps.Equal(got, all) {
		t.Errorf("data = %v\nwant %v", got, all)
	}
}

// writer writes to configmap "it" in one of the ways that there are.
type writer struct {
	*cluster
	name    string
	rand    *rand.Rand
	data    map[string]string // what it has set
	counted int
}

func (w *writer) write(round int) error {
	key, value := fmt.Sprintf("%s-%d", w.name, w.rand.IntN(4)), strconv.Itoa(round)
	switch w.rand.IntN(6) {
	case 0, 1:
		return w.count()
	case 2:
		return w.set(key, value, merge, `{"data":{%q:%q}}`)
	case 3:
		return w.set(key, value, strategic, `{"data":{%q:%q}}`)
	case 4:
		return w.set(key, value, jsonPatch, `[{"op":"add","path":"/data/`+key+`","value":%[2]q}]`)
	}
	// What a manager applies is all that it wants, so a key of its own each time.
	key = fmt.Sprintf("%s-applied", w.name)
	return w.set(key, value, apply, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"it"},"data":{%q:%q}}`)
}

// set sets a key by a patch, which is made again by the server if others were
// quicker; after five times it is a conflict, and the client's to repeat.
func (w *writer) set(key, value, patchType, format string) error {
	body := fmt.Sprintf(format, key, value)
	for {
		_, err := w.do(write{patchType, "configmaps/it", body, w.name + "-" + patchType[12:16], nil})
		if err == nil {
			w.data[key] = value
		}
		if !apierrors.IsConflict(err) {
			return err
		}
	}
}

// count adds one to the counter that all share.
func (w *writer) count() error {
	for {
		seen := w.config()
		n, err := strconv.Atoi(seen.Data["counter"])
		if err != nil {
			return err
		}
		data := maps.Clone(seen.Data)
		data["counter"] = strconv.Itoa(n + 1)
		body, err := json.Marshal(map[string]any{
			"metadata": map[string]any{"name": "it", "resourceVersion": seen.ResourceVersion},
			"data":     data,
		})
		if err != nil {
			return err
		}
		if _, err = w.do(write{"update", "configmaps/it", string(body), w.name, nil}); err == nil {
			w.counted++
		}
		if !apierrors.IsConflict(err) {
			return err
		}
	}
}

// config is the configmap as it is now.
func (c *cluster) config() *api.ConfigMap {
	return c.decoded("configmaps", c.verbs.State.Get("/registry/configmaps/default/it")).(*api.ConfigMap)
}
