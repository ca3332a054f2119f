package stories

import (
	"errors"
	"fmt"

	"github.com/knarr-io/knarr/twin/sample"
	"github.com/knarr-io/knarr/twin/story"
)

// Kinds tells the life of an object of every one of the resources. A
// resource without a manifest is an error, so that none is forgotten.
func Kinds(resources []sample.Resource) ([]story.Story, error) {
	var all []story.Story
	var missing []error
	for _, r := range resources {
		if !r.Can("create") {
			continue // componentstatuses
		}
		for _, size := range []string{"minimal", "full"} {
			_, found, err := sample.Manifest(size, r, "any")
			if err != nil {
				return nil, err
			}
			if !found && size == "minimal" {
				missing = append(missing, fmt.Errorf("no manifest for %s in sample/manifests/minimal", r.Path("")))
			}
			if found {
				all = append(all, kind(r, size))
			}
		}
	}
	return all, errors.Join(missing...)
}

func kind(r sample.Resource, size string) story.Story {
	name := "kind/" + r.GroupVersion() + "/" + r.Name + "/" + size
	if !r.Can("get") {
		return story.Story{Name: name, Tell: func(s *story.Session) {
			s.Post(r.Path(s.Namespace), sample.Must(size, r, s.Namespace))
		}}
	}
	return story.Story{Name: name, AnyOrder: true, Tell: func(s *story.Session) {
		l := newLife(s, r, sample.Must(size, r, s.Namespace))
		l.Put(l.path, l.body) // which creates some kinds
		l.Delete(l.path, nil)
		l.create()
		l.read()
		watch := s.Watch(l.collection + "?watch=true&labelSelector=" + storyLabel)
		l.update()
		l.updateStatus()
		l.patch()
		l.apply()
		l.delete()
		l.createByApply()
		watch.Until(story.Gone(l.name))
		if r.Can("deletecollection") {
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
	sample.Resource
	body             object
	name             string
	collection, path string
}

func newLife(s *story.Session, r sample.Resource, body object) *life {
	metadata := body["metadata"].(object)
	labels, _ := metadata["labels"].(object)
	body = sample.With(body, sample.With(labels, "story", "twin"), "metadata", "labels")
	name := sample.NameOf(body)
	collection := r.Path(s.Namespace)
	path := collection + "/" + name
	if controlled[r.Name] {
		s.AfterWrite = func() { s.Settle(path) }
	}
	return &life{s, r, body, name, collection, path}
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
	l.Post(l.collection+"?dryRun=All", l.body)
	l.Get(l.path)
	l.Post(l.collection, l.body)
	l.Post(l.collection, l.body)
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
	if l.HasStatus() {
		l.Get(l.path + "/status")
	}
}

func (l *life) update() {
	current := l.Get(l.path).Object()
	changed := sample.With(current, "updated", "metadata", "annotations", "step")
	l.Put(l.path, changed)
	l.Put(l.path, sample.With(changed, "late", "metadata", "annotations", "step")) // conflict
	l.Put(l.path, sample.With(changed, "", "metadata", "resourceVersion"))
	l.Put(l.path+"?dryRun=All", sample.With(l.body, "dry", "metadata", "annotations", "step"))
	l.Put(l.path, sample.Named(l.body, l.name+"-other"))
}

func (l *life) updateStatus() {
	if !l.HasStatus() {
		return
	}
	current := l.Get(l.path).Object()
	changed := sample.With(current, "ignored", "metadata", "labels", "status-only")
	if status, ok := l.body["status"]; ok {
		changed = sample.With(changed, status, "status")
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

// apply applies as two managers that first share and then dispute what they say.
func (l *life) apply() {
	applied := l.applied()
	l.Patch(l.path+"?fieldManager=one&dryRun=All", applyPatch, applied)
	l.Patch(l.path+"?fieldManager=one", applyPatch, applied)
	l.Patch(l.path+"?fieldManager=one&force=true", applyPatch, applied)
	l.Patch(l.path+"?fieldManager=one&force=true", applyPatch, applied) // changes nothing
	disputed := sample.With(applied, "other", "metadata", "labels", "patched")
	l.Patch(l.path+"?fieldManager=two", applyPatch, disputed)
	l.Patch(l.path+"?fieldManager=two&force=true", applyPatch, disputed)
	disputed = sample.With(disputed, "third", "metadata", "labels", "patched")
	l.Patch(l.path+"?fieldManager=three", applyPatch, disputed)
	l.Patch(l.path+"?fieldManager=one", applyPatch, l.bare()) // gives everything up
	l.Patch(l.path+"?fieldManager=two&force=true", applyPatch, l.bare())
	if !l.HasStatus() || l.body["status"] == nil {
		return
	}
	status := sample.With(l.bare(), l.body["status"], "status")
	l.Patch(l.path+"/status?fieldManager=controller", applyPatch, status)
	l.Patch(l.path+"/status?fieldManager=controller&force=true", applyPatch, status)
	l.Patch(l.path+"/status?fieldManager=other", applyPatch, status)
	l.Patch(l.path+"/status?fieldManager=controller", applyPatch, l.bare())
	l.Patch(l.path+"/status?fieldManager=other&fieldValidation=Strict", applyPatch, sample.With(status, 1, "status", "unknown"))
}

// applied is the sample without its status; bare is only its name.
func (l *life) applied() object {
	applied := sample.With(l.body, "one", "metadata", "labels", "patched")
	delete(applied, "status")
	return applied
}

func (l *life) bare() object {
	return object{"apiVersion": l.GroupVersion(), "kind": l.body["kind"],
		"metadata": object{"name": l.name, "labels": object{"twin": "story"}}}
}

func (l *life) createByApply() {
	l.Patch(l.path+"?fieldManager=one&dryRun=All", applyPatch, l.applied())
	l.Patch(l.path+"?fieldManager=one", applyPatch, l.applied())
	l.Patch(l.path+"?fieldManager=one", applyPatch, l.bare())
	l.Delete(l.path, nil)
	l.Patch(l.path, story.MergePatch, object{"metadata": object{"finalizers": nil}}) // lets it go if something held it
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
		l.Post(l.collection, sample.Named(l.body, l.name+"-"+suffix))
	}
	selected := l.collection + "?labelSelector=" + storyLabel
	l.Delete(selected+"&dryRun=All", nil)
	l.Delete(selected, nil)
	l.Get(selected)
	for _, suffix := range []string{"a", "b"} { // what something held
		l.Patch(l.path+"-"+suffix, story.MergePatch, object{"metadata": object{"finalizers": nil}})
	}
}
