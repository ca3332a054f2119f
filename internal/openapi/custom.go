package openapi

import (
	"crypto/sha512"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/controller/openapi/builder"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/kube-openapi/pkg/spec3"
)

// buildCustom returns the document of a service of custom resources, as JSON.
// One that cannot be described is left out, as upstream does.
func buildCustom(of *service) ([]byte, error) {
	var documents []*spec3.OpenAPI
	var errs []error
	for _, p := range of.published {
		document, err := p.OpenAPIV3()
		if err != nil {
			errs = append(errs, err)
			continue
		}
		documents = append(documents, document)
	}
	if len(documents) == 0 {
		return nil, fmt.Errorf("%s: %w", of.path, errors.Join(errs...))
	}
	merged, err := builder.MergeSpecsV3(documents...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", of.path, err)
	}
	return json.Marshal(merged)
}

// placeOf is the hash in the address of a document of custom resources. It is
// not the document's own, as that of native kinds, so that thousands need not be
// made for the index, which every kubectl apply asks for: it is of what the
// document is made from, the release of the server included.
func placeOf(s *service, v version.Info) string {
	ids := []string{v.GitVersion, v.EmulationMajor, v.EmulationMinor}
	for _, p := range s.published {
		ids = append(ids, p.ID())
	}
	return fmt.Sprintf("%X", sha512.Sum512([]byte(strings.Join(ids, "\n"))))
}
