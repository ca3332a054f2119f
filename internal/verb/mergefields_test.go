package verb

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"math/rand"
	"testing"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

var patches = flag.Int("patches", 3000, "random merge patches that are applied in two ways")

// What a merge patch makes of an object by its fields is what it makes of the
// whole.
func TestMergeFields(t *testing.T) {
	if *bodySeed == 0 {
		*bodySeed = time.Now().UnixNano()
	}
	t.Logf("seed %d", *bodySeed)
	r := rand.New(rand.NewSource(*bodySeed))
	versions := everyVersion(t)
	short := 0
	for i := range *patches {
		target := Target{Version: versions[i%len(versions)]}
		if target.resource().Storage == nil {
			continue // nothing to patch
		}
		current := randomHub(r, target)
		current.(metav1.Object).SetManagedFields(randomOwners(r))
		current = storedObject(t, current, target)
		patch := randomPatch(t, r, target)
		p := &patching{Target: target, patch: patch, directive: metav1.FieldValidationStrict}
		decoded := map[string]any{}
		if json.Unmarshal(patch, &decoded) != nil {
			continue
		}
		before := current.DeepCopyObject()
		got := p.mergeFields(current, decoded)
		if !apiequality.Semantic.DeepEqual(before, current) {
			t.Fatalf("%v: %s changed the object there is", target.bodyKind(), patch)
		}
		if got == nil {
			continue
		}
		short++
		p.checkLongWay(t, current, got)
	}
	t.Logf("%d of %d by fields", short, *patches)
	if short < *patches/5 {
		t.Errorf("only %d of %d patches went the short way", short, *patches)
	}
}

// checkLongWay makes sure that got is what the patch makes of the whole of current.
func (p *patching) checkLongWay(t *testing.T, current, got runtime.Object) {
	t.Helper()
	whole, err := p.encode(current)
	if err != nil {
		t.Fatal(err)
	}
	merged, err := mergeInto(whole, p.patch)
	if err != nil {
		t.Fatal(err)
	}
	want, err := p.decodePatched(context.Background(), merged, nil)
	if err != nil {
		t.Fatalf("%v: %s\nto    %s is refused: %v", p.bodyKind(), p.patch, whole, err)
	}
	if !apiequality.Semantic.DeepEqual(want, got) || !bytes.Equal(encoded(t, p.Target, want), encoded(t, p.Target, got)) {
		t.Fatalf("%v: %s\nto    %s\ngives %s\nnot   %s", p.bodyKind(), p.patch, whole, encoded(t, p.Target, got), encoded(t, p.Target, want))
	}
}

// storedObject is an object as it is read from the store.
func storedObject(t *testing.T, obj runtime.Object, target Target) runtime.Object {
	t.Helper()
	stored, err := target.resource().Storage.Codec.Decode(encoded(t, target, obj))
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

func encoded(t *testing.T, target Target, obj runtime.Object) []byte {
	t.Helper()
	value, err := target.resource().Storage.Codec.Encode(obj)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func randomOwners(r *rand.Rand) (owners []metav1.ManagedFieldsEntry) {
	fields := []string{`{"f:spec":{".":{},"f:a":{}}}`, `{"f:metadata":{"f:labels":{"f:b":{}}}}`, `{ "f:c": {} }`, `{"f:<&>":{}}`, "{\"f:\u2028\":{}}", `{}`, ``}
	for i := range r.Intn(4) {
		e := metav1.ManagedFieldsEntry{Manager: []string{"a", "b", "<", ""}[r.Intn(4)], Operation: "Update", APIVersion: "v1", FieldsType: "FieldsV1"}
		if r.Intn(4) > 0 {
			e.Time = &metav1.Time{Time: time.Unix(int64(i), int64(r.Intn(2)))}
		}
		if r.Intn(8) > 0 {
			e.FieldsV1 = metav1.NewFieldsV1(fields[r.Intn(r.Intn(len(fields))+1)])
		}
		owners = append(owners, e)
	}
	return owners
}

// randomPatch has some fields of another object, some damaged.
func randomPatch(t *testing.T, r *rand.Rand, target Target) []byte {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(randomBody(t, r, target)), &fields); err != nil {
		t.Fatal(err)
	}
	for name := range fields {
		if name == "kind" || name == "apiVersion" || r.Intn(2) == 0 {
			delete(fields, name)
		}
	}
	patch, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	text := string(patch)
	for range r.Intn(3) {
		text = damaged(r, text)
	}
	return []byte(text)
}
