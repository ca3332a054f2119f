// Package stories holds what is told to the servers that are compared: for every
// native resource the life of an object, and stories of single features.
package stories

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"strings"

	"sigs.k8s.io/yaml"
)

// manifests holds valid objects, one a file, named by resource and group. Those in
// minimal say as little as validation permits, those in full much of what a kind can
// say. A file <resource>.<version>.<group> is for one version; any other serves all
// versions of its group.
//
//go:embed manifests
var manifests embed.FS

type object = map[string]any

// manifest reads the object for a resource, in the given version. ok is false if
// there is no manifest of that size for the resource.
func manifest(size string, r resource, namespace string) (o object, ok bool, err error) {
	group := ""
	if r.group != "" {
		group = "." + r.group
	}
	for _, name := range []string{r.name + "." + r.version + group, r.name + group} {
		content, err := manifests.ReadFile("manifests/" + size + "/" + name + ".yaml")
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, false, err
		}
		text := strings.ReplaceAll(string(content), "$NAMESPACE", namespace)
		if err := yaml.UnmarshalStrict([]byte(text), &o); err != nil {
			return nil, false, fmt.Errorf("%s: %w", name, err)
		}
		o["apiVersion"] = r.groupVersion()
		return o, true, nil
	}
	return nil, false, nil
}

// must reads a manifest that is known to be there: the tests read every one.
func must(size string, r resource, namespace string) object {
	o, ok, err := manifest(size, r, namespace)
	if err != nil {
		panic(err)
	}
	if !ok {
		panic("no manifest for " + r.name)
	}
	return o
}

// with returns the object with the value at a path of keys; the original is unchanged.
func with(o object, value any, path ...string) object {
	changed := maps.Clone(o)
	if changed == nil {
		changed = object{}
	}
	if len(path) == 1 {
		changed[path[0]] = value
		return changed
	}
	child, _ := changed[path[0]].(object)
	changed[path[0]] = with(child, value, path[1:]...)
	return changed
}

// named returns the object under another name.
func named(o object, name string) object { return with(o, name, "metadata", "name") }

// nameOf is the object's name.
func nameOf(o object) string {
	metadata, _ := o["metadata"].(object)
	name, _ := metadata["name"].(string)
	return name
}

// text is the object as JSON.
func text(o object) string {
	content, err := json.Marshal(o)
	if err != nil {
		panic(err) // objects come from JSON or YAML
	}
	return string(content)
}
