// Package apiservice tells in the status of every APIService whether it can be
// reached, as kube-aggregator's controllers do: those that are served here
// always can; of the others it looks at the Service and its endpoints, and then
// asks the server for its discovery document.
//
// It must not know how requests get to a server: it is given what finds and
// reaches one.
package apiservice

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/klog/v2"
	"k8s.io/kube-aggregator/pkg/apis/apiregistration"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"k8s.io/utils/clock"

	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/verb"
)

// Upstream's numbers.
const (
	// workers is how many APIServices are looked at at once.
	workers = 5
	// interval is how often one that is served elsewhere is looked at if nothing
	// happens: its server may be gone without anybody telling.
	interval = 30 * time.Second
	// firstRetry is how long one that failed waits at first; it is twice as long
	// every time, up to lastRetry.
	firstRetry = 5 * time.Millisecond
	lastRetry  = 30 * time.Second
)

// manager owns the fields of what is written.
const manager = "kube-apiserver"

// actingAs is who the controller is to others.
func actingAs() user.Info {
	return &user.DefaultInfo{Name: user.APIServerUser, Groups: []string{user.SystemPrivilegedGroup, user.AllAuthenticated}}
}

// Options say how servers are found and reached.
type Options struct {
	// ResolveEndpoint returns where a Service is: a URL of a scheme and a host,
	// the caller's own.
	ResolveEndpoint func(namespace, name string, port int32) (*url.URL, error)
	// Transport returns what sends requests to the server of an APIService that
	// has a service. It is shared with others.
	Transport func(*apiregistration.APIServiceSpec) (http.RoundTripper, error)
	Clock     clock.Clock
}

// Controller looks at the APIServices of one server.
type Controller struct {
	Options
	verbs    *verb.Verbs
	version  *kind.Version
	services *kind.Resource // nil if there are none, as slices
	slices   *kind.Resource
	schedule *controller.Schedule[string] // names
	asking   sync.WaitGroup               // servers, see ask

	mu       sync.Mutex // guards what follows
	uses     map[string]types.NamespacedName
	failures map[string]int
}

// New returns a controller that writes through verbs; nil if the catalogue has
// no APIServices.
func New(verbs *verb.Verbs, catalogue *kind.Catalogue, o Options) *Controller {
	c := &Controller{
		Options: o, verbs: verbs, version: catalogue.Lookup(apiregistrationv1.SchemeGroupVersion.WithResource("apiservices")),
		services: catalogue.Resource(corev1.Resource("services")),
		slices:   catalogue.Resource(discoveryv1.Resource("endpointslices")),
		schedule: controller.NewSchedule[string](o.Clock),
		uses:     map[string]types.NamespacedName{}, failures: map[string]int{},
	}
	if c.version == nil {
		return nil
	}
	return c
}

// Run looks at APIServices until ctx ends, and returns when nothing that it has
// begun goes on.
func (c *Controller) Run(ctx context.Context) {
	var running sync.WaitGroup
	defer c.asking.Wait()
	defer running.Wait()
	follow := func(r *kind.Resource, see func(*state.Event)) {
		if r != nil {
			running.Go(func() {
				c.verbs.State.Follow(ctx, r.Storage.Prefix, state.AsNew(see), see)
			})
		}
	}
	follow(c.version.Resource, c.seeAPIService)
	follow(c.services, c.seeService)
	follow(c.slices, c.seeSlice)
	// It waits otherwise after failures than others do.
	c.schedule.WorkMany(ctx, workers, func(ctx context.Context, name string) error {
		c.lookAgain(name, c.look(ctx, name))
		return nil
	}, nil)
}

// settled are in the storage form, which is JSON without spaces, of every
// APIService that says that it is served here.
var settled = [][]byte{
	[]byte(`"type":"Available","status":"True","lastTransitionTime":`),
	[]byte(`"reason":"Local","message":"Local APIServices are always available"`),
}

// seeAPIService has an APIService looked at, and notes what Service it uses.
func (c *Controller) seeAPIService(e *state.Event) {
	o := e.Object
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.uses, o.Name)
	if e.Deleted {
		c.schedule.Add(o.Name)
		return
	}
	if bytes.Contains(o.Value, []byte(`"service":`)) {
		if service, err := controller.Read[*apiregistration.APIService](c.version.Resource, o); err == nil && service.Spec.Service != nil {
			c.uses[o.Name] = types.NamespacedName{Namespace: service.Spec.Service.Namespace, Name: service.Spec.Service.Name}
		}
	} else if bytes.Contains(o.Value, settled[0]) && bytes.Contains(o.Value, settled[1]) {
		return
	}
	c.schedule.Add(o.Name)
}

// seeService has the APIServices of a Service looked at.
func (c *Controller) seeService(e *state.Event) {
	c.seeUsed(types.NamespacedName{Namespace: e.Object.Namespace, Name: e.Object.Name})
}

// seeSlice is seeService for its endpoints.
func (c *Controller) seeSlice(e *state.Event) {
	if about, err := e.Object.Attributes(c.slices.Selector()); err == nil {
		c.seeUsed(types.NamespacedName{Namespace: e.Object.Namespace, Name: about.Labels.Get(discoveryv1.LabelServiceName)})
	}
}

func (c *Controller) seeUsed(service types.NamespacedName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, used := range c.uses {
		if used == service {
			c.schedule.Add(name)
		}
	}
}

// lookAgain sets when a name is looked at again: sooner if that has failed.
func (c *Controller) lookAgain(name string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		klog.V(2).InfoS("An APIService will be looked at again", "apiService", name, "err", err)
		wait := lastRetry
		if n := c.failures[name]; n < 13 { // 5 ms doubled so often is more
			wait = min(firstRetry<<n, lastRetry)
		}
		c.failures[name]++
		c.schedule.AddAfter(name, wait)
		return
	}
	delete(c.failures, name)
	if _, remote := c.uses[name]; remote {
		c.schedule.AddAfter(name, interval)
	}
}

// look has an APIService tell whether it can be reached. An error has it looked
// at again.
func (c *Controller) look(ctx context.Context, name string) error {
	o := c.verbs.State.Get(c.version.Resource.Storage.Key("", name))
	if o == nil {
		return nil
	}
	service, err := controller.Read[*apiregistration.APIService](c.version.Resource, o)
	if err != nil {
		return err
	}
	before := service.Status.DeepCopy()
	condition := apiregistration.NewLocalAvailableAPIServiceCondition()
	var unreachable error
	if service.Spec.Service != nil {
		v, err := c.check(ctx, service)
		if err != nil {
			return err
		}
		condition.Status, condition.Reason, condition.Message, unreachable = v.status, v.reason, v.message, v.again
	}
	if err := context.Cause(ctx); err != nil {
		return err // what was found out may be nothing but that
	}
	condition.LastTransitionTime = metav1.NewTime(c.Clock.Now())
	apiregistration.SetAPIServiceCondition(service, condition)
	if equality.Semantic.DeepEqual(before, &service.Status) {
		return unreachable
	}
	klog.V(2).InfoS("Changing an APIService's availability", "apiService", name, "status", condition.Status, "reason", condition.Reason, "message", condition.Message)
	t := verb.Target{Version: c.version, Subresource: c.version.Subresource("status"), Name: name}
	if _, err := c.verbs.Update(t.Context(ctx, "update", actingAs()), t, service, &metav1.UpdateOptions{FieldManager: manager}); err != nil {
		return err
	}
	return unreachable
}
