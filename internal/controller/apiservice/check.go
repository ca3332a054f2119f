package apiservice

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/transport"
	"k8s.io/kube-aggregator/pkg/apis/apiregistration"
	api "k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/apis/discovery"

	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/state"
)

const (
	// attempts is how often a server is asked at once: one answer is enough.
	attempts = 5
	// patience is how long it has to answer.
	patience = 5 * time.Second
	// aggregator is in whose name it is asked.
	aggregator = "system:kube-aggregator"
)

// verdict is what there is to say of an APIService that is served elsewhere.
type verdict struct {
	status          apiregistration.ConditionStatus
	reason, message string
	// again, if not nil, is why it is to be looked at again soon.
	again error
}

func unavailable(reason, format string, args ...any) verdict {
	return verdict{status: apiregistration.ConditionFalse, reason: reason, message: fmt.Sprintf(format, args...)}
}

func unknown(reason, format string, args ...any) verdict {
	return verdict{status: apiregistration.ConditionUnknown, reason: reason, message: fmt.Sprintf(format, args...)}
}

// check finds out whether an APIService that has a service can be reached. An
// error says that this could not be found out.
func (c *Controller) check(ctx context.Context, s *apiregistration.APIService) (verdict, error) {
	ref := s.Spec.Service
	service, err := c.service(ref.Namespace, ref.Name)
	switch {
	case err != nil:
		return unknown("ServiceAccessError", "service/%s in %q cannot be checked due to: %v", ref.Name, ref.Namespace, err), nil
	case service == nil:
		return unavailable("ServiceNotFound", "service/%s in %q is not present", ref.Name, ref.Namespace), nil
	case service.Spec.Type == api.ServiceTypeClusterIP:
		if wrong := c.checkEndpoints(ref, service); wrong != nil {
			return *wrong, nil
		}
	}
	by, err := c.Transport(&s.Spec)
	if err != nil {
		return verdict{}, err
	}
	if err := c.ask(ctx, s, by); err != nil {
		v := unavailable("FailedDiscoveryCheck", "%v", err)
		v.again = err
		return v, nil
	}
	return verdict{status: apiregistration.ConditionTrue, reason: "Passed", message: "all checks passed"}, nil
}

// checkEndpoints tells what is wrong with the port and the endpoints of a
// Service that has an address of its own; nil if nothing is.
func (c *Controller) checkEndpoints(ref *apiregistration.ServiceReference, service *api.Service) *verdict {
	i := slices.IndexFunc(service.Spec.Ports, func(p api.ServicePort) bool { return p.Port == ref.Port })
	if i < 0 {
		v := unavailable("ServicePortError", "service/%s in %q is not listening on port %d", ref.Name, ref.Namespace, ref.Port)
		return &v
	}
	port := service.Spec.Ports[i].Name
	all, err := c.endpointSlices(ref.Namespace, ref.Name)
	var v verdict
	switch {
	case err != nil:
		v = unknown("EndpointsAccessError", "service/%s in %q cannot be checked due to: %v", ref.Name, ref.Namespace, err)
	case len(all) == 0:
		v = unavailable("EndpointsNotFound", "cannot find endpointslices for service/%s in %q", ref.Name, ref.Namespace)
	case !slices.ContainsFunc(all, func(s *discovery.EndpointSlice) bool { return serves(s, port) }):
		v = unavailable("MissingEndpoints", "endpointslices for service/%s in %q have no addresses with port name %q", ref.Name, ref.Namespace, port)
	default:
		return nil
	}
	return &v
}

// serves reports whether an endpoint of s is ready and has the port.
func serves(s *discovery.EndpointSlice, port string) bool {
	ready := func(e discovery.Endpoint) bool { return e.Conditions.Ready == nil || *e.Conditions.Ready }
	is := func(p discovery.EndpointPort) bool { return p.Name != nil && *p.Name == port && p.Port != nil }
	return slices.ContainsFunc(s.Endpoints, ready) && slices.ContainsFunc(s.Ports, is)
}

// service returns a Service, or nil if there is none.
func (c *Controller) service(namespace, name string) (*api.Service, error) {
	if c.services == nil {
		return nil, nil
	}
	o := c.verbs.State.Get(c.services.Storage.Key(namespace, name))
	if o == nil {
		return nil, nil
	}
	return controller.Read[*api.Service](c.services, o)
}

// endpointSlices returns those of a Service.
func (c *Controller) endpointSlices(namespace, service string) ([]*discovery.EndpointSlice, error) {
	if c.slices == nil {
		return nil, nil
	}
	var found []*discovery.EndpointSlice
	var failed error
	c.verbs.State.Snapshot(c.slices.Storage.Prefix).Each(state.Range{Namespace: namespace}, func(o *object.Object) bool {
		about, err := o.Attributes(c.slices.Selector())
		if err == nil && about.Labels.Get(discoveryv1.LabelServiceName) != service {
			return true
		}
		var s *discovery.EndpointSlice
		if err == nil {
			s, err = controller.Read[*discovery.EndpointSlice](c.slices, o)
		}
		failed = err
		found = append(found, s)
		return err == nil
	})
	return found, failed
}

// ask asks a server for the discovery document of the version it is to serve,
// several times at once, and returns when it has answered once, or the last
// error. The others have their time to be answered, too.
func (c *Controller) ask(ctx context.Context, s *apiregistration.APIService, by http.RoundTripper) error {
	client := &http.Client{
		Transport: by, Timeout: patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	results := make(chan error, attempts)
	for range attempts {
		c.asking.Go(func() { results <- c.askOnce(ctx, s, client) })
	}
	var err error
	for range attempts {
		if err = <-results; err == nil {
			return nil
		}
	}
	return err
}

func (c *Controller) askOnce(ctx context.Context, s *apiregistration.APIService, client *http.Client) error {
	ref := s.Spec.Service
	location, err := c.ResolveEndpoint(ref.Namespace, ref.Name, ref.Port)
	if err != nil {
		return err
	}
	location.Path = documentPath(&s.Spec)
	if err := get(ctx, client, location); err != nil {
		utilnet.CloseIdleConnectionsFor(client.Transport)
		return fmt.Errorf("failing or missing response from %v: %w", location, err)
	}
	return nil
}

// documentPath is where the discovery document of a version is.
func documentPath(spec *apiregistration.APIServiceSpec) string {
	if spec.Group == "" {
		return "/api/" + spec.Version
	}
	return "/apis/" + spec.Group + "/" + spec.Version
}

// get asks for a document, as one who may see everything.
func get(ctx context.Context, client *http.Client, location *url.URL) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, location.String(), nil)
	if err != nil {
		return err
	}
	transport.SetAuthProxyHeaders(request, aggregator, "", []string{user.SystemPrivilegedGroup}, nil)
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	_ = answer.Body.Close() // what it says does not matter
	if answer.StatusCode < http.StatusOK || answer.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("bad status from %v: %d", location, answer.StatusCode)
	}
	return nil
}
