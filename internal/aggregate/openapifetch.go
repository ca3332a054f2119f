package aggregate

import (
	"context"
	"crypto/sha512"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/kube-openapi/pkg/handler3"

	"github.com/knarr-io/knarr/internal/openapi"
)

var (
	errUnavailable = errors.New("the server is not available")
	errNoDocument  = errors.New("the server describes nothing")
)

// ask is get for documents of OpenAPI.
func (o *OpenAPI) ask(ctx context.Context, s *Service, path string, headers ...string) (*answer, error) {
	if !s.Available {
		return nil, errUnavailable
	}
	return get(ctx, s, &user.DefaultInfo{Name: "system:aggregator"}, o.timeout, path, headers...)
}

// fetchV3 asks for the index of documents of version 3 or, of a server that has
// none, for what it has of version 2.
func (o *OpenAPI) fetchV3(ctx context.Context, s *Service) error {
	const path = "/openapi/v3"
	before := o.of(s)
	if before.noV3 {
		return o.fetchConverted(ctx, s, before.convertedETag)
	}
	a, err := o.ask(ctx, s, path)
	switch {
	case err != nil:
		return err
	case a.code == http.StatusNotFound:
		o.keep(s, func(d *description) { d.noV3 = true })
		return o.fetchConverted(ctx, s, "")
	case a.code != http.StatusOK:
		return a.unexpected(path)
	}
	var index handler3.OpenAPIV3Discovery
	if err := json.Unmarshal(a.body, &index); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	v3 := make(map[string]string, len(index.Paths))
	for key, at := range index.Paths {
		v3[key] = at.ServerRelativeURL
	}
	if before.V3 == nil || !maps.Equal(v3, before.V3) {
		o.keep(s, func(d *description) { d.V3 = v3 })
	}
	return nil
}

func (o *OpenAPI) fetchConverted(ctx context.Context, s *Service, etag string) error {
	content, etag, err := o.askV2(ctx, s, etag)
	if errors.Is(err, errNoDocument) {
		return nil // it is not asked more rarely for that
	}
	if content == nil {
		return err
	}
	o.parsing.Lock()
	converted, err := openapi.Convert(content)
	o.parsing.Unlock()
	if err != nil {
		return err
	}
	o.keep(s, func(d *description) { d.Converted, d.convertedETag = converted, etag })
	return nil
}

// fetchV2 asks for the document of version 2, and keeps a service's part of it.
func (o *OpenAPI) fetchV2(ctx context.Context, s *Service) error {
	content, etag, err := o.askV2(ctx, s, o.of(s).v2ETag)
	if content == nil {
		return err
	}
	o.parsing.Lock()
	part, err := openapi.NewPartV2(s.Group, s.Version, content)
	o.parsing.Unlock()
	if err != nil {
		return err
	}
	o.keep(s, func(d *description) { d.V2, d.v2ETag = part, etag })
	return nil
}

// askV2 asks for the document of version 2, and returns nothing if it is the one of
// etag. A server that gives it no ETag is given one here, by the content.
func (o *OpenAPI) askV2(ctx context.Context, s *Service, etag string) (content []byte, newETag string, err error) {
	const path = "/openapi/v2"
	theirs := etag
	if len(etag) > 0 && etag[0] == ownETag {
		theirs = ""
	}
	a, err := o.ask(ctx, s, path, "Accept", runtime.ContentTypeJSON, "If-None-Match", theirs)
	switch {
	case err != nil:
		return nil, "", err
	case a.code == http.StatusNotModified && etag != "":
		return nil, etag, nil
	case a.code == http.StatusNotFound:
		return nil, "", errNoDocument
	case a.code != http.StatusOK:
		return nil, "", a.unexpected(path)
	}
	newETag = a.header.Get("ETag")
	if newETag == "" {
		newETag = string(ownETag) + fmt.Sprintf("%X", sha512.Sum512(a.body))
	}
	if newETag == etag {
		return nil, etag, nil
	}
	return a.body, newETag, nil
}

// ownETag begins an ETag that no server has given: theirs begin with a quote or W.
const ownETag = '='
