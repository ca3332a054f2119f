package connect_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	"github.com/knarr-io/knarr/internal/aggregate"
	"github.com/knarr-io/knarr/internal/connect"
	"github.com/knarr-io/knarr/internal/connect/connecttest"
	"github.com/knarr-io/knarr/internal/endpoint"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/native"
	"github.com/knarr-io/knarr/internal/ownership"
	"github.com/knarr-io/knarr/internal/state/statetest"
	"github.com/knarr-io/knarr/internal/verb"
)

// TestMain looks for goroutines that were left. Those of the SPDY library that wait for
// somebody to hear how a connection was closed, for a second, are its own, and the
// heartbeat is the client's.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/moby/spdystream.(*Connection).shutdown"),
		goleak.IgnoreAnyFunction("k8s.io/client-go/tools/remotecommand.(*heartbeat).start"))
}

const base = "/api/v1/namespaces/default"

// cluster is a server of which all but these is left out: what is stored, its verbs,
// and the HTTP side.
type cluster struct {
	t        testing.TB
	server   *httptest.Server
	client   *kubernetes.Clientset
	stopping chan struct{}
	verbs    *verb.Verbs
	// allowed decides about every request but those of the test's preparations.
	allowed func(authorizer.Attributes) bool
}

func newCluster(t testing.TB, kubelet connect.KubeletOptions) *cluster {
	t.Helper()
	c := &cluster{t: t, stopping: make(chan struct{})}
	st := statetest.Start(t)
	catalogue, err := native.Catalogue(native.Options{})
	if err != nil {
		t.Fatal(err)
	}
	may := authorizer.AuthorizerFunc(func(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
		if c.allowed == nil || c.allowed(a) {
			return authorizer.DecisionAllow, "", nil
		}
		return authorizer.DecisionNoOpinion, "not today", nil
	})
	verbs := &verb.Verbs{State: st, Ownership: new(ownership.Managers).For, Authorizer: may}
	c.verbs = verbs
	resolver := aggregate.NewResolver(st, catalogue, true, &url.URL{})
	connector := aggregate.NewConnector(resolver, nil, nil)
	connections, err := connect.New(verbs, catalogue, connect.Options{
		Dial: connector.Dial, EndpointSlices: resolver.EndpointSlices(), Family: corev1.IPv4Protocol, Kubelet: kubelet,
	})
	if err != nil {
		t.Fatal(err)
	}
	verbs.Connecters, verbs.Streams = connections.Connecters(), connections.Streams()
	c.server = httptest.NewUnstartedServer(endpoint.New(endpoint.Options{
		Verbs: verbs, Catalogue: func() *kind.Catalogue { return catalogue }, Authorizer: may, Stopping: c.stopping,
		Authenticator: authenticator.RequestFunc(func(*http.Request) (*authenticator.Response, bool, error) {
			return &authenticator.Response{User: &user.DefaultInfo{Name: "somebody"}}, true, nil
		}),
	}))
	c.server.StartTLS()
	t.Cleanup(func() {
		c.stop()
		c.server.Client().CloseIdleConnections()
		c.server.Close()
		connections.Close()
		connector.Close()
	})
	if c.client, err = kubernetes.NewForConfigAndClient(c.config(), c.server.Client()); err != nil {
		t.Fatal(err)
	}
	return c
}

// stop has the server stop serving.
func (c *cluster) stop() {
	select {
	case <-c.stopping:
	default:
		close(c.stopping)
	}
}

func (c *cluster) config() *rest.Config {
	return &rest.Config{Host: c.server.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true}, QPS: -1}
}

// node makes a node whose kubelet is at an address and port.
func (c *cluster) node(name, address string, port int32) {
	c.t.Helper()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	node, err := c.client.CoreV1().Nodes().Create(c.t.Context(), node, metav1.CreateOptions{})
	if err == nil && address != "" {
		node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: address}}
		node.Status.DaemonEndpoints.KubeletEndpoint.Port = port
		_, err = c.client.CoreV1().Nodes().UpdateStatus(c.t.Context(), node, metav1.UpdateOptions{})
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// pod makes a pod on a node, with a port if that is not 0.
func (c *cluster) pod(name, node, address string, port int32, containers ...string) {
	c.t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{NodeName: node}}
	for _, container := range containers {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: container, Image: "none"})
	}
	if port != 0 {
		pod.Spec.Containers[0].Ports = []corev1.ContainerPort{{Name: "web", ContainerPort: port}}
	}
	pods := c.client.CoreV1().Pods("default")
	pod, err := pods.Create(c.t.Context(), pod, metav1.CreateOptions{})
	if err == nil && address != "" {
		pod.Status.PodIP, pod.Status.PodIPs = address, []corev1.PodIP{{IP: address}}
		_, err = pods.UpdateStatus(c.t.Context(), pod, metav1.UpdateOptions{})
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// service makes a Service with the port 80, of a name or none, and its EndpointSlice.
func (c *cluster) service(name, portName string, port int32, endpoints ...discoveryv1.Endpoint) {
	c.t.Helper()
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.ServiceSpec{ // as its companion would have it, which is not here
			ClusterIP: corev1.ClusterIPNone, ClusterIPs: []string{corev1.ClusterIPNone},
			IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol}, IPFamilyPolicy: ptr.To(corev1.IPFamilyPolicySingleStack),
			Ports: []corev1.ServicePort{{Name: portName, Port: 80}},
		},
	}
	_, err := c.client.CoreV1().Services("default").Create(c.t.Context(), s, metav1.CreateOptions{})
	if err == nil && endpoints != nil {
		_, err = c.client.DiscoveryV1().EndpointSlices("default").Create(c.t.Context(), &discoveryv1.EndpointSlice{
			ObjectMeta:  metav1.ObjectMeta{Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: name}},
			AddressType: discoveryv1.AddressTypeIPv4,
			Endpoints:   endpoints, Ports: []discoveryv1.EndpointPort{{Name: &portName, Port: &port}},
		}, metav1.CreateOptions{})
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// of is an endpoint that says it is a pod.
func of(pod, address string, ready bool) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{
		Addresses: []string{address}, Conditions: discoveryv1.EndpointConditions{Ready: &ready},
		TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: "default", Name: pod},
	}
}

// do sends a request such as "GET /path". Redirects are not followed.
func (c *cluster) do(request, body string, headers ...string) (*http.Response, string) {
	c.t.Helper()
	method, path, _ := strings.Cut(request, " ")
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.server.URL+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	answer, err := c.server.Client().Transport.RoundTrip(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return answer, string(text)
}

// is checks the code of an answer and a part of its body.
func (c *cluster) is(request string, code int, part string, headers ...string) {
	c.t.Helper()
	answer, text := c.do(request, "", headers...)
	if answer.StatusCode != code || !strings.Contains(text, part) {
		c.t.Errorf("%s: %d %s, want %d and %q", request, answer.StatusCode, text, code, part)
	}
}

// withKubelet is a cluster with a node "here" and a pod "p" of containers "c" and, for
// several, their names.
func withKubelet(t testing.TB, containers ...string) *cluster {
	c := newCluster(t, connect.KubeletOptions{})
	c.node("here", "127.0.0.1", connecttest.Start(t, "127.0.0.1", connecttest.Kubelet(), true))
	c.pod("p", "here", "", 0, containers...)
	return c
}
