package fuzz

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/knarr-io/knarr/twin/story"
)

// Custom makes up stories about custom resources: a definition, with a schema that is
// made up or that others have published, and bodies that fit it and others that do not.
type Custom struct {
	seed      uint64
	published []map[string]any
	words     []string
}

// NewCustom prepares stories. published are definitions, of which one story in four is.
func NewCustom(seed uint64, published []map[string]any) *Custom {
	words := []string{"a", "b", "c", "bad", "abc", "k0", "k1", "http", "50%", "80"}
	return &Custom{seed, published, append(words, formatted...)}
}

// Story makes up the story of a number.
func (f *Custom) Story(number uint64) story.Story {
	r := rand.New(rand.NewPCG(f.seed, number))
	d := &draw{Rand: r, words: f.words}
	name := "made-up"
	var spec map[string]any
	if len(f.published) > 0 && d.chance(4) {
		definition := pick(d, f.published)
		spec = clonePlain(definition["spec"]).(map[string]any)
		name = fmt.Sprint(definition["metadata"].(map[string]any)["name"])
	} else {
		spec = d.definition()
	}
	inner := r.Uint64()
	return story.Story{
		Name:     fmt.Sprintf("fuzz/custom/%s/%d-%d", name, f.seed, number),
		AnyOrder: true,
		Tell: func(s *story.Session) {
			d := &draw{Rand: rand.New(rand.NewPCG(inner, number)), words: f.words}
			c := &customLife{Session: s, draw: d, spec: clonePlain(spec).(map[string]any)}
			c.tell()
		},
	}
}

// definition makes up the spec of one.
func (d *draw) definition() map[string]any {
	scope := "Namespaced"
	if d.chance(4) {
		scope = "Cluster"
	}
	var versions []any
	for i, name := range []string{"v1", "v2"}[:1+d.IntN(2)] {
		properties := schema{"spec": d.objectSchema(1), "status": d.objectSchema(2)}
		if d.chance(6) {
			properties["other"] = d.schema(1)
		}
		root := schema{"type": "object", "properties": properties}
		switch d.IntN(8) {
		case 0:
			properties["metadata"] = schema{"type": "object", "properties": schema{"name": schema{"type": "string", "maxLength": 10, "pattern": pick(d, patterns)}}}
		case 1:
			root["x-kubernetes-validations"] = []any{d.rule(pick(d, []string{
				"has(self.spec)", "self.metadata.name.size() > 1", "!has(self.spec) || self.spec == oldSelf.spec", "self.kind == 'Widget'", "has(self.status) == has(self.spec)",
			}))}
		case 2:
			root["required"] = []any{"spec"}
		case 3:
			root["x-kubernetes-preserve-unknown-fields"] = true
		}
		version := schema{"name": name, "served": true, "storage": i == 0, "schema": schema{"openAPIV3Schema": root}}
		if d.chance(2) {
			version["subresources"] = schema{"status": schema{}}
		}
		versions = append(versions, version)
	}
	return map[string]any{
		"names": schema{"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"}, "scope": scope, "versions": versions,
	}
}

// customLife is one story being told.
type customLife struct {
	*story.Session
	*draw
	spec    map[string]any
	group   string
	plural  string
	made    []string // objects that were there once
	names   int      // of them and of those that were refused
	version map[string]any
}

const definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

// tell defines a resource in a group of the story's own, does some fifty things to its
// objects, and takes it away.
func (c *customLife) tell() {
	c.group = c.Namespace + ".example.com"
	c.plural = fmt.Sprint(c.spec["names"].(map[string]any)["plural"])
	c.spec["group"] = c.group
	delete(c.spec, "conversion")
	uri := definitions + "/" + c.plural + "." + c.group
	made := c.Post(definitions, map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": c.plural + "." + c.group}, "spec": c.spec,
	})
	if made.Status != http.StatusCreated {
		return
	}
	defer c.Quietly(func() { c.Delete(uri, nil) })
	c.Quietly(func() {
		c.Await(uri, established)
		for _, v := range c.versions() {
			c.version = v
			c.Await(c.everywhere(), story.Found)
		}
	})
	for range 3 {
		c.step(0)
	}
	for range 45 {
		c.step(c.IntN(12))
	}
}

func established(a story.Answer) bool {
	status, _ := a.Object()["status"].(map[string]any)
	conditions, _ := status["conditions"].([]any)
	return slices.ContainsFunc(conditions, func(item any) bool {
		condition, _ := item.(map[string]any)
		return condition["type"] == "Established" && condition["status"] == "True"
	})
}

// versions are those that are served.
func (c *customLife) versions() (served []map[string]any) {
	for _, item := range listOfAny(c.spec["versions"]) {
		if v, ok := item.(map[string]any); ok && v["served"] == true {
			served = append(served, v)
		}
	}
	return served
}

func (c *customLife) everywhere() string {
	return fmt.Sprint("/apis/", c.group, "/", c.version["name"], "/", c.plural)
}

func (c *customLife) all() string {
	if c.spec["scope"] == "Cluster" {
		return c.everywhere()
	}
	return fmt.Sprint("/apis/", c.group, "/", c.version["name"], "/namespaces/", c.Namespace, "/", c.plural)
}

// body fits the schema of the version, and has as many things changed after.
func (c *customLife) body(name string, changes int) map[string]any {
	root := schema{}
	if s, ok := c.version["schema"].(map[string]any); ok {
		root, _ = s["openAPIV3Schema"].(map[string]any)
	}
	o, _ := c.value(root, 0).(map[string]any)
	if o == nil {
		o = map[string]any{}
	}
	o["apiVersion"], o["kind"] = fmt.Sprint(c.group, "/", c.version["name"]), c.spec["names"].(map[string]any)["kind"]
	o["metadata"] = map[string]any{"name": name}
	return c.mutated(o, nil, changes)
}

