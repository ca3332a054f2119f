package ownership_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/api/apitesting/fuzzer"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	kubernetes "k8s.io/kubernetes/pkg/api/testing"

	extensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/fuzzer"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/ownership"
)

var (
	writes = flag.Int("writes", 3000, "random writes that are compared with upstream's")
	custom = flag.Bool("custom", false, "random writes of custom objects only")
	seed   = flag.Int64("seed", 0, "of the first sequence of random writes; 0 takes the clock's")
)

// Sequences of random writes of all kinds have the owners that upstream gives
// them. A failure names the seed of its sequence.
func TestRandomWrites(t *testing.T) {
	if *seed == 0 {
		*seed = time.Now().UnixNano()
	}
	t.Logf("seed %d", *seed)
	s := newSequences(t)
	for n := *seed; s.writes < *writes && !t.Failed(); n++ {
		s.run(n)
	}
	t.Logf("%d writes of %d kinds, %d by upstream's manager: %v", s.writes, len(s.kinds), s.indirect, s.why)
	if usual := s.why["usual"]; usual > 0 {
		t.Errorf("%d writes without anything unusual needed upstream's manager", usual)
	}
}

// sequences are the random writes of a test.
type sequences struct {
	*testing.T
	reference *upstream
	managers  *ownership.Managers
	widgets   *widgets
	theirs    map[[2]any]*managedfields.FieldManager // by version and subresource
	samples   map[*kind.Version]runtime.Object
	kinds     []*kind.Version

	writes, indirect int
	why              map[string]int
}

func newSequences(t *testing.T) *sequences {
	catalogue := everything(t)
	s := &sequences{T: t, reference: newUpstream(t, catalogue), managers: &ownership.Managers{}, widgets: newWidgets(t),
		theirs: map[[2]any]*managedfields.FieldManager{}, samples: map[*kind.Version]runtime.Object{}, why: map[string]int{}}
	silence := flag.NewFlagSet("", flag.ContinueOnError) // upstream logs what it refuses
	klog.InitFlags(silence)
	for _, name := range []string{"logtostderr=false", "stderrthreshold=FATAL"} {
		if err := silence.Parse([]string{"-" + name}); err != nil {
			t.Fatal(err)
		}
	}
	klog.SetOutput(io.Discard)
	eachVersion(catalogue, func(v *kind.Version) { s.kinds = append(s.kinds, v) })
	return s
}

// sequence is the life of one object.
type sequence struct {
	*sequences
	seed  int64
	rand  mutator
	clock int64
	// unusual says what there was in the owners that is rare.
	unusual string
}

func (all *sequences) run(seed int64) {
	r := mutator{rand.New(rand.NewSource(seed))}
	s := &sequence{sequences: all, seed: seed, rand: r, clock: 1000}
	if r.Intn(8) == 0 || *custom {
		s.custom()
		return
	}
	v := s.kinds[r.Intn(len(s.kinds))]
	live := s.fresh(v)
	m, err := meta.Accessor(live)
	if err != nil {
		s.Fatal(err)
	}
	m.SetManagedFields(nil)
	m.SetUID("")
	none, err := v.Resource.Scheme.New(v.GVK())
	if err != nil {
		s.Fatal(err)
	}
	live = s.write(v.GVK(), s.upstreamFor(v, nil), s.managers.For(v, nil), none, live)
	for range 12 {
		m, _ := meta.Accessor(live)
		m.SetUID("u")
		w, sub := v, (*kind.Subresource)(nil)
		if r.Intn(25) == 0 {
			w = v.Resource.Versions[r.Intn(len(v.Resource.Versions))]
		}
		obj := live.DeepCopyObject()
		for range r.Intn(4) {
			r.object(obj)
		}
		if subs := v.Resource.Subresources; len(subs) > 0 && r.Intn(4) == 0 {
			sub = subs[r.Intn(len(subs))]
			if sub.View != nil {
				s.view(w, sub, live)
				continue
			}
			if sub.Update == nil {
				sub = nil
			}
		}
		theirs := s.upstreamFor(w, sub)
		if sub == nil && r.Intn(15) == 0 {
			live = s.apply(w, theirs, live)
			continue
		}
		s.owners(obj, live)
		live = s.write(w.GVK(), theirs, s.managers.For(w, sub), live, obj)
	}
}

