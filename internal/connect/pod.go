package connect

import (
	"context"
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/proxy"
	genericrest "k8s.io/apiserver/pkg/registry/generic/rest"
	"k8s.io/apiserver/pkg/registry/rest"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	api "k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/apis/core/validation"
	"k8s.io/kubernetes/pkg/capabilities"
	"k8s.io/kubernetes/pkg/features"
	"k8s.io/kubernetes/pkg/registry/core/pod"
)

// podProxy passes requests on to a port of a pod. Upstream's is bound to its store.
type podProxy struct{ *Connections }

func (*podProxy) New() runtime.Object { return &api.PodProxyOptions{} }
func (*podProxy) Destroy()            {}
func (*podProxy) ConnectMethods() []string {
	return []string{"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"}
}

func (*podProxy) NewConnectOptions() (runtime.Object, bool, string) {
	return &api.PodProxyOptions{}, true, "path"
}

func (p *podProxy) Connect(ctx context.Context, name string, opts runtime.Object, answer rest.Responder) (http.Handler, error) {
	o, ok := opts.(*api.PodProxyOptions)
	if !ok {
		return nil, fmt.Errorf("%T are no options of a proxy", opts)
	}
	location, by, err := pod.ResourceLocation(ctx, getter{p.Connections, pods}, p.plain, name)
	if err != nil {
		return nil, err
	}
	location.Path = utilnet.JoinPreservingTrailingSlash(location.Path, o.Path)
	h := proxy.NewUpgradeAwareHandler(location, by, true, false, proxy.NewErrorResponder(answer))
	h.MaxBytesPerSec = capabilities.Get().PerConnectionBandwidthLimitBytesPerSec
	return h, nil
}

// podLog reads the log of a container. Upstream's is bound to its store.
type podLog struct{ *Connections }

func (*podLog) New() runtime.Object { return &api.Pod{} }
func (*podLog) Destroy()            {}

func (*podLog) NewGetOptions() (runtime.Object, bool, string) {
	return &api.PodLogOptions{}, false, ""
}

func (l *podLog) Get(ctx context.Context, name string, opts runtime.Object) (runtime.Object, error) {
	o, ok := opts.(*api.PodLogOptions)
	if !ok {
		return nil, fmt.Errorf("%T are no options of a log", opts)
	}
	split := utilfeature.DefaultFeatureGate.Enabled(features.PodLogsQuerySplitStreams)
	if split && o.Stream == nil { // a query without parameters has no defaults
		all := api.LogStreamAll
		o.Stream = &all
	}
	if errs := validation.ValidatePodLogOptions(o, split); len(errs) > 0 {
		return nil, apierrors.NewInvalid(api.Kind("PodLogOptions"), name, errs)
	}
	location, by, err := pod.LogLocation(ctx, getter{l.Connections, pods}, l.kubelets, name, o)
	if err != nil {
		return nil, err
	}
	return &genericrest.LocationStreamer{
		Location:        location,
		Transport:       by,
		ContentType:     "text/plain",
		Flush:           o.Follow,
		ResponseChecker: genericrest.NewGenericHttpResponseChecker(api.Resource("pods/log"), name),
		RedirectChecker: genericrest.PreventRedirects,
	}, nil
}
