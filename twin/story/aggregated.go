package story

import (
	"context"
	"fmt"

	"k8s.io/client-go/rest"
)

// Aggregated is an API server beside the one that is told to, which APIServices may name.
// It is a process of its own that stories may stop and start.
type Aggregated interface {
	// Port is the one of localhost that it listens on.
	Port() int
	// Authority is the certificate, PEM, of who signed its own.
	Authority() []byte
	// Config reaches it past the server that is told to.
	Config() (*rest.Config, error)
	// Start returns when it is ready, Stop when it is gone.
	Start(context.Context) error
	Stop()
}

// Beside puts an aggregated server beside this one, before the first story.
func (s *Server) Beside(aggregated Aggregated) error {
	config, err := aggregated.Config()
	if err != nil {
		return err
	}
	s.aggregated = aggregated
	s.direct, err = NewServer(config, "")
	return err
}

// Aggregated is the aggregated server beside the one that is told to. Its addresses are
// not compared from now on.
func (s *Session) Aggregated() Aggregated {
	beside := s.server.aggregated
	if beside == nil {
		panic("no aggregated server is beside")
	}
	if len(s.Addresses) == 0 {
		for _, host := range []string{"localhost", "127.0.0.1", "[::1]"} {
			s.Addresses = append(s.Addresses, fmt.Sprint(host, ":", beside.Port()))
		}
	}
	return beside
}

// StopAggregated ends the aggregated server until StartAggregated.
func (s *Session) StopAggregated() { s.Aggregated().Stop() }

// StartAggregated starts the aggregated server again.
func (s *Session) StartAggregated() {
	if err := s.Aggregated().Start(s.ctx); err != nil {
		s.Exchanges = append(s.Exchanges, &Exchange{Request: "the aggregated server is started", End: err.Error()})
	}
}

// Directly sends the requests that are made meanwhile to the aggregated server itself.
func (s *Session) Directly(do func()) {
	s.Aggregated()
	server, kept := s.server, len(s.Exchanges)
	s.server = server.direct
	defer func() {
		s.server = server
		for _, e := range s.Exchanges[kept:] {
			e.Request = "directly: " + e.Request
		}
	}()
	do()
}
