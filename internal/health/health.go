// Package health answers /healthz, /livez and /readyz: named checks in the text
// formats of kube-apiserver
// (https://kubernetes.io/docs/reference/using-api/health-checks/).
//
// It must not know what it checks: whoever builds a server hands the checks in.
package health

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"k8s.io/klog/v2"
)

// Endpoints is a set of the three paths.
type Endpoints uint8

const (
	Healthz Endpoints = 1 << iota // the path from before there were two
	Livez
	Readyz

	All = Healthz | Livez | Readyz
)

// Check is one check by name.
type Check struct {
	// Name is unique among the checks of a handler.
	Name string
	// On tells which endpoints ask for it.
	On Endpoints
	// Check returns an error if something is wrong. It is called by many
	// requests at once, and should return early if the request's context ends.
	// Its error is shown below /<endpoint>/<name> and in the log only.
	Check func(*http.Request) error
}

// Handler serves the three endpoints. It is safe for concurrent use.
type Handler struct {
	endpoints    map[string][]Check // by name of the endpoint
	shuttingDown atomic.Bool
}

// New returns a handler that asks checks in this order, and on /readyz, after
// them, whether the server is shutting down.
func New(checks ...Check) *Handler {
	h := &Handler{}
	shutdown := Check{Name: "shutdown", On: Readyz, Check: func(*http.Request) error {
		if h.shuttingDown.Load() {
			return errors.New("process is shutting down")
		}
		return nil
	}}
	checks = append(slices.Clone(checks), shutdown)
	on := func(endpoint Endpoints) []Check {
		return slices.DeleteFunc(slices.Clone(checks), func(c Check) bool { return c.On&endpoint == 0 })
	}
	h.endpoints = map[string][]Check{"healthz": on(Healthz), "livez": on(Livez), "readyz": on(Readyz)}
	return h
}

// Shutdown makes /readyz fail from now on, so that no new work is sent here.
func (h *Handler) Shutdown() { h.shuttingDown.Store(true) }

// Paths returns all paths that are served, sorted.
func (h *Handler) Paths() []string {
	var paths []string
	for endpoint, checks := range h.endpoints {
		paths = append(paths, "/"+endpoint)
		for _, check := range checks {
			paths = append(paths, "/"+endpoint+"/"+check.Name)
		}
	}
	slices.Sort(paths)
	return paths
}

// Handles reports whether the path is one of the endpoints or below one.
func (h *Handler) Handles(path string) bool {
	endpoint, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	_, ok := h.endpoints[endpoint]
	return ok && strings.HasPrefix(path, "/")
}

// ServeHTTP answers with whatever method, as upstream does. Names of checks may
// have slashes in them.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	endpoint, name, single := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	checks, ok := h.endpoints[endpoint]
	if ok && !single {
		serveAll(w, r, endpoint, checks)
		return
	}
	for _, check := range checks {
		if check.Name == name {
			serveOne(w, r, check)
			return
		}
	}
	http.NotFound(w, r)
}

func serveOne(w http.ResponseWriter, r *http.Request, check Check) {
	if err := check.Check(r); err != nil {
		http.Error(w, fmt.Sprintf("internal server error: %v", err), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprint(w, "ok")
}

func serveAll(w http.ResponseWriter, r *http.Request, endpoint string, checks []Check) {
	query := r.URL.Query()
	unmatched := map[string]bool{}
	for _, name := range query["exclude"] {
		unmatched[name] = true
	}
	var report, failures strings.Builder
	for _, check := range checks {
		if slices.Contains(query["exclude"], check.Name) {
			delete(unmatched, check.Name)
			fmt.Fprintf(&report, "[+]%s excluded: ok\n", check.Name)
		} else if err := check.Check(r); err != nil {
			// Whoever may probe need not be one who may know why.
			fmt.Fprintf(&report, "[-]%s failed: reason withheld\n", check.Name)
			fmt.Fprintf(&failures, "[-]%s failed: %v\n", check.Name, err)
		} else {
			fmt.Fprintf(&report, "[+]%s ok\n", check.Name)
		}
	}
	if len(unmatched) > 0 {
		fmt.Fprintf(&report, "warn: some health checks cannot be excluded: no matches for %s\n", quoted(unmatched))
	}
	if failures.Len() > 0 {
		klog.FromContext(r.Context()).V(2).Info("Health check failed", "endpoint", endpoint, "failures", failures.String())
		http.Error(w, report.String()+endpoint+" check failed", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if !query.Has("verbose") {
		fmt.Fprint(w, "ok")
		return
	}
	fmt.Fprintf(w, "%s%s check passed\n", report.String(), endpoint)
}

func quoted(names map[string]bool) string {
	var list []string
	for name := range names {
		list = append(list, fmt.Sprintf("%q", name))
	}
	slices.Sort(list)
	return strings.Join(list, ",")
}
