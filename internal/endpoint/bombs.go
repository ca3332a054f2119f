package endpoint

import (
	"bytes"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
)

// What is small for what it says is refused before it is read.

// structSize is what the struct that an object of a body becomes takes at most,
// about, until the body has been decoded, checked and encoded again: a container
// of a pod, however little is said of it.
const structSize = 5 << 10

// errorSize is what is said of an item of a list that is wrong.
const errorSize = 300

// What is merged is limited further, since it takes upstream's libraries the square
// of how deep a merge patch is, and of how many items a strategic one has.
const (
	maxMergeDepth = 200
	maxDepth      = 10_000 // what is deeper is no JSON to who decodes it
	maxMerged     = 10_000
)

// checkBody refuses a body that says more than its size allows to, and estimates
// what decoding it will take.
func (q *query) checkBody(body []byte) (int64, error) {
	mediaType, _, _ := strings.Cut(q.r.Header.Get("Content-Type"), ";")
	if strings.Contains(mediaType, "yaml") {
		if err := checkAliases(body); err != nil {
			return 0, err
		}
	}
	if err := q.checkQuantities(body); err != nil {
		return 0, err
	}
	switch types.PatchType(mediaType) {
	case types.MergePatchType:
		if bytes.Count(body, []byte{'{'})+bytes.Count(body, []byte{'['}) <= maxMergeDepth {
			break
		}
		if d := depth(body); d > maxMergeDepth && d <= maxDepth {
			return 0, apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("limit is %d levels", maxMergeDepth))
		}
	case types.StrategicMergePatchType:
		if bytes.Count(body, []byte{'{'}) > maxMerged && structsOf(body) > maxMerged {
			return 0, apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("limit is %d objects", maxMerged))
		}
	}
	return q.decodedSize(body)
}

// decodedSize estimates what that takes of the whole body. A body for Go types that
// alone would take more than all there is has more objects than any kind allows,
// and is refused.
func (q *query) decodedSize(body []byte) (int64, error) {
	isJSON := len(body) > 0 && (body[0] == '{' || body[0] == '[')
	structs := bytes.Count(body, []byte{'{'}) + bytes.Count(body, null)
	if !isJSON { // YAML has other ways to begin an object, protobuf has them empty
		structs += bytes.Count(body, []byte{'-'}) + bytes.Count(body, []byte{','}) + bytes.Count(body, []byte{0})
	}
	const most = maxDecoded / structSize
	if isJSON && structs > most && !q.target.Version.Resource.Custom() && structsOf(body) > most {
		return 0, apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("limit is %d objects", most))
	}
	return 8*int64(len(body)) + structSize*int64(structs) + errorSize*int64(bytes.Count(body, comma)), nil
}

var null = []byte("null")

// structsOf counts what begins an object, or stands for one, outside of strings.
func structsOf(body []byte) (n int) {
	tokens(body, func(c byte) {
		if c == '{' || c == 'n' {
			n++
		}
	})
	return n
}

// depth is how deep a JSON document is.
func depth(body []byte) (most int) {
	is := 0
	tokens(body, func(c byte) {
		switch c {
		case '{', '[':
			is++
			most = max(most, is)
		case '}', ']':
			is--
		}
	})
	return most
}

// tokens visits the bytes of a JSON document that are not in strings.
func tokens(body []byte, visit func(byte)) {
	for i := 0; i < len(body); i++ {
		if body[i] != '"' {
			visit(body[i])
			continue
		}
		for i++; i < len(body) && body[i] != '"'; i++ {
			if body[i] == '\\' {
				i++
			}
		}
	}
}
