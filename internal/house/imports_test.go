package house

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// layer says what packages of this module a package may import. An entry is
// for the package and those below it that have no entry of their own; "." is
// the root package. All of them may use the tools.
type layer struct {
	pkg     string
	imports []string
	why     string
}

// tools know nothing of the server and may be used by all.
var tools = []string{"internal/atomicfile", "internal/filewatch", "internal/version"}

// layers is the map of the code, from the top down: nothing imports upward.
var layers = []layer{
	{"cmd/knarr", []string{"internal/cli"}, "main only starts the command line"},
	{"internal/cli", []string{".", "internal/cli", "internal/offline", "internal/store/disk", "internal/pki", "internal/kubeconfig"}, "commands use the server as others do, through the root package, and a data directory by what needs no server"},
	{"internal/offline", []string{"internal/kind", "internal/state", "internal/store"}, "reads what is kept while no server does"},
	{"knarrtest", []string{"."}, "a server for tests is a server: through the root package"},
	{".", []string{
		"internal/endpoint", "internal/discovery", "internal/openapi", "internal/health", "internal/aggregate", "internal/audit", "internal/auth",
		"internal/bootstrap", "internal/componentstatus", "internal/connect", "internal/verb", "internal/controller", "internal/serviceaccount", "internal/reviews", "internal/pods", "internal/admission", "internal/informers", "internal/service", "internal/ownership", "internal/kind",
		"internal/state", "internal/object", "internal/store", "internal/pki", "internal/kubeconfig", "internal/loopback", "internal/process",
	}, "the root package puts the parts together, so it may see all of them but the command line"},

	{"internal/endpoint", []string{
		"internal/discovery", "internal/openapi", "internal/health", "internal/aggregate", "internal/auth", "internal/verb",
		"internal/kind", "internal/object",
	}, "HTTP calls verbs; it must not reach below them to state or store"},
	{"internal/aggregate", []string{"internal/discovery", "internal/openapi", "internal/kind", "internal/state", "internal/object"}, "passes requests on to other servers: reads what APIServices and Services say, and writes nothing"},
	{"internal/discovery", []string{"internal/kind"}, "tells what the catalogue says"},
	{"internal/openapi", []string{"internal/kind"}, "tells what the catalogue says"},
	{"internal/audit", nil, "records what it is told; those who answer tell it through the context"},
	{"internal/health", nil, "runs the checks it is given"},
	{"internal/auth/rbac", []string{"internal/state", "internal/object"}, "reads roles and bindings where they are kept: a decision must know the last write"},
	{"internal/auth/node", []string{"internal/state", "internal/object"}, "reads what nodes need where it is kept: a decision must know the last write"},
	{"internal/auth", []string{"internal/auth"}, "decides by what a request says and, for RBAC, what it is handed; never by the store"},
	{"internal/bootstrap", []string{"internal/controller", "internal/verb", "internal/kind", "internal/state", "internal/object", "internal/store"}, "beside the verbs: makes the first objects through them, and keeps some"},
	{"internal/controller/definitions", []string{"internal/controller", "internal/verb", "internal/ownership", "internal/kind", "internal/state", "internal/object"}, "beside the verbs: makes what is defined served, and writes through them"},
	{"internal/controller/clusterroleaggregation", []string{"internal/controller", "internal/verb", "internal/ownership", "internal/kind", "internal/state", "internal/object"}, "beside the verbs: applies rules through them, as its manager"},
	{"internal/controller/controllertest", []string{"internal/verb", "internal/admission", "internal/informers", "internal/ownership", "internal/kind", "internal/state"}, "a server without its HTTP side, for tests; it must not know what a controller does"},
	{"internal/controller", []string{"internal/controller", "internal/verb", "internal/service", "internal/kind", "internal/state", "internal/object", "internal/store"}, "beside the verbs: changes objects through them, as any client does, or together with what is written"},
	{"internal/componentstatus", nil, "asks other servers how they are"},
	{"internal/serviceaccount", []string{"internal/verb", "internal/kind", "internal/object"}, "beside the verbs: answers requests for tokens, and reads objects through them"},
	{"internal/reviews", []string{"internal/verb", "internal/kind"}, "beside the verbs: answers who somebody is and what he may do"},
	{"internal/pods", []string{"internal/verb", "internal/kind", "internal/object"}, "beside the verbs: does to pods, through them, what is more than storing"},
	{"internal/connect/connecttest", nil, "stands in, in tests, for kubelets and web servers"},
	{"internal/connect", []string{"internal/verb", "internal/kind"}, "beside the verbs: finds, through them, where what is behind an object is"},
	{"internal/verb", []string{"internal/admission", "internal/ownership", "internal/kind", "internal/state", "internal/object", "internal/store"}, "applies rules and commits; knows no HTTP routes and no users' rights beyond what it is handed"},
	{"internal/admission", []string{"internal/informers", "internal/kind", "internal/state", "internal/object", "internal/store"}, "plugins see a change and what is true now, and may want changes committed beside it"},
	{"internal/informers", []string{"internal/kind", "internal/state", "internal/object"}, "lets upstream's code read the state; it must not know what for"},
	{"internal/service", []string{"internal/kind", "internal/state", "internal/object", "internal/store"}, "what else is written with a Service"},
	{"internal/ownership", []string{"internal/kind"}, "who owns which field, by a kind's schema"},
	{"internal/kind/native", []string{"internal/kind", "internal/object"}, "rows of the catalogue: rules, no state"},
	{"internal/kind/custom/customtest", []string{"internal/kind"}, "makes catalogues for tests"},
	{"internal/kind/custom", []string{"internal/kind", "internal/object"}, "rows of the catalogue: rules, no state"},
	{"internal/kind", []string{"internal/object"}, "rules of kinds: no state"},
	{"internal/state/statetest", []string{"internal/state", "internal/store"}, "makes states for tests; it must not know what is kept in them"},
	{"internal/state", []string{"internal/object", "internal/store"}, "objects kept encoded: it must not know what a kind means"},
	{"internal/object", nil, "bytes and what was taken out of them"},
	{"internal/store/disk", []string{"internal/store"}, "one store; commands use it where there is no server"},
	{"internal/store/storetest", []string{"internal/store"}, "judges every store by the contract alone"},
	{"internal/store", []string{"internal/store"}, "keys, values and revisions; it must not know what an object is"},
	{"internal/loopback", nil, "a leaf: a handler, asked in the same process"},
	{"internal/process", nil, "a leaf: what upstream's libraries keep per process"},
	{"internal/kubeconfig", nil, "a leaf: gets certificates as bytes"},
	{"internal/pki", nil, "a leaf: certificates of any server"},
	{"internal/atomicfile", nil, "a tool"},
	{"internal/filewatch", nil, "a tool"},
	{"internal/version", nil, "a tool"},
	{"internal/house", nil, "tests only"},
}

