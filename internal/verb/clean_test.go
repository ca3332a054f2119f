package verb

import (
	"flag"
	"fmt"
	"math/rand"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/apitesting/fuzzer"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	kubernetes "k8s.io/kubernetes/pkg/api/testing"

	extensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/fuzzer"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/native"
)

var (
	bodies   = flag.Int("bodies", 3000, "random bodies whose decoding is compared with upstream's")
	bodySeed = flag.Int64("body-seed", 0, "of the random bodies; 0 takes the clock's")
)

// What cleanJSON makes of random bodies of all kinds, most of them damaged, is
// what upstream's serializers make of them.
func TestCleanJSON(t *testing.T) {
	if *bodySeed == 0 {
		*bodySeed = time.Now().UnixNano()
	}
	t.Logf("seed %d", *bodySeed)
	r := rand.New(rand.NewSource(*bodySeed))
	versions := everyVersion(t)
	clean := 0
	for i := range *bodies {
		target := Target{Version: versions[i%len(versions)]}
		body := randomBody(t, r, target)
		for range r.Intn(3) {
			body = damaged(r, body)
		}
		clean += sameDecoding(t, target, body)
	}
	t.Logf("%d of %d were clean", clean, *bodies)
	if clean < *bodies/5 {
		t.Errorf("only %d of %d bodies were decoded in one pass", clean, *bodies)
	}
}

// everyVersion is every version of every native resource that is an object.
func everyVersion(t *testing.T) (versions []*kind.Version) {
	t.Helper()
	catalogue, err := native.Catalogue(native.Options{RuntimeConfig: map[string]string{"api/all": "true"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range catalogue.Groups {
		for _, r := range g.Resources {
			if r.New != nil {
				versions = append(versions, r.Versions...)
			}
		}
	}
	return versions
}

// sameDecoding compares, and tells how many of the bodies (one, or none) went
// the short way.
func sameDecoding(t *testing.T, target Target, body string) (clean int) {
	t.Helper()
	resource := target.resource()
	info, _ := runtime.SerializerInfoForMediaType(resource.Serializer.SupportedMediaTypes(), runtime.ContentTypeJSON)
	gvk := target.bodyKind()
	for _, strict := range []bool{false, true} {
		ours, theirs := target.serializer(info, strict), info.Serializer
		if strict {
			theirs = info.StrictSerializer
		}
		for _, defaults := range []int{0, 1} {
			expected := &gvk
			if defaults == 0 {
				expected = nil
			}
			decode := func(s runtime.Serializer) (runtime.Object, string) {
				obj, found, err := resource.Serializer.DecoderToVersion(s, target.bodyHub()).Decode([]byte(body), expected, target.newBody())
				return obj, fmt.Sprint(found, err)
			}
			got, gotErr := decode(ours)
			want, wantErr := decode(theirs)
			if gotErr != wantErr {
				t.Fatalf("%v, strict %v:\n%s\ngives  %s\nnot    %s", gvk, strict, body, gotErr, wantErr)
			}
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("%v, strict %v:\n%s\ngives  %#v\nnot    %#v", gvk, strict, body, got, want)
			}
		}
	}
	if (cleanJSON{info.Serializer, target}).decode([]byte(body), gvk, true, target.newBody()) != nil {
		clean = 1
	}
	return clean
}

func randomHub(r *rand.Rand, target Target) runtime.Object {
	obj := target.resource().New()
	funcs := fuzzer.MergeFuzzerFuncs(kubernetes.FuzzerFuncs, extensions.Funcs)
	fuzzer.FuzzerFor(funcs, rand.NewSource(r.Int63()), legacyscheme.Codecs).Fill(obj)
	return obj
}

func randomBody(t *testing.T, r *rand.Rand, target Target) string {
	obj := randomHub(r, target)
	info, _ := runtime.SerializerInfoForMediaType(target.resource().Serializer.SupportedMediaTypes(), runtime.ContentTypeJSON)
	body, err := runtime.Encode(target.resource().Serializer.EncoderForVersion(info.Serializer, target.bodyKind().GroupVersion()), obj)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

var values = regexp.MustCompile(`("[^"\\]*":)("(?:[^"\\]|\\.)*"|-?[0-9.eE+-]+|true|false|null|\{|\[)`)

// damaged is a body with a value changed, a member more, or something between.
func damaged(r *rand.Rand, body string) string {
	found := values.FindAllStringSubmatchIndex(body, -1)
	if len(found) == 0 {
		return body
	}
	at := found[r.Intn(len(found))]
	key, value := body[at[2]:at[3]], body[at[4]:at[5]]
	others := []string{`null`, `""`, `"a"`, `0`, `-1`, `1.0`, `1e3`, `1.5`, `9223372036854775808`, `true`, `[]`, `{}`, `[null]`, `{"a":null}`,
		`"\ud800"`, `"ü"`, "\"\xff\"", `"2024-01-01T00:00:00Z"`, `"1m"`, `"MQ=="`, `"MQ"`, `"MQ\n=="`, `{"a":1,"a":2}`}
	other := others[r.Intn(len(others))]
	switch r.Intn(7) {
	case 0: // another member before it
		return body[:at[2]] + `"more":` + other + "," + body[at[2]:]
	case 1: // the same member before it
		return body[:at[2]] + key + other + "," + body[at[2]:]
	case 2: // its name in another case
		return body[:at[2]] + strings.ToUpper(key) + body[at[4]:]
	case 3: // space
		return body[:at[4]] + " \n\t" + body[at[4]:]
	case 4: // cut off
		return body[:at[4]]
	}
	if value == "{" || value == "[" {
		return body[:at[4]] + value + body[at[5]:] // its end is elsewhere
	}
	return body[:at[4]] + other + body[at[5]:]
}

func TestCleanJSONCases(t *testing.T) {
	catalogue, err := native.Catalogue(native.Options{})
	if err != nil {
		t.Fatal(err)
	}
	target := Target{Version: catalogue.Group("").Resources[0].Versions[0]}
	for _, r := range catalogue.Group("").Resources {
		if r.Name == "configmaps" {
			target.Version = r.Versions[0]
		}
	}
	for body, clean := range map[string]int{
		`{"metadata":{"name":"a"},"data":{"a":"b"}}`:                      1,
		`{"kind":"ConfigMap","data":{},"binaryData":null}`:                1,
		`{"apiVersion":"v1","kind":"ConfigMap","binaryData":{"a":""}}`:    1,
		`{"apiVersion":"v1","kind":"ConfigMap"} ` + "\n":                  1,
		`{"apiVersion":"v1/v2/v3","kind":"ConfigMap"}`:                    0,
		`{"apiVersion":"v2","kind":"ConfigMap"}`:                          0,
		`{"apiVersion":"v1","kind":"Secret"}`:                             0,
		`{"apiVersion":"v1","kind":"ConfigMap","Data":{}}`:                0,
		`{"apiVersion":"v1","kind":"ConfigMap","data":{"a":"1","a":"2"}}`: 0,
		`{"apiVersion":"v1","kind":"ConfigMap"}{}`:                        0,
		`{"apiVersion":"v1","kind":"ConfigMap","data":{"a":"\ud800"}}`:    0,
		`null`: 1,
		``:     0,
		`[]`:   0,
	} {
		if got := sameDecoding(t, target, body); got != clean {
			t.Errorf("%s: clean %d, not %d", body, got, clean)
		}
	}
}
