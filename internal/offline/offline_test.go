package offline

import (
	"errors"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/store/disk"
	"github.com/knarr-io/knarr/internal/store/storetest"
)

// TestVerify finds what a store cannot know: values that are no objects.
func TestVerify(t *testing.T) {
	dir := t.TempDir()
	s, err := disk.Open(dir, disk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context(), storetest.NewRecorder(false)); err != nil {
		t.Fatal(err)
	}
	gone := kind.Envelope(schema.GroupVersionKind{Group: "batch", Version: "v2alpha1", Kind: "CronJob"}, nil)
	for key, value := range map[string]string{
		"/registry/configmaps/default/good":                              `{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"good","namespace":"default"}}`,
		"/registry/configmaps/default/other":                             `{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"another","namespace":"default"}}`,
		"/registry/pods/default/junk":                                    "junk",
		"/registry/cronjobs/default/gone":                                string(gone),
		"/registry/secrets/default/locked":                               "k8s:enc:aescbc:v1:key:x",
		"/registry/example.com/boxes/default/box":                        `{"kind":"Box","apiVersion":"example.com/v1","metadata":{"name":"box","namespace":"default"}}`,
		"/registry/example.com/boxes/default/box2":                       `{"kind":"Box","apiVersion":"example.org/v1","metadata":{"name":"box2","namespace":"default"}}`,
		"/registry/masterleases/10.0.0.1":                                "none of ours",
		"/registry/podsecuritypolicy/strict":                             "k8s\x00",
		"/registry/apiextensions.k8s.io/customresourcedefinitions/a.b.c": `{`,
	} {
		if _, err := s.Commit(t.Context(), []store.Change{{Key: key, Value: []byte(value)}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	var problems []error
	found, err := VerifyDir(t.Context(), dir, func(problem error) { problems = append(problems, problem) })
	if err != nil {
		t.Fatal(err)
	}
	if found.Decoded != 2 || found.Encrypted != 1 || found.History != 10 || found.Problems != 6 {
		t.Errorf("found %+v", found)
	}
	all := errors.Join(problems...).Error()
	for _, want := range []string{
		"/registry/configmaps/default/other at revision", "is called default/another",
		"/registry/pods/default/junk at revision", "does not decode as Pod",
		"/registry/cronjobs/default/gone at revision", "Kubernetes v1.37.2 no longer has",
		"it says that it is example.org/v1, Kind=Box, which is none of boxes.example.com",
		"customresourcedefinitions/a.b.c at revision",
		"/registry/podsecuritypolicy/strict at revision", "a resource that Kubernetes v1.37.2 does not have",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not among what is reported:\n%s", want, all)
		}
	}
	if _, err := VerifyDir(t.Context(), t.TempDir(), func(error) {}); err == nil {
		t.Error("an empty directory is all right")
	}
}
