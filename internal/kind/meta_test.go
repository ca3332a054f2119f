package kind

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	kjson "sigs.k8s.io/json"

	"github.com/knarr-io/knarr/internal/object"
)

// told is what Meta tells, in values that can be compared.
type told struct {
	UID        string
	Deleting   bool
	Finalizers []string
	Owners     []toldOwner
}

type toldOwner struct {
	APIVersion, Kind, Name, UID string
	Blocks                      bool
}

func tell(m *Meta) told {
	t := told{UID: string(m.UID), Deleting: m.Deleting}
	for _, f := range m.Finalizers {
		t.Finalizers = append(t.Finalizers, string(f))
	}
	for _, o := range m.Owners {
		t.Owners = append(t.Owners, toldOwner{string(o.APIVersion), string(o.Kind), string(o.Name), string(o.UID), o.Blocks})
	}
	return t
}

// expect is the same from decoded metadata.
func expect(m *metav1.ObjectMeta) told {
	t := told{UID: string(m.UID), Deleting: m.DeletionTimestamp != nil}
	t.Finalizers = append(t.Finalizers, m.Finalizers...)
	for _, o := range m.OwnerReferences {
		t.Owners = append(t.Owners, toldOwner{o.APIVersion, o.Kind, o.Name, string(o.UID), o.BlockOwnerDeletion != nil && *o.BlockOwnerDeletion})
	}
	return t
}

// randomMeta is of all that metadata can have, in lengths that take one byte and more.
func randomMeta(r *rand.Rand) *metav1.ObjectMeta {
	text := func() string {
		b := make([]byte, []int{0, 1, 36, 200}[r.IntN(4)])
		for i := range b {
			b[i] = "abc-/.\"\\{}[],:\n\t 01é"[r.IntN(20)]
		}
		return string(bytes.ToValidUTF8(b, nil))
	}
	some := func(do func()) {
		for range r.IntN(4) {
			do()
		}
	}
	now := metav1.NewTime(time.Unix(r.Int64N(1<<32), 0))
	yesNo := func() *bool { return []*bool{nil, new(bool), new(r.IntN(2) == 0)}[r.IntN(3)] }
	m := &metav1.ObjectMeta{
		Name: text(), GenerateName: text(), Namespace: text(), UID: types.UID(text()), Generation: r.Int64() - r.Int64(), CreationTimestamp: now,
		Labels: map[string]string{}, Annotations: map[string]string{},
	}
	if r.IntN(2) == 0 {
		m.DeletionTimestamp, m.DeletionGracePeriodSeconds = &now, new(r.Int64N(1000))
	}
	some(func() { m.Labels[text()] = text() })
	some(func() { m.Annotations[text()] = text() })
	some(func() { m.Finalizers = append(m.Finalizers, text()) })
	some(func() {
		m.OwnerReferences = append(m.OwnerReferences, metav1.OwnerReference{
			APIVersion: text(), Kind: text(), Name: text(), UID: types.UID(text()), Controller: yesNo(), BlockOwnerDeletion: yesNo(),
		})
	})
	some(func() {
		m.ManagedFields = append(m.ManagedFields, metav1.ManagedFieldsEntry{
			Manager: text(), Operation: metav1.ManagedFieldsOperationUpdate, Time: &now,
			FieldsV1: &metav1.FieldsV1{Raw: []byte(`{"f:metadata":{"f:ownerReferences":{"k:{\"uid\":\"x\"}":{}}}}`)},
		})
	})
	return m
}

// encodings are an object with that metadata as stores keep it.
func encodings(t testing.TB, m *metav1.ObjectMeta) [][]byte {
	t.Helper()
	obj := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, ObjectMeta: *m}
	message, err := obj.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(obj)
	if err != nil {
		t.Fatal(err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, text, "", "  "); err != nil {
		t.Fatal(err)
	}
	return [][]byte{Envelope(obj.GroupVersionKind(), message), text, indented.Bytes()}
}

func TestMetaIsThatOfTheDecodedObject(t *testing.T) {
	var m Meta // one for all: nothing of one may be left in the next
	for seed := range uint64(3000) {
		meta := randomMeta(rand.New(rand.NewPCG(seed, 0)))
		for i, value := range encodings(t, meta) {
			if err := m.Read(&object.Object{Value: value}); err != nil {
				t.Fatalf("seed %d, encoding %d: %v\n%s", seed, i, err, value)
			}
			if diff := cmp.Diff(expect(meta), tell(&m)); diff != "" {
				t.Fatalf("seed %d, encoding %d (-decoded +read)\n%s", seed, i, diff)
			}
		}
	}
}

