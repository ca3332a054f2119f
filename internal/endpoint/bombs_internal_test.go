package endpoint

import (
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// What could be a monstrous quantity is found wherever one may stand, and not in the
// words that bodies are full of.
func TestSuspicious(t *testing.T) {
	for body, want := range map[string]string{
		`{"cpu":"1e10000"}`:          "1e10000",
		`{"cpu":1E+99999}`:           "1E+99999",
		`cpu: -1.5e-12345`:           "1.5e-12345",
		"\x07" + `1e99999` + "\x12":  "1e99999",
		`{"cpu":"1e9999"}`:           "",
		`sha256:ab1e12345f`:          "",
		`"id":"c1e12345"`:            "",
		`"image":"x@sha256:12e3456"`: "",
	} {
		if got := string(suspicious([]byte(body))); got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
}

// In protobuf, only where a quantity is read: the uid of an object may look like one.
func TestQuantitiesInProtobuf(t *testing.T) {
	body := func(uid, limit, overhead string) []byte {
		quantity := func(s string) []byte {
			return protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), s)
		}
		entry := func(s string) []byte {
			e := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "cpu")
			return protowire.AppendBytes(protowire.AppendTag(e, 2, protowire.BytesType), quantity(s))
		}
		// What the library would write of a pod without them, and then those.
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a", UID: types.UID(uid)}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "a"}}}}
		raw, err := pod.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		limits := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), entry(limit)) // ResourceRequirements.limits
		container := protowire.AppendBytes(protowire.AppendTag(nil, 8, protowire.BytesType), limits)    // Container.resources
		spec := protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), container)      // PodSpec.containers
		spec = protowire.AppendBytes(protowire.AppendTag(spec, 32, protowire.BytesType), entry(overhead))
		raw = protowire.AppendBytes(protowire.AppendTag(raw, 2, protowire.BytesType), spec)
		return protowire.AppendBytes(protowire.AppendTag([]byte("k8s\x00"), 2, protowire.BytesType), raw)
	}
	pod := reflect.TypeFor[corev1.Pod]()
	const uid, large = "12e34567-aaaa-4bbb-8ccc-123e45678901", "-1e1000000000"
	if suspicious(body(uid, "1", "1")) == nil {
		t.Fatal("the uid is none to be looked at")
	}
	for _, test := range []struct {
		limit, overhead string
		want            bool
	}{{"1", "1e3", false}, {large, "1", true}, {"1", large, true}, {strings.Repeat("1", 1001), "1", true}, {strings.Repeat("0", 85) + "1e1000000000", "1", true}} {
		made := body(uid, test.limit, test.overhead)
		if got := suspicious(made) != nil && monstrousInBody(made, pod); got != test.want {
			t.Errorf("%s, %s: %t", test.limit, test.overhead, got)
		}
	}
	whole := body(uid, large, "1")
	for n := range whole { // what ends anywhere is no worse
		monstrousInBody(whole[:n], pod)
	}
}

// What a body of protobuf says it is it is read as.
func TestKindInProtobuf(t *testing.T) {
	for body, want := range map[string]string{
		"k8s\x00\n\x09\n\x02v1\x12\x03Pod":                                 "/v1, Kind=Pod",
		"k8s\x00\n\x15\n\x07apps/v1\x12\x0aDeployment\x12\x03\x01\x02\x03": "apps/v1, Kind=Deployment",
		"k8s\x00\n\x05\x12\x03Pod":                                         "/, Kind=Pod",
		"k8s\x00\n\x7f":                                                    "/, Kind=",
		"k8s\x00":                                                          "/, Kind=",
	} {
		if got := kindInBody([]byte(body)).String(); got != want {
			t.Errorf("%q: %s, want %s", body, got, want)
		}
	}
}
