// Package connect leads from an object to what is behind it: a node's kubelet, a
// pod's containers, what serves for a Service. The rules are upstream's, and read
// what is true now: where something is, whether it may be reached, and in which
// words it is refused (k8s.io/kubernetes/pkg/registry/core/{node,pod,service}).
//
// It must not know who may connect, nor what is said on a connection.
package connect

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	noderest "k8s.io/kubernetes/pkg/registry/core/node/rest"
	podrest "k8s.io/kubernetes/pkg/registry/core/pod/rest"
	"k8s.io/kubernetes/pkg/registry/core/service"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/verb"
)

// Options is what Connections are made of.
type Options struct {
	// Dial makes all connections. Who has made them closes them at the end.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// EndpointSlices finds the endpoints of Services, of which those of Family are
	// asked first.
	EndpointSlices interface {
		GetEndpointSlices(namespace, service string) ([]*discoveryv1.EndpointSlice, error)
	}
	Family  corev1.IPFamily
	Kubelet KubeletOptions
}

// Connections connects clients to what is behind objects. It is safe for
// concurrent use.
type Connections struct {
	kubelets *kubelets
	plain    *http.Transport
	verbs    *verb.Verbs
	options  Options
	versions map[schema.GroupVersionResource]*kind.Version
}

// New returns connections of the objects that verbs has.
func New(verbs *verb.Verbs, catalogue *kind.Catalogue, o Options) (*Connections, error) {
	c := &Connections{verbs: verbs, options: o, versions: map[schema.GroupVersionResource]*kind.Version{}}
	for _, gvr := range []schema.GroupVersionResource{nodes, pods, services} {
		if v := catalogue.Lookup(gvr); v != nil {
			c.versions[gvr] = v
		}
	}
	var err error
	if c.kubelets, err = newKubelets(o.Kubelet, o.Dial, c.node); err != nil {
		return nil, err
	}
	// Pods are reached by addresses, for which no certificate is.
	c.plain = utilnet.SetTransportDefaults(&http.Transport{
		DialContext: o.Dial, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	})
	return c, nil
}

// Reload reads the files again by which kubelets and this server know each other.
func (c *Connections) Reload() error { return c.kubelets.load() }

// Close closes what is kept for requests to come. There must be none any more.
func (c *Connections) Close() {
	c.plain.CloseIdleConnections()
	c.kubelets.close()
}

var (
	nodes    = corev1.SchemeGroupVersion.WithResource("nodes")
	pods     = corev1.SchemeGroupVersion.WithResource("pods")
	services = corev1.SchemeGroupVersion.WithResource("services")
)

// Connecters are the subresources that connect clients.
func (c *Connections) Connecters() map[verb.ActionKey]rest.Connecter {
	of := func(gvr schema.GroupVersionResource, name string) verb.ActionKey {
		return verb.ActionKey{GroupResource: gvr.GroupResource(), Subresource: name}
	}
	pod, may := getter{c, pods}, c.verbs.Authorizer
	return map[verb.ActionKey]rest.Connecter{
		// The store of a node is handed on and never asked: the kubelet's is.
		of(nodes, "proxy"):      &noderest.ProxyREST{Connection: c.kubelets, ProxyTransport: c.plain},
		of(services, "proxy"):   &service.ProxyREST{Redirector: &redirector{c}, ProxyTransport: c.plain},
		of(pods, "proxy"):       &podProxy{c},
		of(pods, "attach"):      &podrest.AttachREST{Store: pod, KubeletConn: c.kubelets, Authorizer: may},
		of(pods, "exec"):        &podrest.ExecREST{Store: pod, KubeletConn: c.kubelets, Authorizer: may},
		of(pods, "portforward"): &podrest.PortForwardREST{Store: pod, KubeletConn: c.kubelets, Authorizer: may},
	}
}

// Streams are the subresources that are read from.
func (c *Connections) Streams() map[verb.ActionKey]rest.GetterWithOptions {
	return map[verb.ActionKey]rest.GetterWithOptions{
		{GroupResource: pods.GroupResource(), Subresource: "log"}: &podLog{c},
	}
}

// getter reads objects of a resource, in the namespace of the context.
type getter struct {
	*Connections
	resource schema.GroupVersionResource
}

// Get returns a hub object.
func (g getter) Get(ctx context.Context, name string, opts *metav1.GetOptions) (runtime.Object, error) {
	t := verb.Target{Version: g.versions[g.resource], Namespace: request.NamespaceValue(ctx), Name: name}
	o, err := g.verbs.Get(ctx, t, opts)
	if info, ok := request.RequestInfoFrom(ctx); ok && apierrors.IsNotFound(err) {
		// As upstream, in the terms of what the request is about.
		return nil, apierrors.NewNotFound(schema.GroupResource{Group: info.APIGroup, Resource: info.Resource}, name)
	}
	if err != nil {
		return nil, err
	}
	obj, err := t.Version.Resource.Decode(o)
	if err != nil {
		return nil, t.ReadError(o, err)
	}
	return obj, nil
}

// node returns a node as kubelets' addresses are read from.
func (c *Connections) node(ctx context.Context, name string) (*corev1.Node, error) {
	hub, err := getter{c, nodes}.Get(request.WithNamespace(ctx, ""), name, &metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	obj, err := c.versions[nodes].FromHub(hub)
	if err != nil {
		return nil, err
	}
	return obj.(*corev1.Node), nil
}
