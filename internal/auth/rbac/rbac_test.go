package rbac

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	"k8s.io/kubernetes/pkg/registry/rbac/validation"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac"

	"github.com/knarr-io/knarr/internal/kind/native"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/state/statetest"
	"github.com/knarr-io/knarr/internal/store"
)

// The keys that are read are those that the catalogue writes.
func TestPrefixes(t *testing.T) {
	catalogue, err := native.Catalogue(native.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for resource, name := range [resources]string{roles: "roles", roleBindings: "rolebindings", clusterRoles: "clusterroles", clusterRoleBindings: "clusterrolebindings"} {
		r := catalogue.Resource(rbacv1.SchemeGroupVersion.WithResource(name).GroupResource())
		if got := r.Storage.Prefix; got != prefixes[resource] {
			t.Errorf("%s are kept under %s, read from %s", name, got, prefixes[resource])
		}
	}
}

// keyFor is where a role or binding is kept.
func keyFor(t testing.TB, obj runtime.Object) string {
	t.Helper()
	m, err := meta.Accessor(obj)
	if err != nil {
		t.Fatal(err)
	}
	resource := map[string]int{"*v1.Role": roles, "*v1.RoleBinding": roleBindings, "*v1.ClusterRole": clusterRoles, "*v1.ClusterRoleBinding": clusterRoleBindings}
	key := prefixes[resource[fmt.Sprintf("%T", obj)]] + "/"
	if m.GetNamespace() != "" {
		key += m.GetNamespace() + "/"
	}
	return key + m.GetName()
}

// put stores what replaces what is there.
func put(t testing.TB, st *state.State, obj runtime.Object) {
	t.Helper()
	value, err := runtime.Encode(legacyscheme.Codecs.LegacyCodec(rbacv1.SchemeGroupVersion), obj)
	if err != nil {
		t.Fatal(err)
	}
	write(t, st, keyFor(t, obj), value)
}

func write(t testing.TB, st *state.State, key string, value []byte) {
	t.Helper()
	change := store.Change{Key: key, Value: value}
	if o := st.Get(key); o != nil {
		change.If = o.Rev
	}
	if _, err := st.Commit(context.WithoutCancel(t.Context()), change); err != nil {
		t.Fatal(err)
	}
}

func may(t testing.TB, a authorizer.Authorizer, who user.Info, verb, namespace, resource string) (bool, string) {
	t.Helper()
	decision, reason, err := a.Authorize(t.Context(), ask(who, verb, namespace, resource))
	if err != nil {
		t.Fatal(err)
	}
	return decision == authorizer.DecisionAllow, reason
}

func ask(who user.Info, verb, namespace, resource string) authorizer.Attributes {
	return authorizer.AttributesRecord{User: who, Verb: verb, Namespace: namespace, Resource: resource, ResourceRequest: true}
}

func role(namespace, name string, rules ...rbacv1.PolicyRule) runtime.Object {
	if namespace == "" {
		r := &rbacv1.ClusterRole{Rules: rules}
		r.Name = name
		return r
	}
	r := &rbacv1.Role{Rules: rules}
	r.Namespace, r.Name = namespace, name
	return r
}

func rule(verb, resource string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{Verbs: []string{verb}, APIGroups: []string{""}, Resources: []string{resource}}
}

func binding(namespace, name, kind, role string, subjects ...rbacv1.Subject) runtime.Object {
	ref := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: role}
	if namespace == "" {
		b := &rbacv1.ClusterRoleBinding{RoleRef: ref, Subjects: subjects}
		b.Name = name
		return b
	}
	b := &rbacv1.RoleBinding{RoleRef: ref, Subjects: subjects}
	b.Namespace, b.Name = namespace, name
	return b
}

