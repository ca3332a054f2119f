package stories

import (
	"embed"
	"fmt"
	"maps"
	"net/url"
	"path"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/knarr-io/knarr/twin/sample"
	"github.com/knarr-io/knarr/twin/story"
)

// badFiles are tables of inputs that are to be refused, one file a group.
//
//go:embed bad
var badFiles embed.FS

// A badInput is a minimal object with one thing wrong, or a request that is wrong itself.
type badInput struct {
	// Why says what is wrong.
	Why string `json:"why"`
	// Of is the resource as group/version/resource, or v1/resource.
	Of string `json:"of,omitempty"`
	// With is what makes the minimal object bad, as a merge patch; it is then created.
	With object `json:"with,omitempty"`
	// Update is what makes the stored object bad, as a merge patch, before it is sent
	// in its place. Create is what the object to be stored has beyond the minimal one.
	Create object `json:"create,omitempty"`
	Update object `json:"update,omitempty"`
	// Query is added to the request.
	Query string `json:"query,omitempty"`

	// Request is a method and a URI in place of all that, with $NAMESPACE for the
	// story's, Type and Body what is sent.
	Request string `json:"request,omitempty"`
	Type    string `json:"type,omitempty"`
	Body    string `json:"body,omitempty"`
	// Times is how often Repeat is said after the body, and End comes last: for bodies
	// that are too large for a file.
	Times  int    `json:"times,omitempty"`
	Repeat string `json:"repeat,omitempty"`
	End    string `json:"end,omitempty"`
}

// Bad tells of the inputs that are to be refused, a story a file.
func Bad(resources []sample.Resource) ([]story.Story, error) {
	byName := map[string]sample.Resource{}
	for _, r := range resources {
		byName[r.GroupVersion()+"/"+r.Name] = r
	}
	entries, err := badFiles.ReadDir("bad")
	if err != nil {
		return nil, err
	}
	var all []story.Story
	for _, entry := range entries {
		inputs, err := readBad(entry.Name())
		if err != nil {
			return nil, err
		}
		for _, input := range inputs {
			if _, found := byName[input.Of]; !found && input.Request == "" {
				return nil, fmt.Errorf("stories/bad/%s: %s: no resource %s", entry.Name(), input.Why, input.Of)
			}
		}
		all = append(all, story.Story{
			AnyOrder: true,
			Name:     "bad/" + strings.TrimSuffix(entry.Name(), path.Ext(entry.Name())),
			Tell: func(s *story.Session) {
				for _, input := range inputs {
					input.tell(s, byName[input.Of])
				}
			},
		})
	}
	return all, nil
}

func readBad(name string) ([]badInput, error) {
	content, err := badFiles.ReadFile("bad/" + name)
	if err != nil {
		return nil, err
	}
	var inputs []badInput
	if err := yaml.UnmarshalStrict(content, &inputs); err != nil {
		return nil, fmt.Errorf("stories/bad/%s: %w", name, err)
	}
	return inputs, nil
}

// tell sends the input and takes away what was stored, also if it was not refused.
func (b badInput) tell(s *story.Session, r sample.Resource) {
	if b.Request != "" {
		b.send(s)
		return
	}
	query := ""
	if b.Query != "" {
		query = "?" + b.Query
	}
	collection := r.Path(s.Namespace)
	body := merged(sample.Must("minimal", r, s.Namespace), b.With)
	name := sample.NameOf(body)
	uri := collection + "/" + url.PathEscape(name)
	if b.Update == nil {
		s.Post(collection+query, body)
		if metadata, ok := b.With["metadata"].(object); ok && metadata["finalizers"] != nil {
			s.Patch(uri, story.MergePatch, object{"metadata": object{"finalizers": nil}})
		}
		if name != "" { // without one, it would be the collection
			s.Delete(uri+"?gracePeriodSeconds=0", nil)
		}
		return
	}
	body = merged(body, b.Create)
	stored := s.Post(collection, body)
	s.Put(uri+query, merged(stored.Object(), b.Update))
	s.Patch(uri, story.MergePatch, object{"metadata": object{"finalizers": nil}}) // what kube-apiserver protects
	s.Delete(uri+"?gracePeriodSeconds=0", nil)
}

func (b badInput) send(s *story.Session) {
	method, uri, _ := strings.Cut(strings.ReplaceAll(b.Request, "$NAMESPACE", s.Namespace), " ")
	var body any
	if content := b.Body + strings.Repeat(b.Repeat, b.Times) + b.End; content != "" {
		body = strings.ReplaceAll(content, "$NAMESPACE", s.Namespace)
	}
	var options []story.Option
	if b.Type != "" {
		options = append(options, story.ContentType(b.Type))
	}
	s.Do(method, uri, body, options...)
}

// merged is the object with a merge patch done to it; both stay as they are.
func merged(o, patch object) object {
	result := maps.Clone(o)
	if result == nil {
		result = object{}
	}
	for key, value := range patch {
		switch v := value.(type) {
		case nil:
			delete(result, key)
		case object:
			inner, _ := result[key].(object)
			result[key] = merged(inner, v)
		default:
			result[key] = v
		}
	}
	return result
}
