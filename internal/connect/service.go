package connect

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/util/proxy"
	"k8s.io/klog/v2"
	api "k8s.io/kubernetes/pkg/apis/core"
)

// redirector finds one of a Service's ready endpoints. Upstream's is bound to its
// store: pkg/registry/core/service/storage.
type redirector struct{ *Connections }

// ResourceLocation returns where id leads: a Service's name, name:port or
// scheme:name:port, the port by name or number or empty for the only one.
func (r *redirector) ResourceLocation(ctx context.Context, id string) (*url.URL, http.RoundTripper, error) {
	scheme, name, port, valid := utilnet.SplitSchemeNamePort(id)
	if !valid {
		return nil, nil, apierrors.NewBadRequest(fmt.Sprintf("invalid service request %q", id))
	}
	if number, err := strconv.ParseInt(port, 10, 64); err == nil {
		if port, err = r.portName(ctx, name, number); err != nil {
			return nil, nil, err
		}
	}
	namespace := request.NamespaceValue(ctx)
	if namespace == "" {
		return nil, nil, apierrors.NewBadRequest("missing required namespace")
	}
	found, err := r.options.EndpointSlices.GetEndpointSlices(namespace, name)
	if err != nil {
		return nil, nil, apierrors.NewInternalError(err)
	}
	if len(found) == 0 {
		return nil, nil, apierrors.NewServiceUnavailable(fmt.Sprintf("no endpoints available for service %q", name))
	}
	host, err := proxy.RandomEndpoint(name, found, port, r.options.Family, func(e *discoveryv1.Endpoint) bool {
		err := r.isPod(ctx, e)
		if err != nil {
			klog.ErrorS(err, "Requests to a Service are not passed on to one of its endpoints", "namespace", namespace, "service", name)
		}
		return err == nil
	})
	if err != nil {
		return nil, nil, err
	}
	return &url.URL{Scheme: scheme, Host: host}, r.plain, nil
}

// portName returns the name that a Service's port has.
func (r *redirector) portName(ctx context.Context, name string, number int64) (string, error) {
	obj, err := getter{r.Connections, services}.Get(ctx, name, &metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	for _, p := range obj.(*api.Service).Spec.Ports {
		if int64(p.Port) == number {
			return p.Name, nil
		}
	}
	return "", apierrors.NewServiceUnavailable(fmt.Sprintf("no service port %d found for service %q", number, name))
}

// isPod makes sure that an endpoint is the pod that it says it is: who may write
// EndpointSlices is not to reach any address from here.
func (r *redirector) isPod(ctx context.Context, e *discoveryv1.Endpoint) error {
	ref := e.TargetRef
	switch {
	case ref == nil:
		return fmt.Errorf("%v names no pod", e.Addresses)
	case ref.Namespace != request.NamespaceValue(ctx):
		return fmt.Errorf("%v is of namespace %q", e.Addresses, ref.Namespace)
	}
	obj, err := getter{r.Connections, pods}.Get(ctx, ref.Name, &metav1.GetOptions{})
	if err != nil {
		return err
	}
	ips := obj.(*api.Pod).Status.PodIPs
	if !slices.Contains(ips, api.PodIP{IP: e.Addresses[0]}) {
		return fmt.Errorf("%v is not among the addresses %v of pod %s", e.Addresses, ips, ref.Name)
	}
	return nil
}
