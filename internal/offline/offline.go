// Package offline looks through data directories and backups of them while no
// server uses them: it finds out whether what is kept can be read.
//
// It must not know commands, nor how objects are served; what is written to a
// directory is written by internal/store/disk.
package offline

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/native"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/store"
	"github.com/knarr-io/knarr/internal/store/disk"
	"github.com/knarr-io/knarr/internal/version"
)

// Findings is what a directory or a backup has in it.
type Findings struct {
	disk.Contents
	// Decoded values are objects of their kinds. Encrypted ones are as they were
	// written, which is all that can be told without the keys.
	Decoded, Encrypted int
	// Problems is how many were reported.
	Problems int
}

// VerifyDir reads all that is kept in a data directory and reports what is wrong
// with it. An error says why it could not be read to its end.
func VerifyDir(ctx context.Context, dir string, report func(error)) (*Findings, error) {
	return verify(report, func(report func(error), see func(store.Event)) (*disk.Contents, error) {
		return disk.Check(ctx, dir, report, see)
	})
}

// VerifyBackup reads a backup in the same way.
func VerifyBackup(path string, report func(error)) (*Findings, error) {
	return verify(report, func(report func(error), see func(store.Event)) (*disk.Contents, error) {
		return disk.CheckBackup(path, report, see)
	})
}

type reader func(report func(error), see func(store.Event)) (*disk.Contents, error)

func verify(report func(error), read reader) (*Findings, error) {
	v, err := newVerifier(report)
	if err != nil {
		return nil, err
	}
	contents, err := read(v.problem, v.see)
	if contents != nil {
		v.found.Contents = *contents
	}
	return &v.found, err
}

type verifier struct {
	found  Findings
	report func(error)
	// native are the resources under a prefix: more than one where they show the
	// same objects.
	native map[string]*kind.Resource
}

func newVerifier(report func(error)) (*verifier, error) {
	// What is switched off is kept all the same.
	catalogue, err := native.Catalogue(native.Options{RuntimeConfig: map[string]string{"api/all": "true"}})
	if err != nil {
		return nil, err
	}
	v := &verifier{report: report, native: map[string]*kind.Resource{}}
	for _, g := range catalogue.Groups {
		for _, r := range g.Resources {
			if r.Storage != nil {
				v.native[r.Storage.Prefix] = r
			}
		}
	}
	return v, nil
}

func (v *verifier) problem(err error) {
	v.found.Problems++
	v.report(err)
}

// encrypted is how values begin that upstream's providers have encrypted.
var encrypted = []byte("k8s:enc:")

// see decodes one value.
func (v *verifier) see(e store.Event) {
	if e.Deleted() {
		return
	}
	if bytes.HasPrefix(e.Value, encrypted) {
		v.found.Encrypted++
		return
	}
	is, err := v.decode(e)
	if err != nil {
		v.problem(fmt.Errorf("%s at revision %d: %w", e.Key, e.Rev, err))
	} else if is {
		v.found.Decoded++
	}
}

// decode decodes a value if it is an object's.
func (v *verifier) decode(e store.Event) (is bool, err error) {
	prefix := state.ResourceOf(e.Key)
	if r := v.native[prefix]; r != nil {
		return true, decodeNative(r, e)
	}
	switch prefix {
	case "/registry/ranges", "/registry/masterleases", "/registry/peerserverleases":
		return false, nil // the server's own
	}
	group, resource, ok := strings.Cut(strings.TrimPrefix(prefix, "/registry/"), "/")
	if !ok || !strings.Contains(group, ".") {
		return false, fmt.Errorf("it is of a resource that Kubernetes %s does not have, and nobody will see it; "+
			"if it is needed, serve this directory with the release of knarr that wrote it", version.Kubernetes())
	}
	return true, decodeCustom(schema.GroupResource{Group: group, Resource: resource}, e)
}

func decodeNative(r *kind.Resource, e store.Event) error {
	obj, err := r.Storage.Codec.Decode(e.Value)
	if runtime.IsNotRegisteredError(err) {
		return fmt.Errorf("it is kept in a version that Kubernetes %s no longer has (%w); "+
			"serve this directory with the release of knarr that wrote it, write the objects again "+
			"(kubectl get -o json … | kubectl replace -f -), and come back", version.Kubernetes(), err)
	}
	if err != nil {
		return fmt.Errorf("it does not decode as %s: %w", r.Kind, err)
	}
	m, err := meta.Accessor(obj)
	if err != nil {
		return err
	}
	return named(m, strings.TrimPrefix(e.Key, r.Storage.Prefix))
}

// decodeCustom checks what every custom object has; its schema is its definition's.
func decodeCustom(of schema.GroupResource, e store.Event) error {
	obj := &metav1.PartialObjectMetadata{}
	if err := json.Unmarshal(e.Value, obj); err != nil {
		return fmt.Errorf("it does not decode as one of %s: %w", of, err)
	}
	if gvk := obj.GroupVersionKind(); gvk.Group != of.Group || gvk.Kind == "" {
		return fmt.Errorf("it says that it is %s, which is none of %s", gvk, of)
	}
	_, key, _ := strings.Cut(strings.TrimPrefix(e.Key, "/registry/"+of.Group+"/"), "/")
	return named(obj, "/"+key)
}

// named checks that an object has the name that its key has.
func named(m metav1.Object, key string) error {
	want := "/" + m.GetName()
	if m.GetNamespace() != "" {
		want = "/" + m.GetNamespace() + want
	}
	if key != want {
		return fmt.Errorf("the object there is called %s", want[1:])
	}
	return nil
}
