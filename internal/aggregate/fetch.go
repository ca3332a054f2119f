package aggregate

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
)

// largestAnswer is what an answer may have at most of what a server tells of
// itself.
const largestAnswer = 256 << 20

// answer is what a server has answered, as a whole.
type answer struct {
	code   int
	header http.Header
	body   []byte
}

// get asks a server for a document in the name of this server's own user. Headers
// are pairs; those without a value are left out. A server that cannot be reached
// within the time is an error.
func get(ctx context.Context, s *Service, who user.Info, timeout time.Duration, path string, headers ...string) (*answer, error) {
	ctx, cancel := context.WithTimeout(request.WithUser(ctx, who), timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, path, nil)
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] != "" {
			r.Header.Set(headers[i], headers[i+1])
		}
	}
	response, err := s.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, largestAnswer+1))
	switch {
	case err != nil:
		return nil, err
	case len(body) > largestAnswer:
		return nil, fmt.Errorf("%s: more than %d bytes", path, largestAnswer)
	}
	return &answer{response.StatusCode, response.Header, body}, nil
}

// unexpected is the error of an answer that says nothing.
func (a *answer) unexpected(path string) error {
	const most = 200
	body := a.body
	if len(body) > most {
		body = body[:most]
	}
	return fmt.Errorf("%s: %d %s: %q", path, a.code, http.StatusText(a.code), body)
}
