package aggregate

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/knarr-io/knarr/internal/openapi"
)

// describes runs an OpenAPI until the test ends.
func (c *sampleCluster) describes() *OpenAPI {
	c.t.Helper()
	o := NewOpenAPI(c.table, NewProxy(c.table, ProxyOptions{}), c.clock)
	c.runs(o.Run)
	return o
}

// described says what is described: the version, how many documents of version 3
// there are, and whether there is one made of version 2 and a part of that.
func described(o *OpenAPI) string {
	e := o.Current()
	if e == nil {
		return ""
	}
	var all []string
	for _, d := range e.Descriptions {
		s := d.Group + "/" + d.Version
		if d.V3 != nil {
			s += " v3"
		}
		if d.Converted != nil {
			s += " converted"
		}
		if d.V2 != nil {
			s += " v2"
		}
		all = append(all, s)
	}
	return strings.Join(all, ", ")
}

func (c *sampleCluster) describedAs(o *OpenAPI, want string) time.Duration {
	c.t.Helper()
	return c.passes(100*time.Millisecond, "described as "+want, func() bool { return described(o) == want })
}

// What a server tells is fetched a moment after it is known, in the name of the
// aggregator, and again every minute. What did not change stays what it is.
func TestOpenAPI(t *testing.T) {
	c := newSampleCluster(t)
	c.add("wardle.example.com", "v1alpha1", 10)
	c.add("wardle.example.com", "v1beta1", 2000)
	c.add("another.example.com", "v1", 1500)
	for _, name := range []string{"v1alpha1.wardle.example.com", "v1beta1.wardle.example.com", "v1.another.example.com"} {
		c.available(name, true)
	}
	o := c.describes()
	const all = "wardle.example.com/v1alpha1 v3 v2, wardle.example.com/v1beta1 v3 v2, another.example.com/v1 v3 v2"
	if after := c.describedAs(o, all); after < openAPIFirst {
		t.Errorf("it is asked after %s", after)
	}
	const v2, v3 = "/openapi/v2 system:aggregator  application/json", "/openapi/v3 system:aggregator"
	if diff := cmp.Diff([]string{v2, v2, v2}, c.sample.asked("/openapi/v2")); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{v3, v3, v3}, c.sample.asked("/openapi/v3")); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	before := o.Current()
	if got := before.Descriptions[0].V3["apis/wardle.example.com/v1alpha1"]; !strings.HasPrefix(got, "/openapi/v3/apis/wardle.example.com/v1alpha1?hash=") {
		t.Errorf("its document is at %q", got)
	}
	if c.clock.HasWaiters() {
		c.clock.Step(openAPIInterval / 2)
	}
	time.Sleep(10 * time.Millisecond)
	if n := len(c.sample.asked("")); n != 6 {
		t.Errorf("it is asked again too early: %d requests", n)
	}
	c.passes(time.Second, "it is asked again", func() bool {
		return len(c.sample.asked("/openapi/v2")) >= 6 && len(c.sample.asked("/openapi/v3")) >= 6
	})
	if got := c.sample.asked("/openapi/v2")[5]; got != v2+` "2"` {
		t.Errorf("the second request: %s", got)
	}
	if o.Current() != before {
		t.Error("what did not change is told anew")
	}

	// What changes is told anew, each for itself.
	c.sample.set("/openapi/v2", func(a *sampleAnswer) { a.etag = `"3"` })
	c.passes(time.Second, "the part changes", func() bool {
		now := o.Current()
		return now != before && now.Descriptions[0].V2 != before.Descriptions[0].V2
	})
	if now := o.Current(); &now.Descriptions[0].V3 == &before.Descriptions[0].V3 || !cmp.Equal(now.Descriptions[0].V3, before.Descriptions[0].V3) {
		t.Error("the index changed without a reason")
	}
}

// A server that is not available is not asked. When it becomes so, its part of
// version 2 is fetched at once and its index in a moment; when it ceases to be,
// what it told stays.
func TestOpenAPIAvailable(t *testing.T) {
	c := newSampleCluster(t)
	c.add("wardle.example.com", "v1alpha1", 10)
	o := c.describes()
	c.until("it is to be asked", c.clock.HasWaiters)
	c.clock.Step(openAPIFirst)
	time.Sleep(20 * time.Millisecond)
	if got := c.sample.asked(""); len(got) > 0 {
		t.Errorf("it is asked: %q", got)
	}
	c.until("it has failed", c.clock.HasWaiters)
	time.Sleep(20 * time.Millisecond) // both have

	c.available("v1alpha1.wardle.example.com", true)
	c.until("version 2 is there", func() bool { return described(o) == "wardle.example.com/v1alpha1 v2" })
	const both = "wardle.example.com/v1alpha1 v3 v2"
	if after := c.describedAs(o, both); after < openAPIFirst || after >= openAPIInterval {
		t.Errorf("version 3 is there after %s", after)
	}
	c.available("v1alpha1.wardle.example.com", false)
	c.clock.Step(openAPIInterval)
	time.Sleep(20 * time.Millisecond)
	if got := described(o); got != both {
		t.Errorf("when it is not available: %s", got)
	}
	c.delete(apiServices, "v1alpha1.wardle.example.com")
	c.load()
	if o.Current() != nil {
		t.Error("it is described when it is gone")
	}
	c.until("it waits for no time", func() bool { return !c.clock.HasWaiters() })
}

