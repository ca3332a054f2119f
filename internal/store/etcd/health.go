package etcd

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Probe returns what tells whether the cluster answers within timeout. It is asked
// at most twice in that time; who comes in between is told what was found last.
func (s *Store) Probe(timeout time.Duration) func() error {
	p := &probe{s: s, timeout: timeout}
	return p.check
}

type probe struct {
	s       *Store
	timeout time.Duration

	mu    sync.Mutex
	begun time.Time // the last
	of    time.Time // when that began which has found err
	err   error
}

func (p *probe) check() error {
	p.mu.Lock()
	now := time.Now()
	if now.Sub(p.begun) < p.timeout/2 {
		defer p.mu.Unlock()
		return p.err
	}
	p.begun = now
	p.mu.Unlock()

	err := p.s.ask(p.timeout)
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.After(p.of) {
		p.of, p.err = now, err
	}
	return err
}

func (s *Store) ask(timeout time.Duration) error {
	if err := s.usable(&s.owners); err != nil {
		return err
	}
	defer s.owners.Done()
	ctx, cancel := context.WithTimeout(s.life, timeout)
	defer cancel()
	if _, err := s.read(ctx); err != nil {
		return fmt.Errorf("error getting data from etcd: %w", err) // upstream's words
	}
	return nil
}
