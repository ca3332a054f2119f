package fuzz

import (
	"encoding/json"
	"net/url"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/knarr-io/knarr/twin/sample"
	"github.com/knarr-io/knarr/twin/story"
)

const (
	applyPatch = "application/apply-patch+yaml"
	protobuf   = "application/vnd.kubernetes.protobuf"
	yamlType   = "application/yaml"
	table      = "application/json;as=Table;v=v1;g=meta.k8s.io"
	partial    = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
)

// A life is one story being told: an object and what happens to it.
type life struct {
	*story.Session
	*draw
	kind
	version
	name string
}

// tell creates an object, does some twenty things to it, and deletes it.
func tell(l *life) {
	base := l.base(l.version)
	l.write("POST", l.version, "", "", l.mutated(base, l.full, l.IntN(3)))
	l.write("POST", l.version, "", "", base) // in case the first was refused
	for range 8 + l.IntN(16) {
		l.step()
	}
	if l.dry {
		return
	}
	path := l.path(l.version)
	l.Patch(path, story.MergePatch, `{"metadata":{"finalizers":null}}`)
	l.Delete(path+"?gracePeriodSeconds=0", nil)
	l.Get(path)
}

// base is a valid object under the story's name.
func (l *life) base(v version) sample.Object {
	var body sample.Object
	content := strings.ReplaceAll(sample.Text(pick(l.draw, v.bodies)), namespaceMark, l.Namespace)
	if err := json.Unmarshal([]byte(content), &body); err != nil {
		panic(err) // it was JSON just now
	}
	if l.dry {
		return body // the names of definitions and APIServices say what they hold
	}
	return sample.Named(body, l.name)
}

func (l *life) path(v version) string {
	return v.Path(l.Namespace) + "/" + sample.NameOf(l.base(v))
}

func (l *life) step() {
	v := pick(l.draw, l.versions)
	sub := ""
	if v.HasStatus() && l.chance(4) {
		sub = "/status"
	}
	if _, found := v.Subresources["scale"]; found && l.chance(8) {
		l.scale(v)
		return
	}
	switch l.IntN(12) {
	case 0:
		l.Get(l.path(v)+sub, story.Accept(pick(l.draw, []string{"application/json", yamlType, protobuf, table, partial})))
	case 1, 2:
		l.write("POST", v, "", "dryRun=All", l.mutated(l.base(v), v.full, 1+l.IntN(4)))
	case 3:
		if v.full != nil {
			full := sample.With(v.full, map[string]any{"name": l.name}, "metadata")
			l.write("POST", v, "", "dryRun=All", l.mutated(full, nil, l.IntN(3)))
		}
	case 4, 5, 6:
		l.update(v, sub)
	case 7:
		l.jsonPatch(v, sub)
	case 8:
		l.fragment(v, sub, story.MergePatch)
	case 9:
		l.fragment(v, sub, story.StrategicPatch)
	case 10, 11:
		l.apply(v, sub)
	}
}

func (l *life) update(v version, sub string) {
	current := l.Get(l.path(v)).Object()
	if len(current) == 0 || l.chance(4) {
		current = l.base(v)
	}
	if metadata, ok := current["metadata"].(map[string]any); ok && !l.chance(8) {
		delete(metadata, "managedFields") // the order of which depends on when a second begins
	}
	l.write("PUT", v, sub, "", l.mutated(current, v.full, l.IntN(3)))
}

// write sends a whole object, in one of the media types there are.
func (l *life) write(method string, v version, sub, query string, body sample.Object) {
	uri := v.Path(l.Namespace)
	if method != "POST" {
		uri = l.path(v) + sub
	}
	if metadata, ok := body["metadata"].(map[string]any); ok {
		if prefix, ok := metadata["generateName"].(string); ok && prefix != "" {
			l.Prefixes = append(l.Prefixes, prefix)
		}
		// Nothing is stored under a name that the story would not delete.
		if method == "POST" && metadata["name"] != l.name && query == "" {
			query = "dryRun=All"
		}
	}
	content, contentType := l.encode(v, body)
	l.Do(method, uri+l.query(query), content, story.ContentType(contentType))
}

// query adds options to those that are given.
func (l *life) query(given string) string {
	var all []string
	if given != "" {
		all = append(all, given)
	} else if l.dry || l.chance(6) {
		all = append(all, "dryRun=All")
	}
	if l.chance(2) {
		all = append(all, "fieldValidation="+pick(l.draw, []string{"Ignore", "Warn", "Strict", "Strict"}))
	}
	if l.chance(4) {
		all = append(all, "fieldManager="+url.QueryEscape(pick(l.draw, []string{"one", "two", "kubectl", "kubectl-client-side-apply", strings.Repeat("m", 129), "\a"})))
	}
	if len(all) == 0 {
		return ""
	}
	return "?" + strings.Join(all, "&")
}

