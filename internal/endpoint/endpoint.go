// Package endpoint is the HTTP front: it finds out what a request asks for,
// who may ask, in which media type, and writes what the verbs return. Hot
// answers are copied from encodings that the objects keep.
//
// It must not know what a kind means or how objects are stored.
package endpoint

import (
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/filters"
	"k8s.io/apiserver/pkg/endpoints/request"
	serverfilters "k8s.io/apiserver/pkg/server/filters"
	"k8s.io/apiserver/pkg/util/apihelpers"
	"k8s.io/apiserver/pkg/util/flowcontrol"
	flowcontrolrequest "k8s.io/apiserver/pkg/util/flowcontrol/request"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/verb"
)

// Mux serves paths that are not objects: discovery, health, version.
type Mux interface {
	http.Handler
	// Handles reports whether the path is this handler's.
	Handles(path string) bool
}

// Options is what an Endpoint is made of. Zero limits mean upstream's defaults.
type Options struct {
	Verbs         *verb.Verbs
	Catalogue     func() *kind.Catalogue
	Authenticator authenticator.Request
	Authorizer    authorizer.Authorizer
	// APIAudiences are the names of this API; credentials must be for one of
	// them. Empty asks for none.
	APIAudiences authenticator.Audiences
	// Audit is told of the requests that AuditPolicy asks for; nil for none.
	Audit       audit.Sink
	AuditPolicy audit.PolicyRuleEvaluator
	// Elsewhere serves what other servers have, whatever it is, in place of what
	// this one has at the same path; nil for nothing.
	Elsewhere Mux
	// Others serve what is not an object; the first that handles a path gets it.
	Others []Mux

	// RequestTimeout bounds requests that are not watches (60 s).
	RequestTimeout time.Duration
	// MinRequestTimeout is how long a watch without timeoutSeconds lasts at
	// least; a random time up to twice as long is chosen (1800 s).
	MinRequestTimeout time.Duration
	// MaxInFlight and MaxMutatingInFlight bound how many requests that are not
	// watches run at once (400 and 200); negative means no bound.
	MaxInFlight, MaxMutatingInFlight int
	// Fairness, if not nil, says in their place which requests run, wait or are
	// refused (KEP-1040), by what Estimate thinks they cost.
	Fairness flowcontrol.Interface
	Estimate flowcontrolrequest.WorkEstimatorFunc
	// CORSAllowedOrigins are expressions for the origins of pages that browsers let
	// see answers; HSTSDirectives is what Strict-Transport-Security says. Empty for no
	// such header.
	CORSAllowedOrigins, HSTSDirectives []string
	// Stopping is closed when the server begins to stop: watches then end.
	Stopping <-chan struct{}
}

func (o *Options) setDefaults() {
	if o.RequestTimeout == 0 {
		o.RequestTimeout = time.Minute
	}
	if o.MinRequestTimeout == 0 {
		o.MinRequestTimeout = 30 * time.Minute
	}
	if o.MaxInFlight == 0 {
		o.MaxInFlight = 400
	}
	if o.MaxMutatingInFlight == 0 {
		o.MaxMutatingInFlight = 200
	}
}

// Endpoint answers requests. It is safe for concurrent use.
type Endpoint struct {
	Options
	*pools
	verbs *verb.Verbs
	cache *object.Cache
	// status encodes answers that belong to no resource.
	status runtime.NegotiatedSerializer
	// what large requests and answers take
	bodies, decoded, whole, kept *budget
}

// New returns the handler of a server: the whole chain from the first byte of
// a request to the last of its answer.
func New(o Options) http.Handler {
	o.setDefaults()
	e := &Endpoint{Options: o, pools: newPools(), verbs: o.Verbs, cache: o.Verbs.State.Cache(), status: apihelpers.GetMetaInternalVersionCodecs()}
	e.bodies, e.decoded, e.whole, e.kept = newBudget(maxBodies), newBudget(maxDecoded), newBudget(maxWhole), newBudget(maxKept)
	info := &request.RequestInfoFactory{
		APIPrefixes:          sets.NewString("api", "apis"),
		GrouplessAPIPrefixes: sets.NewString("api"),
	}
	// The last handler named runs first, as in upstream's chain.
	var h http.Handler = http.HandlerFunc(e.route)
	h = filters.WithAuthorization(h, o.Authorizer, e.status)
	if o.Fairness != nil {
		h = serverfilters.WithPriorityAndFairness(h, longRunning, o.Fairness, o.Estimate, o.RequestTimeout/4)
	} else {
		h = e.withMaxInFlight(h)
	}
	h = withImpersonation(h, o.Authorizer, e.status)
	h = filters.WithAudit(h, o.Audit, o.AuditPolicy, longRunning)
	unauthorized := filters.WithFailedAuthenticationAudit(filters.Unauthorized(e.status), o.Audit, o.AuditPolicy)
	h = filters.WithAuthentication(h, o.Authenticator, unauthorized, o.APIAudiences, nil)
	h = serverfilters.WithCORS(h, o.CORSAllowedOrigins, nil, nil, nil, "true")
	h = filters.WithWarningRecorder(h)
	h = withCutOff(h)
	h = filters.WithRequestDeadline(h, o.Audit, o.AuditPolicy, longRunning, e.status, o.RequestTimeout)
	h = filters.WithCacheControl(h)
	h = serverfilters.WithHSTS(h, o.HSTSDirectives)
	if o.Audit != nil {
		h = filters.WithLatencyTrackers(h) // for the record of slow requests
	}
	h = filters.WithRequestInfo(h, info)
	h = filters.WithRequestReceivedTimestamp(h)
	h = withPanicRecovery(h)
	return filters.WithAuditInit(h)
}
