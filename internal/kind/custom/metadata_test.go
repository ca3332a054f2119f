package custom

import (
	"math/rand/v2"
	"reflect"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// Metadata that is plain is what upstream makes of it.
func TestPlainMetadata(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	plain := 0
	const all = 100_000
	for range all {
		metadata := randomMetadata(r)
		u := &unstructured.Unstructured{Object: map[string]any{"metadata": metadata}}
		if !hasPlainMetadata(u) {
			continue
		}
		plain++
		given := runtime.DeepCopyJSONValue(metadata)
		for _, o := range []objectmeta.ObjectMetaOptions{{}, {DropMalformedFields: true}, {ReturnUnknownFieldPaths: true}} {
			meta, found, unknown, err := objectmeta.GetObjectMetaWithOptions(u.Object, o)
			if err != nil || !found || len(unknown) > 0 {
				t.Fatalf("%v: %v, unknown %v", given, err, unknown)
			}
			to := map[string]any{}
			if err := objectmeta.SetObjectMeta(to, meta); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(to["metadata"], given) {
				t.Fatalf("%#v\nbecomes %#v", given, to["metadata"])
			}
		}
	}
	t.Logf("%d of %d are plain", plain, all)
	if plain < all/10 {
		t.Errorf("only %d of %d are plain", plain, all)
	}
}

// randomMetadata has some fields, most of them right.
func randomMetadata(r *rand.Rand) map[string]any {
	right := map[string]func() any{
		"name": func() any { return "a<b" }, "generateName": func() any { return "a-" }, "namespace": func() any { return "ns" },
		"selfLink": func() any { return "/x" }, "uid": func() any { return "u" }, "resourceVersion": func() any { return "7" },
		"generation": func() any { return r.Int64N(3) }, "deletionGracePeriodSeconds": func() any { return r.Int64N(2) },
		"creationTimestamp": func() any { return randomTime(r) }, "deletionTimestamp": func() any { return randomTime(r) },
		"labels": func() any { return randomTexts(r) }, "annotations": func() any { return randomTexts(r) },
		"finalizers": func() any { return randomItems(r, func() any { return []string{"a/b", ""}[r.IntN(2)] }) },
		"ownerReferences": func() any {
			return randomItems(r, func() any {
				return randomFields(r, 20, map[string]func() any{
					"apiVersion": func() any { return "v1" }, "kind": func() any { return "Pod" }, "name": func() any { return "" }, "uid": func() any { return "u" },
					"controller": func() any { return r.IntN(2) == 0 }, "blockOwnerDeletion": func() any { return true },
				})
			})
		},
		"managedFields": func() any {
			return randomItems(r, func() any {
				return randomFields(r, 3, map[string]func() any{
					"manager": func() any { return "m\u2028" }, "operation": func() any { return "Update" }, "apiVersion": func() any { return "v1" },
					"fieldsType": func() any { return "FieldsV1" }, "subresource": func() any { return "status" }, "time": func() any { return randomTime(r) },
					"fieldsV1": func() any { return randomTree(r, 3) },
				})
			})
		},
	}
	return randomFields(r, 2, right)
}

// randomFields has each field but for one of so many, and sometimes a wrong one.
func randomFields(r *rand.Rand, missing int, right map[string]func() any) map[string]any {
	object := map[string]any{}
	for name, make := range right {
		switch {
		case r.IntN(missing) == 0:
		case r.IntN(100) == 0:
			object[name] = []any{nil, "", int64(0), true, 1.5, []any{}, map[string]any{}, []any{nil}, map[string]any{"a": nil}}[r.IntN(9)]
		default:
			object[name] = make()
		}
	}
	if r.IntN(50) == 0 {
		object["other"] = "x"
	}
	return object
}

func randomTime(r *rand.Rand) any {
	return []any{"2026-01-02T03:04:05Z", "1969-12-31T23:59:59Z", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z", "0001-01-01T00:00:00Z", "2026-01-02T03:04:05+01:00",
		"2026-02-30T03:04:05Z", "2026-01-02T03:04:05.5Z", nil, "2026-01-02T03:04:60Z", "2026-01-02t03:04:05Z"}[r.IntN(r.IntN(11)+1)]
}

func randomTexts(r *rand.Rand) any {
	texts := map[string]any{}
	for range r.IntN(4) {
		texts[[]string{"a", "b<", ""}[r.IntN(3)]] = []string{"", "x", "\u2028"}[r.IntN(3)]
	}
	return texts
}

func randomItems(r *rand.Rand, item func() any) any {
	list := []any{}
	for range 1 + r.IntN(3) {
		list = append(list, item())
	}
	return list
}

func randomTree(r *rand.Rand, depth int) any {
	object := map[string]any{}
	for range r.IntN(3) {
		if depth > 0 {
			object[[]string{".", "f:a", "f:<&>", `k:{"a":"\u2028"}`}[r.IntN(4)]] = randomTree(r, depth-1)
		}
	}
	return object
}
