package openapi

import (
	"bytes"
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/kube-openapi/pkg/aggregator"
	"k8s.io/kube-openapi/pkg/handler"
	"k8s.io/kube-openapi/pkg/handler3"
	"k8s.io/kube-openapi/pkg/openapiconv"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/custom/customtest"
	"github.com/knarr-io/knarr/internal/kind/native"
)

// sample is what the sample server tells of a version of its group. What is
// asked of it is answered with its path.
func sample(t testing.TB, version string) *Description {
	t.Helper()
	v3 := map[string]string{}
	for key, at := range parseIndex(t, fixture(t, "elsewhere-sample-index.json")) {
		v3[key] = at.ServerRelativeURL
	}
	part, err := NewPartV2("wardle.example.com", version, fixture(t, "elsewhere-sample-v2.json"))
	if err != nil {
		t.Fatal(err)
	}
	return &Description{
		Group: "wardle.example.com", Version: version, V3: v3, V2: part,
		ServeV3: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%s has %s", version, r.URL.RequestURI()) }),
	}
}

func both(t testing.TB) *Elsewhere {
	t.Helper()
	return &Elsewhere{[]*Description{sample(t, "v1alpha1"), sample(t, "v1beta1")}}
}

func elsewhereHandler(c *kind.Catalogue, elsewhere func() *Elsewhere) *Handler {
	h := newHandler(c)
	h.options.Elsewhere = elsewhere
	return h
}

// The documents of version 2 are those of a kube-apiserver that has the same
// served elsewhere, byte by byte, and the index is its, where that does not
// depend on chance.
func TestElsewhereUpstream(t *testing.T) {
	elsewhere := both(t)
	for story, c := range map[string]*kind.Catalogue{
		"both":  catalogue(t, native.Options{}),
		"crd":   withCustom(t, []*apiextensionsv1.CustomResourceDefinition{customtest.Gadgets("v1")}),
		"taken": withCustom(t, []*apiextensionsv1.CustomResourceDefinition{customtest.Gadgets("v1", "v1beta1")}),
	} {
		t.Run(story, func(t *testing.T) {
			h := elsewhereHandler(c, func() *Elsewhere { return elsewhere })
			content := body(t, serve(h, "GET", "/openapi/v2"))
			if hash := fmt.Sprintf("%X  %s\n", sha512.Sum512(content), story); !strings.Contains(string(fixture(t, "elsewhere-v2.sha512")), hash) {
				t.Error("/openapi/v2 is another document")
			}
			want := upstreamIndex(t)
			more := parseIndex(t, fixture(t, "elsewhere-index-"+story+".json"))
			delete(more, "apis") // is of either server, by chance
			maps.Copy(want, more)
			// Of what both describe, upstream has either; here it is that of the server that serves it.
			theirs := parseIndex(t, fixture(t, "elsewhere-sample-index.json"))
			want["apis/wardle.example.com/v1beta1"] = theirs["apis/wardle.example.com/v1beta1"]
			got := parseIndex(t, body(t, serve(h, "GET", "/openapi/v3")))
			if story != "both" { // the address of a custom resource's document is not its hash
				const own = "apis/wardle.example.com/v1"
				if got[own] == (handler3.OpenAPIV3DiscoveryGroupVersion{}) {
					t.Error("the document of the custom resource is not there")
				}
				delete(got, own)
				delete(want, own)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("index (-want +got):\n%s", diff)
			}

			proto := body(t, serve(h, "GET", "/openapi/v2", "Accept", protoV2))
			if same, err := handler.ToProtoBinary(content); err != nil || string(proto) != string(same) {
				t.Errorf("as protobuf, it is another document: %v", err)
			}
		})
	}
}

// Documents that other servers have are asked of them; their own group's even
// where this server has one. Those that both have, this server has.
func TestElsewhereIsAsked(t *testing.T) {
	elsewhere := both(t)
	h := elsewhereHandler(withCustom(t, []*apiextensionsv1.CustomResourceDefinition{customtest.Gadgets("v1", "v1beta1")}), func() *Elsewhere { return elsewhere })
	for path, want := range map[string]string{
		"/openapi/v3/apis/wardle.example.com/v1alpha1?hash=x": "v1alpha1 has ",
		"/openapi/v3/apis/wardle.example.com/v1beta1":         "v1beta1 has ",
		"/openapi/v3/apis/wardle.example.com":                 "v1alpha1 has ",
		"/openapi/v3/apis/wardle.example.com/v1":              `{"openapi":`,
		"/openapi/v3/version":                                 `{"openapi":`,
	} {
		got := string(body(t, serve(h, "GET", path)))
		if strings.HasSuffix(want, " has ") {
			want += path
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s: %.100s", path, got)
		}
	}
	elsewhere = nil
	if r := serve(h, "GET", "/openapi/v3/apis/wardle.example.com/v1alpha1"); r.StatusCode != http.StatusNotFound {
		t.Errorf("%s when it is gone", r.Status)
	}
}

