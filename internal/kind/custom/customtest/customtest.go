// Package customtest makes catalogues of custom resources for the tests of those
// who tell clients of them or serve them.
//
// It must not know what becomes of them: it has no server and no state.
package customtest

import (
	"bytes"
	_ "embed"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/apimachinery/pkg/version"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/custom"
)

//go:embed definitions.yaml
var definitions []byte

// Definitions are three of two groups, with some of all that definitions may
// have, as if their names were accepted. What a kube-apiserver tells of them is
// among the test data of several packages.
func Definitions(t testing.TB) []*apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	var crds []*apiextensionsv1.CustomResourceDefinition
	for decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(definitions), 4096); ; {
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := decoder.Decode(crd); errors.Is(err, io.EOF) {
			return crds
		} else if err != nil {
			t.Fatal(err)
		}
		if crd.Spec.Conversion == nil {
			crd.Spec.Conversion = &apiextensionsv1.CustomResourceConversion{Strategy: apiextensionsv1.NoneConverter}
		}
		crd.Status.AcceptedNames = crd.Spec.Names
		crds = append(crds, crd)
	}
}

// Groups are those of crds.
func Groups(t testing.TB, crds []*apiextensionsv1.CustomResourceDefinition) []*kind.Group {
	t.Helper()
	maker, err := custom.NewMaker(nil)
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]*kind.Group{}
	var groups []*kind.Group
	for _, crd := range crds {
		kinds, err := maker.Kinds(crd)
		if err != nil {
			t.Fatal(err)
		}
		g := byName[crd.Spec.Group]
		if g == nil {
			g = &kind.Group{Name: crd.Spec.Group}
			byName[g.Name], groups = g, append(groups, g)
		}
		for _, k := range kinds {
			g.Resources = append(g.Resources, k.Resource)
			if name := k.Versions[0].Name; !g.Serves(name) {
				g.Versions = append(g.Versions, name)
			}
		}
	}
	for _, g := range groups {
		slices.SortStableFunc(g.Resources, func(a, b *kind.Resource) int { return strings.Compare(a.Name, b.Name) })
		slices.SortFunc(g.Versions, func(a, b string) int { return version.CompareKubeAwareVersionStrings(b, a) })
	}
	slices.SortFunc(groups, func(a, b *kind.Group) int { return strings.Compare(a.Name, b.Name) })
	return groups
}
