// Package knarrtest starts servers for tests: real ones, over TLS, that keep
// their objects in memory and end with the test.
package knarrtest

import (
	"context"
	"testing"
	"time"

	"github.com/knarr-io/knarr"
)

// Start starts a server on a free port and stops it when the test ends, which
// fails the test if the server does not stop cleanly.
func Start(t testing.TB) *knarr.Server {
	t.Helper()
	return StartWith(t, knarr.Options{})
}

// StartWith is Start with options of the caller's.
func StartWith(t testing.TB, o knarr.Options) *knarr.Server {
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
	return server
}
