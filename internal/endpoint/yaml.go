package endpoint

import (
	"bytes"
	"fmt"

	"go.yaml.in/yaml/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// checkAliases refuses YAML that is too large when its aliases stand for what they
// say. The library counts how many there are, not how large what they repeat is:
// 400 KB can stand for 10 GB, which upstream makes JSON of. It is the one that
// upstream reads YAML with, and strings that are repeated are shared by what it
// returns.
func checkAliases(body []byte) error {
	if bytes.IndexByte(body, '&') < 0 || bytes.IndexByte(body, '*') < 0 {
		return nil
	}
	var content any
	if yaml.Unmarshal(body, &content) != nil {
		return nil // told by who decodes it
	}
	if spread(content, maxBody) >= maxBody {
		return apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("limit is %d, aliases replaced", maxBody))
	}
	return nil
}

// spread is how many bytes there are of content, about; it stops counting at most.
func spread(content any, most int) int {
	n := 1
	switch v := content.(type) {
	case string:
		return n + len(v)
	case []any:
		for _, item := range v {
			if n += spread(item, most-n); n >= most {
				break
			}
		}
	case map[any]any:
		for key, item := range v {
			n += spread(key, most-n)
			if n += spread(item, most-n); n >= most {
				break
			}
		}
	}
	return n
}
