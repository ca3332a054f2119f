package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/rest"
)

// readyTimeout bounds how long a server may take to become ready.
const readyTimeout = 2 * time.Minute

// stopTimeout is how long a process has to end in order.
const stopTimeout = 10 * time.Second

// Options are what may be asked of any server, in words both kinds understand.
type Options struct {
	// Dir is where the server keeps everything: data, certificates, logs. It must exist and be empty.
	Dir string
	// Tokens is the content of a --token-auth-file; empty means none.
	Tokens string
	// ClientCA are further authorities of clients, PEM.
	ClientCA []byte
	// Flags are given to the server as they are: ones that both kinds know.
	Flags []string
	// Alone has a knarr do the work of kube-controller-manager that it can do.
	Alone bool
}

// Server is one running API server with whatever processes it needs.
// Its methods may be called from several goroutines, except Stop.
type Server struct {
	// Name says which server it is, for tables and messages.
	Name string
	// Config reaches the server as a member of system:masters, with a client certificate.
	Config *rest.Config
	// Etcd is where its etcd is, if it has one of its own.
	Etcd string
	etcd *process
	// Ready is the time from starting the first process to the first 200 from /readyz.
	Ready time.Duration

	processes []*process // in the order they were started
}

// Stop ends the server's processes, the last started first, and returns when they are gone.
func (s *Server) Stop() {
	for i := len(s.processes) - 1; i >= 0; i-- {
		s.processes[i].stop(stopTimeout)
	}
	s.processes = nil
}

// SignalEtcd sends the server's etcd a signal, such as one that pauses it.
func (s *Server) SignalEtcd(signal os.Signal) error { return s.etcd.cmd.Process.Signal(signal) }

// CPU is the processor time all of the server's processes have used so far, in steps of 10 ms.
func (s *Server) CPU() (time.Duration, error) {
	var sum time.Duration
	for _, p := range s.processes {
		spent, err := p.cpu()
		if err != nil {
			return 0, err
		}
		sum += spent
	}
	return sum, nil
}

// Memory is the resident set of all of the server's processes together, in bytes.
func (s *Server) Memory() (int64, error) {
	var sum int64
	for _, p := range s.processes {
		size, err := p.memory()
		if err != nil {
			return 0, err
		}
		sum += size
	}
	return sum, nil
}

// Starter starts one kind of server. The server lives until Stop; ctx only bounds the start.
type Starter func(ctx context.Context, b Binaries, o Options) (*Server, error)

// awaitReady polls /readyz without credentials until it answers 200. It fails as
// soon as one of the processes ends.
func (s *Server) awaitReady(ctx context.Context, host string) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // only asks whether it is ready
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 5 * time.Second}
	target := url.URL{Scheme: "https", Host: host, Path: "/readyz"}
	return poll(ctx, s.processes, func() bool {
		response, err := client.Get(target.String())
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
}

func awaitListening(ctx context.Context, p *process, address string) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	return poll(ctx, []*process{p}, func() bool {
		connection, err := net.Dial("tcp", address)
		if err != nil {
			return false
		}
		connection.Close()
		return true
	})
}

// poll asks until the condition holds, every few milliseconds so that the time to ready is exact.
func poll(ctx context.Context, processes []*process, condition func() bool) error {
	for !condition() {
		for _, p := range processes {
			select {
			case <-p.exited:
				return p.failure()
			default:
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w", processes[len(processes)-1].name, ctx.Err())
		case <-time.After(2 * time.Millisecond):
		}
	}
	return nil
}

// writeTokens puts the tokens, if any, into a file and returns the flag that names it.
func (o Options) writeTokens() ([]string, error) {
	if o.Tokens == "" {
		return nil, nil
	}
	path := filepath.Join(o.Dir, "tokens.csv")
	return []string{"--token-auth-file=" + path}, os.WriteFile(path, []byte(o.Tokens), 0o600)
}

// freePorts names n loopback ports nobody listens on. They are free when it
// returns; another process may still take one before the caller does.
func freePorts(n int) ([]string, error) {
	var ports []string
	var listeners []net.Listener
	defer func() {
		for _, l := range listeners {
			l.Close()
		}
	}()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, errors.Join(errors.New("no free loopback port"), err)
		}
		listeners = append(listeners, l)
		_, port, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			return nil, err
		}
		ports = append(ports, port)
	}
	return ports, nil
}