// changes is how many things are changed: none more often than not.
func (c *customLife) changes() int { return pick(c.draw, []int{0, 0, 0, 0, 1, 1, 2}) }

// one is the name of an object that is there, most likely.
func (c *customLife) one() string {
	if len(c.made) == 0 {
		return "none"
	}
	return pick(c.draw, c.made)
}

// another is a name that no object had.
func (c *customLife) another() string {
	c.names++
	return fmt.Sprint("o", c.names)
}

func (c *customLife) step(what int) {
	c.version = pick(c.draw, c.versions())
	sub := ""
	if s, ok := c.version["subresources"].(map[string]any); ok && s["status"] != nil && c.chance(4) {
		sub = "/status"
	}
	switch what {
	case 0, 1, 2, 3:
		name := c.another()
		body := c.body(name, c.changes())
		if metadata, ok := body["metadata"].(map[string]any); !ok || metadata["name"] != name {
			body["metadata"] = map[string]any{"name": name} // little is learnt of others
		}
		if c.send("POST", c.all()+c.options(), body).Status == http.StatusCreated {
			c.made = append(c.made, name)
		}
	case 4, 5, 6:
		c.update(sub)
	case 7:
		part := c.body(c.one(), 1+c.IntN(2))
		for _, key := range sortedKeys(part) {
			if c.chance(3) || key == "metadata" || key == "apiVersion" || key == "kind" {
				delete(part, key)
			}
		}
		c.Patch(c.all()+"/"+c.one()+sub+c.options(), story.MergePatch, part)
	case 8:
		c.jsonPatch(sub)
	case 9, 10:
		name := c.one()
		if c.chance(3) {
			name = c.another()
		}
		query := "?fieldManager=" + pick(c.draw, []string{"one", "two"})
		if c.chance(2) {
			query += "&force=true"
		}
		if validation := strings.TrimPrefix(c.options(), "?"); validation != "" {
			query += "&" + validation
		}
		// Of several errors, upstream finds those before the first unknown field, in an
		// order that is chance.
		body := c.body(name, c.IntN(2))
		body["metadata"] = map[string]any{"name": name}
		if c.Patch(c.all()+"/"+name+sub+query, applyPatch, c.text(body)).Status == http.StatusCreated {
			c.made = append(c.made, name)
		}
	case 11:
		c.read()
	}
}

// options are those of a write.
func (c *customLife) options() string {
	var all []string
	if c.chance(2) {
		all = append(all, "fieldValidation="+pick(c.draw, []string{"Ignore", "Warn", "Strict", "Strict"}))
	}
	if c.chance(8) {
		all = append(all, "dryRun=All")
	}
	if len(all) == 0 {
		return ""
	}
	return "?" + strings.Join(all, "&")
}

func (c *customLife) update(sub string) {
	name := c.one()
	var current map[string]any
	c.Quietly(func() { current = c.Get(c.all() + "/" + name).Object() })
	metadata, ok := current["metadata"].(map[string]any)
	if !ok {
		return
	}
	kept := map[string]any{"name": name}
	if !c.chance(10) {
		kept["resourceVersion"] = metadata["resourceVersion"]
	}
	delete(current, "metadata")
	body := c.mutated(current, nil, c.changes())
	if c.chance(2) {
		body = c.body(name, c.changes())
	}
	body["metadata"] = kept
	c.send("PUT", c.all()+"/"+name+sub+c.options(), body)
}

func (c *customLife) jsonPatch(sub string) {
	body := clone(c.body("x", 0)).(map[string]any)
	delete(body, "metadata")
	var operations []any
	for range 1 + c.IntN(3) {
		p := pick(c.draw, places(body, nil, nil))
		operation := map[string]any{"op": pick(c.draw, []string{"add", "add", "replace", "remove", "copy"}), "path": pointer(p, c.draw)}
		switch operation["op"] {
		case "add", "replace":
			operation["value"] = plain(c.similar(clone(p.get())))
		case "copy":
			operation["from"] = pointer(pick(c.draw, places(body, nil, nil)), c.draw)
		}
		operations = append(operations, operation)
	}
	content, err := json.Marshal(operations)
	if err != nil {
		panic(err) // made of JSON
	}
	c.Patch(c.all()+"/"+c.one()+sub+c.options(), story.JSONPatch, content)
}

func (c *customLife) read() {
	switch c.IntN(4) {
	case 0:
		c.Get(c.all(), story.Accept(pick(c.draw, []string{"application/json", yamlType, table})))
	case 1:
		c.Delete(c.all()+"/"+c.one(), nil)
	default:
		c.Get(c.all() + "/" + c.one())
	}
}

// text is a body as JSON, now and then with a field that is there twice.
func (c *customLife) text(body map[string]any) string {
	content, err := json.Marshal(body)
	if err != nil {
		panic(err) // made of JSON
	}
	text := string(content)
	if c.chance(12) {
		text = strings.Replace(text, "{", pick(c.draw, []string{`{"kind":"x",`, `{"spec":{},`, `{"apiVersion":"a/v1",`}), 1)
	}
	return text
}

// send sends a body as JSON, or as YAML.
func (c *customLife) send(method, uri string, body map[string]any) story.Answer {
	content, contentType := c.text(body), "application/json"
	if c.chance(4) {
		if asYAML, err := yaml.JSONToYAML([]byte(content)); err == nil {
			content, contentType = string(asYAML), yamlType
		}
	}
	return c.Do(method, uri, content, story.ContentType(contentType))
}
