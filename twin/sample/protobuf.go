package sample

import (
	"encoding/json"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes/scheme"
)

// Protobuf is an object of the resource's kind, given as JSON, in its protobuf form. ok
// is false if the types of that kind cannot hold it, or are not in k8s.io/api.
func Protobuf(r Resource, content []byte) (encoded []byte, ok bool) {
	gv, err := schema.ParseGroupVersion(r.GroupVersion())
	if err != nil {
		return nil, false
	}
	typed, err := scheme.Scheme.New(gv.WithKind(r.Kind))
	if err != nil || json.Unmarshal(content, typed) != nil {
		return nil, false
	}
	encoded, err = runtime.Encode(protobuf.NewSerializer(scheme.Scheme, scheme.Scheme), typed)
	return encoded, err == nil
}