// What is granted holds at once, and what is revoked no longer, whichever of the
// four changes, and however often it was asked before.
func TestEveryChangeHoldsAtOnce(t *testing.T) {
	st := statetest.Start(t)
	a := New(st)
	jane := &user.DefaultInfo{Name: "jane", Groups: []string{"dev"}}
	dev := rbacv1.Subject{Kind: "Group", APIGroup: rbacv1.GroupName, Name: "dev"}
	expect := func(step string, want bool) {
		t.Helper()
		for range 3 {
			if got, reason := may(t, a, jane, "get", "ns", "pods"); got != want {
				t.Fatalf("%s: allowed %v (%s), want %v", step, got, reason, want)
			}
		}
	}
	expect("empty", false)
	put(t, st, binding("ns", "b", "Role", "r", dev))
	if _, reason := may(t, a, jane, "get", "ns", "pods"); reason != `RBAC: role.rbac.authorization.k8s.io "r" not found` {
		t.Errorf("without the role: reason %q", reason)
	}
	put(t, st, role("ns", "r", rule("get", "pods")))
	expect("role", true)
	put(t, st, role("ns", "r", rule("list", "pods")))
	expect("role changed", false)
	put(t, st, role("ns", "r", rule("get", "pods")))
	expect("role changed back", true)
	write(t, st, keyFor(t, binding("ns", "b", "", "")), nil)
	expect("binding gone", false)
	put(t, st, binding("", "b", "ClusterRole", "r", dev))
	if _, reason := may(t, a, jane, "get", "ns", "pods"); reason != `RBAC: clusterrole.rbac.authorization.k8s.io "r" not found` {
		t.Errorf("without the cluster role: reason %q", reason)
	}
	put(t, st, role("", "r", rule("get", "pods")))
	expect("cluster role", true)
	put(t, st, binding("", "b", "ClusterRole", "r"))
	expect("binding to nobody", false)
	put(t, st, binding("", "b", "ClusterRole", "r", dev))
	expect("binding again", true)
	write(t, st, keyFor(t, role("", "r")), []byte("damaged"))
	expect("unreadable role", false)
	put(t, st, role("", "r", rule("get", "pods")))
	write(t, st, keyFor(t, binding("", "b", "", "")), []byte("damaged"))
	expect("unreadable binding", false)
}

// Random policies and questions: what is found by subject is what upstream finds
// by looking at all.
func TestDecidesAsUpstream(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(list ...string) string { return list[random.IntN(len(list))] }
	st := statetest.Start(t)
	a := New(st)
	objects := map[string]runtime.Object{}
	allowed := 0
	for range 400 {
		namespace := pick("", "a", "b")
		var obj runtime.Object
		if random.IntN(3) == 0 {
			obj = role(namespace, pick("r", "s"), rule(pick("get", "list", "*", "dance"), pick("pods", "secrets", "pods/log")))
		} else {
			var subjects []rbacv1.Subject
			for range random.IntN(4) {
				subjects = append(subjects, rbacv1.Subject{Kind: pick("User", "Group", "ServiceAccount", "Other"), Name: pick("u", "v", "g", "h", "system:serviceaccount:a:u"), Namespace: pick("", "", "a", "b")})
			}
			obj = binding(namespace, pick("k", "l", "m", "n"), pick("Role", "ClusterRole"), pick("r", "s", "t"), subjects...)
		}
		key := keyFor(t, obj)
		if random.IntN(5) == 0 && objects[key] != nil {
			write(t, st, key, nil)
			delete(objects, key)
		} else {
			put(t, st, obj)
			objects[key] = obj
		}
		want := upstream(objects)
		for range 20 {
			who := &user.DefaultInfo{Name: pick("u", "v", "system:serviceaccount:a:u", "system:serviceaccount:b:v")}
			for _, group := range []string{"g", "h"} {
				if random.IntN(2) == 0 {
					who.Groups = append(who.Groups, group)
				}
			}
			question := ask(who, pick("get", "list", "dance"), pick("", "a", "b"), pick("pods", "secrets"))
			decision, reason, err := a.Authorize(t.Context(), question)
			wanted, wantedReason, wantedErr := want.Authorize(t.Context(), question)
			// Upstream's order is that of a map in these words.
			if decision != wanted || (reason == "") != (wantedReason == "") || !errors.Is(err, wantedErr) {
				t.Fatalf("%+v: %v %q %v, want %v %q %v", question, decision, reason, err, wanted, wantedReason, wantedErr)
			}
			if decision == authorizer.DecisionAllow {
				allowed++
			}
			ours, _, _, _ := a.RulesFor(t.Context(), who, question.GetNamespace())
			theirs, _, _, _ := want.RulesFor(t.Context(), who, question.GetNamespace())
			if len(ours) != len(theirs) {
				t.Fatalf("%d rules for %v, want %d", len(ours), who, len(theirs))
			}
		}
	}
	if allowed < 200 {
		t.Errorf("only %d were allowed: nothing was tested", allowed)
	}
}

