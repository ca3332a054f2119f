package endpoint_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	auditinternal "k8s.io/apiserver/pkg/apis/audit"
	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/audit/policy"
	"k8s.io/apiserver/pkg/authentication/authenticator"

	"github.com/knarr-io/knarr/internal/endpoint"
)

// record keeps what it is told, as it is then. It takes no event of a stage
// that it refuses.
type record struct {
	mu      sync.Mutex
	events  []*auditinternal.Event
	refuses auditinternal.Stage
}

func (r *record) ProcessEvents(events ...*auditinternal.Event) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range events {
		if e.Stage == r.refuses {
			return false
		}
		r.events = append(r.events, e.DeepCopy())
	}
	return true
}

// take returns what it was told since the last time, but for the events of
// requests just received.
func (r *record) take() []*auditinternal.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	var events []*auditinternal.Event
	for _, e := range r.events {
		if e.Stage != auditinternal.StageRequestReceived {
			events = append(events, e)
		}
	}
	r.events = nil
	return events
}

// audited has the server's requests recorded at a level.
func audited(t *testing.T, s *server, rule auditinternal.PolicyRule) *record {
	t.Helper()
	r := &record{}
	s.options.Audit = r
	s.options.AuditPolicy = policy.NewPolicyRuleEvaluator(&auditinternal.Policy{Rules: []auditinternal.PolicyRule{rule}})
	s.Handler = endpoint.New(s.options)
	return r
}

// one checks that one event was recorded, and returns it.
func (r *record) one(t *testing.T) *auditinternal.Event {
	t.Helper()
	events := r.take()
	if len(events) != 1 {
		t.Fatalf("%d events, want one", len(events))
	}
	return events[0]
}

// At Metadata, and of what is not to be recorded at all, nothing of an object's
// content is recorded, in whatever way it was sent or asked for.
func TestAuditMetadataShowsNothing(t *testing.T) {
	s := newServer(t)
	r := audited(t, s, auditinternal.PolicyRule{Level: auditinternal.LevelMetadata})
	secret := `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s","annotations":{"hidden":"hunter2"}},"stringData":{"password":"hunter2"}}`
	for _, request := range []struct{ line, body, header string }{
		{"POST " + secrets, secret, ""},
		{"PUT " + secrets + "/s", secret, ""},
		{"PATCH " + secrets + "/s", `{"stringData":{"password":"hunter2"}}`, ""},
		{"PATCH " + secrets + "/s?fieldManager=x&force=true", secret, "Content-Type: application/apply-patch+yaml"},
		{"PATCH " + secrets + "/s", `[{"op":"add","path":"/stringData","value":{"password":"hunter2"}}]`, "Content-Type: application/json-patch+json"},
		{"PATCH " + secrets + "/s", `{"stringData":{"password":["hunter2"]}}`, ""},
		{"POST " + secrets, `{"kind":"Secret","hunter2`, ""},
		{"GET " + secrets + "/s", "", ""},
		{"GET " + secrets, "", ""},
		{"GET " + secrets, "", "Accept: application/json;as=Table;g=meta.k8s.io;v=v1"},
		{"DELETE " + secrets + "/s", `{"kind":"DeleteOptions","apiVersion":"v1"}`, ""},
	} {
		headers := []string{"Accept: application/json", "Accept: application/json"}
		if request.header != "" {
			headers[1] = request.header
		}
		answer := s.do(request.line, request.body, headers...)
		e := r.one(t)
		if e.ResponseStatus == nil || int(e.ResponseStatus.Code) != answer.code {
			t.Errorf("%s: answered %d, recorded %v", request.line, answer.code, e.ResponseStatus)
		}
		if e.RequestObject != nil || e.ResponseObject != nil {
			t.Errorf("%s: objects are recorded", request.line)
		}
		if e.ResponseStatus != nil && answer.code >= 400 {
			e.ResponseStatus.Message, e.ResponseStatus.Details = "", nil // tell what was wrong, as upstream's do
		}
		if b, err := json.Marshal(e); err != nil || strings.Contains(string(b), "hunter2") {
			t.Errorf("%s: %s, %v", request.line, b, err)
		}
	}
}

