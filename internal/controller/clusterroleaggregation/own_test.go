package clusterroleaggregation

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/kubernetes/pkg/apis/rbac"

	"github.com/knarr-io/knarr/internal/kind/native"
	"github.com/knarr-io/knarr/internal/ownership"
)

// counting counts what is left to upstream's.
type counting struct {
	ownership.Manager
	n *int
}

func (c counting) Apply(live runtime.Object, patch *unstructured.Unstructured, by string, force bool) (runtime.Object, error) {
	*c.n++
	return c.Manager.Apply(live, patch, by, force)
}

// Whoever has written the role before, the short way comes to what upstream's
// does; where it is not for it, it is not taken.
func TestOwnsAsUpstream(t *testing.T) {
	catalogue, err := native.Catalogue(native.Options{})
	if err != nil {
		t.Fatal(err)
	}
	upstream := new(ownership.Managers).For(catalogue.Lookup(gvr), nil)
	empty := func() *rbac.ClusterRole { return &rbac.ClusterRole{} }
	made := func(manager string, rules ...rbac.PolicyRule) func() runtime.Object {
		return func() runtime.Object {
			role := &rbac.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "r", Labels: map[string]string{"a": "b"}}, Rules: rules}
			role.AggregationRule = &rbac.AggregationRule{ClusterRoleSelectors: []metav1.LabelSelector{{MatchLabels: map[string]string{"x": "y"}}}}
			return upstream.Update(empty(), role, manager)
		}
	}
	apply := func(by string, to func() runtime.Object, resource string) func() runtime.Object {
		return func() runtime.Object {
			obj, err := upstream.Apply(to(), wish(resource), by, true)
			if err != nil {
				t.Fatal(err)
			}
			return obj
		}
	}
	labelled := func(to func() runtime.Object) func() runtime.Object {
		return func() runtime.Object {
			patch := &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": map[string]any{"name": "r", "labels": map[string]any{"l": "1"}},
			}}
			obj, err := upstream.Apply(to(), patch, "someone", true)
			if err != nil {
				t.Fatal(err)
			}
			return obj
		}
	}
	for _, c := range []struct {
		name  string
		live  func() runtime.Object
		patch string
		left  int
	}{
		{"new", made("kube-apiserver"), "pods", 0},
		{"again", apply(manager, made("kube-apiserver"), "secrets"), "pods", 0},
		{"beside another apply", labelled(made("kube-apiserver")), "pods", 0},
		{"again beside another apply", apply(manager, labelled(made("kube-apiserver")), "secrets"), "pods", 0},
		{"over another's", made("kubectl", rbac.PolicyRule{Verbs: []string{"get"}, NonResourceURLs: []string{"/x"}}), "pods", 1},
		{"over another's apply", apply("someone", made("kube-apiserver"), "secrets"), "pods", 1},
		{"nobody's", func() runtime.Object { return &rbac.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "r"}} }, "pods", 1},
		{"nothing", apply(manager, made("kube-apiserver"), "secrets"), "", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			left := 0
			got, err := owner{counting{upstream, &left}}.Apply(c.live(), wish(c.patch), manager, true)
			if err != nil {
				t.Fatal(err)
			}
			want, err := upstream.Apply(c.live(), wish(c.patch), manager, true)
			if err != nil {
				t.Fatal(err)
			}
			if left != c.left {
				t.Errorf("%d left to upstream's, want %d", left, c.left)
			}
			if diff := cmp.Diff(withoutTimes(want), withoutTimes(got)); diff != "" {
				t.Errorf("-upstream +own:\n%s", diff)
			}
		})
	}
}

// wish is a patch as the controller sends it.
func wish(resource string) *unstructured.Unstructured {
	patch := map[string]any{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": map[string]any{"name": "r"}}
	if resource != "" {
		patch["rules"] = []any{map[string]any{"verbs": []any{"get"}, "apiGroups": []any{""}, "resources": []any{resource}}}
	}
	return &unstructured.Unstructured{Object: patch}
}

func withoutTimes(obj runtime.Object) *rbac.ClusterRole {
	role := obj.DeepCopyObject().(*rbac.ClusterRole)
	for i := range role.ManagedFields {
		if role.ManagedFields[i].Time.IsZero() || time.Since(role.ManagedFields[i].Time.Time) > time.Hour {
			role.ManagedFields[i].Manager += " at no time"
		}
		role.ManagedFields[i].Time = nil
	}
	return role
}
