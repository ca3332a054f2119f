package audit

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	auditinternal "k8s.io/apiserver/pkg/apis/audit"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	pluginlog "k8s.io/apiserver/plugin/pkg/audit/log"
)

// made makes up an event, from ordinary ones to such as nobody sends.
func made(r *rand.Rand) *auditinternal.Event {
	maybe := func(odds int) bool { return r.IntN(odds) == 0 }
	text := func() string {
		pieces := []string{"", "get", "/api/v1/pods?a=b&c=<d>", "\"quoted\"", `back\slash`, "tab\tline\n", "é", "\u2028", "\xff\xfe", "\x7f", "~", "😀", "system:node:a", "\x00"}
		s := pieces[r.IntN(len(pieces))]
		if maybe(2) {
			s += pieces[r.IntN(len(pieces))]
		}
		return s
	}
	texts := func() []string {
		if maybe(4) {
			return nil
		}
		all := make([]string, r.IntN(3))
		for i := range all {
			all[i] = text()
		}
		return all
	}
	person := func() authenticationv1.UserInfo {
		u := authenticationv1.UserInfo{Username: text(), UID: text(), Groups: texts()}
		if maybe(2) {
			u.Extra = map[string]authenticationv1.ExtraValue{}
			for range r.IntN(3) {
				u.Extra[text()] = texts()
			}
		}
		return u
	}
	moment := func() metav1.MicroTime {
		if maybe(8) {
			return metav1.MicroTime{}
		}
		zone := time.FixedZone("z", r.IntN(40000)-20000)
		return metav1.NewMicroTime(time.Unix(r.Int64N(1<<33), r.Int64N(1e9)).In(zone))
	}
	e := &auditinternal.Event{
		Level: auditinternal.Level(text()), AuditID: types.UID(text()), Stage: auditinternal.Stage(text()), RequestURI: text(), Verb: text(),
		User: person(), SourceIPs: texts(), UserAgent: text(), RequestReceivedTimestamp: moment(), StageTimestamp: moment(),
	}
	if maybe(2) {
		who := person()
		e.ImpersonatedUser = &who
		e.AuthenticationMetadata = &auditinternal.AuthenticationMetadata{ImpersonationConstraint: text()}
	}
	if maybe(2) {
		e.ObjectRef = &auditinternal.ObjectReference{Resource: text(), Namespace: text(), Name: text(), UID: types.UID(text()),
			APIGroup: text(), APIVersion: text(), ResourceVersion: text(), Subresource: text()}
	}
	if maybe(2) {
		s := &metav1.Status{Status: text(), Message: text(), Reason: metav1.StatusReason(text()), Code: int32(r.IntN(3)) * 200}
		if maybe(3) {
			s.Details = &metav1.StatusDetails{Name: text(), Causes: []metav1.StatusCause{{Message: text()}}}
		}
		if maybe(3) {
			s.ResourceVersion, s.Kind = text(), text()
		}
		e.ResponseStatus = s
	}
	if maybe(3) {
		e.RequestObject = &runtime.Unknown{Raw: []byte(`{"a": "<b>"}`), ContentType: runtime.ContentTypeJSON}
		e.ResponseObject = &runtime.Unknown{}
	}
	if maybe(2) {
		e.Annotations = map[string]string{}
		for range r.IntN(4) {
			e.Annotations[text()] = text()
		}
	}
	return e
}

// A line is to the byte what upstream's backend writes.
func TestLinesAreUpstreams(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	var ours, theirs bytes.Buffer
	b := newLines(&ours)
	u := pluginlog.NewBackend(&theirs, pluginlog.FormatJson, auditv1.SchemeGroupVersion)
	for range 5000 {
		e := made(r)
		if got, want := b.ProcessEvents(e), u.ProcessEvents(e); got != want {
			t.Fatalf("written: %v, upstream: %v: %+v", got, want, e)
		}
		if !bytes.Equal(ours.Bytes(), theirs.Bytes()) {
			t.Fatalf("got\n%s\nwant\n%s", ours.Bytes(), theirs.Bytes())
		}
		ours.Reset()
		theirs.Reset()
	}
}

type broken struct{ after int }

func (b *broken) Write(p []byte) (int, error) {
	if b.after--; b.after < 0 {
		return 0, errors.New("full")
	}
	return len(p), nil
}

// One that cannot be written is told of, and the others are written.
func TestLinesThatFail(t *testing.T) {
	if newLines(&broken{1}).ProcessEvents(&auditinternal.Event{}, &auditinternal.Event{}) {
		t.Error("a line that was not written is not told of")
	}
	var out bytes.Buffer
	bad := &auditinternal.Event{RequestObject: &runtime.Unknown{Raw: []byte(`{`), ContentType: runtime.ContentTypeJSON}}
	if newLines(&out).ProcessEvents(bad, &auditinternal.Event{}) || bytes.Count(out.Bytes(), []byte("\n")) != 1 {
		t.Errorf("of one that can be written and one that cannot: %q", out.Bytes())
	}
}

func BenchmarkLines(b *testing.B) {
	code := &metav1.Status{Code: 200}
	e := &auditinternal.Event{
		Level: auditinternal.LevelMetadata, AuditID: "4d0dd4e2-6d0c-4d2c-8c39-2d5a8a1e6f4b", Stage: auditinternal.StageResponseComplete,
		RequestURI: "/api/v1/namespaces/bench/pods/web-1", Verb: "get", SourceIPs: []string{"127.0.0.1"}, UserAgent: "kubectl/v1.37.2",
		User:                     authenticationv1.UserInfo{Username: "jane", Groups: []string{"dev", "system:authenticated"}},
		ObjectRef:                &auditinternal.ObjectReference{Resource: "pods", Namespace: "bench", Name: "web-1", APIVersion: "v1"},
		RequestReceivedTimestamp: metav1.NowMicro(), StageTimestamp: metav1.NowMicro(), ResponseStatus: code,
		Annotations: map[string]string{"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": "RBAC: allowed by ClusterRoleBinding \"dev\""},
	}
	for name, backend := range map[string]interface {
		ProcessEvents(...*auditinternal.Event) bool
	}{
		"ours":   newLines(io.Discard),
		"theirs": pluginlog.NewBackend(io.Discard, pluginlog.FormatJson, auditv1.SchemeGroupVersion),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				backend.ProcessEvents(e)
			}
		})
	}
}
