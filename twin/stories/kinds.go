package stories

import (
	"context"
	"fmt"

	"k8s.io/client-go/rest"

	"github.com/knarr-io/knarr/twin/story"
)

// Kinds tells the life of an object of every resource that the reference serves. A
// resource without a manifest is an error, so that none is forgotten.
func Kinds(ctx context.Context, reference *rest.Config) ([]story.Story, error) {
	resources, err := discover(ctx, reference)
	if err != nil {
		return nil, err
	}
	var all []story.Story
	for _, r := range resources {
		if !r.can("create") {
			continue // componentstatuses
		}
		for _, size := range []string{"minimal", "full"} {
			_, found, err := manifest(size, r, "any")
			if err != nil {
				return nil, err
			}
			if !found && size == "minimal" {
				return nil, fmt.Errorf("no manifest for %s in stories/manifests/minimal", r.path(""))
			}
			if found {
				all = append(all, kind(r, size))
			}
		}
	}
	return all, nil
}

func kind(r resource, size string) story.Story {
	name := "kind/" + r.groupVersion() + "/" + r.name + "/" + size
	if !r.can("get") {
		return story.Story{Name: name, Tell: func(s *story.Session) {
			s.Post(r.path(s.Namespace), must(size, r, s.Namespace))
		}}
	}
	return story.Story{Name: name, Tell: func(s *story.Session) {
		l := newLife(s, r, must(size, r, s.Namespace))
		l.create()
		l.read()
		watch := s.Watch(l.collection + "?watch=true&labelSelector=" + storyLabel)
		l.update()
		l.updateStatus()
		l.patch()
		l.delete()
		watch.Until(story.Gone(l.name))
		if r.can("deletecollection") {
			l.deleteCollection()
		}
	}}
}

// storyLabel is on every object of these stories, so that lists of cluster-wide
// resources show nothing else.
const storyLabel = "twin=story"

// A life is what happens to one object.
type life struct {
	*story.Session
	resource
	sample           object
	name             string
	collection, path string
}

func newLife(s *story.Session, r resource, sample object) *life {
	metadata := sample["metadata"].(object)
	labels, _ := metadata["labels"].(object)
	sample = with(sample, with(labels, "story", "twin"), "metadata", "labels")
	name := nameOf(sample)
	collection := r.path(s.Namespace)
	path := collection + "/" + name
	if controlled[r.name] {
		s.AfterWrite = func() { s.Settle(path) }
	}
	return &life{s, r, sample, name, collection, path}
}

// controlled are the resources whose objects kube-apiserver's own controllers write
// to. After each change the story waits until they have.
var controlled = map[string]bool{
	"customresourcedefinitions": true,
	"apiservices":               true,
	"flowschemas":               true,
	"servicecidrs":              true,
}

func (l *life) create() {
	l.Post(l.collection+"?dryRun=All", l.sample)
	l.Get(l.path)
	l.Post(l.collection, l.sample)
	l.Post(l.collection, l.sample)
}

func (l *life) read() {
	l.Get(l.path)
	l.Get(l.path, story.Accept("application/yaml"))
	l.Get(l.path, story.Accept("application/vnd.kubernetes.protobuf"))
	l.Get(l.path, story.Accept("application/json;as=Table;v=v1;g=meta.k8s.io"))
	l.Get(l.path, story.Accept("application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"))
	list := l.collection + "?labelSelector=" + storyLabel
	l.Get(list)
	l.Get(list, story.Accept("application/vnd.kubernetes.protobuf"))
	l.Get(list, story.Accept("application/json;as=Table;v=v1;g=meta.k8s.io"))
	l.Get(list, story.Accept("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"))
	if l.hasStatus() {
		l.Get(l.path + "/status")
	}
}

func (l *life) update() {
	current := l.Get(l.path).Object()
	changed := with(current, "updated", "metadata", "annotations", "step")
	l.Put(l.path, changed)
	l.Put(l.path, with(changed, "late", "metadata", "annotations", "step")) // conflict
	l.Put(l.path, with(changed, "", "metadata", "resourceVersion"))
	l.Put(l.path+"?dryRun=All", with(l.sample, "dry", "metadata", "annotations", "step"))
	l.Put(l.path, named(l.sample, l.name+"-other"))
}

func (l *life) updateStatus() {
	if !l.hasStatus() {
		return
	}
	current := l.Get(l.path).Object()
	changed := with(current, "ignored", "metadata", "labels", "status-only")
	if status, ok := l.sample["status"]; ok {
		changed = with(changed, status, "status")
	}
	l.Put(l.path+"/status", changed)
	l.Get(l.path)
	l.Get(l.path, story.Accept("application/json;as=Table;v=v1;g=meta.k8s.io"))
	l.Patch(l.path+"/status", story.MergePatch, object{"metadata": object{"annotations": object{"by": "status"}}})
}

func (l *life) patch() {
	annotate := object{"metadata": object{"annotations": object{"patched": "merge", "step": nil}}}
	l.Patch(l.path, story.MergePatch, annotate)
	l.Patch(l.path, story.MergePatch, annotate) // changes nothing
	l.Patch(l.path, story.StrategicPatch, object{"metadata": object{"labels": object{"patched": "strategic"}}})
	l.Patch(l.path, story.JSONPatch, `[{"op":"add","path":"/metadata/labels/patched","value":"json"}]`)
	l.Patch(l.path, story.JSONPatch, `[{"op":"test","path":"/metadata/labels/patched","value":"other"}]`)
	l.Patch(l.path, story.JSONPatch, `[{"op":"remove","path":"/metadata/labels/none"}]`)
	l.Patch(l.path, story.MergePatch, object{"metadata": object{"labels": object{"bad label": "x"}}})
	l.Patch(l.path+"?dryRun=All", story.MergePatch, object{"metadata": object{"annotations": object{"dry": "run"}}})
}

func (l *life) delete() {
	l.Delete(l.path+"?dryRun=All", nil)
	l.Delete(l.path, object{"kind": "DeleteOptions", "apiVersion": "v1",
		"preconditions": object{"uid": "00000000-0000-4000-8000-00000000ffff"}})
	l.Delete(l.path, nil)
	l.Get(l.path)
	l.Patch(l.path, story.MergePatch, object{"metadata": object{"finalizers": nil}}) // lets it go if something held it
	l.Get(l.path)
	l.Delete(l.path, nil)
}

func (l *life) deleteCollection() {
	for _, suffix := range []string{"a", "b"} {
		l.Post(l.collection, named(l.sample, l.name+"-"+suffix))
	}
	selected := l.collection + "?labelSelector=" + storyLabel
	l.Delete(selected+"&dryRun=All", nil)
	l.Delete(selected, nil)
	l.Get(selected)
	for _, suffix := range []string{"a", "b"} { // what something held
		l.Patch(l.path+"-"+suffix, story.MergePatch, object{"metadata": object{"finalizers": nil}})
	}
}
