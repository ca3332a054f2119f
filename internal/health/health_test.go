package health

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func get(h *Handler, path string) (code int, body string, header http.Header) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	return w.Code, w.Body.String(), w.Result().Header
}

// The texts are those of a kube-apiserver v1.37.2.
func TestTexts(t *testing.T) {
	secret := errors.New("the disk of alice is full")
	var broken atomic.Bool
	h := New(Ping(), Check{Name: "etcd", On: All, Check: func(*http.Request) error {
		if broken.Load() {
			return secret
		}
		return nil
	}}, Check{Name: "poststarthook/rbac/bootstrap-roles", On: Healthz, Check: func(*http.Request) error { return nil }})

	want := func(path string, code int, body string) {
		t.Helper()
		gotCode, gotBody, header := get(h, path)
		if gotCode != code {
			t.Errorf("%s: status %d, want %d", path, gotCode, code)
		}
		if diff := cmp.Diff(body, gotBody); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
		if got := header.Get("Content-Type"); got != "text/plain; charset=utf-8" {
			t.Errorf("%s: Content-Type %q", path, got)
		}
	}
	want("/healthz", 200, "ok")
	want("/livez", 200, "ok")
	want("/readyz", 200, "ok")
	want("/healthz?verbose", 200, "[+]ping ok\n[+]etcd ok\n[+]poststarthook/rbac/bootstrap-roles ok\nhealthz check passed\n")
	want("/livez?verbose=false", 200, "[+]ping ok\n[+]etcd ok\nlivez check passed\n")
	want("/readyz?verbose", 200, "[+]ping ok\n[+]etcd ok\n[+]shutdown ok\nreadyz check passed\n")
	want("/livez?exclude=etcd", 200, "ok")
	want("/livez?verbose&exclude=etcd&exclude=zzz&exclude=aaa", 200,
		"[+]ping ok\n[+]etcd excluded: ok\nwarn: some health checks cannot be excluded: no matches for \"aaa\",\"zzz\"\nlivez check passed\n")
	want("/healthz/ping", 200, "ok")
	want("/healthz/poststarthook/rbac/bootstrap-roles", 200, "ok")
	want("/livez/poststarthook/rbac/bootstrap-roles", 404, "404 page not found\n")
	want("/livez/shutdown", 404, "404 page not found\n")
	want("/readyz/shutdown", 200, "ok")
	want("/healthz/", 404, "404 page not found\n")
	want("/healthz/ping/", 404, "404 page not found\n")

	broken.Store(true)
	want("/livez", 500, "[+]ping ok\n[-]etcd failed: reason withheld\nlivez check failed\n")
	want("/livez?exclude=etcd", 200, "ok")
	want("/livez?exclude=nope", 500, "[+]ping ok\n[-]etcd failed: reason withheld\n"+
		"warn: some health checks cannot be excluded: no matches for \"nope\"\nlivez check failed\n")
	want("/livez/etcd", 500, "internal server error: the disk of alice is full\n")
	broken.Store(false)

	h.Shutdown()
	want("/readyz", 500, "[+]ping ok\n[+]etcd ok\n[-]shutdown failed: reason withheld\nreadyz check failed\n")
	want("/readyz/shutdown", 500, "internal server error: process is shutting down\n")
	want("/livez", 200, "ok")
	want("/healthz", 200, "ok")
}

// Browsers must not guess that what a server says of itself is HTML.
func TestNoSniff(t *testing.T) {
	h := New(Ping(), Check{Name: "bad", On: Livez, Check: func(*http.Request) error { return errors.New("<b>") }})
	for _, path := range []string{"/healthz", "/healthz?verbose", "/livez", "/livez/bad", "/livez/none"} {
		if _, _, header := get(h, path); header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: no nosniff", path)
		}
	}
}

func TestPaths(t *testing.T) {
	h := New(Ping(), Check{Name: "etcd", On: Livez | Readyz})
	want := []string{"/healthz", "/healthz/ping", "/livez", "/livez/etcd", "/livez/ping",
		"/readyz", "/readyz/etcd", "/readyz/ping", "/readyz/shutdown"}
	if diff := cmp.Diff(want, h.Paths()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for path, handles := range map[string]bool{"/livez": true, "/livez/x/y": true, "/livezz": false, "livez": false, "/": false} {
		if h.Handles(path) != handles {
			t.Errorf("Handles(%q) is %t", path, !handles)
		}
	}
}

func TestLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var flushes atomic.Int32
		unblock := make(chan struct{})
		check := Log(func() {
			if flushes.Add(1) == 2 {
				<-unblock
			}
		})
		ask := func() error {
			err := check.Check(nil)
			synctest.Wait()
			return err
		}
		steps := []struct {
			after   time.Duration
			blocked bool
			flushes int32
		}{
			{0, false, 1},
			{30 * time.Second, false, 1}, // not a minute yet
			{30 * time.Second, false, 2}, // this one blocks
			{119 * time.Second, false, 2},
			{time.Second, true, 2},
			{time.Hour, true, 2},
		}
		for _, step := range steps {
			time.Sleep(step.after)
			if err := ask(); (err != nil) != step.blocked || flushes.Load() != step.flushes {
				t.Errorf("after another %s: %v after %d flushes", step.after, err, flushes.Load())
			}
		}
		close(unblock)
		synctest.Wait()
		if err := ask(); err != nil || flushes.Load() != 3 {
			t.Errorf("unblocked: %v after %d flushes", err, flushes.Load())
		}
	})
}
