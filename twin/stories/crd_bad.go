package stories

import (
	"embed"
	"fmt"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/knarr-io/knarr/twin/story"
)

// definitionFiles are tables of definitions that are to be refused, and of some that are
// not but nearly, one file a group.
//
//go:embed definitions
var definitionFiles embed.FS

// A badDefinition is a minimal CustomResourceDefinition with one thing wrong.
type badDefinition struct {
	// Why says what is wrong.
	Why string `json:"why"`
	// Metadata, Spec and Version are merge patches to the definition's metadata, its spec
	// and its first version.
	Metadata object `json:"metadata,omitempty"`
	Spec     object `json:"spec,omitempty"`
	Version  object `json:"version,omitempty"`
	// Versions are in place of the minimal one's, Schema is in place of its first
	// version's, and Field of the schema of spec.field there.
	Versions []any  `json:"versions,omitempty"`
	Schema   object `json:"schema,omitempty"`
	Field    object `json:"field,omitempty"`
	// Update says that the definition is there, and is what the minimal one is to become.
	Update bool `json:"update,omitempty"`
}

// minimalDefinition is the spec of what is made bad.
const minimalDefinition = `{versions: [{name: v1, properties: {spec: {type: object, properties: {field: {type: string}}}}}]}`

// badDefinitions tells of the tables, a story each.
func badDefinitions() ([]story.Story, error) {
	entries, err := definitionFiles.ReadDir("definitions")
	if err != nil {
		return nil, err
	}
	var all []story.Story
	for _, entry := range entries {
		bad, err := readDefinitions(entry.Name())
		if err != nil {
			return nil, err
		}
		all = append(all, story.Story{
			AnyOrder: true,
			Name:     "crd/bad/" + strings.TrimSuffix(entry.Name(), path.Ext(entry.Name())),
			Tell:     func(s *story.Session) { tellDefinitions(s, bad) },
		})
	}
	return all, nil
}

func readDefinitions(name string) ([]badDefinition, error) {
	content, err := definitionFiles.ReadFile("definitions/" + name)
	if err != nil {
		return nil, err
	}
	var bad []badDefinition
	if err := yaml.UnmarshalStrict(content, &bad); err != nil {
		return nil, fmt.Errorf("stories/definitions/%s: %w", name, err)
	}
	return bad, nil
}

// tellDefinitions only asks what would become of each, so that none has to be taken away
// again if it is not refused.
func tellDefinitions(s *story.Session, bad []badDefinition) {
	fresh := newCustom(s, minimalDefinition)
	defined := newCustom(s, `{group: `+s.Namespace+`.example.org, `+minimalDefinition[1:])
	if slices.ContainsFunc(bad, func(b badDefinition) bool { return b.Update }) {
		defined.define()
		defer defined.remove()
	}
	for _, b := range bad {
		if !b.Update {
			s.Post(definitions+"?dryRun=All", b.of(fresh.definition))
			continue
		}
		var stored object
		s.Quietly(func() { stored = s.Get(defined.uri()).Object() })
		s.Put(defined.uri()+"?dryRun=All", b.of(stored))
	}
}

// of makes the definition bad.
func (b badDefinition) of(definition object) object {
	spec, _ := definition["spec"].(object)
	spec = merged(spec, b.Spec)
	versions, _ := spec["versions"].([]any)
	switch {
	case b.Versions != nil:
		versions = completeVersions(b.Versions)
	case len(versions) > 0:
		version := merged(versions[0].(object), b.Version)
		if b.Field != nil {
			b.Schema = object{"type": "object", "properties": object{
				"spec": object{"type": "object", "properties": object{"field": b.Field}}}}
		}
		if b.Schema != nil {
			version["schema"] = object{"openAPIV3Schema": b.Schema}
		}
		versions = []any{version}
	}
	if versions != nil {
		spec["versions"] = versions
	}
	bad := merged(definition, object{"metadata": b.Metadata})
	bad["spec"] = spec
	return bad
}
