package aggregate

import (
	"net/url"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/util/proxy"
	listersv1 "k8s.io/client-go/listers/core/v1"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/state"
)

// Resolver finds the addresses of Services as they are at the time. It is safe
// for concurrent use.
type Resolver struct {
	services  services
	slices    endpointSlices
	endpoints bool
	self      url.URL
}

// NewResolver returns a resolver of the Services in st. With endpoints, it
// returns the address of one of a Service's endpoints, and otherwise the
// Service's own. self is where this server is: what the kubernetes Service is
// resolved to.
func NewResolver(st *state.State, catalogue *kind.Catalogue, endpoints bool, self *url.URL) *Resolver {
	return &Resolver{
		services:  services{kept{st, catalogue.Lookup(corev1.SchemeGroupVersion.WithResource("services"))}},
		slices:    endpointSlices{kept{st, catalogue.Lookup(discoveryv1.SchemeGroupVersion.WithResource("endpointslices"))}},
		endpoints: endpoints, self: *self,
	}
}

// ResolveEndpoint returns where a port of a Service is: a URL of a scheme and a
// host, the caller's own. Errors are upstream's.
func (r *Resolver) ResolveEndpoint(namespace, name string, port int32) (*url.URL, error) {
	if namespace == corev1.NamespaceDefault && name == "kubernetes" && port == 443 {
		self := r.self
		return &self, nil
	}
	if r.endpoints {
		return proxy.ResolveEndpoint(r.services, r.slices, namespace, name, port)
	}
	return proxy.ResolveCluster(r.services, namespace, name, port)
}

// EndpointSlices returns what finds the EndpointSlices of a Service.
func (r *Resolver) EndpointSlices() proxy.EndpointSliceGetter { return r.slices }

// kept are the objects of a version; none if it is nil.
type kept struct {
	state   *state.State
	version *kind.Version
}

// decode returns a stored object in its version.
func (k kept) decode(o *object.Object) (runtime.Object, error) {
	hub, err := k.version.Resource.Decode(o)
	if err != nil {
		return nil, err
	}
	return k.version.FromHub(hub)
}

// each calls visit for the objects of a namespace, or all, that a selector
// selects, until it fails.
func (k kept) each(namespace string, selector labels.Selector, visit func(runtime.Object)) error {
	if k.version == nil {
		return nil
	}
	var failed error
	k.state.Snapshot(k.version.Resource.Storage.Prefix).Each(state.Range{Namespace: namespace}, func(o *object.Object) bool {
		about, err := o.Attributes(k.version.Resource.Selector())
		if err == nil && !selector.Matches(about.Labels) {
			return true
		}
		var obj runtime.Object
		if err == nil {
			obj, err = k.decode(o)
		}
		if failed = err; failed != nil {
			return false
		}
		visit(obj)
		return true
	})
	return failed
}

// services are the Services, as upstream's rules want them.
type services struct{ kept }

func (s services) Services(namespace string) listersv1.ServiceNamespaceLister {
	return servicesOf{s, namespace}
}

func (s services) List(selector labels.Selector) ([]*corev1.Service, error) {
	return servicesOf{s, ""}.List(selector)
}

// servicesOf are those of one namespace, or all.
type servicesOf struct {
	services
	namespace string
}

func (s servicesOf) List(selector labels.Selector) ([]*corev1.Service, error) {
	var found []*corev1.Service
	err := s.each(s.namespace, selector, func(obj runtime.Object) { found = append(found, obj.(*corev1.Service)) })
	return found, err
}

func (s servicesOf) Get(name string) (*corev1.Service, error) {
	// In the words of client-go's caches, which have the kind in place of the
	// resource.
	missing := apierrors.NewNotFound(corev1.Resource("service"), name)
	if s.version == nil {
		return nil, missing
	}
	o := s.state.Get(s.version.Resource.Storage.Key(s.namespace, name))
	if o == nil {
		return nil, missing
	}
	obj, err := s.decode(o)
	if err != nil {
		return nil, err
	}
	return obj.(*corev1.Service), nil
}

// endpointSlices are the EndpointSlices, as upstream's rules want them.
type endpointSlices struct{ kept }

func (s endpointSlices) GetEndpointSlices(namespace, service string) ([]*discoveryv1.EndpointSlice, error) {
	var found []*discoveryv1.EndpointSlice
	selector := labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: service})
	err := s.each(namespace, selector, func(obj runtime.Object) { found = append(found, obj.(*discoveryv1.EndpointSlice)) })
	return found, err
}