// encode writes the body as JSON mostly, and as YAML or protobuf where that can say it.
func (l *life) encode(v version, body sample.Object) (content []byte, contentType string) {
	content = []byte(sample.Text(body))
	switch l.IntN(6) {
	case 0:
		if asYAML, err := yaml.JSONToYAML(content); err == nil {
			return asYAML, yamlType
		}
	case 1:
		if encoded, ok := sample.Protobuf(v.Resource, content); ok {
			return encoded, protobuf
		}
	}
	return content, "application/json"
}

// jsonPatch sends one to three operations on places of the object, or beside them.
func (l *life) jsonPatch(v version, sub string) {
	body := clone(l.base(v)).(map[string]any)
	var operations []any
	for range 1 + l.IntN(3) {
		p := pick(l.draw, places(body, nil, nil))
		operation := map[string]any{
			"op":   pick(l.draw, []string{"add", "add", "replace", "replace", "remove", "test", "copy", "move"}),
			"path": pointer(p, l.draw),
		}
		switch operation["op"] {
		case "add", "replace", "test":
			operation["value"] = plain(l.similar(clone(p.get())))
		case "copy", "move":
			operation["from"] = pointer(pick(l.draw, places(body, nil, nil)), l.draw)
		}
		operations = append(operations, operation)
	}
	content, err := json.Marshal(operations)
	if err != nil {
		panic(err) // made of JSON
	}
	l.Patch(l.path(v)+sub+l.query(""), story.JSONPatch, content)
}

func pointer(p place, d *draw) string {
	var out strings.Builder
	for _, key := range p.path {
		if key == "" {
			key = pick(d, []string{"0", "0", "0", "-", "1", "7"})
		}
		out.WriteString("/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(key))
	}
	if d.chance(8) {
		out.WriteString("/" + d.key())
	}
	return out.String()
}

// fragment sends a part of the object, changed.
func (l *life) fragment(v version, sub, mediaType string) {
	content, err := json.Marshal(l.part(v))
	if err != nil {
		panic(err) // made of JSON
	}
	if mediaType == story.StrategicPatch && l.chance(5) {
		content = []byte(strings.Replace(string(content), "{", `{"$patch":"`+pick(l.draw, []string{"replace", "merge", "delete", "other"})+`",`, 1+l.IntN(2)))
	}
	l.Patch(l.path(v)+sub+l.query(""), mediaType, content)
}

// part is a mutated object that lacks most of what did not change.
func (l *life) part(v version) sample.Object {
	body := l.mutated(l.base(v), v.full, 1+l.IntN(3))
	for _, key := range sortedKeys(body) {
		if l.chance(2) {
			delete(body, key)
		}
	}
	return body
}

func (l *life) apply(v version, sub string) {
	body := l.base(v)
	if l.chance(2) {
		body = l.mutated(body, v.full, 1+l.IntN(2))
	}
	for _, key := range sortedKeys(body) {
		if l.chance(5) && key != "apiVersion" && key != "kind" {
			delete(body, key)
		}
	}
	query := "?fieldManager=" + pick(l.draw, []string{"one", "two", "three"})
	if l.chance(2) {
		query += "&force=true"
	}
	if l.dry || l.chance(5) {
		query += "&dryRun=All"
	}
	if l.chance(4) {
		query += "&fieldValidation=" + pick(l.draw, []string{"Ignore", "Warn", "Strict"})
	}
	l.Patch(l.path(v)+sub+query, applyPatch, sample.Text(body))
}

func (l *life) scale(v version) {
	replicas := json.Number(pick(l.draw, oddNumbers))
	body := map[string]any{
		"apiVersion": "autoscaling/v1", "kind": "Scale",
		"metadata": map[string]any{"name": l.name}, "spec": map[string]any{"replicas": replicas},
	}
	if l.chance(3) {
		body = l.mutated(body, nil, 1)
	}
	uri := l.path(v) + "/scale"
	switch l.IntN(4) {
	case 0:
		l.Get(uri, story.Accept(pick(l.draw, []string{"application/json", yamlType, protobuf, table})))
	case 1:
		l.Put(uri+l.query(""), body)
	case 2:
		l.Patch(uri+l.query(""), story.MergePatch, body)
	case 3:
		l.Patch(uri+"?force=true&fieldManager="+pick(l.draw, []string{"one", "two"}), applyPatch, body)
	}
}
