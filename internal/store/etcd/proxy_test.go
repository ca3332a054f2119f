package etcd_test

import (
	"io"
	"net"
	"sync"
	"testing"
)

// proxy stands between a store and etcd. Connections through it can be cut.
type proxy struct {
	t        testing.TB
	to       string
	listener net.Listener

	mu    sync.Mutex
	conns map[net.Conn]bool
	away  bool // new connections are closed at once
	done  sync.WaitGroup
}

func startProxy(t testing.TB, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, to: to, listener: l, conns: map[net.Conn]bool{}}
	p.done.Go(p.accept)
	t.Cleanup(func() {
		l.Close()
		p.cut(true)
		p.done.Wait()
	})
	return p
}

func (p *proxy) url() string { return "http://" + p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.done.Go(func() { p.serve(c) })
	}
}

func (p *proxy) serve(c net.Conn) {
	defer c.Close()
	to, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer to.Close()
	p.mu.Lock()
	if p.away {
		p.mu.Unlock()
		return
	}
	p.conns[c], p.conns[to] = true, true
	p.mu.Unlock()
	var both sync.WaitGroup
	for from, to := range map[net.Conn]net.Conn{c: to, to: c} {
		both.Go(func() {
			_, _ = io.Copy(to, from)
			from.Close()
			to.Close()
		})
	}
	both.Wait()
	p.mu.Lock()
	delete(p.conns, c)
	delete(p.conns, to)
	p.mu.Unlock()
}

// cut ends all connections, and if away lets none be made until mend.
func (p *proxy) cut(away bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away = away
	for c := range p.conns {
		c.Close()
	}
}

func (p *proxy) mend() { p.cut(false) }
