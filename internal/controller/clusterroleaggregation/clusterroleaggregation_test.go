package clusterroleaggregation_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/kubernetes/pkg/apis/rbac"
	"k8s.io/utils/clock"

	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/controller/clusterroleaggregation"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/kind/native"
	"github.com/knarr-io/knarr/internal/ownership"
	"github.com/knarr-io/knarr/internal/state/statetest"
	"github.com/knarr-io/knarr/internal/verb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type cluster struct {
	t     *testing.T
	verbs *verb.Verbs
	roles *kind.Version
}

// newCluster is a server without its HTTP side whose cluster roles are kept.
func newCluster(t *testing.T) *cluster {
	catalogue, err := native.Catalogue(native.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{
		t: t, verbs: &verb.Verbs{State: statetest.Start(t), Ownership: new(ownership.Managers).For},
		roles: catalogue.Lookup(rbacv1.SchemeGroupVersion.WithResource("clusterroles")),
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { clusterroleaggregation.New(c.verbs, catalogue, clock.RealClock{}).Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return c
}

func (c *cluster) context(verb, name string) (context.Context, verb.Target) {
	t := targetOf(c.roles, name)
	return t.Context(context.Background(), verb, &user.DefaultInfo{Name: "admin", Groups: []string{user.SystemPrivilegedGroup}}), t
}

func targetOf(v *kind.Version, name string) verb.Target { return verb.Target{Version: v, Name: name} }

func (c *cluster) create(role *rbac.ClusterRole) {
	c.t.Helper()
	ctx, t := c.context("create", "")
	if _, err := c.verbs.Create(ctx, t, role, &metav1.CreateOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) update(role *rbac.ClusterRole) {
	c.t.Helper()
	ctx, t := c.context("update", role.Name)
	if _, err := c.verbs.Update(ctx, t, role, &metav1.UpdateOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) delete(name string) {
	c.t.Helper()
	ctx, t := c.context("delete", name)
	if _, err := c.verbs.Delete(ctx, t, &metav1.DeleteOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) get(name string) *rbac.ClusterRole {
	c.t.Helper()
	o := c.verbs.State.Get(c.roles.Resource.Storage.Key("", name))
	role, err := controller.Read[*rbac.ClusterRole](c.roles.Resource, o)
	if err != nil {
		c.t.Fatal(err)
	}
	return role
}

// await waits until a role's rules are those that get these resources.
func (c *cluster) await(name, want string) {
	c.t.Helper()
	for {
		rev := c.verbs.State.Rev()
		got := []string{}
		for _, rule := range c.get(name).Rules {
			got = append(got, rule.Resources...)
		}
		if strings.Join(got, " ") == want {
			return
		}
		if err := c.verbs.State.WaitFor(c.t.Context(), rev+1); err != nil {
			c.t.Fatalf("%s has %q, want %q", name, got, want)
		}
	}
}

func gets(name string, labels map[string]string, resources ...string) *rbac.ClusterRole {
	role := &rbac.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	for _, resource := range resources {
		role.Rules = append(role.Rules, rbac.PolicyRule{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{resource}})
	}
	return role
}

func aggregates(name string, labels map[string]string, selectors ...map[string]string) *rbac.ClusterRole {
	role := gets(name, labels)
	role.AggregationRule = &rbac.AggregationRule{}
	for _, s := range selectors {
		role.AggregationRule.ClusterRoleSelectors = append(role.AggregationRule.ClusterRoleSelectors, metav1.LabelSelector{MatchLabels: s})
	}
	return role
}

// The rules follow those of what is selected, whatever changes, and through
// aggregated roles too.
func TestAggregation(t *testing.T) {
	c := newCluster(t)
	a, b := map[string]string{"to": "a"}, map[string]string{"to": "b"}
	c.create(gets("z", a, "pods"))
	c.create(aggregates("all", nil, b, a))
	c.await("all", "pods")
	c.create(gets("y", a, "secrets", "pods"))
	c.await("all", "secrets pods") // by name, each once
	c.create(aggregates("part", b, map[string]string{"to": "c"}))
	c.create(gets("x", map[string]string{"to": "c"}, "nodes"))
	c.await("part", "nodes")
	c.await("all", "nodes secrets pods") // selector by selector
	x := c.get("x")
	x.Rules = gets("x", nil, "events").Rules
	c.update(x)
	c.await("all", "events secrets pods")
	c.delete("y")
	c.await("all", "events pods")
	x = c.get("x")
	x.Labels = nil
	c.update(x)
	c.await("all", "pods")
	owners := []string{}
	for _, entry := range c.get("all").ManagedFields {
		owners = append(owners, fmt.Sprintf("%s %s", entry.Manager, entry.Operation))
	}
	if got := strings.Join(owners, ", "); !strings.Contains(got, "clusterrole-aggregation-controller Apply") {
		t.Errorf("owned by %s", got)
	}
	// What others write into it is put right.
	all := c.get("all")
	all.Rules = gets("", nil, "namespaces").Rules
	c.update(all)
	c.await("all", "pods")
}