// A server that has no version 3 is described by what it has of version 2.
func TestConverted(t *testing.T) {
	v2 := fixture(t, "elsewhere-sample-v2.json")
	converted, err := Convert(v2)
	if err != nil {
		t.Fatal(err)
	}
	h := elsewhereHandler(catalogue(t, native.Options{}), func() *Elsewhere {
		return &Elsewhere{[]*Description{{Group: "wardle.example.com", Version: "v1alpha1", Converted: converted}}}
	})
	var decoded spec.Swagger
	if err := decoded.UnmarshalJSON(v2); err != nil {
		t.Fatal(err)
	}
	want, err := json.Marshal(openapiconv.ConvertV2ToV3(&decoded))
	if err != nil {
		t.Fatal(err)
	}
	const path = "/openapi/v3/apis/wardle.example.com/v1alpha1"
	address := parseIndex(t, body(t, serve(h, "GET", "/openapi/v3")))[path[len("/openapi/v3/"):]].ServerRelativeURL
	if !strings.HasPrefix(address, path+"?hash=") {
		t.Fatalf("it is at %q", address)
	}
	response := serve(h, "GET", address)
	if got := body(t, response); string(got) != string(want) || response.Header.Get("Cache-Control") != "public, immutable" {
		t.Errorf("another document, %v", response.Header)
	}
	if r := serve(h, "GET", path+"?hash=0"); r.StatusCode != http.StatusMovedPermanently || r.Header.Get("Location") != address {
		t.Errorf("an old hash: %s, %s", r.Status, r.Header.Get("Location"))
	}
	proto, err := handler3.ToV3ProtoBinary(want)
	if err != nil {
		t.Fatal(err)
	}
	if got := body(t, serve(h, "GET", path, "Accept", protoV3)); string(got) != string(proto) {
		t.Error("as protobuf, it is another document")
	}
}

