package aggregate

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

func (c *cluster) current() string {
	s := ""
	for _, one := range c.table.Current().All {
		s += fmt.Sprintf("%s %d/%d %v at %s:%d;", one.Name, one.GroupPriority, one.VersionPriority, one.Available, one.path, one.backend.port)
	}
	return s
}

func TestTable(t *testing.T) {
	c := newCluster(t)
	ctx, cancel := context.WithCancel(t.Context())
	var following sync.WaitGroup
	defer following.Wait()
	defer cancel()
	following.Go(func() {
		c.verbs.State.Follow(ctx, c.table.resource.Storage.Prefix, c.table.Load, c.table.See)
	})
	first := c.table.Current()
	if len(first.All) != 0 {
		t.Fatalf("there is %s", c.current())
	}
	// What is served here is not in it.
	c.create(apiServices, &apiregistrationv1.APIService{
		ObjectMeta: metav1.ObjectMeta{Name: "v1.here.example.com", Annotations: map[string]string{"service": "x", "a": `{"service":1}`}},
		Spec:       apiregistrationv1.APIServiceSpec{Group: "here.example.com", Version: "v1", GroupPriorityMinimum: 1, VersionPriority: 1},
	})
	becomes := func(want string, change func()) *Services {
		t.Helper()
		changed := c.table.Changed()
		before := c.table.Current()
		change()
		for c.current() != want {
			select {
			case <-changed:
				changed = c.table.Changed()
			case <-time.After(20 * time.Second):
				t.Fatalf("there is %s, want %s", c.current(), want)
			}
		}
		if c.table.Current() == before {
			t.Error("what has changed is the same")
		}
		return c.table.Current()
	}
	const pear = "v1.pear.example.com 1000/10 false at /apis/pear.example.com/v1:443;"
	was := becomes(pear, func() { c.create(apiServices, apiService("pear.example.com", "v1", 443, nil)) })
	const apple = "v2.apple.example.com 1000/10 false at /apis/apple.example.com/v2:8443;"
	is := becomes(pear+apple, func() { c.create(apiServices, apiService("apple.example.com", "v2", 8443, nil)) })
	if is.All[0] != was.All[0] {
		t.Error("what has not changed is another")
	}
	const reached = "v1.pear.example.com 1000/10 true at /apis/pear.example.com/v1:443;"
	is = becomes(reached+apple, func() { c.setAvailable("v1.pear.example.com", apiregistrationv1.ConditionTrue) })
	// Another write of the same, and a load of all, change nothing.
	changed := c.table.Changed()
	c.setAvailable("v1.pear.example.com", apiregistrationv1.ConditionTrue)
	c.load()
	select {
	case <-changed:
		t.Error("nothing has changed, and it is told to have")
	default:
	}
	if c.table.Current() != is {
		t.Error("nothing has changed, and it is another")
	}
	becomes(apple, func() { c.delete(apiServices, "v1.pear.example.com") })
	becomes("", func() { c.delete(apiServices, "v2.apple.example.com") })
}

// Requests find their server by whole parts of their path. The group of
// APIServices is always here; the core group is all that is below /api.
func TestPaths(t *testing.T) {
	c := newCluster(t)
	for group, version := range map[string]string{"fruit.example.com": "v1", "apiregistration.k8s.io": "v2"} {
		c.create(apiServices, apiService(group, version, 443, nil))
	}
	core := apiService("", "v1", 443, nil)
	core.Name = "v1."
	c.create(apiServices, core)
	c.load()
	proxy := NewProxy(c.table, ProxyOptions{})
	for path, want := range map[string]bool{
		"/apis/fruit.example.com/v1":         true,
		"/apis/fruit.example.com/v1/":        true,
		"/apis/fruit.example.com/v1/a/b":     true,
		"/apis/fruit.example.com/v1beta1":    false,
		"/apis/fruit.example.com":            false,
		"/apis/fruit.example.com/":           false,
		"/apis":                              false,
		"/apis/apiregistration.k8s.io/v2":    false,
		"/apis/apiregistration.k8s.io/v2/x":  false,
		"//apis/fruit.example.com/v1":        false,
		"/api":                               true,
		"/api/v1/namespaces":                 true,
		"/apiv1":                             false,
		"/openapi/v3/apis/fruit.example.com": false,
		"/":                                  false,
	} {
		if got := proxy.Handles(path); got != want {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
}

// The servers of forgotten APIServices keep no transport.
func TestTransportsAreForgotten(t *testing.T) {
	c := newCluster(t)
	c.serve(http.NotFoundHandler())
	if answer, text := send(t, c.front(ProxyOptions{}, ann, time.Minute), "GET", apples, ""); answer.StatusCode != http.StatusNotFound {
		t.Fatalf("%d %s", answer.StatusCode, text)
	}
	s := c.table.Current().All[0]
	first, err := c.connector.transport(s.backend.peer)
	if err != nil {
		t.Fatal(err)
	}
	c.setAvailable(s.Name, apiregistrationv1.ConditionFalse)
	c.load()
	if same, err := c.connector.transport(s.backend.peer); err != nil || same != first {
		t.Error("connections are not shared")
	}
	c.delete(apiServices, s.Name)
	c.load()
	if n := len(c.connector.transports); n != 0 {
		t.Errorf("there are %d transports", n)
	}
	open := func() int {
		c.connector.openMu.Lock()
		defer c.connector.openMu.Unlock()
		return len(c.connector.open)
	}
	for deadline := time.Now().Add(20 * time.Second); open() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are open", open())
		}
	}
}