// fresh is an object to create.
func (s *sequence) fresh(v *kind.Version) runtime.Object {
	if s.rand.Intn(3) == 0 {
		if s.samples[v] == nil {
			s.samples[v] = full(s, v)
		}
		return s.samples[v].DeepCopyObject()
	}
	funcs := fuzzer.MergeFuzzerFuncs(kubernetes.FuzzerFuncs, extensions.Funcs)
	obj := v.Resource.New()
	fuzzer.FuzzerFor(funcs, rand.NewSource(s.rand.Int63()), legacyscheme.Codecs).Fill(obj)
	return obj
}

func (s *sequences) upstreamFor(v *kind.Version, sub *kind.Subresource) *managedfields.FieldManager {
	key := [2]any{v, sub}
	if s.theirs[key] == nil {
		s.theirs[key] = s.reference.manager(s, v, sub)
	}
	return s.theirs[key]
}

// age gives owners that are new the time, which would differ else.
func (s *sequence) age(obj runtime.Object) {
	m, err := meta.Accessor(obj)
	if err != nil {
		return
	}
	entries, aged := m.GetManagedFields(), false
	for i := range entries {
		if t := entries[i].Time; t != nil && time.Since(t.Time) < time.Hour {
			entries[i].Time, aged = &metav1.Time{Time: time.Unix(s.clock, 0)}, true
		}
	}
	if aged {
		m.SetManagedFields(entries)
	}
}

// owners changes what obj, which is to replace live, says of its owners, as
// clients may.
func (s *sequence) owners(obj, live runtime.Object) {
	m, _ := meta.Accessor(obj)
	l, _ := meta.Accessor(live)
	entries := m.GetManagedFields()
	switch n := s.rand.Intn(60); {
	case n < 15:
		m.SetManagedFields(nil)
		return
	case n == 20:
		m.SetManagedFields([]metav1.ManagedFieldsEntry{})
		return
	case n == 21:
		m.SetManagedFields([]metav1.ManagedFieldsEntry{{}})
		return
	case n > 25 || len(entries) == 0:
		return
	}
	e := &entries[s.rand.Intn(len(entries))]
	few := []string{
		`{"f:spec":{"f:zz":{},"f:aa":{}}}`, `{"f:metadata":{"f:labels":{".":{}}}}`, ` {"f:metadata":{}}`, `{"f:spec":{".":{},"f:template":{"f:spec":{"f:nodeSelector":{"f:a":{}}}}}}`,
		`{}`, ``, `null`, `{"x:y":{}}`, `{"f:metadata":{"f:finalizers":{".":{},"v:\"a\"":{},"v:\"b\"":{}}}}`, `{"f:metadata":{"f:labels":{"f:tab\t":{},"f:é":{},"f:x\u0001":{}}}}`,
		`{"f:spec":{"f:containers":{"k:{\"name\":\"a\"}":{".":{},"f:ports":{"k:{\"containerPort\":1,\"protocol\":\"TCP\"}":{},"k:{\"containerPort\":10,\"protocol\":\"TCP\"}":{}}}}}}`,
		`{"f:metadata":{"f:ownerReferences":{"k:{\"uid\":\"<\"}":{}}}}`, `{"f:metadata":{"f:ownerReferences":{"k:{\"uid\":\"\\u003c\"}":{}}}}`,
		`{"f:spec":{"i:0":{},"i:1":{}},"f:status":{"f:conditions":{"k:{\"type\":\"a\"}":{"f:type":{}}}}}`, `{"f:a":{".":{}}}`, `{"f:a":{"f:b":{}},}`, `{"f:a":{}}x`,
		`{"f:metadata":{"f:managedFields":{},"f:generation":{},"f:name":{}}}`, `{"v:01":{}}`, `{"v:1.0":{}}`, `{"v:1":{},"v:2":{},"v:10":{},"v:\"1\"":{},"v:false":{},"v:true":{}}`,
	}
	switch s.rand.Intn(6) {
	case 0:
		e.Operation = "Other"
	case 1:
		e.APIVersion = []string{"v1", "apps/v1", "gone/v1beta1", "a/b/c", ""}[s.rand.Intn(5)]
	case 2:
		e.Manager = s.rand.text()
	case 3:
		*e = *entries[s.rand.Intn(len(entries))].DeepCopy()
	default:
		e.FieldsV1 = metav1.NewFieldsV1(few[s.rand.Intn(len(few))])
	}
	s.unusual = "owners sent by a client"
	m.SetManagedFields(entries)
	if s.rand.Intn(2) == 0 {
		l.SetManagedFields(m.GetManagedFields())
	}
}

