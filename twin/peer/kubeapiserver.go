package peer

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/rest"
)

// StartKubeAPIServer starts an etcd, durable as in production, and a
// kube-apiserver on it, with default flags apart from what it needs to run on
// loopback and what DESIGN asks the comparison to fix (RBAC, privileged
// pods).
func StartKubeAPIServer(ctx context.Context, b Binaries, o Options) (_ *Server, err error) {
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	etcdClient, etcdPeer, secure := ports[0], ports[1], ports[2]
	pki, err := newPKI(filepath.Join(o.Dir, "pki"), o.ClientCA)
	if err != nil {
		return nil, err
	}
	tokens, err := o.writeTokens()
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(o.Flags, func(flag string) bool { return strings.HasPrefix(flag, "--authorization-") }) {
		tokens = append(tokens, "--authorization-mode=Node,RBAC")
	}

	s := &Server{Name: "kube-apiserver", Etcd: "http://127.0.0.1:" + etcdClient}
	defer func() {
		if err != nil {
			s.Stop()
		}
	}()
	began := time.Now()
	etcd, err := startEtcd(ctx, b.Etcd, o.Dir, etcdClient, etcdPeer)
	if err != nil {
		return nil, err
	}
	s.processes, s.etcd = append(s.processes, etcd), etcd

	apiserver, err := start("kube-apiserver", filepath.Join(o.Dir, "kube-apiserver.log"), nil, b.KubeAPIServer,
		append(append(tokens,
			"--etcd-servers="+s.Etcd,
			"--bind-address=127.0.0.1",
			// Only named in the "kubernetes" Service's endpoints, which may not be loopback;
			// fixed so that a machine without a network can run it too.
			"--advertise-address="+AdvertiseAddress,
			"--secure-port="+secure,
			"--cert-dir="+filepath.Join(o.Dir, "serving"),
			"--client-ca-file="+pki.caFile,
			"--requestheader-client-ca-file="+pki.frontProxyCAFile,
			"--requestheader-allowed-names="+frontProxyName,
			"--requestheader-username-headers=X-Remote-User",
			"--requestheader-group-headers=X-Remote-Group",
			"--requestheader-extra-headers-prefix=X-Remote-Extra-",
			"--proxy-client-cert-file="+pki.frontProxyCertFile,
			"--proxy-client-key-file="+pki.frontProxyKeyFile,
			"--service-account-issuer="+serviceAccountIssuer,
			"--service-account-key-file="+pki.serviceAccountFile,
			"--service-account-signing-key-file="+pki.serviceAccountFile,
			"--service-cluster-ip-range="+ServiceCIDR,
			"--allow-privileged=true",
		), o.Flags...)...)
	if err != nil {
		return nil, err
	}
	s.processes = append(s.processes, apiserver)
	host := net.JoinHostPort("127.0.0.1", secure)
	if err := s.awaitReady(ctx, host); err != nil {
		return nil, err
	}
	s.Ready = time.Since(began)

	// kube-apiserver has made its own certificate; who signs it is known only now.
	serving, err := os.ReadFile(filepath.Join(o.Dir, "serving", "apiserver.crt"))
	if err != nil {
		return nil, fmt.Errorf("kube-apiserver made no serving certificate: %w", err)
	}
	s.Config = &rest.Config{
		Host: "https://" + host,
		TLSClientConfig: rest.TLSClientConfig{
			CAData:   serving,
			CertData: pki.adminCert,
			KeyData:  pki.adminKey,
		},
	}
	return s, nil
}

// startEtcd starts an etcd on two ports, for clients and peers, and returns when it listens.
func startEtcd(ctx context.Context, binary, dir, client, peer string) (*process, error) {
	etcd, err := start("etcd", filepath.Join(dir, "etcd.log"), nil, binary,
		"--data-dir="+filepath.Join(dir, "etcd"),
		"--listen-client-urls=http://127.0.0.1:"+client,
		"--advertise-client-urls=http://127.0.0.1:"+client,
		"--listen-peer-urls=http://127.0.0.1:"+peer,
		"--initial-advertise-peer-urls=http://127.0.0.1:"+peer,
		"--initial-cluster=default=http://127.0.0.1:"+peer,
		"--log-level=warn",
	)
	if err != nil {
		return nil, err
	}
	// An API server backs off for a second when its first dial fails, so it is
	// faster to wait than to start both at once.
	if err := awaitListening(ctx, etcd, net.JoinHostPort("127.0.0.1", client)); err != nil {
		etcd.stop(stopTimeout)
		return nil, err
	}
	return etcd, nil
}

// ServiceCIDR is the range both servers take cluster IPs from (upstream's default).
const ServiceCIDR = "10.0.0.0/24"

// serviceAccountIssuer is who issues tokens, on both servers.
const serviceAccountIssuer = "https://kubernetes.default.svc"

// AdvertiseAddress is an address for documentation (RFC 5737) that kube-apiserver
// calls its own in objects and discovery; nothing is ever sent to it.
const AdvertiseAddress = "192.0.2.1"
