package knarr

import (
	"net"
	"runtime"
)

// yielding is a listener whose connections let others run before they write.
// net/http sends what the streams of a connection have handed over with one
// write, if they have: a thousand watchers that wake up together mostly had
// not, and each event was a write of its own.
type yielding struct{ net.Listener }

func (l yielding) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return yieldingConn{c}, nil
}

type yieldingConn struct{ net.Conn }

func (c yieldingConn) Write(b []byte) (int, error) {
	runtime.Gosched()
	return c.Conn.Write(b)
}
