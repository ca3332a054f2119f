package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestErrorsOfAKindAreTogether(t *testing.T) {
	path := filepath.Join(t.TempDir(), "program.log")
	content := `I1128 05:24:18.536144    1411 node.go:910] "Missing timestamp for Node."
E1128 05:24:33.050087    1411 replica_set.go:640] "Unhandled Error" err="sync \"gc-2372/simpletest.rc\" failed with replicationcontrollers \"simpletest.rc\" not found"
E1128 05:24:34.050087    1411 replica_set.go:640] "Unhandled Error" err="sync \"gc-2373/simpletest.rc\" failed with replicationcontrollers \"simpletest.rc\" not found"
{"time":"2026-11-28T05:24:55Z","level":"INFO","msg":"fine"}
{"time":"2026-11-28T05:24:55Z","level":"ERROR","msg":"failed to apply stage","err":"failed to delete pod web-8abc-x1z2y: gone"}
{"time":"2026-11-28T05:24:56Z","level":"ERROR","msg":"failed to apply stage","err":"failed to delete pod web-8abc-k7s2q: gone"}
{"level":"error","ts":"2026-11-28T05:24:56Z","msg":"slow disk"}
panic: no
`
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	found, err := errorsIn([]string{path})
	if err != nil {
		t.Fatal(err)
	}
	counts := map[int]int{}
	for _, l := range found {
		counts[l.Count]++
	}
	if len(found) != 4 || counts[2] != 2 || counts[1] != 2 {
		t.Errorf("%+v", found)
	}
	if left := since(found[:1], found); len(left) != 3 {
		t.Errorf("%d are new, not 3", len(left))
	}
}
