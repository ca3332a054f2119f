package stories

import (
	"strings"

	"github.com/knarr-io/knarr/twin/story"
)

// various is a resource with something of everything that a schema may say.
const various = `
names: {plural: widgets, singular: widget, kind: Widget, listKind: WidgetList, shortNames: [wd], categories: [all, tools]}
versions:
- name: v1
  schema:
    openAPIV3Schema:
      description: A widget is a thing.
      type: object
      required: [spec]
      x-kubernetes-validations: [{rule: "self.metadata.name != 'none'", message: not none}]
      properties:
        spec:
          description: What is wanted.
          type: object
          properties:
            size: {type: integer, format: int32, minimum: 1, default: 3, description: How large., example: 7, title: Size}
            color: {type: string, enum: [red, blue], nullable: true}
            list: {type: array, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [name], items: {type: object, required: [name], properties: {name: {type: string}}}}
            set: {type: array, x-kubernetes-list-type: set, items: {type: string}}
            free: {type: object, x-kubernetes-preserve-unknown-fields: true}
            port: {x-kubernetes-int-or-string: true, anyOf: [{type: integer}, {type: string}]}
            embedded: {type: object, x-kubernetes-embedded-resource: true, x-kubernetes-preserve-unknown-fields: true}
            choice: {type: object, properties: {a: {type: string}, b: {type: string}}, oneOf: [{required: [a]}, {required: [b]}], externalDocs: {url: "https://example.com", description: more}}
            map: {type: object, x-kubernetes-map-type: atomic, additionalProperties: {type: integer}}
        status: {type: object, properties: {count: {type: integer}}}
  subresources: {status: {}, scale: {specReplicasPath: .spec.size, statusReplicasPath: .status.count}}
  additionalPrinterColumns: [{name: Size, type: integer, jsonPath: .spec.size}]
  selectableFields: [{jsonPath: .spec.color}]
- name: v1beta1
  deprecated: true
  schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
- {name: v2alpha1, served: false, properties: {}}
`

