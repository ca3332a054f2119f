package sample

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

// Object is one as JSON has it.
type Object = map[string]any

// Manifest reads the object for a resource, in the given version. ok is false if
// there is no manifest of that size for the resource.
func Manifest(size string, r Resource, namespace string) (o Object, ok bool, err error) {
	group := ""
	if r.Group != "" {
		group = "." + r.Group
	}
	for _, name := range []string{r.Name + "." + r.Version + group, r.Name + group} {
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
		o["apiVersion"] = r.GroupVersion()
		return o, true, nil
	}
	return nil, false, nil
}

// Must reads a manifest that is known to be there: the tests read every one.
func Must(size string, r Resource, namespace string) Object {
	o, ok, err := Manifest(size, r, namespace)
	if err != nil {
		panic(err)
	}
	if !ok {
		panic("no manifest for " + r.Name)
	}
	return o
}

// With returns the object with the value at a path of keys; the original is unchanged.
func With(o Object, value any, path ...string) Object {
	changed := maps.Clone(o)
	if changed == nil {
		changed = Object{}
	}
	if len(path) == 1 {
		changed[path[0]] = value
		return changed
	}
	child, _ := changed[path[0]].(Object)
	changed[path[0]] = With(child, value, path[1:]...)
	return changed
}

// Named returns the object under another name.
func Named(o Object, name string) Object { return With(o, name, "metadata", "name") }

// NameOf is the object's name.
func NameOf(o Object) string {
	metadata, _ := o["metadata"].(Object)
	name, _ := metadata["name"].(string)
	return name
}

// Text is the object as JSON.
func Text(o Object) string {
	content, err := json.Marshal(o)
	if err != nil {
		panic(err) // objects come from JSON or YAML
	}
	return string(content)
}
