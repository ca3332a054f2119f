package stories

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/knarr-io/knarr/twin/sample"
	"github.com/knarr-io/knarr/twin/story"
)

// definitions is where CustomResourceDefinitions are.
const definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

// Custom tells of custom resources: of their definitions and of the objects. Each
// story defines resources in a group of its own and takes them away again.
func Custom() ([]story.Story, error) {
	bad, err := badDefinitions()
	if err != nil {
		return nil, err
	}
	return slices.Concat(definitionLife(), definitionVersions(), definitionNames(), definitionPlaces(), definitionEnds(), bad,
		customObjects(), customBodies(), customReads(), customWatches(), customSubresources(), customColumns(), customFields(),
		customSchemas(), customDefaults(), customRules(), customRatchets(), customStrict(), customApplies(), customDiscovery(), conversions()), nil
}

// A custom is a custom resource that a story defines for itself.
type custom struct {
	*story.Session
	group string
	// definition is its CustomResourceDefinition.
	definition object
}

// withCustom defines a resource, lets the story be told and takes the definition away
// again. See newCustom for the spec.
func withCustom(spec string, tell func(custom)) func(*story.Session) {
	return func(s *story.Session) {
		c := newCustom(s, spec)
		c.define()
		defer c.remove()
		tell(c)
	}
}

