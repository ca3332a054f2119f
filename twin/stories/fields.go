package stories

import (
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/knarr-io/knarr/twin/sample"
	"github.com/knarr-io/knarr/twin/story"
)

// Fields tells, for every one of the resources that upstream has a full sample of, what
// becomes of that sample, and of each field of it in a patch of each type. Most are
// refused, by every rule that the kind has.
func Fields(resources []sample.Resource, full sample.Full) ([]story.Story, error) {
	var all []story.Story
	for _, r := range resources {
		if !r.Can("create") || !r.Can("get") {
			continue
		}
		body, found, err := full.Object(r)
		if err != nil {
			return nil, err
		}
		if !found {
			continue
		}
		encoded, err := full.Encoded(r, "pb")
		if err != nil {
			return nil, err
		}
		all = append(all, story.Story{
			Name:     "fields/" + r.GroupVersion() + "/" + r.Name,
			Tell:     func(s *story.Session) { fields(s, r, body, encoded) },
			AnyOrder: true,
		})
	}
	return all, nil
}

func fields(s *story.Session, r sample.Resource, full object, encoded []byte) {
	collection := r.Path(s.Namespace)
	base := sample.Must("minimal", r, s.Namespace)
	name := sample.NameOf(base)
	uri := collection + "/" + name
	dry := "?dryRun=All"

	s.Post(collection+dry, full)
	s.Post(collection+dry, encoded, story.ContentType(protobuf))
	// With metadata that a new object may have, so that it gets further.
	fresh := sample.With(full, object{"name": name, "labels": object{"a": "b"}}, "metadata")
	s.Post(collection+dry, fresh)
	s.Post(collection+dry, fresh, story.Accept(protobuf))
	if asYAML, err := yaml.Marshal(fresh); err == nil {
		s.Post(collection+dry+"&fieldValidation=Strict", asYAML, story.ContentType("application/yaml"))
	}
	if asProtobuf, ok := sample.Protobuf(r, []byte(sample.Text(fresh))); ok {
		s.Post(collection+dry, asProtobuf, story.ContentType(protobuf))
	}
	s.Patch(uri+dry+"&fieldManager=m", applyPatch, fresh)
	s.Patch(uri+dry+"&fieldManager=m", applyPatch, full)

	s.Post(collection, base)
	s.Put(uri+dry, fresh)
	for _, place := range places(full) {
		patch := sample.With(object{}, place.value, place.path...)
		s.Patch(uri+dry, story.MergePatch, patch)
		s.Patch(uri+dry, story.StrategicPatch, patch)
		s.Patch(uri+dry, story.JSONPatch, []object{{"op": "add", "path": "/" + strings.Join(place.path, "/"), "value": place.value}})
		s.Patch(uri+dry+"&fieldManager=m&force=true", applyPatch, sample.With(sample.With(patch, full["kind"], "kind"), r.GroupVersion(), "apiVersion"))
		if place.path[0] == "status" && r.HasStatus() {
			s.Patch(uri+"/status"+dry, story.MergePatch, patch)
		}
	}
	s.Delete(uri+"?gracePeriodSeconds=0", nil)
	s.Patch(uri, story.MergePatch, object{"metadata": object{"finalizers": nil}})
}

// A field is one of a sample, with its path.
type field struct {
	path  []string
	value any
}

// places are the fields at the top of a sample, and within its metadata, spec and status.
func places(full object) []field {
	var all []field
	for _, key := range slices.Sorted(maps.Keys(full)) {
		inner, deeper := full[key].(object)
		switch key {
		case "apiVersion", "kind":
		case "metadata", "spec", "status":
			if !deeper {
				all = append(all, field{[]string{key}, full[key]})
			}
			for _, innerKey := range slices.Sorted(maps.Keys(inner)) {
				all = append(all, field{[]string{key, innerKey}, inner[innerKey]})
			}
		default:
			all = append(all, field{[]string{key}, full[key]})
		}
	}
	return all
}
