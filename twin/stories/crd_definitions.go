package stories

import (
	"maps"
	"strings"

	"github.com/knarr-io/knarr/twin/sample"
	"github.com/knarr-io/knarr/twin/story"
)

// plain is a resource with nothing special about it.
const plain = `
versions:
- name: v1
  properties:
    spec: {type: object, properties: {size: {type: integer}, color: {type: string}}}
    status: {type: object, properties: {phase: {type: string}}}
`

// definitionLife tells of definitions as objects: what becomes of them when they are
// created, changed and read in each form.
func definitionLife() []story.Story {
	return []story.Story{
		{Name: "crd/definition/create", Tell: func(s *story.Session) {
			c := newCustom(s, plain)
			defer c.remove()
			s.Get(c.in("v1"))
			s.Get(c.uri())
			s.Post(definitions, c.definition)
			c.awaitServed()
			s.Get(c.uri())
			s.Get(c.uri() + "/status")
			s.Post(definitions, c.definition) // there already
			s.Get(c.in("v1"))
		}},
		{Name: "crd/definition/read", Tell: withCustom(plain, func(c custom) {
			c.Settle(c.uri())
			own := definitions + "?fieldSelector=metadata.name=" + strings.TrimPrefix(c.uri(), definitions+"/")
			for _, accept := range []string{
				"application/json", "application/yaml", protobuf, "application/json" + asTable, "application/json" + asPartial, protobuf + asPartial,
			} {
				c.Get(c.uri(), story.Accept(accept))
			}
			for _, accept := range []string{"application/json", "application/json" + asTable, "application/json" + asPartials, protobuf + asPartials} {
				c.Get(own, story.Accept(accept))
			}
			c.Get(own + "&labelSelector=none")
			c.Get(strings.Replace(own, "metadata.name", "spec.group", 1))
			c.Watch(own + "&watch=true").Next(1)
		})},
		{Name: "crd/definition/media", Tell: func(s *story.Session) {
			c := newCustom(s, plain)
			defer c.remove()
			dry := definitions + "?dryRun=All"
			encoded := s.Post(dry, c.definition, story.Accept(protobuf)).Body
			s.Post(dry, encoded, story.ContentType(protobuf))
			s.Post(dry, c.definition, story.Accept("application/yaml"))
			s.Post(dry, sample.Text(c.definition), story.ContentType("application/yaml"))
			s.Get(c.uri())
			s.Get(c.in("v1"))
			s.Post(definitions, encoded, story.ContentType(protobuf))
			c.awaitServed()
			s.Get(c.in("v1"))
		}},
		{Name: "crd/definition/metadata", Tell: withCustom(plain, func(c custom) {
			c.Settle(c.uri())
			c.Patch(c.uri(), story.MergePatch, `{"metadata":{"labels":{"a":"b"},"annotations":{"c":"d"}}}`)
			c.Patch(c.uri(), story.MergePatch, `{"spec":{"names":{"shortNames":["wd"]}}}`) // of the next generation
			c.Settle(c.uri())
			c.Get(c.uri())
			c.Patch(c.uri(), story.MergePatch, `{"spec":{"names":{"categories":["all","things"]}}}`)
			c.Settle(c.uri())
			c.Patch(c.uri()+"?dryRun=All", story.JSONPatch, `[{"op":"add","path":"/spec/versions/0/schema/openAPIV3Schema/properties/more","value":{"type":"string"}}]`)
			c.Patch(c.uri()+"?dryRun=All", story.StrategicPatch, `{"metadata":{"labels":{"e":"f"}}}`)
			c.Patch(c.uri()+"?dryRun=All", story.MergePatch, `{"status":{"storedVersions":["v2"]}}`) // not its business
			c.Settle(c.uri())
			c.Get(c.uri())
		})},
		{Name: "crd/definition/status", Tell: withCustom(plain, func(c custom) {
			c.Settle(c.uri())
			status := c.uri() + "/status?dryRun=All"
			c.Patch(status, story.MergePatch, `{"status":{"storedVersions":[]}}`)
			c.Patch(status, story.MergePatch, `{"status":{"storedVersions":["v1","v2"]}}`)
			c.Patch(status, story.MergePatch, `{"status":{"storedVersions":["v2"]}}`)
			c.Patch(status, story.MergePatch, `{"status":{"acceptedNames":{"plural":"Other","kind":"o_o"}}}`)
			c.Patch(status, story.MergePatch, `{"status":{"conditions":[{"type":"Mine","status":"True"}]}}`)
			c.Patch(status, story.MergePatch, `{"spec":{"scope":"Cluster"},"metadata":{"labels":{"a":"b"}}}`)
			c.Patch(status, story.JSONPatch, `[{"op":"remove","path":"/status/acceptedNames"}]`)
			stored := c.Get(c.uri()).Object()
			c.Put(status, sample.With(stored, "1", "metadata", "resourceVersion"))
			c.Put(status, stored)
		})},
		{Name: "crd/definition/apply", Tell: definitionApply},
		{Name: "crd/definition/strict", Tell: func(s *story.Session) {
			c := newCustom(s, plain)
			body := strings.Replace(sample.Text(c.definition), `"scope":`, `"scop":"x","scope":"Cluster","scope":`, 1)
			schema := strings.Replace(sample.Text(c.definition), `{"type":"integer"}`, `{"type":"integer","minimal":7,"x-kubernetes-none":true,"x-mine":1}`, 1)
			for _, mode := range []string{"Ignore", "Warn", "Strict", "Other"} {
				s.Post(definitions+"?dryRun=All&fieldValidation="+mode, body)
				s.Post(definitions+"?dryRun=All&fieldValidation="+mode, schema)
				s.Post(definitions+"?dryRun=All&fieldValidation="+mode, schema, story.ContentType("application/yaml"))
			}
		}},
		{Name: "crd/definition/generate-name", Tell: func(s *story.Session) {
			c := newCustom(s, plain)
			s.Post(definitions+"?dryRun=All", sample.With(c.definition, object{"generateName": "widgets."}, "metadata"))
			s.Post(definitions+"?dryRun=All", sample.With(c.definition, object{}, "metadata"))
			s.Post("/apis/apiextensions.k8s.io/v1beta1/customresourcedefinitions", c.definition)
			s.Post(definitions, sample.With(c.definition, "apiextensions.k8s.io/v1beta1", "apiVersion"))
		}},
		{Name: "crd/definition/beginning-with-status", Tell: func(s *story.Session) {
			c := newCustom(s, plain)
			defer c.remove()
			forged := maps.Clone(c.definition)
			forged["status"] = object{"storedVersions": []string{"v9"}, "acceptedNames": object{"plural": "x", "kind": "X"},
				"conditions": []object{{"type": "Established", "status": "True"}}}
			s.Post(definitions+"?dryRun=All", forged)
			s.Quietly(func() { s.Post(definitions, forged) })
			c.awaitServed()
			s.Settle(c.uri())
			s.Get(c.uri())
			s.Only("status", "storedVersions")
			s.Get(c.uri())
			s.Only("status", "acceptedNames")
		}},
	}
}

// definitionApply is what kubectl apply --server-side does with a definition.
func definitionApply(s *story.Session) {
	c := newCustom(s, plain)
	defer c.remove()
	apply := func(manager, query string, definition object) {
		s.Patch(c.uri()+"?fieldManager="+manager+query, applyPatch, definition)
		s.Settle(c.uri())
	}
	apply("kubectl", "&dryRun=All", c.definition)
	s.Get(c.uri())
	s.Quietly(func() { apply("kubectl", "", c.definition) })
	c.awaitServed()
	s.Settle(c.uri())
	s.Get(c.uri())
	apply("kubectl", "", c.definition)
	other := newCustom(s, strings.Replace(plain, "integer", "string", 1)).definition
	apply("other", "", other)
	apply("other", "&force=true", other)
	apply("kubectl", "", c.definition)
	names := object{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"spec": object{"names": object{"shortNames": []string{"wd"}, "categories": []string{"all"}}}}
	apply("names", "", names)
	s.Get(c.uri())
	apply("names", "", sample.With(names, object{}, "spec"))
	apply("kubectl", "", sample.With(c.definition, object{}, "status"))
}