// newCustom is a resource that is not defined yet. The spec is that of its definition, in
// YAML, in which all may be left out that can be guessed: the group, the names, the
// scope, that versions are served and the first one stored. A version that has
// properties in place of a schema has an object of them.
func newCustom(s *story.Session, spec string) custom {
	given := fromYAML(spec)
	group := s.Namespace + ".example.com"
	if own, ok := given["group"].(string); ok {
		group = own
	}
	full := merged(object{
		"group": group,
		"names": object{"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
		"scope": "Namespaced",
	}, given)
	if versions, ok := full["versions"].([]any); ok {
		full["versions"] = completeVersions(versions)
	}
	names := full["names"].(object)
	return custom{s, group, object{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": object{"name": fmt.Sprint(names["plural"], ".", group)},
		"spec":     full,
	}}
}

func completeVersions(given []any) []any {
	stored := slices.ContainsFunc(given, func(v any) bool { return v.(object)["storage"] == true })
	complete := make([]any, len(given))
	for i, item := range given {
		version := merged(object{"served": true, "storage": i == 0 && !stored}, item.(object))
		if properties, ok := version["properties"]; ok {
			delete(version, "properties")
			version["schema"] = object{"openAPIV3Schema": object{"type": "object", "properties": properties}}
		}
		complete[i] = version
	}
	return complete
}

// fromYAML reads what a story says; that it is right is part of the story.
func fromYAML(text string) object {
	var o object
	if err := yaml.Unmarshal([]byte(text), &o); err != nil {
		panic(fmt.Sprintf("%v in %s", err, text))
	}
	return o
}

// define makes the definition and waits until it is served. How that went is not kept,
// but for a refusal.
func (c custom) define() {
	var refusal *story.Exchange
	c.Quietly(func() {
		if made := c.Post(definitions, c.definition); made.Status != http.StatusCreated {
			refusal = c.Exchanges[len(c.Exchanges)-1]
			return
		}
		c.awaitServed()
	})
	if refusal != nil {
		c.Exchanges = append(c.Exchanges, refusal)
	}
}

// awaitServed waits until every version that is to be served is.
func (c custom) awaitServed() {
	c.Quietly(func() {
		established := condition("Established", "True")
		if !established(c.Await(c.uri(), established)) {
			return
		}
		for _, version := range c.versions() {
			if version["served"] == true {
				c.Await(c.all(version["name"].(string)), story.Found)
			}
		}
	})
}

// redefine changes the spec of the definition as newCustom has it, and waits until it
// counts. Kept is only a refusal.
func (c *custom) redefine(spec string) {
	changed := newCustom(c.Session, spec)
	var refusal *story.Exchange
	c.Quietly(func() {
		stored := c.Get(c.uri()).Object()
		stored["spec"] = changed.definition["spec"]
		if c.Put(c.uri(), stored).Status != http.StatusOK {
			refusal = c.Exchanges[len(c.Exchanges)-1]
		}
	})
	if refusal != nil {
		c.Exchanges = append(c.Exchanges, refusal)
		return
	}
	c.definition = changed.definition
	c.Settle(c.uri())
	c.awaitServed()
}

// remove takes the definition away, and waits until it is gone. Objects that a story has
// left held are let go.
func (c custom) remove() {
	c.Quietly(func() {
		for _, version := range c.versions() {
			items, _ := c.Get(c.all(version["name"].(string))).Object()["items"].([]any)
			for _, item := range items {
				if metadata := item.(object)["metadata"].(object); metadata["finalizers"] != nil {
					c.Patch(c.in(version["name"].(string))+"/"+metadata["name"].(string), story.MergePatch, `{"metadata":{"finalizers":null}}`)
				}
			}
		}
		c.Delete(c.uri(), nil)
		c.Await(c.uri(), story.NotFound)
	})
}

// condition wants a condition to be there, with a status.
func condition(kind, status string) func(story.Answer) bool {
	return func(a story.Answer) bool {
		held, _ := a.Object()["status"].(object)
		conditions, _ := held["conditions"].([]any)
		return slices.ContainsFunc(conditions, func(item any) bool {
			c, _ := item.(object)
			return c["type"] == kind && c["status"] == status
		})
	}
}

func (c custom) spec() object  { return c.definition["spec"].(object) }
func (c custom) names() object { return c.spec()["names"].(object) }

func (c custom) versions() []object {
	versions, _ := c.spec()["versions"].([]any)
	result := make([]object, len(versions))
	for i, version := range versions {
		result[i] = version.(object)
	}
	return result
}

// uri is where the definition is.
func (c custom) uri() string {
	return definitions + "/" + c.definition["metadata"].(object)["name"].(string)
}

// all is where the objects of all namespaces are, in a version.
func (c custom) all(version string) string {
	return fmt.Sprint("/apis/", c.group, "/", version, "/", c.names()["plural"])
}

// in is where the story's own objects are, in a version.
func (c custom) in(version string) string {
	if c.spec()["scope"] == "Cluster" {
		return c.all(version)
	}
	return fmt.Sprint("/apis/", c.group, "/", version, "/namespaces/", c.Namespace, "/", c.names()["plural"])
}

// object is one of the resource's, in a version. The rest is in YAML.
func (c custom) object(version, name, rest string) object {
	given := fromYAML(rest)
	metadata := object{"name": name}
	if own, ok := given["metadata"].(object); ok {
		maps.Copy(metadata, own)
		delete(given, "metadata")
	}
	o := object{"apiVersion": c.group + "/" + version, "kind": c.names()["kind"], "metadata": metadata}
	maps.Copy(o, given)
	return o
}

// create makes an object in version v1.
func (c custom) create(name, rest string, options ...story.Option) story.Answer {
	return c.Post(c.in("v1"), c.object("v1", name, rest), options...)
}

// try makes an object of each of the given rests, in version v1, and takes it away again.
func (c custom) try(rests ...string) {
	for _, rest := range rests {
		if c.create("tried", rest).Status == http.StatusCreated {
			c.Quietly(func() { c.Delete(c.in("v1")+"/tried", nil) })
		}
	}
}

// stored is the revision of an object as it is there now.
func (c custom) stored(name string) (stored string) {
	c.Quietly(func() { stored = revision(c.Get(c.in("v1") + "/" + name)) })
	return stored
}

// put puts the object in the place of the one at the URI, as it is there now: custom
// resources are not replaced without saying which revision is.
func (c custom) put(uri string, o object, options ...story.Option) story.Answer {
	path, _, _ := strings.Cut(uri, "?")
	c.Quietly(func() {
		if stored := revision(c.Get(path)); stored != "" {
			o = sample.With(o, stored, "metadata", "resourceVersion")
		}
	})
	return c.Put(uri, o, options...)
}

// replace puts each of the given rests in the place of the object, in version v1.
func (c custom) replace(name string, rests ...string) {
	for _, rest := range rests {
		c.put(c.in("v1")+"/"+name, c.object("v1", name, rest))
	}
}

// merge sends merge patches, in YAML, to the object in version v1.
func (c custom) merge(name string, patches ...string) {
	for _, patch := range patches {
		c.Patch(c.in("v1")+"/"+name, story.MergePatch, fromYAML(patch))
	}
}

// apply sends a server-side apply of the rest of an object in version v1.
func (c custom) apply(manager, name, rest string) story.Answer {
	return c.Patch(c.in("v1")+"/"+name+"?fieldManager="+manager, applyPatch, c.object("v1", name, rest))
}
