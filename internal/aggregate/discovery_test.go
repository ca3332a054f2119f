package aggregate

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/endpoints"
)

// discovers runs a Discovery until the test ends.
func (c *sampleCluster) discovers(change func(*Discovery)) *Discovery {
	c.t.Helper()
	d := NewDiscovery(c.table, c.clock)
	if change != nil {
		change(d)
	}
	c.runs(d.Run)
	return d
}

func (c *sampleCluster) runs(run func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { run(ctx) })
	c.t.Cleanup(func() {
		cancel()
		running.Wait()
	})
}

// told says what is told of versions: how fresh it is, and how many resources
// they have.
func told(d *Discovery) string {
	e := d.Current()
	if e == nil {
		return ""
	}
	var all []string
	for _, v := range e.Versions {
		s := fmt.Sprintf("%s/%s %d", v.Group, v.Version, v.GroupPriority)
		if v.Told != nil {
			s += fmt.Sprintf(" %s %d", v.Told.Freshness, len(v.Told.Resources))
		}
		all = append(all, s)
	}
	return strings.Join(all, ", ")
}

func (c *sampleCluster) untilTold(d *Discovery, want string) {
	c.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); told(d) != want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("told: %s\nwant: %s", told(d), want)
		}
	}
}

// All that a server has is fetched with one request, and looked at again after a
// minute.
func TestDiscoveryAggregated(t *testing.T) {
	c := newSampleCluster(t)
	c.add("wardle.example.com", "v1alpha1", 2000)
	c.add("wardle.example.com", "v1beta1", 1500)
	c.add("other.example.com", "v1", 10)
	d := NewDiscovery(c.table, c.clock)
	// Before anything is known, what was there at the start is not told to be gone.
	if got := told(d); got != "other.example.com/v1 10 Stale 0, wardle.example.com/v1alpha1 2000 Stale 0, wardle.example.com/v1beta1 1500 Stale 0" {
		t.Errorf("at first: %s", got)
	}
	c.runs(d.Run)
	const all = "other.example.com/v1 10 Current 0, wardle.example.com/v1alpha1 2000 Current 2, wardle.example.com/v1beta1 1500 Current 1"
	c.untilTold(d, all)
	const request = "/apis system:kube-aggregator system:masters " + aggregatedType
	if diff := cmp.Diff([]string{request}, c.sample.asked("")); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	var list apidiscoveryv2.APIGroupDiscoveryList
	if err := json.Unmarshal([]byte(c.sample.answers["/apis"].body), &list); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&list.Items[0].Versions[0], d.Current().Versions[2].Told); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}

	before := d.Current()
	again := func() bool { return len(c.sample.asked("/apis")) == 2 }
	c.until("it sleeps", c.clock.HasWaiters)
	c.clock.Step(discoveryInterval - time.Millisecond)
	time.Sleep(20 * time.Millisecond)
	if again() {
		t.Error("it is asked again too early")
	}
	c.clock.Step(time.Millisecond)
	c.until("it is asked again", again)
	c.until("it sleeps", c.clock.HasWaiters)
	if got := c.sample.asked("/apis")[1]; got != request+` "A"` {
		t.Errorf("the second request: %s", got)
	}
	if d.Current() != before {
		t.Error("what did not change is told anew")
	}

	c.sample.set("/apis", func(a *sampleAnswer) {
		a.body, a.etag = strings.Replace(a.body, `"v1beta1"`, `"v1"`, 1), `"B"`
	})
	c.clock.Step(discoveryInterval)
	c.untilTold(d, strings.Replace(all, "v1beta1 1500 Current 1", "v1beta1 1500 Current 0", 1))
}

// A server that knows no aggregated discovery is asked for each version. What it
// tells is told as upstream would.
func TestDiscoveryOneByOne(t *testing.T) {
	c := newSampleCluster(t)
	c.sample.set("/apis", func(a *sampleAnswer) { a.contentType = "application/json" })
	d := c.discovers(nil)
	c.add("wardle.example.com", "v1alpha1", 2000)
	c.untilTold(d, "wardle.example.com/v1alpha1 2000 Current 2")
	if diff := cmp.Diff([]string{"/apis/wardle.example.com/v1alpha1 system:kube-aggregator  application/json"}, c.sample.asked("/apis/wardle.example.com/v1alpha1")); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	c.add("wardle.example.com", "v1beta1", 2000) // which it does not tell
	c.untilTold(d, "wardle.example.com/v1alpha1 2000 Current 2, wardle.example.com/v1beta1 2000 Stale 0")
}

func TestInAggregatedForm(t *testing.T) {
	for name, resources := range map[string][]metav1.APIResource{
		"none": nil,
		"all": {
			{Name: "a/status", Kind: "A", Verbs: []string{"get"}, Namespaced: true},
			{Name: "a", SingularName: "an", Kind: "A", Group: "g", Version: "v", Verbs: []string{"get"}, Namespaced: true, ShortNames: []string{"x"}, Categories: []string{"all"}},
			{Name: "a/scale", Kind: "Scale", Group: "autoscaling", Version: "v1", Namespaced: true},
			{Name: "b/x/y", Verbs: []string{"create"}},
		},
		"scopes": {{Name: "a", Namespaced: true}, {Name: "a/b"}},
	} {
		want, wantErr := endpoints.ConvertGroupVersionIntoToDiscovery(resources)
		got, err := inAggregatedForm(resources)
		if diff := cmp.Diff(want, got); diff != "" || (err == nil) != (wantErr == nil) {
			t.Errorf("%s: %v, want %v (-want +got):\n%s", name, err, wantErr, diff)
		}
	}
}

