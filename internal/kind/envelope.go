package kind

import (
	"encoding/binary"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// envelopePrefix marks protobuf bodies of the Kubernetes API.
const envelopePrefix = "k8s\x00"

// Envelope returns a message, as a Protobuf form makes it, in the envelope
// that bodies have: "k8s\0" and a runtime.Unknown that names its kind.
func Envelope(gvk schema.GroupVersionKind, message []byte) []byte {
	return AppendEnvelope(make([]byte, 0, len(message)+len(gvk.Group)+len(gvk.Version)+len(gvk.Kind)+32), gvk, message)
}

// AppendEnvelope appends to b what Envelope returns.
func AppendEnvelope(b []byte, gvk schema.GroupVersionKind, message []byte) []byte {
	b = AppendEnvelopeHead(b, gvk, len(message))
	b = append(b, message...)
	return AppendEnvelopeTail(b)
}

// AppendEnvelopeHead appends what goes before a message of size bytes, for
// those who write the message themselves (a list, from its items).
func AppendEnvelopeHead(b []byte, gvk schema.GroupVersionKind, size int) []byte {
	// runtime.Unknown { typeMeta = 1 { apiVersion = 1, kind = 2 }, raw = 2,
	// contentEncoding = 3, contentType = 4 }; all are written, even if empty.
	apiVersion, kind := gvk.GroupVersion().String(), gvk.Kind
	typeMeta := 2 + UvarintLen(len(apiVersion)) + len(apiVersion) + UvarintLen(len(kind)) + len(kind)
	b = append(b, envelopePrefix...)
	b = appendLength(b, 0x0a, typeMeta)
	b = append(appendLength(b, 0x0a, len(apiVersion)), apiVersion...)
	b = append(appendLength(b, 0x12, len(kind)), kind...)
	return appendLength(b, 0x12, size)
}

// AppendEnvelopeTail appends what goes after the message.
func AppendEnvelopeTail(b []byte) []byte { return append(b, 0x1a, 0, 0x22, 0) }

func appendLength(b []byte, tag byte, n int) []byte {
	return binary.AppendUvarint(append(b, tag), uint64(n))
}

// UvarintLen returns how many bytes the length n of a field takes in protobuf.
func UvarintLen(n int) int {
	size := 1
	for ; n >= 0x80; n >>= 7 {
		size++
	}
	return size
}