func TestLayers(t *testing.T) {
	for _, f := range product(t) {
		l := layerOf(f.dir())
		if l == nil {
			t.Errorf("%s: package %s has no entry in layers: add it, with what it may import and why", f.path, f.dir())
			continue
		}
		for _, imported := range f.imports() {
			pkg, ok := internalPackage(imported)
			if ok && !l.allows(pkg) {
				t.Errorf("%s imports %s, but %s: %s", f.path, pkg, l.pkg, l.why)
			}
		}
	}
}

// The map itself has no way up: no package is above another that is above it.
func TestLayersHaveNoCycle(t *testing.T) {
	above := map[string]int{}
	for i, l := range layers {
		if _, ok := above[l.pkg]; ok {
			t.Errorf("%s has two entries", l.pkg)
		}
		above[l.pkg] = i
	}
	for i, l := range layers {
		for _, pkg := range l.imports {
			j, ok := above[pkg]
			switch {
			case !ok && !slices.ContainsFunc(layers, func(l layer) bool { return below(l.pkg, pkg) }):
				t.Errorf("%s may import %s, which has no entry", l.pkg, pkg)
			case ok && j < i:
				t.Errorf("%s may import %s, which is above it", l.pkg, pkg)
			}
		}
	}
}

// layerOf is the most specific entry for a package, nil if there is none. The
// root package's is for itself alone: a new package needs an entry.
func layerOf(pkg string) *layer {
	var best *layer
	for i := range layers {
		l := &layers[i]
		if (l.pkg == pkg || below(pkg, l.pkg)) && (best == nil || len(l.pkg) > len(best.pkg)) {
			best = l
		}
	}
	return best
}

func (l layer) allows(pkg string) bool {
	return slices.Contains(tools, pkg) || slices.ContainsFunc(l.imports, func(allowed string) bool {
		return pkg == allowed || below(pkg, allowed)
	})
}

// below says whether a package is under another in the tree. Nothing counts as
// under the root package, or everything would.
func below(pkg, parent string) bool {
	return parent != "." && strings.HasPrefix(pkg, parent+"/")
}

// internalPackage is the package's directory if it is one of this module's.
func internalPackage(importPath string) (string, bool) {
	if importPath == modulePath {
		return ".", true
	}
	return strings.CutPrefix(importPath, modulePath+"/")
}

// forbidden are the upstream packages that the product must not be built on:
// knarr takes the rules of kinds from upstream, not its server. A package below
// one of them may be used if ARCHITECTURE.md names it and says why.
var forbidden = []string{
	"k8s.io/apiserver/pkg/server",
	"k8s.io/apiserver/pkg/endpoints/handlers",
	"k8s.io/apiserver/pkg/registry/generic/registry",
	"k8s.io/apiserver/pkg/storage/cacher",
	"k8s.io/apiserver/pkg/storage/etcd3",
	"k8s.io/kubernetes/pkg/controlplane",
	"k8s.io/kubernetes/pkg/kubeapiserver",
}

func TestUpstreamImports(t *testing.T) {
	architecture, err := os.ReadFile(filepath.Join(root, "ARCHITECTURE.md"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	unlisted := map[string][]string{} // importers
	for _, f := range product(t) {
		for _, imported := range f.imports() {
			if slices.Contains(forbidden, imported) {
				t.Errorf("%s imports %s, which is upstream's server: knarr is its own", f.path, imported)
			}
			isLeaf := slices.ContainsFunc(forbidden, func(pkg string) bool { return below(imported, pkg) })
			if isLeaf && !strings.Contains(string(architecture), imported) {
				unlisted[imported] = append(unlisted[imported], f.path)
			}
		}
	}
	for imported, importers := range unlisted {
		t.Errorf("ARCHITECTURE.md does not list %s with its reason; it is imported by %v", imported, importers)
	}
}