// write is one update in a version, by both, and its result.
func (s *sequence) write(gvk schema.GroupVersionKind, theirs *managedfields.FieldManager, ours ownership.Manager, live, obj runtime.Object) runtime.Object {
	by := fmt.Sprint("m", s.rand.Intn(6))
	switch s.rand.Intn(20) {
	case 0:
		by = ""
	case 1:
		by = []string{"ü<&>", "m\u2028", "kubectl", "x\xff"}[s.rand.Intn(4)]
	case 2:
		by = fmt.Sprint("many", s.rand.Intn(100))
	}
	before, given := live.DeepCopyObject(), obj.DeepCopyObject()
	var want runtime.Object
	if s.panics(func() { want = theirs.UpdateNoErrors(live.DeepCopyObject(), obj.DeepCopyObject(), by) }) {
		return before
	}
	s.writes++
	s.clock += int64(s.rand.Intn(2))
	s.age(want)
	got := obj
	if !ownership.Direct(ours, live, obj, by) {
		s.same(gvk, "untouched", given, given, obj)
		s.count(gvk, live, obj, want, by)
		got = ours.Update(live, obj, by)
	}
	s.age(got)
	s.same(gvk, "written", given, want, got)
	before.GetObjectKind().SetGroupVersionKind(live.GetObjectKind().GroupVersionKind()) // conversion sets it
	s.same(gvk, "live", before, before, live)
	return got
}

// panics reports whether upstream panics, as it does over values that cannot
// be decoded from JSON.
func (s *sequence) panics(do func()) (panicked bool) {
	defer func() {
		if recover() != nil {
			panicked = true
			s.why["upstream panics"]++
		}
	}()
	do()
	return false
}

// count notes why a write needed upstream's manager.
func (s *sequence) count(gvk schema.GroupVersionKind, live, obj, result runtime.Object, by string) {
	s.indirect++
	why, noText := s.unusual, !utf8.ValidString(by)
	versions, updaters := map[string]bool{gvk.GroupVersion().String(): true}, 0
	for _, e := range slices.Concat(owners(live), owners(obj), owners(result)) {
		versions[e.APIVersion] = true
		noText = noText || strings.Contains(e.Manager, "\ufffd")
	}
	for _, e := range owners(result) {
		if e.Operation == metav1.ManagedFieldsOperationUpdate {
			updaters++
		}
	}
	switch {
	case why != "":
	case noText:
		why = "a name that is no text"
	case len(versions) > 1:
		why = "several versions"
	case updaters >= 10:
		why = "many owners"
	case gvk.Kind == "Widget":
		why = "numbers with several forms, or kinds that changed"
	default:
		why = "usual"
		if reflect.DeepEqual(owners(live), owners(result)) {
			why = "refused by upstream"
		} else {
			before, _ := json.Marshal(owners(obj))
			after, _ := json.Marshal(owners(result))
			s.Logf("seed %d: %v by %q needs upstream's, for\n%s\n%s", s.seed, gvk, by, before, after)
		}
	}
	s.why[why]++
}

// same compares objects that a write of an object given made.
func (s *sequence) same(gvk schema.GroupVersionKind, what string, given, want, got runtime.Object) {
	if reflect.DeepEqual(want, got) {
		return
	}
	a, _ := json.Marshal(owners(want))
	b, _ := json.Marshal(owners(got))
	before, _ := json.Marshal(owners(given))
	s.Errorf("seed %d: %v: %s\nbefore   %s\nupstream %s\nours     %s", s.seed, gvk, what, before, a, b)
}

// apply has somebody own labels by an apply.
func (s *sequence) apply(v *kind.Version, theirs *managedfields.FieldManager, live runtime.Object) runtime.Object {
	patch := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{
		"name": "it", "labels": map[string]any{s.rand.text(): s.rand.text(), "b": "x"}, "finalizers": []any{"a", "f"},
	}}}
	patch.SetGroupVersionKind(v.GVK())
	var applied runtime.Object
	var err error
	if s.panics(func() { applied, err = theirs.Apply(live.DeepCopyObject(), patch, "m1", true) }) || err != nil {
		return live
	}
	s.age(applied)
	return applied
}

// view writes through a view of the object.
func (s *sequence) view(v *kind.Version, sub *kind.Subresource, live runtime.Object) {
	shown, err := sub.View.Of(live)
	if err != nil {
		return
	}
	obj := shown.DeepCopyObject()
	s.rand.object(obj)
	s.write(sub.GVK(v), s.upstreamFor(v, sub), s.managers.For(v, sub), shown, obj)
}