func TestMetaOfOddJSON(t *testing.T) {
	for text, want := range map[string]string{
		`{}`:                "",
		`{"metadata":null}`: "",
		`{"spec":{"metadata":{"uid":"no"}},"metadata":{"uid":"yes"}}`:                                  "yes",
		`{"spec":["}",{"a":"\\\"]"}],"n":-1.5e+3,"t":true, "metadata" : { "x" : [ ] , "uid" : "a" } }`: "a",
		`{"metadata":{"uid":"\u0061\"b"}}`:                                                             `a"b`,
		`{"metadata":{"uid":null,"ownerReferences":null,"finalizers":null,"deletionTimestamp":null}}`:  "",
	} {
		var m Meta
		if err := m.read([]byte(text)); err != nil || string(m.UID) != want || m.Deleting || m.Owners != nil || m.Finalizers != nil {
			t.Errorf("%s: uid %q, %+v, %v", text, m.UID, m, err)
		}
	}
	for _, text := range []string{
		``, `null`, `[]`, `{`, `{"metadata"`, `{"metadata":`, `{"metadata":{`, `{"metadata":{"uid"`, `{"metadata":{"uid":1}}`, `{"metadata":{"uid":"a`,
		`{"metadata":{"ownerReferences":{}}}`, `{"metadata":{"ownerReferences":[1]}}`, `{"metadata":{"finalizers":[{}]}}`, `{"a":}`, `{"a":]}`, `{"a" "b"}`, `{,}`,
		`{"metadata":{"ownerReferences":[{"blockOwnerDeletion":"true"}]}}`, `{"metadata":{"uid":"\u"}}`,
	} {
		if err := new(Meta).read([]byte(text)); err == nil {
			t.Errorf("%s is read", text)
		}
	}
}

// What upstream decodes is read as the same, or, if nobody has written it so, not at all.
func FuzzMeta(f *testing.F) {
	for seed := range uint64(20) {
		for _, value := range encodings(f, randomMeta(rand.New(rand.NewPCG(seed, 1)))) {
			f.Add(value)
		}
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		var m Meta
		if m.read(value) != nil {
			return
		}
		var obj metav1.PartialObjectMetadata
		if message, ok := bytes.CutPrefix(value, []byte(envelopePrefix)); ok {
			var unknown runtime.Unknown
			if unknown.Unmarshal(message) != nil || obj.Unmarshal(unknown.Raw) != nil {
				return
			}
			if again, err := unknown.Marshal(); err != nil || len(again) != len(message) {
				return // fields are there twice, or in other ways nobody writes
			}
			if again, err := obj.Marshal(); err != nil || len(again) != len(unknown.Raw) {
				return
			}
		} else if strict, err := kjson.UnmarshalStrict(value, &obj); err != nil || len(strict) > 0 {
			return
		}
		if diff := cmp.Diff(expect(&obj.ObjectMeta), tell(&m)); diff != "" {
			t.Fatalf("(-decoded +read)\n%s", diff)
		}
	})
}

func BenchmarkMeta(b *testing.B) {
	meta := &metav1.ObjectMeta{
		Name: "web-5d4f8c7b9-abcde", GenerateName: "web-5d4f8c7b9-", Namespace: "shop", UID: "0a1b2c3d-0000-4000-8000-0123456789ab", CreationTimestamp: metav1.Now(),
		Labels: map[string]string{"app": "web", "pod-template-hash": "5d4f8c7b9"},
		ManagedFields: []metav1.ManagedFieldsEntry{{
			Manager: "kube-controller-manager", Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: "v1", FieldsType: "FieldsV1",
			FieldsV1: &metav1.FieldsV1{Raw: bytes.Repeat([]byte(`{"f:metadata":{"f:labels":{".":{},"f:app":{}}}}`), 20)},
		}},
	}
	meta.ManagedFields[0].FieldsV1.Raw = []byte(`{"f:x":` + string(bytes.Repeat([]byte(`{"f:metadata":`), 60)) + `{}` + string(bytes.Repeat([]byte(`}`), 60)) + `}`)
	for _, owners := range []int{0, 1} {
		for range owners {
			meta.OwnerReferences = append(meta.OwnerReferences, metav1.OwnerReference{
				APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web-5d4f8c7b9", UID: "0a1b2c3d-0000-4000-8000-0123456789ac", Controller: new(true), BlockOwnerDeletion: new(true),
			})
		}
		for i, value := range encodings(b, meta)[:2] {
			b.Run(fmt.Sprintf("%s/owners=%d", []string{"protobuf", "JSON"}[i], owners), func(b *testing.B) {
				b.ReportAllocs()
				var m Meta
				o := &object.Object{Value: value}
				for b.Loop() {
					if err := m.Read(o); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
