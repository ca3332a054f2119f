package connect

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/transport"
	"k8s.io/kubernetes/pkg/kubelet/client"
	nodeutil "k8s.io/kubernetes/pkg/util/node"
)

// KubeletOptions say how kubelets are reached. Zero values are upstream's
// defaults.
type KubeletOptions struct {
	// CertFile and KeyFile are what kubelets know the server by, and CAFile are the
	// authorities of kubelets: without, any kubelet is believed, as upstream does.
	CertFile, KeyFile, CAFile string
	// AddressTypes are those of a node's addresses to use, the first that it has.
	AddressTypes []string
	// Port is that of kubelets whose node does not say (10250).
	Port int
}

func (o *KubeletOptions) setDefaults() {
	if o.Port == 0 {
		o.Port = 10250
	}
	if o.AddressTypes == nil {
		for _, t := range []corev1.NodeAddressType{corev1.NodeHostName, corev1.NodeInternalDNS, corev1.NodeInternalIP, corev1.NodeExternalDNS, corev1.NodeExternalIP} {
			o.AddressTypes = append(o.AddressTypes, string(t))
		}
	}
}

// kubelets finds the kubelets of nodes. It is ours, since upstream's never ends the
// goroutines by which it sees its certificate change.
type kubelets struct {
	options KubeletOptions
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	node    func(ctx context.Context, name string) (*corev1.Node, error)

	mu                 sync.Mutex
	cert, key, ca      []byte
	verified, believed *http.Transport // believed does not ask who it is
}

var _ client.ConnectionInfoGetter = &kubelets{}

func newKubelets(o KubeletOptions, dial func(context.Context, string, string) (net.Conn, error), node func(context.Context, string) (*corev1.Node, error)) (*kubelets, error) {
	o.setDefaults()
	k := &kubelets{options: o, dial: dial, node: node}
	return k, k.load()
}

// load reads the files. If they have changed, connections that were kept are not used
// any more; if one is wrong, all is as before.
func (k *kubelets) load() error {
	cert, err := read(k.options.CertFile)
	if err != nil {
		return err
	}
	key, err := read(k.options.KeyFile)
	if err != nil {
		return err
	}
	ca, err := read(k.options.CAFile)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.verified != nil && bytes.Equal(cert, k.cert) && bytes.Equal(key, k.key) && bytes.Equal(ca, k.ca) {
		return nil
	}
	settings := transport.TLSConfig{CertData: cert, KeyData: key, CAData: ca, Insecure: ca == nil}
	verified, err := k.transport(settings)
	if err != nil {
		return fmt.Errorf("how to reach kubelets: %w", err)
	}
	settings.CAData, settings.Insecure = nil, true
	believed, err := k.transport(settings)
	if err != nil {
		return fmt.Errorf("how to reach kubelets: %w", err)
	}
	k.closeIdle()
	k.cert, k.key, k.ca, k.verified, k.believed = cert, key, ca, verified, believed
	return nil
}

// read returns what is in a file; nil for none.
func read(name string) ([]byte, error) {
	if name == "" {
		return nil, nil
	}
	return os.ReadFile(name)
}

func (k *kubelets) transport(settings transport.TLSConfig) (*http.Transport, error) {
	config, err := transport.TLSConfigFor(&transport.Config{TLS: settings})
	if err != nil {
		return nil, err
	}
	return utilnet.SetTransportDefaults(&http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		TLSHandshakeTimeout: 10 * time.Second,
		TLSClientConfig:     config,
		MaxIdleConnsPerHost: 25,
		DialContext:         k.dial,
	}), nil
}

func (k *kubelets) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closeIdle()
}

func (k *kubelets) closeIdle() {
	for _, t := range []*http.Transport{k.verified, k.believed} {
		if t != nil {
			t.CloseIdleConnections()
		}
	}
}

// GetConnectionInfo returns where the kubelet of a node is.
func (k *kubelets) GetConnectionInfo(ctx context.Context, name types.NodeName) (*client.ConnectionInfo, error) {
	node, err := k.node(ctx, string(name))
	if err != nil {
		return nil, err
	}
	var order []corev1.NodeAddressType
	for _, t := range k.options.AddressTypes {
		order = append(order, corev1.NodeAddressType(t))
	}
	host, err := nodeutil.GetPreferredNodeAddress(node, order)
	if err != nil {
		return nil, err
	}
	port := int(node.Status.DaemonEndpoints.KubeletEndpoint.Port)
	if port <= 0 {
		port = k.options.Port
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return &client.ConnectionInfo{
		Scheme: "https", Hostname: host, Port: strconv.Itoa(port),
		Transport: k.verified, InsecureSkipTLSVerifyTransport: k.believed,
		NodeFeatures: node.Status.DeclaredFeatures,
	}, nil
}