// What a server told stays while it tells nothing better.
func TestOpenAPIKeepsTheLast(t *testing.T) {
	c := newSampleCluster(t)
	c.add("wardle.example.com", "v1alpha1", 10)
	c.available("v1alpha1.wardle.example.com", true)
	o := c.describes()
	c.describedAs(o, "wardle.example.com/v1alpha1 v3 v2")
	before := o.Current()
	for name, breaks := range map[string]func(*sampleAnswer){
		"damaged": func(a *sampleAnswer) { a.body, a.etag = "{", "" },
		"refused": func(a *sampleAnswer) { a.code = http.StatusForbidden },
		"missing": func(a *sampleAnswer) { a.code = http.StatusNotFound },
	} {
		c.sample.set("/openapi/v2", breaks)
		if name != "missing" { // which means that it has nothing of version 3
			c.sample.set("/openapi/v3", breaks)
		}
		asked := len(c.sample.asked(""))
		c.passes(10*time.Second, name, func() bool { return len(c.sample.asked("")) >= asked+2 })
		if o.Current() != before {
			t.Errorf("%s: it is told anew", name)
		}
	}
}

// Of a server that has no version 3, what it has of version 2 is converted. One
// that gives no ETags is known by what it says.
func TestOpenAPIWithoutV3(t *testing.T) {
	c := newSampleCluster(t)
	delete(c.sample.answers, "/openapi/v3")
	c.sample.set("/openapi/v2", func(a *sampleAnswer) { a.etag = "" })
	c.add("wardle.example.com", "v1alpha1", 10)
	c.available("v1alpha1.wardle.example.com", true)
	o := c.describes()
	c.describedAs(o, "wardle.example.com/v1alpha1 converted v2")
	before := o.Current()
	c.passes(10*time.Second, "asked again", func() bool { return len(c.sample.asked("/openapi/v2")) >= 4 })
	time.Sleep(10 * time.Millisecond)
	if o.Current() != before {
		t.Error("what did not change is told anew")
	}
	if n := len(c.sample.asked("/openapi/v3")); n != 1 {
		t.Errorf("it is asked for version 3 %d times", n)
	}
	for _, r := range c.sample.asked("/openapi/v2") {
		if strings.HasSuffix(r, `"`) || strings.Contains(r, "=") {
			t.Errorf("an ETag is sent that it has not given: %s", r)
		}
	}
	c.sample.set("/openapi/v2", func(a *sampleAnswer) { a.body = strings.Replace(a.body, "Flunder", "Flander", 1) })
	c.passes(10*time.Second, "told anew", func() bool {
		now := o.Current().Descriptions[0]
		return now.Converted != before.Descriptions[0].Converted && now.V2 != before.Descriptions[0].V2
	})
}

// Requests for documents are passed on in the name of who asks, while the server
// is available.
func TestOpenAPIIsPassedOn(t *testing.T) {
	c := newSampleCluster(t)
	const path = "/openapi/v3/apis/wardle.example.com/v1alpha1"
	c.sample.set(path, func(a *sampleAnswer) { *a = sampleAnswer{body: "the document", contentType: "application/json"} })
	c.add("wardle.example.com", "v1alpha1", 10)
	c.available("v1alpha1.wardle.example.com", true)
	o := c.describes()
	c.describedAs(o, "wardle.example.com/v1alpha1 v3 v2")
	ask := func(d *openapi.Description) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", path+"?hash=x", nil)
		r = r.WithContext(request.WithUser(r.Context(), &user.DefaultInfo{Name: "alice", Groups: []string{"friends"}}))
		w := httptest.NewRecorder()
		d.ServeV3.ServeHTTP(w, r)
		return w
	}
	d := o.Current().Descriptions[0]
	if w := ask(d); w.Code != http.StatusOK || w.Body.String() != "the document" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if got := c.sample.asked(path); len(got) != 1 || !strings.HasPrefix(got[0], path+" alice friends") {
		t.Errorf("requests: %q", got)
	}
	c.available("v1alpha1.wardle.example.com", false)
	if w := ask(d); w.Code != http.StatusServiceUnavailable || w.Body.String() != "service unavailable\n" {
		t.Errorf("when it is not available: %d %s", w.Code, w.Body)
	}
	c.delete(apiServices, "v1alpha1.wardle.example.com")
	c.load()
	if w := ask(d); w.Code != http.StatusNotFound {
		t.Errorf("when it is gone: %d %s", w.Code, w.Body)
	}
}

// While nothing is served elsewhere, nothing is done, and asking costs nothing.
func TestOpenAPISleeps(t *testing.T) {
	c := newSampleCluster(t)
	o := c.describes()
	if n := testing.AllocsPerRun(100, func() {
		if o.Current() != nil {
			t.Error("something is served elsewhere")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if c.clock.HasWaiters() {
		t.Error("it waits for a time")
	}
}
