// Package apiserverflags is the names of the flags that kube-apiserver has, so
// that a flag which is missing here can be told from one that is misspelt.
//
// It must not know what they mean, nor which of them knarr has.
package apiserverflags

import (
	_ "embed"
	"slices"
	"strings"
)

// flags.txt has one name in a line, sorted. Its test makes it, with -update.
//
//go:embed flags.txt
var names string

// Has reports whether kube-apiserver has a flag of this name, given without the
// dashes before it.
func Has(name string) bool {
	return slices.Contains(strings.Fields(names), name)
}