// customDiscovery tells of what clients are told there is.
func customDiscovery() []story.Story {
	// The group alone, of a document that tells of all.
	group := func(c custom, accept string) {
		c.Await("/apis", says(`"`+c.group+`"`), story.Accept(accept))
		list := "items"
		if !strings.Contains(accept, "as=") {
			list = "groups"
		}
		c.Only(list, c.group)
	}
	return []story.Story{
		{Name: "crd/discovery/documents", Tell: withCustom(various, func(c custom) {
			for _, version := range []string{"v1", "v1beta1"} {
				c.Await("/apis/"+c.group+"/"+version, says(`"widgets"`))
			}
			c.Await("/apis/"+c.group, says(`"v1beta1"`))
			c.Get("/apis/" + c.group + "/v2alpha1")
			c.Get("/apis/" + c.group + "/")
			c.Get("/apis/" + c.group + "/v1/")
			for _, accept := range []string{"application/yaml", protobuf, "application/cbor", "text/html", aggregated} {
				c.Get("/apis/"+c.group, story.Accept(accept))
				c.Get("/apis/"+c.group+"/v1", story.Accept(accept))
			}
			group(c, "application/json")
		})},
		{Name: "crd/discovery/aggregated", Tell: withCustom(various, func(c custom) {
			group(c, aggregated)
			c.Get("/apis", story.Accept(aggregatedBeta))
			c.Get("/apis/"+c.group, story.Accept(aggregated+",application/json"))
			c.Await("/apis", says(c.group), story.Accept("application/json"))
			c.Only("groups", c.group)
		})},
		{Name: "crd/discovery/order", Tell: withCustom(`
versions:
- {name: v1beta1, properties: {}}
- {name: v10, properties: {a: {type: string}}}
- {name: foo1, properties: {b: {type: string}}}
- {name: v2, properties: {c: {type: string}}}
- {name: v11alpha2, properties: {d: {type: string}}}
- {name: v1, properties: {e: {type: string}}}
`, func(c custom) {
			c.Await("/apis/"+c.group, says(`"foo1"`))
			c.Await("/apis", says(c.group+`/foo1"`), story.Accept("application/json"))
			c.Only("groups", c.group)
			group(c, aggregated)
		})},
		{Name: "crd/discovery/two-resources", Tell: withCustom(plain, func(c custom) {
			c.Await("/apis/"+c.group+"/v1", says(`"widgets"`))
			other := newCustom(c.Session, `{names: {plural: gadgets, singular: gadget, kind: Gadget, listKind: GadgetList}, scope: Cluster, versions: [{name: v1, properties: {}}, {name: v2, properties: {a: {type: string}}, subresources: {status: {}}}]}`)
			other.define()
			for _, name := range []string{"widgets", "gadgets"} { // which comes first is chance
				c.Await("/apis/"+c.group+"/v1", says(`"gadgets"`))
				c.Only("resources", name)
			}
			c.Await("/apis/"+c.group+"/v2", says(`"gadgets"`))
			c.Await("/apis/"+c.group, says(`"v2"`))
			other.remove()
			c.Await("/apis/"+c.group+"/v1", silent(`"gadgets"`))
			c.Await("/apis/"+c.group+"/v2", story.NotFound)
			c.Await("/apis/"+c.group, silent(`"v2"`))
		})},
		{Name: "crd/discovery/change", Tell: withCustom(several, func(c custom) {
			c.Await("/apis/"+c.group, says(`"v2"`))
			c.redefine(strings.Replace(several, "name: v2\n", "name: v2\n  served: false\n", 1))
			c.Await("/apis/"+c.group, silent(`"v2"`))
			c.Await("/apis/"+c.group+"/v2", story.NotFound)
			c.redefine(several)
			c.Await("/apis/"+c.group+"/v2", story.Found)
		})},
		{Name: "crd/discovery/services", Tell: func(s *story.Session) {
			c := newCustom(s, several)
			c.define()
			services := "/apis/apiregistration.k8s.io/v1/apiservices/"
			for _, version := range []string{"v1", "v2", "v3"} {
				wanted := story.Found
				if version == "v3" {
					wanted = story.NotFound
				}
				s.Await(services+version+"."+c.group, wanted)
				s.Only("spec")
			}
			s.Await(services+"v1."+c.group, condition("Available", "True"))
			s.Only("status")
			s.Get(services + "v1." + c.group)
			s.Only("metadata", "labels")
			c.remove()
			s.Await(services+"v1."+c.group, story.NotFound)
		}},
		{Name: "crd/openapi/v3", Tell: withCustom(various, func(c custom) {
			document := "/openapi/v3/apis/" + c.group + "/v1"
			c.Await("/openapi/v3", says(`apis/`+c.group+`/v1"`))
			c.Only("paths", "apis/"+c.group+"/v1")
			c.Await(document, says("A widget is a thing."))
			for _, part := range [][]string{{"openapi"}, {"info"}} {
				c.Get(document)
				c.Only(part...)
			}
			c.Await("/openapi/v3/apis/"+c.group+"/v1beta1", story.Found)
			c.Get("/openapi/v3/apis/" + c.group + "/v2alpha1")
			c.Get("/openapi/v3/apis/" + c.group)
			c.Get(document, story.Accept("text/html"))
		})},
		{Name: "crd/openapi/v3-changes", Tell: withCustom(plain, func(c custom) {
			document := "/openapi/v3/apis/" + c.group + "/v1"
			before := c.Await(document, story.Found)
			c.Get(document, story.Header("If-None-Match", before.Header.Get("Etag")))
			c.redefine(strings.Replace(plain, "size: {type: integer}", "size: {type: integer, description: How large.}", 1))
			c.Await(document, says("How large."))
			c.Get(document, story.Header("If-None-Match", before.Header.Get("Etag")))
			other := newCustom(c.Session, `{names: {plural: gadgets, singular: gadget, kind: Gadget, listKind: GadgetList}, scope: Cluster, `+oneVersion+`}`)
			other.define()
			c.Await(document, says("gadgets"))
			other.remove()
			c.Await(document, silent("gadgets"))
			c.remove()
			c.Await(document, story.NotFound)
			c.Await("/openapi/v3", silent(c.group))
			c.Only("paths", "apis/"+c.group+"/v1")
		})},
		{Name: "crd/openapi/v2", Tell: withCustom(various, func(c custom) {
			c.Await("/openapi/v2", says("com.example."+c.Namespace+".v1.Widget"))
			c.Only("definitions", "com.example."+c.Namespace+".v1.Widget")
			for _, path := range [][]string{
				{"definitions", "com.example." + c.Namespace + ".v1.WidgetList"}, {"definitions", "com.example." + c.Namespace + ".v1beta1.Widget"},
				{"paths", c.all("v1")}, {"paths", "/apis/" + c.group + "/v1/namespaces/{namespace}/widgets"},
				{"paths", "/apis/" + c.group + "/v1/namespaces/{namespace}/widgets/{name}"}, {"paths", "/apis/" + c.group + "/v1/namespaces/{namespace}/widgets/{name}/status"},
				{"paths", "/apis/" + c.group + "/v1/namespaces/{namespace}/widgets/{name}/scale"}, {"paths", "/apis/" + c.group + "/v1/watch/widgets"}, {"paths", "/apis/" + c.group + "/v1beta1/widgets"},
			} {
				c.Get("/openapi/v2")
				c.Only(path...)
			}
		})},
	}
}