// When what is told elsewhere changes, this server's own documents stay, and the
// one of version 2 is made again if its parts are others.
func TestElsewhereChange(t *testing.T) {
	current := both(t)
	h := elsewhereHandler(catalogue(t, native.Options{}), func() *Elsewhere { return current })
	v2 := func() *document {
		t.Helper()
		d, err := h.current().v2()
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	first, core := v2(), h.current().v3["api/v1"]
	body(t, serve(h, "GET", "/openapi/v3"))

	other := *current.Descriptions[1]
	other.V3 = map[string]string{"apis/wardle.example.com/v2": "/there"}
	current = &Elsewhere{[]*Description{current.Descriptions[0], &other}}
	if v2() != first {
		t.Error("the document of version 2 is made again without a reason")
	}
	if got := parseIndex(t, body(t, serve(h, "GET", "/openapi/v3")))["apis/wardle.example.com/v2"].ServerRelativeURL; got != "/there" {
		t.Errorf("the index has %q", got)
	}
	current = &Elsewhere{current.Descriptions[:1]}
	second := v2()
	if second == first || second.hash == first.hash {
		t.Error("the document of version 2 is not made again")
	}
	current = nil
	if got := v2().hash; got != strings.TrimSpace(string(fixture(t, "v2.sha512"))) {
		t.Error("with nothing elsewhere, the document is another than this server's")
	}
	if h.current().v3["api/v1"] != core {
		t.Error("a document of this server is made again")
	}
}

// What cannot be merged is left out, and the rest is there.
func TestUnmergeable(t *testing.T) {
	bad, err := NewPartV2("bad.example.com", "v1", []byte(`{"swagger":"2.0","paths":{"/apis/bad.example.com/v1/x":{}},
		"definitions":{"io.k8s.apimachinery.pkg.version.Info":{"x-kubernetes-group-version-kind":"none"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	h := elsewhereHandler(catalogue(t, native.Options{}), func() *Elsewhere {
		return &Elsewhere{[]*Description{{V2: bad}, {V2: sample(t, "v1beta1").V2}}}
	})
	content := string(body(t, serve(h, "GET", "/openapi/v2")))
	if !strings.Contains(content, "/apis/wardle.example.com/v1beta1/flunders") {
		t.Error("the other server's part is not there")
	}
	if _, err := NewPartV2("a", "v1", []byte(`{"paths":1}`)); err == nil {
		t.Error("what is no document is accepted")
	}
}

// Random documents are merged as upstream merges them that are decoded as a whole.
// Where two definitions become one, upstream takes the kinds of either, by chance:
// it is to have one such result.
func TestMergeRandom(t *testing.T) {
	for seed := range uint64(500) {
		random := rand.New(rand.NewPCG(seed, 0))
		docs := make([][]byte, 2+random.IntN(3))
		for i := range docs {
			docs[i] = encoded(t, randomSwagger(t, random))
		}
		var parts []*PartV2
		for _, d := range docs[1:] {
			parts = append(parts, &PartV2{compress(d)})
		}
		whole, err := joinV2(docs[0], nil, parts)
		if err != nil {
			t.Fatal(err)
		}
		var written bytes.Buffer
		if err := whole.writeTo(&written); err != nil {
			t.Fatal(err)
		}
		if same, err := marshal(whole); err != nil || !bytes.Equal(same, written.Bytes()) {
			t.Fatalf("seed %d: it is written as\n%s\nand not as\n%s", seed, &written, same)
		}
		got := parse(t, written.Bytes())
		for try := 0; ; try++ {
			diff := cmp.Diff(parse(t, mergedByUpstream(t, docs)), got)
			if diff == "" {
				break
			}
			if try == 100 {
				t.Fatalf("seed %d (-want +got):\n%s", seed, diff)
			}
		}
	}
}

// mergedByUpstream merges documents, all of them decoded.
func mergedByUpstream(t *testing.T, docs [][]byte) []byte {
	t.Helper()
	var merged *spec.Swagger
	for _, d := range docs {
		next := &spec.Swagger{}
		if err := next.UnmarshalJSON(d); err != nil {
			t.Fatal(err)
		}
		if merged == nil {
			merged = next
			continue
		}
		for name, d := range merged.Definitions { // or it panics
			if d.Extensions == nil {
				d.Extensions = spec.Extensions{}
				merged.Definitions[name] = d
			}
		}
		if err := aggregator.MergeSpecsIgnorePathConflictRenamingDefinitionsAndParameters(merged, next); err != nil {
			t.Fatal(err)
		}
	}
	return encoded(t, merged)
}

func encoded(t *testing.T, v any) []byte {
	t.Helper()
	content, err := marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// randomSwagger makes a document of few names, so that most are in others too,
// and names like those that others are given.
func randomSwagger(t *testing.T, random *rand.Rand) *spec.Swagger {
	t.Helper()
	names := []string{"A", "A_v2", "A_v3", "B", "B_v2", "C"}
	some := func() []string {
		return slices.DeleteFunc(slices.Clone(names), func(string) bool { return random.IntN(2) == 0 })
	}
	// None is empty, as none of this server's is.
	definitions := map[string]any{"Z": map[string]any{"type": "string"}}
	parameters := map[string]any{"z": map[string]any{"name": "z", "in": "query", "type": "string"}}
	paths := map[string]any{"/z/x": map[string]any{}}
	for _, name := range some() {
		d := map[string]any{"type": "object", "description": fmt.Sprint(random.IntN(2))}
		if random.IntN(2) == 0 {
			d["properties"] = map[string]any{"p": map[string]any{"$ref": "#/definitions/" + names[random.IntN(len(names))]}}
		}
		if random.IntN(2) == 0 {
			d["x-kubernetes-group-version-kind"] = []any{map[string]any{"group": "g", "version": fmt.Sprintf("v%d", random.IntN(3)), "kind": name}}
		}
		definitions[name] = d
	}
	for _, name := range some() {
		parameters[name] = map[string]any{"name": "n", "in": "query", "type": "string", "description": fmt.Sprint(random.IntN(2))}
	}
	for _, name := range some() { // no path begins another: where some are left out, upstream takes all that begin as those that are not
		paths["/"+name+"/x"] = map[string]any{
			"parameters": []any{map[string]any{"$ref": "#/parameters/" + names[random.IntN(len(names))]}},
			"get": map[string]any{"responses": map[string]any{"200": map[string]any{
				"description": fmt.Sprint(random.IntN(2)), "schema": map[string]any{"$ref": "#/definitions/" + names[random.IntN(len(names))]},
			}}},
		}
	}
	whole := &spec.Swagger{}
	content, err := json.Marshal(map[string]any{
		"swagger": "2.0", "info": map[string]any{"title": "t", "version": "1"}, "paths": paths, "definitions": definitions, "parameters": parameters,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := whole.UnmarshalJSON(content); err != nil {
		t.Fatal(err)
	}
	return whole
}