// upstream is upstream's authorizer of the same objects, without our lists.
func upstream(objects map[string]runtime.Object) *rbac.RBACAuthorizer {
	var (
		rs  []*rbacv1.Role
		rbs []*rbacv1.RoleBinding
		crs []*rbacv1.ClusterRole
		cbs []*rbacv1.ClusterRoleBinding
	)
	for _, obj := range objects {
		switch obj := obj.(type) {
		case *rbacv1.Role:
			rs = append(rs, obj)
		case *rbacv1.RoleBinding:
			rbs = append(rbs, obj)
		case *rbacv1.ClusterRole:
			crs = append(crs, obj)
		case *rbacv1.ClusterRoleBinding:
			cbs = append(cbs, obj)
		}
	}
	_, static := validation.NewTestRuleResolver(rs, rbs, crs, cbs)
	return rbac.New(static, static, static, static)
}

// Questions that differ in anything that rules look at have different keys.
func TestKeysDiffer(t *testing.T) {
	who := func(name string, groups ...string) user.Info { return &user.DefaultInfo{Name: name, Groups: groups} }
	questions := []authorizer.AttributesRecord{
		{User: who("a")}, {User: who("a", "")}, {User: who("a", "b")}, {User: who("a", "b", "c")}, {User: who("a", "bc")}, {User: who("b")},
		{User: who("a"), Verb: "x"}, {User: who("a"), Namespace: "x"}, {User: who("a"), APIGroup: "x"}, {User: who("a"), Resource: "x"},
		{User: who("a"), Subresource: "x"}, {User: who("a"), Name: "x"}, {User: who("a"), Path: "x"}, {User: who("a"), ResourceRequest: true},
		{User: who("a"), Verb: "x", Namespace: "y"}, {User: who("a"), Verb: "x\x01y"}, {User: who("a"), Path: "/b", Verb: "get"},
	}
	seen := map[string]int{}
	for i, q := range questions {
		key, ok := keyOf(nil, q)
		if j, same := seen[string(key)]; same || !ok {
			t.Errorf("%+v has the key of %+v", q, questions[j])
		}
		seen[string(key)] = i
	}
	if _, ok := keyOf(nil, authorizer.AttributesRecord{User: who("a", strings.Repeat("g", keySize))}); ok {
		t.Error("a question of any size is remembered")
	}
}

// What is remembered is bounded, and what is asked for stays.
func TestDecisionsAreBounded(t *testing.T) {
	var d decisions
	often := []byte("often")
	d.add(often, decided{reason: "still known"})
	for i := range 10 * generation {
		d.add([]byte(fmt.Sprint(i)), decided{})
		if n := len(d.young) + len(d.former); n > 2*generation {
			t.Fatalf("%d decisions", n)
		}
		if what, ok := d.find(often); !ok || what.reason != "still known" {
			t.Fatalf("after %d others: forgotten", i)
		}
	}
}

// Many ask while policies change; run it with -race.
func TestConcurrently(t *testing.T) {
	st := statetest.Start(t)
	a := New(st)
	put(t, st, role("", "r", rule("get", "pods")))
	var group sync.WaitGroup
	for i := range 4 {
		name := fmt.Sprint("user-", i)
		bound := binding("ns", name, "ClusterRole", "r", rbacv1.Subject{Kind: "User", Name: name})
		group.Go(func() {
			for range 100 {
				put(t, st, bound)
				if ok, _ := may(t, a, &user.DefaultInfo{Name: name}, "get", "ns", "pods"); !ok {
					t.Error("granted, but not allowed")
				}
				write(t, st, keyFor(t, bound), nil)
				if ok, _ := may(t, a, &user.DefaultInfo{Name: name}, "get", "ns", "pods"); ok {
					t.Error("revoked, but allowed")
				}
			}
		})
	}
	group.Wait()
}