// Which object it was is told at every level.
func TestAuditTellsWhich(t *testing.T) {
	s := newServer(t)
	for _, level := range []auditinternal.Level{auditinternal.LevelMetadata, auditinternal.LevelRequest, auditinternal.LevelRequestResponse} {
		r := audited(t, s, auditinternal.PolicyRule{Level: level})
		made := s.do("POST "+configMaps, configMap(`"name":"c"`), "Audit-ID: mine").is(201)
		if got := made.header.Get("Audit-ID"); got != "mine" {
			t.Errorf("the answer has the audit id %q", got)
		}
		e := r.one(t)
		want := &auditinternal.ObjectReference{Resource: "configmaps", Namespace: "default", Name: "c", APIVersion: "v1"}
		if diff := cmp.Diff(want, e.ObjectRef); diff != "" || e.AuditID != "mine" {
			t.Errorf("%s: id %q, (-want +got):\n%s", level, e.AuditID, diff)
		}
		uid, version := made.str("metadata.uid"), made.str("metadata.resourceVersion")
		s.do("PUT "+configMaps+"/c", configMap(`"name":"c","uid":"`+uid+`","resourceVersion":"`+version+`"`)).is(200)
		if e := r.one(t); e.ObjectRef.ResourceVersion != version || string(e.ObjectRef.UID) != uid {
			t.Errorf("%s: %+v", level, e.ObjectRef)
		}
		s.do("DELETE "+configMaps+"/c", "").is(200)
		r.take()
	}
}

// What is recorded of a request and its answer is what was sent and answered.
func TestAuditObjects(t *testing.T) {
	s := newServer(t)
	r := audited(t, s, auditinternal.PolicyRule{Level: auditinternal.LevelRequestResponse})
	check := func(answer *answer, request string) {
		t.Helper()
		e := r.one(t)
		got := ""
		if e.RequestObject != nil {
			got = string(e.RequestObject.Raw)
		}
		if request != "" || got != "" {
			var a, b any
			if json.Unmarshal([]byte(request), &a) != nil || json.Unmarshal([]byte(got), &b) != nil || !cmp.Equal(a, b) {
				t.Errorf("%s: the request is recorded as %s, want %s", answer.request, got, request)
			}
		}
		if e.ResponseObject == nil {
			t.Errorf("%s: no answer is recorded", answer.request)
			return
		}
		var response map[string]any
		if err := json.Unmarshal(e.ResponseObject.Raw, &response); err != nil {
			t.Errorf("%s: %v", answer.request, err)
		}
		if diff := cmp.Diff(answer.body, response); diff != "" {
			t.Errorf("%s: (-answered +recorded):\n%s", answer.request, diff)
		}
	}
	const metadata = "Accept: application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
	const metadataList = "Accept: application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
	const table = "Accept: application/json;as=Table;g=meta.k8s.io;v=v1"
	check(s.do("POST "+configMaps, configMap(`"name":"c"`)).is(201), `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"k":"v"}}`)
	check(s.do("PATCH "+configMaps+"/c", `{"data":{"l":"w"}}`).is(200), `{"data":{"l":"w"}}`)
	check(s.do("GET "+configMaps+"/c", "").is(200), "")
	check(s.do("GET "+configMaps+"/c", "", metadata).is(200), "")
	check(s.do("GET "+configMaps+"/c", "", table).is(200), "")
	check(s.do("GET "+configMaps, "").is(200), "")
	check(s.do("GET "+configMaps, "", metadataList).is(200), "")
	check(s.do("GET "+configMaps, "", table).is(200), "")
	check(s.do("GET "+configMaps+"/none", "").is(404), "")
	check(s.do("PATCH "+configMaps+"/c", `{"data":{"l":["w"]}}`).is(422), `{"data":{"l":["w"]}}`)
	check(s.do("DELETE "+configMaps+"/c", `{"kind":"DeleteOptions","apiVersion":"v1","gracePeriodSeconds":0}`).is(200),
		`{"kind":"DeleteOptions","apiVersion":"meta.k8s.io/__internal","gracePeriodSeconds":0}`) // so upstream's codecs have it
	check(s.do("DELETE "+configMaps, "").is(200), "")
}

func TestAuditOmitsManagedFields(t *testing.T) {
	s := newServer(t)
	for omit, want := range map[bool]bool{false: true, true: false} {
		r := audited(t, s, auditinternal.PolicyRule{Level: auditinternal.LevelRequestResponse, OmitManagedFields: &omit})
		s.do("POST "+configMaps, configMap(`"generateName":"c"`)).is(201)
		s.do("GET "+configMaps, "").is(200)
		for _, e := range r.take() {
			if got := strings.Contains(string(e.ResponseObject.Raw), "managedFields"); got != want {
				t.Errorf("omitted: %v; recorded: %v: %s", omit, got, e.RequestURI)
			}
		}
	}
}

