package kind

import (
	"bytes"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
)

// message is an object whose protobuf form is given.
type message struct {
	runtime.Object
	gvk  schema.GroupVersionKind
	data []byte
}

func (m message) GetObjectKind() schema.ObjectKind            { return m }
func (m message) GroupVersionKind() schema.GroupVersionKind   { return m.gvk }
func (m message) SetGroupVersionKind(schema.GroupVersionKind) {}
func (m message) Marshal() ([]byte, error)                    { return m.data, nil }
func (m message) Size() int                                   { return len(m.data) }
func (m message) MarshalTo(b []byte) (int, error)             { return copy(b, m.data), nil }
func (m message) MarshalToSizedBuffer(b []byte) (int, error) {
	return copy(b[len(b)-len(m.data):], m.data), nil
}

// TestEnvelope compares envelopes with upstream's, at sizes where lengths take
// one byte more.
func TestEnvelope(t *testing.T) {
	upstream := protobuf.NewSerializer(nil, nil)
	for _, gvk := range []schema.GroupVersionKind{
		{Version: "v1", Kind: "Pod"},
		{Group: "flowcontrol.apiserver.k8s.io", Version: "v1", Kind: "PriorityLevelConfiguration"},
		{Group: strings.Repeat("long.", 40) + "io", Version: "v1alpha1", Kind: strings.Repeat("Kind", 40)},
	} {
		for _, size := range []int{0, 1, 127, 128, 16383, 16384, 300000} {
			data := bytes.Repeat([]byte{7}, size)
			var want bytes.Buffer
			if err := upstream.Encode(message{gvk: gvk, data: data}, &want); err != nil {
				t.Fatal(err)
			}
			if got := Envelope(gvk, data); !bytes.Equal(got, want.Bytes()) {
				t.Errorf("envelope of %d bytes of %s differs from upstream's", size, gvk)
			}
			if got := AppendEnvelope([]byte("before"), gvk, data); !bytes.Equal(got, append([]byte("before"), want.Bytes()...)) {
				t.Errorf("appended envelope of %d bytes of %s differs from upstream's", size, gvk)
			}
		}
	}
}
