package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	auditinternal "k8s.io/apiserver/pkg/apis/audit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const everything = `{"apiVersion":"audit.k8s.io/v1","kind":"Policy","rules":[{"level":"Metadata"}]}`

func options(t *testing.T) *Options {
	o := Defaults()
	o.PolicyFile = file(t, "policy.yaml", everything)
	return o
}

func start(t *testing.T, o *Options) *Auditor {
	t.Helper()
	a, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if a == nil {
		t.Fatal("nothing is recorded")
	}
	return a
}

func event(id int) *auditinternal.Event {
	return &auditinternal.Event{AuditID: types.UID(fmt.Sprint(id)), Level: auditinternal.LevelMetadata, Stage: auditinternal.StageResponseComplete}
}

func TestNothing(t *testing.T) {
	withoutBackend := options(t)
	withoutPolicy := Defaults()
	withoutPolicy.Log.Path = filepath.Join(t.TempDir(), "audit.log")
	for name, o := range map[string]*Options{"no backend": withoutBackend, "no policy": withoutPolicy} {
		a, err := New(o)
		if a != nil || err != nil {
			t.Errorf("%s: %v, %v", name, a, err)
		}
		if a.Sink() != nil || a.Policy() != nil || a.Stop(t.Context()) != nil {
			t.Errorf("%s: something is recorded", name)
		}
	}
	if _, err := os.Stat(withoutPolicy.Log.Path); !os.IsNotExist(err) {
		t.Errorf("a log without a policy is made: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	for want, change := range map[string]func(o *Options){
		`audit log mode "eager" is not known`:                    func(o *Options) { o.Log.Mode = "eager" },
		`audit log format "xml" is not known`:                    func(o *Options) { o.Log.Format = "xml" },
		`must not be negative; 0 is no limit`:                    func(o *Options) { o.Log.MaxAge = -1 },
		`the size of the audit webhook's buffer must be`:         func(o *Options) { o.Webhook.Batch.BufferSize = 0 },
		`the size of the audit webhook's batches must be`:        func(o *Options) { o.Webhook.Batch.MaxBatchSize = 0 },
		`how many batches the audit webhook takes`:               func(o *Options) { o.Webhook.Batch.ThrottleQPS = 0 },
		`the size from which the audit log's events are`:         func(o *Options) { o.Log.Truncate.MaxEventSize = 0 },
		`the size of the audit log's batches must not be less`:   func(o *Options) { o.Log.Truncate.MaxBatchSize = 1 },
		`version "audit.k8s.io/v2" of the audit log's events is`: func(o *Options) { o.Log.Version = "audit.k8s.io/v2" },
		`loading the audit policy: `:                             func(o *Options) { o.PolicyFile = "/none" },
		`the audit webhook: `:                                    func(o *Options) { o.Webhook.ConfigFile = "/none" },
		`opening the audit log: `:                                func(o *Options) { o.Log.Path = "/proc/none/audit.log" },
	} {
		o := options(t)
		o.Log.Path = filepath.Join(t.TempDir(), "audit.log")
		o.Webhook.ConfigFile = webhook(t, "http://127.0.0.1:1")
		change(o)
		a, err := New(o)
		if err == nil {
			t.Errorf("%s: accepted", want)
			_ = a.Stop(t.Context())
			continue
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// Where nobody delivers in the background, an event is in the log when it has
// been told of; where it is, when the server has stopped.
func TestLog(t *testing.T) {
	for _, mode := range []string{Blocking, BlockingStrict, Batch} {
		t.Run(mode, func(t *testing.T) {
			o := options(t)
			o.Log.Path = filepath.Join(t.TempDir(), "new", "audit.log")
			o.Log.Mode = mode
			o.Log.Batch.MaxBatchSize, o.Log.Batch.MaxBatchWait = 1000, time.Hour
			a := start(t, o)
			for i := range 10 {
				if !a.Sink().ProcessEvents(event(i)) {
					t.Errorf("event %d was refused", i)
				}
			}
			if mode != Batch {
				ids(t, o.Log.Path, 10)
			}
			if err := a.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			ids(t, o.Log.Path, 10)
			if a.Sink().ProcessEvents(event(11)) != (mode == Blocking) {
				t.Error("an event after the end has another outcome than in kube-apiserver")
			}
			ids(t, o.Log.Path, 10)
		})
	}
}

// ids checks that a log has n events.
func ids(t *testing.T, path string, n int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	if len(lines) != n {
		t.Fatalf("%d lines, want %d", len(lines), n)
	}
	for i, line := range lines {
		var e struct{ Kind, APIVersion, AuditID string }
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		if e.Kind != "Event" || e.APIVersion != "audit.k8s.io/v1" || e.AuditID != fmt.Sprint(i) {
			t.Errorf("line %d: %s", i, line)
		}
	}
}

// webhook is the configuration of one.
func webhook(t *testing.T, url string) string {
	return file(t, "webhook.yaml", fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c",
		"contexts":[{"name":"c","context":{"cluster":"s","user":"u"}}],"users":[{"name":"u","user":{"token":"t"}}],
		"clusters":[{"name":"s","cluster":{"server":%q}}]}`, url))
}

// A webhook that does not answer holds neither requests nor, beyond the buffer,
// memory; and a stop gives it up in the end.
func TestStuckWebhook(t *testing.T) {
	release := make(chan struct{})
	arrived := make(chan struct{}, 1000)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-release
	}))
	defer server.Close()
	o := options(t)
	o.Webhook.ConfigFile = webhook(t, server.URL)
	o.Webhook.InitialBackoff = time.Millisecond
	o.Webhook.Batch.BufferSize, o.Webhook.Batch.MaxBatchSize, o.Webhook.Batch.ThrottleEnable = 5, 1, false
	a := start(t, o)
	for i := range maxDeliveries {
		if !a.Sink().ProcessEvents(event(i)) {
			t.Fatal("an event is refused")
		}
		<-arrived // it is being delivered
	}
	for i := range 50 {
		if !a.Sink().ProcessEvents(event(maxDeliveries + i)) {
			t.Fatal("an event that nobody takes fails its request")
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	impatient := errors.New("impatient")
	cancel(impatient)
	if err := a.Stop(ctx); !errors.Is(err, impatient) {
		t.Errorf("stopped: %v", err)
	}
	close(release)
	a.backend.Shutdown()
	if n := len(arrived); n < 5 || n > 5+1 { // one is in the hands of who delivers
		t.Errorf("%d events were kept; the buffer holds 5", n)
	}
}

// A failing webhook fails requests only where it is asked to.
func TestFailingWebhook(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	for mode, processed := range map[string]bool{Blocking: true, BlockingStrict: false} {
		o := options(t)
		o.Webhook.ConfigFile = webhook(t, server.URL)
		o.Webhook.InitialBackoff = time.Millisecond
		o.Webhook.Mode = mode
		a := start(t, o)
		if got := a.Sink().ProcessEvents(event(1)); got != processed {
			t.Errorf("%s: %v", mode, got)
		}
		if err := a.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// What is too large loses what makes it so.
func TestTruncation(t *testing.T) {
	o := options(t)
	o.Log.Path = filepath.Join(t.TempDir(), "audit.log")
	o.Log.TruncateEnabled = true
	o.Log.Truncate.MaxEventSize = 2000
	a := start(t, o)
	e := event(0)
	e.Level = auditinternal.LevelRequest
	e.RequestObject = &runtime.Unknown{Raw: []byte(`{"data":"` + strings.Repeat("x", 5000) + `"}`), ContentType: runtime.ContentTypeJSON}
	if !a.Sink().ProcessEvents(e) {
		t.Error("refused")
	}
	if err := a.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(o.Log.Path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), "xxxx") || !strings.Contains(string(b), `"audit.k8s.io/truncated":"true"`) {
		t.Errorf("%s", b)
	}
}