// A watch is recorded when it begins and when it ends, without its events.
func TestAuditWatch(t *testing.T) {
	s := newServer(t)
	r := audited(t, s, auditinternal.PolicyRule{Level: auditinternal.LevelRequestResponse})
	s.do("GET "+configMaps+"?watch=true&timeoutSeconds=1", "").is(200)
	var stages []auditinternal.Stage
	for _, e := range r.take() {
		stages = append(stages, e.Stage)
		if e.ResponseObject != nil || e.ResponseStatus.Code != 200 || e.Verb != "watch" {
			t.Errorf("%+v", e)
		}
	}
	if diff := cmp.Diff([]auditinternal.Stage{auditinternal.StageResponseStarted, auditinternal.StageResponseComplete}, stages); diff != "" {
		t.Error(diff)
	}
}

// Requests that come to nothing are recorded too, and how far they got.
func TestAuditFailures(t *testing.T) {
	s := newServer(t)
	rule := auditinternal.PolicyRule{Level: auditinternal.LevelMetadata}
	r := audited(t, s, rule)
	s.do("GET "+configMaps, "", "User: nobody").is(403)
	e := r.one(t)
	if e.User.Username != "nobody" || e.Annotations["authorization.k8s.io/decision"] != "forbid" || e.Stage != auditinternal.StageResponseComplete {
		t.Errorf("forbidden: %+v", e)
	}
	s.do("GET "+configMaps, "", "Impersonate-User: alice").is(403)
	if e := r.one(t); e.User.Username != "admin" || e.ImpersonatedUser.Username != "alice" {
		t.Errorf("impersonated: %+v", e)
	}
	s.do("GET "+configMaps+"?timeout=soon", "").is(400)
	if e := r.one(t); !strings.Contains(e.ResponseStatus.Message, "invalid timeout") || e.User.Username != "" {
		t.Errorf("before authentication: %+v", e)
	}

	s.options.Authenticator = authenticator.RequestFunc(func(*http.Request) (*authenticator.Response, bool, error) { return nil, false, nil })
	r = audited(t, s, rule)
	s.do("GET "+configMaps, "", "Authorization: Bearer hunter2").is(401)
	e = r.one(t)
	if e.ResponseStatus.Code != 401 || e.Stage != auditinternal.StageResponseStarted {
		t.Errorf("unauthenticated: %s, %+v", e.Stage, e.ResponseStatus)
	}
}

// panics is a part of the server that fails.
type panics struct{ endpoint.Mux }

func (panics) Handles(path string) bool                     { return path == "/panic" }
func (panics) ServeHTTP(http.ResponseWriter, *http.Request) { panic("broken") }

func TestAuditPanic(t *testing.T) {
	s := newServer(t)
	s.options.Others = append(s.options.Others, panics{})
	r := audited(t, s, auditinternal.PolicyRule{Level: auditinternal.LevelMetadata})
	s.do("GET /panic", "").is(500)
	if e := r.one(t); e.Stage != auditinternal.StagePanic || e.ResponseStatus.Message != "APIServer panic'd: broken" {
		t.Errorf("%+v", e)
	}
}

// A request that must not go unrecorded fails if it would.
func TestAuditRefuses(t *testing.T) {
	s := newServer(t)
	r := audited(t, s, auditinternal.PolicyRule{Level: auditinternal.LevelMetadata})
	r.refuses = auditinternal.StageRequestReceived
	s.do("POST "+configMaps, configMap(`"name":"c"`)).is(500)
	r.refuses = ""
	s.do("GET "+configMaps+"/c", "").is(404)
}

// Where nothing is recorded, nothing is prepared for it.
func TestAuditOff(t *testing.T) {
	s := newServer(t)
	for name, rule := range map[string]auditinternal.PolicyRule{"none": {Level: auditinternal.LevelNone}, "no rule": {Level: auditinternal.LevelRequest, Verbs: []string{"none"}}} {
		r := audited(t, s, rule)
		s.do("GET "+configMaps, "").is(200)
		if events := r.take(); len(events) > 0 {
			t.Errorf("%s: %+v", name, events)
		}
	}
	ctx := audit.WithAuditContext(context.Background())
	if audit.AuditContextFrom(ctx).GetEventLevel() != "" {
		t.Error("an event that nobody has asked for has a level")
	}
}

func TestAuditDeprecation(t *testing.T) {
	s := newServer(t)
	r := audited(t, s, auditinternal.PolicyRule{Level: auditinternal.LevelMetadata})
	s.do("GET /api/v1/namespaces/default/endpoints", "").is(200)
	if e := r.one(t); e.Annotations["k8s.io/deprecated"] != "true" {
		t.Errorf("%v", e.Annotations)
	}
	s.do("GET "+configMaps, "").is(200)
	if e := r.one(t); e.Annotations["k8s.io/deprecated"] != "" {
		t.Errorf("%v", e.Annotations)
	}
}
