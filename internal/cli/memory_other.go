//go:build !linux

package cli

import "runtime/debug"

// releaseStartup gives back garbage that starting has left.
func releaseStartup() { debug.FreeOSMemory() }
