package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"k8s.io/client-go/rest"
)

// What the aggregated server's certificate is for: the Service that stands for it.
const (
	AggregatedNamespace = "wardle"
	AggregatedService   = "api"
)

// Aggregated is upstream's sample API server, which serves wardle.example.com with an etcd of
// its own and asks another server who its clients are and what they may do. Its methods
// may not be called at the same time.
type Aggregated struct {
	binary, dir string
	arguments   []string
	port        string
	asked       *Server
	authority   *Authority
	etcd        *process
	apiserver   *process // nil while it is stopped
}

// StartAggregated starts one that asks the server. It keeps what it needs in a directory of
// its own below dir, and ends by Close.
func StartAggregated(ctx context.Context, b Binaries, asked *Server, authority *Authority, dir string) (_ *Aggregated, err error) {
	a := &Aggregated{binary: b.Aggregated, dir: filepath.Join(dir, "aggregated"), asked: asked, authority: authority}
	if err := os.Mkdir(a.dir, 0o700); err != nil {
		return nil, err
	}
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	a.port = ports[2]
	defer func() {
		if err != nil {
			a.Close()
		}
	}()
	if a.etcd, err = startEtcd(ctx, b.Etcd, a.dir, ports[0], ports[1]); err != nil {
		return nil, err
	}
	if err := a.configure(ports[0]); err != nil {
		return nil, err
	}
	return a, a.Start(ctx)
}

// configure writes the files that the server needs, and sets its arguments.
func (a *Aggregated) configure(etcdPort string) error {
	config := rest.CopyConfig(a.asked.Config)
	if err := rest.LoadTLSFiles(config); err != nil {
		return err
	}
	kubeconfig := filepath.Join(a.dir, "kubeconfig")
	if err := WriteKubeconfig(config, kubeconfig); err != nil {
		return err
	}
	cert, key, err := a.authority.server(AggregatedService+"."+AggregatedNamespace+".svc", "localhost")
	if err != nil {
		return err
	}
	certFile, keyFile, err := writePair(a.dir, "serving", cert, key)
	if err != nil {
		return err
	}
	a.arguments = []string{
		"--etcd-servers=http://127.0.0.1:" + etcdPort,
		"--bind-address=127.0.0.1",
		"--secure-port=" + a.port,
		"--tls-cert-file=" + certFile,
		"--tls-private-key-file=" + keyFile,
		"--kubeconfig=" + kubeconfig,
		"--authentication-kubeconfig=" + kubeconfig,
		"--authorization-kubeconfig=" + kubeconfig,
		// What is decided must not be remembered from one story to the next.
		"--authentication-token-webhook-cache-ttl=0",
		"--authorization-webhook-cache-authorized-ttl=0",
		"--authorization-webhook-cache-unauthorized-ttl=0",
	}
	return nil
}

// Start starts the server, and returns when it is ready; it does nothing if it runs.
func (a *Aggregated) Start(ctx context.Context) error {
	if a.apiserver != nil {
		return nil
	}
	apiserver, err := start("sample-apiserver", filepath.Join(a.dir, "sample-apiserver.log"), nil, a.binary, a.arguments...)
	if err != nil {
		return err
	}
	a.apiserver = apiserver
	alone := &Server{Name: "sample-apiserver", processes: []*process{apiserver}}
	return alone.awaitReady(ctx, net.JoinHostPort("127.0.0.1", a.port))
}

// Stop ends the server's process. What it has stored stays.
func (a *Aggregated) Stop() {
	if a.apiserver != nil {
		a.apiserver.stop(stopTimeout)
		a.apiserver = nil
	}
}

// Close ends all processes.
func (a *Aggregated) Close() {
	a.Stop()
	if a.etcd != nil {
		a.etcd.stop(stopTimeout)
		a.etcd = nil
	}
}

// Port is the one of localhost that the server listens on.
func (a *Aggregated) Port() int {
	port, err := strconv.Atoi(a.port)
	if err != nil {
		panic(fmt.Sprint("not a port: ", a.port)) // freePorts makes none
	}
	return port
}

// Authority is the certificate, PEM, of who signed the server's.
func (a *Aggregated) Authority() []byte { return a.authority.CertPEM }

// Config reaches the server past the one that it asks, with the same credentials.
func (a *Aggregated) Config() (*rest.Config, error) {
	config := rest.CopyConfig(a.asked.Config)
	if err := rest.LoadTLSFiles(config); err != nil {
		return nil, err
	}
	if config.CertData == nil {
		return nil, errors.New("the administrator has no certificate")
	}
	config.Host = "https://" + net.JoinHostPort("localhost", a.port)
	config.CAFile, config.CAData = "", a.authority.CertPEM
	return config, nil
}
