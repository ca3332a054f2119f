package verb

import (
	"context"
	"encoding/json"
	"math/rand"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/knarr-io/knarr/internal/kind/custom"
)

// odd is a definition with a member of each sort that merging could get wrong.
const odd = `
metadata: {name: odds.example.com}
spec:
  group: example.com
  scope: Namespaced
  conversion: {strategy: None}
  names: {plural: odds, singular: odd, kind: Odd, listKind: OddList}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema: {openAPIV3Schema: {type: object, properties: {
      metadata: {type: object, properties: {name: {type: string, maxLength: 5}}},
      spec: {type: object, default: {a: x}, properties: {a: {type: string, default: y}, b: {type: object, properties: {c: {type: integer, default: 3}, d: {type: string, nullable: true}}},
        list: {type: array, items: {type: object, properties: {a: {type: string, default: z}}}}}},
      any: {type: object, x-kubernetes-preserve-unknown-fields: true},
      inside: {type: object, x-kubernetes-embedded-resource: true, x-kubernetes-preserve-unknown-fields: true},
      text: {type: string}, number: {type: number}, nothing: {type: string, nullable: true},
      status: {type: object, default: {}, properties: {phase: {type: string, default: new}}}}}}
`

func oddTarget(t *testing.T) Target {
	t.Helper()
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict([]byte(odd), crd); err != nil {
		t.Fatal(err)
	}
	crd.Status.AcceptedNames = crd.Spec.Names
	maker, err := custom.NewMaker(nil)
	if err != nil {
		t.Fatal(err)
	}
	kinds, err := maker.Kinds(crd)
	if err != nil {
		t.Fatal(err)
	}
	return Target{Version: kinds[0].Versions[0], Namespace: "ns", Name: "w"}
}

// oddValues are what members may be, those that their schema does not let in too.
var oddValues = []string{
	`null`, `"x"`, `""`, `1`, `1.5`, `{}`, `[]`, `{"a":"b"}`, `{"a":null}`, `{"b":{"c":1}}`, `{"b":{"c":null,"d":null}}`, `{"b":null}`, `{"b":{"e":1}}`,
	`{"list":[{},{"a":"b"},null]}`, `{"list":[{"a":null}]}`, `{"phase":"old"}`, `{"phase":null}`, `{"x":[1,null,{"y":null}]}`, `{"x":{"y":{"z":null}}}`,
	`{"apiVersion":"v1","kind":"K","metadata":{"name":"n","labels":{"a":"b"}}}`, `{"metadata":{"labels":null,"name":1}}`, `{"metadata":{"creationTimestamp":null}}`, `"<&>\u2028"`,
}

var oddMetadatas = []string{
	`{"labels":{"a":"b"}}`, `{"labels":{"a":null}}`, `{"annotations":{"c":"<d>"}}`, `{"annotations":null,"labels":{}}`, `{"finalizers":["a/b"]}`, `{"finalizers":[]}`,
	`{"resourceVersion":"7"}`, `{"generation":5}`, `{"creationTimestamp":null}`, `{"managedFields":[{}]}`, `{"managedFields":null}`, `{"name":"other"}`, `{"unknown":1}`,
	`{"labels":{"a":1}}`, `null`, `1`, `{"deletionTimestamp":"2026-01-02T03:04:05Z"}`, `{"ownerReferences":[{"apiVersion":"v1","kind":"K","name":"n","uid":"u"}]}`, `{}`,
}

// What a merge patch makes of a custom object by its members is what it makes of
// the whole.
func TestMergeMembers(t *testing.T) {
	if *bodySeed == 0 {
		*bodySeed = time.Now().UnixNano()
	}
	t.Logf("seed %d", *bodySeed)
	r := rand.New(rand.NewSource(*bodySeed))
	target := oddTarget(t)
	members := func(chance int, names ...string) string {
		var all []string
		for _, name := range names {
			if r.Intn(chance) == 0 {
				all = append(all, `"`+name+`":`+oddValues[r.Intn(len(oddValues))])
			}
		}
		if r.Intn(2) == 0 {
			all = append(all, `"metadata":`+oddMetadatas[r.Intn(len(oddMetadatas))])
		}
		return strings.Join(all, ",")
	}
	short := 0
	for range *patches {
		stored := `{"apiVersion":"example.com/v1","kind":"Odd",` + strings.TrimPrefix(members(2, "spec", "any", "inside", "text", "number", "nothing", "status")+",", ",")
		current := decodeOdd(t, target, strings.TrimSuffix(stored, ",")+"}")
		if current == nil {
			continue
		}
		if r.Intn(2) == 0 {
			current.SetName("w")
			current.SetManagedFields(randomOwners(r))
			if current = decodeOdd(t, target, string(encoded(t, target, current))); current == nil {
				continue
			}
		}
		patch := []byte("{" + members(4, "spec", "any", "inside", "text", "number", "nothing", "status", "unknown", "kind") + "}")
		p := &patching{Target: target, patch: patch, directive: metav1.FieldValidationStrict}
		decoded := map[string]any{}
		if err := json.Unmarshal(patch, &decoded); err != nil {
			t.Fatal(err)
		}
		before := current.DeepCopy()
		got := p.mergeMembers(context.Background(), current, decoded)
		if !equality.Semantic.DeepEqual(before, current) {
			t.Fatalf("%s changed the object there is", patch)
		}
		if got == nil {
			continue
		}
		short++
		p.checkLongWay(t, current, got)
	}
	t.Logf("%d of %d by members", short, *patches)
	if short < *patches/5 {
		t.Errorf("only %d of %d patches went the short way", short, *patches)
	}
}

// decodeOdd is an object as it is read from the store; nil if it cannot be.
func decodeOdd(t *testing.T, target Target, value string) *unstructured.Unstructured {
	t.Helper()
	obj, err := target.resource().Storage.Codec.Decode([]byte(value))
	if err != nil {
		return nil
	}
	return obj.(*unstructured.Unstructured)
}
