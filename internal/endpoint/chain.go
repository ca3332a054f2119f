package endpoint

import (
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/filters/impersonation"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/features"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/klog/v2"
)

// withPanicRecovery turns a panic in a handler into one 500 and a line in the
// log. http.ErrAbortHandler, which means to drop the connection, passes.
func withPanicRecovery(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if p == http.ErrAbortHandler { //nolint:errorlint // it is compared like this in net/http
				panic(p)
			}
			klog.ErrorS(fmt.Errorf("%v", p), "Panic in a handler", "method", r.Method, "path", r.URL.Path, "stack", string(debug.Stack()))
			http.Error(w, "This request caused apiserver to panic. Look in the logs for details.", http.StatusInternalServerError)
		}()
		next.ServeHTTP(w, r)
	})
}

// withImpersonation has requests be those of the user that their headers name, if
// who asks may act for him, and refuses them if not.
func withImpersonation(next http.Handler, a authorizer.Authorizer, status runtime.NegotiatedSerializer) http.Handler {
	if utilfeature.DefaultFeatureGate.Enabled(features.ConstrainedImpersonation) {
		return impersonation.WithConstrainedImpersonation(next, a, status)
	}
	return impersonation.WithImpersonation(next, a, status)
}

// BackupPath is the path of what lasts as long as there are objects to send.
const BackupPath = "/knarr/v1/backup"

// longRunning reports whether a request may last: a watch, a backup, or one that
// connects the client through the server.
func longRunning(_ *http.Request, info *request.RequestInfo) bool {
	if !info.IsResourceRequest {
		return info.Path == BackupPath
	}
	switch info.Verb {
	case "watch", "proxy":
		return true
	}
	switch info.Subresource {
	case "attach", "exec", "proxy", "log", "portforward":
		return true
	}
	return false
}

// withMaxInFlight refuses requests beyond the limits with 429, except those of
// system:masters, who must always be able to look.
func (e *Endpoint) withMaxInFlight(next http.Handler) http.Handler {
	semaphore := func(n int) chan struct{} {
		if n < 0 {
			return nil
		}
		return make(chan struct{}, n)
	}
	reading, writing := semaphore(e.MaxInFlight), semaphore(e.MaxMutatingInFlight)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		info, _ := request.RequestInfoFrom(r.Context())
		slots := writing
		if info == nil || longRunning(r, info) {
			slots = nil
		} else if v := info.Verb; v == "get" || v == "list" {
			slots = reading
		}
		if slots == nil {
			next.ServeHTTP(w, r)
			return
		}
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		default:
			if u, ok := request.UserFrom(r.Context()); !ok || !slices.Contains(u.GetGroups(), user.SystemPrivilegedGroup) {
				refuse(w)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}