// A server that does not answer has its versions told of as stale, and without
// resources; it is asked again sooner, and then more rarely.
func TestDiscoveryUnreachable(t *testing.T) {
	const fresh, stale = "wardle.example.com/v1alpha1 2000 Current 2", "wardle.example.com/v1alpha1 2000 Stale 0"
	waits := []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second}
	for name, test := range map[string]struct {
		breaks  func(*sampleAnswer)
		timeout time.Duration
		waits   []time.Duration
	}{
		"unavailable": {func(a *sampleAnswer) { a.code = http.StatusServiceUnavailable }, discoveryTimeout, waits},
		"damaged":     {func(a *sampleAnswer) { a.body, a.etag = "{", "" }, discoveryTimeout, waits},
		"silent":      {func(a *sampleAnswer) { a.hang = true }, 2 * time.Second, waits[:1]},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newSampleCluster(t)
			whole := c.sample.answers["/apis"]
			c.add("wardle.example.com", "v1alpha1", 2000)
			d := c.discovers(func(d *Discovery) { d.timeout = test.timeout })
			c.untilTold(d, fresh)
			c.sample.set("/apis", test.breaks)
			c.until("it sleeps", c.clock.HasWaiters)
			c.clock.Step(discoveryInterval)
			c.untilTold(d, stale)
			for i, wait := range test.waits {
				if i == len(test.waits)-1 {
					c.sample.set("/apis", func(a *sampleAnswer) { *a = whole })
				}
				asked := len(c.sample.asked("/apis"))
				c.until("it sleeps", c.clock.HasWaiters)
				c.clock.Step(wait - time.Millisecond)
				time.Sleep(5 * time.Millisecond)
				if n := len(c.sample.asked("/apis")); n != asked {
					t.Fatalf("asked again within %s", wait)
				}
				c.clock.Step(time.Millisecond)
				c.until("it is asked again", func() bool { return len(c.sample.asked("/apis")) > asked })
			}
			c.untilTold(d, fresh)
		})
	}
}

// Who does not listen at all is as stale, and does not hold up another.
func TestDiscoveryHoldsUpNobody(t *testing.T) {
	c := newSampleCluster(t)
	slow := c.newBackend(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	c.create(apiServices, apiService("slow.example.com", "v1", slow.port, slow.authority))
	c.create(apiServices, apiService("closed.example.com", "v1", 1, nil))
	c.load()
	d := c.discovers(nil)
	c.add("wardle.example.com", "v1alpha1", 2000)
	c.untilTold(d, "closed.example.com/v1 1000 Stale 0, slow.example.com/v1 1000 Stale 0, wardle.example.com/v1alpha1 2000 Current 2")
}

// What is new is told of when it was fetched; what is changed, at once; what is
// gone is not told of.
func TestDiscoveryChanges(t *testing.T) {
	c := newSampleCluster(t)
	c.sample.set("/apis", func(a *sampleAnswer) { a.hang = true })
	d := c.discovers(nil)
	c.add("wardle.example.com", "v1alpha1", 2000)
	c.until("it is asked", func() bool { return len(c.sample.asked("/apis")) == 1 })
	if got := told(d); got != "wardle.example.com/v1alpha1 2000" {
		t.Errorf("before it has told: %s", got)
	}
	c.delete(apiServices, "v1alpha1.wardle.example.com")
	c.load()
	if got := d.Current(); got != nil {
		t.Errorf("when it is gone: %v", got)
	}
	c.sample.set("/apis", func(a *sampleAnswer) { a.hang = false })
	c.add("wardle.example.com", "v1alpha1", 1800)
	const fresh = "wardle.example.com/v1alpha1 1800 Current 2"
	c.untilTold(d, fresh)

	// A change has its server asked at once.
	asked := len(c.sample.asked("/apis"))
	c.available("v1alpha1.wardle.example.com", true)
	if got := told(d); got != fresh {
		t.Errorf("right after a change: %s", got)
	}
	c.until("it is asked again", func() bool { return len(c.sample.asked("/apis")) > asked })
}

// While nothing is served elsewhere, nothing is done, and asking costs nothing.
func TestDiscoverySleeps(t *testing.T) {
	c := newSampleCluster(t)
	d := c.discovers(nil)
	if n := testing.AllocsPerRun(100, func() {
		if d.Current() != nil {
			t.Error("something is served elsewhere")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	c.add("wardle.example.com", "v1alpha1", 2000)
	c.untilTold(d, "wardle.example.com/v1alpha1 2000 Current 2")
	c.until("it waits for the next time", c.clock.HasWaiters)
	c.delete(apiServices, "v1alpha1.wardle.example.com")
	c.load()
	c.until("it waits for no time", func() bool { return !c.clock.HasWaiters() })
	if d.Current() != nil {
		t.Error("something is served elsewhere")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.told)+len(d.remembered) > 0 {
		t.Errorf("%d versions and %d servers are remembered", len(d.told), len(d.remembered))
	}
}
