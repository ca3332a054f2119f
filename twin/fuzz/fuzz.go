// Package fuzz makes up stories: the life of an object that is created, changed in every
// way there is and deleted again, from bodies that are valid ones with something
// changed at random. A seed and a number always make the same story, so that what two
// servers answered differently can be told again.
//
// It must not compare anything, nor know what a server is expected to say.
package fuzz

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/knarr-io/knarr/twin/sample"
	"github.com/knarr-io/knarr/twin/story"
)

// Fuzzer makes up stories about some resources. It is not changed once it is made, so
// that stories may be made and told at the same time.
type Fuzzer struct {
	seed  uint64
	kinds []kind
	words []string
}

// A kind is a resource in all the versions that are served.
type kind struct {
	versions []version
	// dry says that nothing of this kind is stored, because the reference's own
	// controllers would write to it or change what it serves.
	dry bool
}

// A version has the bodies that a story starts from.
type version struct {
	sample.Resource
	bodies []sample.Object // valid
	full   sample.Object   // with every field, mostly invalid; nil if there is none
}

// dry are the resources of which nothing is stored: definitions and APIServices change
// what a server serves, and all of them are written to by controllers.
var dry = []string{"customresourcedefinitions", "apiservices", "flowschemas", "servicecidrs"}

// namespaceMark stands in bodies for the story's namespace, which is known later.
const namespaceMark = "namespace-of-the-story"

// New prepares stories about those of the resources that can be read back.
func New(seed uint64, resources []sample.Resource, full sample.Full) (*Fuzzer, error) {
	f := &Fuzzer{seed: seed}
	index := map[string]int{}
	words := map[string]bool{}
	for _, word := range strings.Fields(enums) {
		words[word] = true
	}
	for _, r := range resources {
		if !r.Can("get") || !r.Can("create") {
			continue
		}
		v, err := newVersion(r, full)
		if err != nil {
			return nil, err
		}
		for _, body := range append(v.bodies, v.full) {
			collectWords(body, words)
		}
		key := r.Name + "." + r.Group
		i, found := index[key]
		if !found {
			i = len(f.kinds)
			index[key] = i
			f.kinds = append(f.kinds, kind{dry: slices.Contains(dry, r.Name)})
		}
		f.kinds[i].versions = append(f.kinds[i].versions, v)
	}
	if len(f.kinds) == 0 {
		return nil, fmt.Errorf("no resource can be created and read")
	}
	for word := range words {
		f.words = append(f.words, word)
	}
	slices.Sort(f.words) // maps have no order, stories do
	return f, nil
}

func newVersion(r sample.Resource, full sample.Full) (version, error) {
	v := version{Resource: r}
	for _, size := range []string{"minimal", "full"} {
		body, found, err := sample.Manifest(size, r, namespaceMark)
		if err != nil {
			return v, err
		}
		if found {
			v.bodies = append(v.bodies, body)
		}
	}
	if len(v.bodies) == 0 {
		return v, fmt.Errorf("no manifest for %s", r.Path(""))
	}
	body, found, err := full.Object(r)
	if found {
		v.full = body
	}
	return v, err
}

// collectWords adds the short strings of a body: where one is allowed, so may another be.
func collectWords(value any, words map[string]bool) {
	switch v := value.(type) {
	case string:
		if len(v) < 60 && v != namespaceMark {
			words[v] = true
		}
	case []any:
		for _, item := range v {
			collectWords(item, words)
		}
	case map[string]any:
		for _, item := range v {
			collectWords(item, words)
		}
	}
}

// Story makes up the story of a number.
func (f *Fuzzer) Story(number uint64) story.Story {
	r := rand.New(rand.NewPCG(f.seed, number))
	k := f.kinds[r.IntN(len(f.kinds))]
	v := k.versions[r.IntN(len(k.versions))]
	inner := r.Uint64()
	return story.Story{
		Name:     fmt.Sprintf("fuzz/%s/%s/%d-%d", v.GroupVersion(), v.Name, f.seed, number),
		AnyOrder: true,
		// Told twice at once, so each telling draws its own numbers.
		Tell: func(s *story.Session) {
			d := &draw{Rand: rand.New(rand.NewPCG(inner, number)), words: f.words}
			tell(&life{Session: s, draw: d, kind: k, version: v, name: nameFor(v.Name, number)})
		},
	}
}

// nameFor is a name no other story's object of the kind has, so that stories may be told
// at the same time.
func nameFor(resource string, number uint64) string {
	if resource == "ipaddresses" { // whose names are what they are about
		return fmt.Sprintf("192.168.%d.%d", number/256%256, number%256)
	}
	return fmt.Sprintf("fuzz-%d", number)
}
