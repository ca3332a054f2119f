package verb

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
)

// A merge patch makes what the library makes of it.
func TestMergeInto(t *testing.T) {
	for _, c := range []struct{ doc, patch string }{
		{`{}`, `{}`},
		{`{"a":1}`, `{"a":2}`},
		{`{"a":1,"b":[1,{"c":"}"}],"d":-1.5e3}`, `{"b":null}`},
		{`{"a":1,"b":[1,{"c":"}"}],"d":true}`, `{"a":null,"d":null}`},
		{`{"a":{"b":{"c":1}}}`, `{"a":{"b":{"c":{"d":null,"e":1}}}}`},
		{`{"a":null}`, `{"a":{"b":null,"c":[null,{"d":null}]}}`},
		{`{"a":{"b":1}}`, `{"a":[null,{"b":null}]}`},
		{`{"a":[1]}`, `{"a":{"b":1}}`},
		{`{"a":"\\\"","b\"}":{"c":1}}`, `{"b\"}":{"c":2}}`},
		{`{"a\u003cb":1}`, `{"a<b":2,"\u00e4":"ö"}`},
		{`{"a":1}`, `{"a":2,"a":3}`},
		{`{"a":1}`, ` {"a" : { "b" : [ 1 , 2 ] } } `},
		{`{"a":1}`, `{"":{"":null}}`},
		{`{"a":{}}` + "\n", `{"a":{},"b":{}}`},
		{`{"a":1}`, `null`},
		{`{"a":1}`, `[null,{"a":null}]`},
		{`{"a":1}`, `"text"`},
		{`{"a":1}`, `{"a":`},
	} {
		sameMerge(t, c.doc, c.patch)
	}
}

func TestMergeIntoRandom(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 20_000 {
		doc, err := json.Marshal(randomObject(r, 3))
		if err != nil {
			t.Fatal(err)
		}
		patch, err := json.Marshal(randomObject(r, 3))
		if err != nil {
			t.Fatal(err)
		}
		sameMerge(t, string(doc), string(patch))
	}
}

func sameMerge(t *testing.T, doc, patch string) {
	t.Helper()
	got, err := mergeInto([]byte(doc), []byte(patch))
	want, wantErr := jsonpatch.MergePatch([]byte(doc), []byte(patch))
	if fmt.Sprint(err) != fmt.Sprint(wantErr) {
		t.Fatalf("%s with %s: error %v, want %v", doc, patch, err, wantErr)
	}
	if err != nil {
		return
	}
	if string(got) != string(want) {
		t.Fatalf("%s with %s: %s, want %s", doc, patch, got, want)
	}
}

func randomObject(r *rand.Rand, depth int) map[string]any {
	object := map[string]any{}
	for range r.IntN(4) {
		object[[]string{"", "a", "b", `c"\}`, "<&>", "ä"}[r.IntN(6)]] = randomValue(r, depth)
	}
	return object
}

func randomValue(r *rand.Rand, depth int) any {
	n := r.IntN(9)
	if depth == 0 {
		n %= 6
	}
	switch n {
	case 0, 1:
		return nil
	case 2:
		return r.IntN(1000) - 500
	case 3:
		return r.IntN(2) == 0
	case 4:
		return r.Float64()
	case 5:
		return []string{"", `{"a":1}`, `\"`, "x]}", "<"}[r.IntN(5)]
	case 6:
		list := []any{}
		for range r.IntN(3) {
			list = append(list, randomValue(r, depth-1))
		}
		return list
	}
	return randomObject(r, depth-1)
}

func BenchmarkMergeInto(b *testing.B) {
	doc := []byte(`{"metadata":{"name":"x","annotations":{"a":"b"}},"spec":{"containers":[`)
	for i := range 60 {
		doc = fmt.Appendf(doc, `{"name":"c%d","image":"registry.example.com/it:1"},`, i)
	}
	doc = append(doc[:len(doc)-1], `]},"status":{}}`...)
	patch := []byte(`{"metadata":{"annotations":{"example.com/checked":"1"}}}`)
	b.ReportAllocs()
	b.SetBytes(int64(len(doc)))
	for b.Loop() {
		if _, err := mergeInto(doc, patch); err != nil {
			b.Fatal(err)
		}
	}
}
