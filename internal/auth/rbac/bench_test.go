package rbac

import (
	"fmt"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy"

	"github.com/knarr-io/knarr/internal/state/statetest"
)

// What a decision costs for a user who may view a namespace, beside the default
// policy and as many role bindings in his namespace: by upstream's way, which
// looks at all of them, by ours without and with what was decided before.
func BenchmarkDecision(b *testing.B) {
	for _, n := range []int{1, 10_000} {
		st := statetest.Start(b)
		objects := map[string]runtime.Object{}
		add := func(obj runtime.Object) {
			put(b, st, obj)
			objects[keyFor(b, obj)] = obj
		}
		for _, r := range bootstrappolicy.ClusterRoles() {
			if r.Name == "view" {
				r.Rules = append(r.Rules, rule("get", "pods"))
			}
			add(&r)
		}
		for _, bound := range bootstrappolicy.ClusterRoleBindings() {
			add(&bound)
		}
		for i := range n {
			name := fmt.Sprint("user-", i)
			add(binding("ns", name, "ClusterRole", "view", rbacv1.Subject{Kind: "User", Name: name}))
		}
		who := &user.DefaultInfo{Name: fmt.Sprint("user-", n-1), Groups: []string{"dev", "system:authenticated"}}
		remembering, forgetting := New(st), New(st)
		forgetting.remember = false
		for _, c := range []struct {
			name string
			a    authorizer.Authorizer
		}{{"upstream", upstream(objects)}, {"found", forgetting}, {"remembered", remembering}} {
			for verb, want := range map[string]bool{"get": true, "delete": false} {
				b.Run(fmt.Sprintf("bindings=%d/%s/allowed=%v", n, c.name, want), func(b *testing.B) {
					b.ReportAllocs()
					question := ask(who, verb, "ns", "pods")
					for b.Loop() {
						if decision, _, _ := c.a.Authorize(b.Context(), question); (decision == authorizer.DecisionAllow) != want {
							b.Fatal(decision)
						}
					}
				})
			}
		}
	}
}
