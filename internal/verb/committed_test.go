package verb_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/verb"
)

// Who is to be told of writes is, of each that is done, when it is true and
// before the verb returns.
func TestCommitted(t *testing.T) {
	c := newCluster(t)
	var told []string
	c.verbs.Committed = map[schema.GroupResource]func(context.Context, *object.Object){
		{Resource: "configmaps"}: func(_ context.Context, o *object.Object) {
			now := c.verbs.State.Get("/registry/configmaps/default/" + o.Name)
			told = append(told, fmt.Sprintf("%s is stored: %v", o.Name, now != nil && now.Rev == o.Rev))
		},
	}
	version := c.catalogue.Lookup(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"})
	remove := func(name string) {
		t.Helper()
		target := verb.Target{Version: version, Namespace: "default", Name: name}
		if _, err := c.verbs.Delete(target.Context(t.Context(), "delete", &user.DefaultInfo{Name: "tester"}), target, &metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	const finalized = `{"metadata":{"finalizers":["example.com/f"]}}`
	const free = `{"metadata":{"finalizers":null}}`
	for _, step := range []struct {
		name string
		do   func()
		want []string
	}{
		{"dry run", func() { c.must(write{verb: "create", path: "configmaps/a", body: mapA, opts: dryRun}) }, nil},
		{"create", func() { c.must(write{verb: "create", path: "configmaps/a", body: mapA}) }, []string{"a is stored: true"}},
		{"update", func() { c.must(write{verb: "update", path: "configmaps/a", body: data(`{"k":"w"}`)}) }, []string{"a is stored: true"}},
		{"the same", func() { c.must(write{verb: "update", path: "configmaps/a", body: data(`{"k":"w"}`)}) }, nil},
		{"patch", func() { c.must(write{verb: merge, path: "configmaps/a", body: finalized}) }, []string{"a is stored: true"}},
		{"mark", func() { remove("a") }, []string{"a is stored: true"}},
		{"remove by an update", func() { c.must(write{verb: merge, path: "configmaps/a", body: free}) }, []string{"a is stored: false"}},
		{"apply", func() { c.must(write{verb: apply, path: "configmaps/a", body: mapA, by: "me"}) }, []string{"a is stored: true"}},
		{"delete", func() { remove("a") }, []string{"a is stored: false"}},
		{"another resource", func() { c.must(write{verb: "create", path: "deployments/d", body: deployment}) }, nil},
	} {
		told = nil
		if step.do(); !slices.Equal(told, step.want) {
			t.Errorf("%s: told is %q, want %q", step.name, told, step.want)
		}
	}
}
