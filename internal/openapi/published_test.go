package openapi

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	genericfeatures "k8s.io/apiserver/pkg/features"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	featuregatetesting "k8s.io/component-base/featuregate/testing"

	"github.com/knarr-io/knarr/internal/kind/native"
)

// published returns the directory of the documents in Kubernetes' repository,
// which are of a server with all versions and all features on, but the values
// of enumerations not told.
func published(t *testing.T) string {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/kubernetes").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(strings.TrimSpace(string(dir)), "api", "openapi-spec", "v3")
}

// With everything on, what is served is what Kubernetes publishes.
func TestPublished(t *testing.T) {
	featuregatetesting.SetFeatureGatesDuringTest(t, utilfeature.DefaultFeatureGate, featuregatetesting.FeatureOverrides{
		"AllAlpha": true, "AllBeta": true, genericfeatures.OpenAPIEnums: false,
	})
	h := newHandler(catalogue(t, native.Options{RuntimeConfig: map[string]string{"api/all": "true"}}))
	files, err := filepath.Glob(filepath.Join(published(t), "*_openapi.json"))
	if err != nil || len(files) == 0 {
		t.Fatal("nothing is published", err)
	}
	for _, file := range files {
		key := strings.ReplaceAll(strings.TrimSuffix(filepath.Base(file), "_openapi.json"), "__", "/")
		t.Run(key, func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			response := serve(h, "GET", "/openapi/v3/"+key)
			if key == "logs" { // a directory of files, off by default, that the server does not have
				if response.StatusCode != http.StatusNotFound {
					t.Error(response.Status)
				}
				return
			}
			want, got := parse(t, content), parse(t, body(t, response))
			comparable(want)
			comparable(got)
			if path, ok := taintRules[key]; ok {
				remove(want, "paths", path, "delete", "responses")
				remove(got, "paths", path, "delete", "responses")
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// taintRules is where upstream answers a deletion with the object in these
// versions of the kind and with a Status in v1. The catalogue has one rule for
// all versions of a kind, that of v1.
var taintRules = map[string]string{
	"apis/resource.k8s.io/v1alpha3": "/apis/resource.k8s.io/v1alpha3/devicetaintrules/{name}",
	"apis/resource.k8s.io/v1beta2":  "/apis/resource.k8s.io/v1beta2/devicetaintrules/{name}",
}

// remove takes out what is at a path of keys.
func remove(document any, keys ...string) {
	for _, key := range keys[:len(keys)-1] {
		document = document.(map[string]any)[key]
	}
	delete(document.(map[string]any), keys[len(keys)-1])
}

func parse(t *testing.T, content []byte) any {
	t.Helper()
	var document any
	if err := json.Unmarshal(content, &document); err != nil {
		t.Fatal(err)
	}
	return document
}

// comparable takes out of a part of a document what differs: the published ones
// do not name a version of Kubernetes, and they have CBOR, an alpha feature that
// the server does not have.
func comparable(part any) {
	switch part := part.(type) {
	case map[string]any:
		if _, ok := part["title"].(string); ok {
			delete(part, "version")
		}
		delete(part, "application/cbor")
		delete(part, "application/cbor-seq")
		delete(part, "application/apply-patch+cbor")
		for _, child := range part {
			comparable(child)
		}
	case []any:
		for _, child := range part {
			comparable(child)
		}
	}
}
