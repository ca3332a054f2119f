package openapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"

	"github.com/emicklei/go-restful/v3"
	admissionv1 "k8s.io/api/admission/v1"
	admissionv1beta1 "k8s.io/api/admission/v1beta1"
	imagepolicyv1alpha1 "k8s.io/api/imagepolicy/v1alpha1"
	extensionsserver "k8s.io/apiextensions-apiserver/pkg/apiserver"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/apiserver/pkg/endpoints/openapi"
	utilopenapi "k8s.io/apiserver/pkg/util/openapi"
	aggregatorscheme "k8s.io/kube-aggregator/pkg/apiserver/scheme"
	"k8s.io/kube-openapi/pkg/builder"
	"k8s.io/kube-openapi/pkg/builder3"
	"k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/handler"
	"k8s.io/kube-openapi/pkg/spec3"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	generated "k8s.io/kubernetes/pkg/generated/openapi"
)

// session makes documents of version 3, which share what they are made from:
// the definitions of all types, some megabytes. It is for one request, and to
// be dropped after it. It is not safe for concurrent use: upstream's builder
// writes into the definitions.
type session struct {
	config func() (*common.OpenAPIV3Config, error)
}

func newSession(v version.Info) *session {
	return &session{config: sync.OnceValues(func() (*common.OpenAPIV3Config, error) {
		names, err := newNamer()
		if err != nil {
			return nil, err
		}
		return &common.OpenAPIV3Config{
			Info:            info(v),
			DefaultResponse: &spec3.Response{ResponseProps: spec3.ResponseProps{Description: "Default Response."}},
			CommonResponses: map[int]*spec3.Response{
				http.StatusUnauthorized: {ResponseProps: spec3.ResponseProps{Description: http.StatusText(http.StatusUnauthorized)}},
			},
			SecuritySchemes: spec3.SecuritySchemes{"BearerToken": {SecuritySchemeProps: spec3.SecuritySchemeProps{
				Type: "apiKey", Name: "authorization", In: "header", Description: bearerToken,
			}}},
			GetOperationIDAndTagsFromRoute: operationIDAndTags,
			GetDefinitionName:              names.GetDefinitionName,
			Definitions: definitions(func(name string) spec.Ref {
				return spec.MustCreateRef("#/components/schemas/" + common.EscapeJsonPointer(name))
			}),
		}, nil
	})}
}

// build returns the document of a service, as JSON.
func (s *session) build(of *service) ([]byte, error) {
	if of.custom() {
		return buildCustom(of)
	}
	config, err := s.config()
	if err != nil {
		return nil, err
	}
	c, err := of.container()
	if err != nil {
		return nil, err
	}
	built, err := builder3.BuildOpenAPISpecFromRoutes([]common.RouteContainer{c}, config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", of.path, err)
	}
	if group, version, ok := of.groupAndVersion(); ok {
		keepOwnKinds(built, group, version)
	}
	return json.Marshal(built)
}

// buildV2 returns the document of version 2 of all services of native kinds, as
// JSON.
func buildV2(v version.Info, of []*service) ([]byte, error) {
	names, err := newNamer()
	if err != nil {
		return nil, err
	}
	var containers []common.RouteContainer
	for _, service := range of {
		if service.custom() {
			continue
		}
		c, err := service.container()
		if err != nil {
			return nil, err
		}
		containers = append(containers, c)
	}
	built, err := builder.BuildOpenAPISpecFromRoutes(containers, &common.Config{
		ProtocolList:    []string{"https"},
		Info:            info(v),
		DefaultResponse: &spec.Response{ResponseProps: spec.ResponseProps{Description: "Default Response."}},
		CommonResponses: map[int]spec.Response{
			http.StatusUnauthorized: {ResponseProps: spec.ResponseProps{Description: http.StatusText(http.StatusUnauthorized)}},
		},
		SecurityDefinitions: &spec.SecurityDefinitions{"BearerToken": {SecuritySchemeProps: spec.SecuritySchemeProps{
			Type: "apiKey", Name: "authorization", In: "header", Description: bearerToken,
		}}},
		DefaultSecurity:                []map[string][]string{{"BearerToken": {}}},
		GetOperationIDAndTagsFromRoute: operationIDAndTags,
		GetDefinitionName:              names.GetDefinitionName,
		GetDefinitions:                 definitions,
	})
	if err != nil {
		return nil, err
	}
	// Version 2 has no default beside a reference: upstream leaves out all.
	built.Definitions = handler.PruneDefaults(built.Definitions)
	return encodeNative(built)
}

func info(v version.Info) *spec.Info {
	return &spec.Info{InfoProps: spec.InfoProps{Title: "Kubernetes", Version: v.EmulationMajor + "." + v.EmulationMinor}}
}

// bearerToken is the one way to authenticate that documents tell of.
const bearerToken = "Bearer Token authentication"

// definitions returns all types that upstream generates definitions for.
func definitions(ref common.ReferenceCallback) map[string]common.OpenAPIDefinition {
	return utilopenapi.GetOpenAPIDefinitionsWithoutDisabledFeatures(generated.GetOpenAPIDefinitions)(ref)
}

// newNamer returns what tells the kinds of a definition. It knows the kinds of
// kube-apiserver, some of which it is never asked for but sends to others.
func newNamer() (*openapi.DefinitionNamer, error) {
	sent := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		admissionv1.AddToScheme, admissionv1beta1.AddToScheme, imagepolicyv1alpha1.AddToScheme,
	} {
		if err := add(sent); err != nil {
			return nil, err
		}
	}
	return openapi.NewDefinitionNamer(legacyscheme.Scheme, extensionsserver.Scheme, aggregatorscheme.Scheme, sent), nil
}

func operationIDAndTags(r common.Route) (string, []string, error) {
	return openapi.GetOperationIDAndTags(&restful.Route{Operation: r.OperationName(), Path: r.Path()})
}

const extensionKinds = "x-kubernetes-group-version-kind"

// keepOwnKinds takes those kinds out of a document that belong to other
// versions of groups: WatchEvent and DeleteOptions are of all.
func keepOwnKinds(d *spec3.OpenAPI, group, version string) {
	for _, schema := range d.Components.Schemas {
		kinds, _ := schema.Extensions[extensionKinds].([]any)
		if len(kinds) < 2 {
			continue
		}
		var own []any
		for _, k := range kinds {
			gvk := k.(map[string]any)
			if gvk["kind"] != "WatchEvent" && gvk["kind"] != "DeleteOptions" {
				own = kinds
				break
			}
			if gvk["group"] == group && gvk["version"] == version || gvk["group"] == "" && gvk["version"] == "v1" {
				own = append(own, k)
			}
		}
		schema.Extensions[extensionKinds] = own
	}
}
