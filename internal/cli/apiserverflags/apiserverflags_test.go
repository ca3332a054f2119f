package apiserverflags

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"
)

var update = flag.Bool("update", false, "write flags.txt")

// The names are those of the release in go.mod.
func TestNamesAreUpstreams(t *testing.T) {
	var want []string
	sets := options.NewServerRunOptions().Flags()
	for _, set := range sets.FlagSets {
		set.VisitAll(func(f *pflag.Flag) { want = append(want, f.Name) })
	}
	slices.Sort(want)
	if *update {
		if err := os.WriteFile("flags.txt", []byte(strings.Join(want, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		names = strings.Join(want, "\n")
	}
	if diff := cmp.Diff(want, strings.Fields(names)); diff != "" {
		t.Errorf("flags.txt is not of this release; run go test -update here (-want +got):\n%s", diff)
	}
}

func TestHas(t *testing.T) {
	for name, want := range map[string]bool{"etcd-servers": true, "secure-port": true, "secure": false, "": false, "data-dir": false} {
		if Has(name) != want {
			t.Errorf("Has(%q) is %t", name, !want)
		}
	}
}
