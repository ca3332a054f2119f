// Package knarrtest starts servers for tests: real ones, over TLS, that keep
// their objects in memory and end with the test. Options give them what a test
// finds there: definitions of custom resources, webhooks.
//
// Many tests may have a server each, in parallel. Where many share one,
// Server.Reset makes it what it was when it was handed out.
package knarrtest

import (
	"context"
	"testing"
	"time"

	"github.com/knarr-io/knarr"
)

// Option is something that a server is given before it is handed out.
type Option interface {
	// objects returns what is to be made.
	objects() ([]*object, error)
	// change has a say in what others make.
	change(*object) error
}

// Start starts a server on a free port and stops it when the test ends, which
// fails the test if the server does not stop cleanly.
func Start(t testing.TB, with ...Option) *knarr.Server {
	t.Helper()
	return StartWith(t, knarr.Options{}, with...)
}

// StartWith is Start with options of the server's. What kube-controller-manager would
// do is left undone with Controllers: []string{}.
func StartWith(t testing.TB, o knarr.Options, with ...Option) *knarr.Server {
	t.Helper()
	server, err := knarr.Start(t.Context(), o)
	if err != nil {
		t.Fatalf("starting a server: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := server.Stop(ctx); err != nil {
			t.Errorf("stopping the server: %v", err)
		}
	})
	if err := install(t.Context(), server, with); err != nil {
		t.Fatal(err)
	}
	return server
}
