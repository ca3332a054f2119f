package bootstrap

import (
	"context"
	"maps"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/component-helpers/auth/rbac/reconciliation"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy"
)

// clusterRoles makes the default RBAC policy, with the three after it, or adds
// what it lacks: nothing that others have added is taken away, and what is
// marked as not to be updated is left alone.
func (r *run) clusterRoles() error {
	roles, ok := served[*rbacv1.ClusterRole](r, rbacv1.SchemeGroupVersion.WithResource("clusterroles"))
	if !ok {
		return nil
	}
	owners := ruleOwners[*rbacv1.ClusterRole]{r.ctx, roles, func(role *rbacv1.ClusterRole) reconciliation.RuleOwner {
		return reconciliation.ClusterRoleRuleOwner{ClusterRole: role}
	}}
	for _, role := range slices.Concat(bootstrappolicy.ClusterRoles(), bootstrappolicy.ControllerRoles()) {
		reconcileRole(r, owners, &role)
	}
	return nil
}

func (r *run) clusterRoleBindings() error {
	bindings, ok := served[*rbacv1.ClusterRoleBinding](r, rbacv1.SchemeGroupVersion.WithResource("clusterrolebindings"))
	if !ok {
		return nil
	}
	owners := roleBindings[*rbacv1.ClusterRoleBinding]{r.ctx, bindings, func(b *rbacv1.ClusterRoleBinding) reconciliation.RoleBinding {
		return reconciliation.ClusterRoleBindingAdapter{ClusterRoleBinding: b}
	}}
	for _, binding := range slices.Concat(bootstrappolicy.ClusterRoleBindings(), bootstrappolicy.ControllerRoleBindings()) {
		reconcileBinding(r, owners, &binding)
	}
	return nil
}

func (r *run) roles() error {
	roles, ok := served[*rbacv1.Role](r, rbacv1.SchemeGroupVersion.WithResource("roles"))
	if !ok {
		return nil
	}
	owners := ruleOwners[*rbacv1.Role]{r.ctx, roles, func(role *rbacv1.Role) reconciliation.RuleOwner {
		return reconciliation.RoleRuleOwner{Role: role}
	}}
	for _, inNamespace := range bootstrappolicy.NamespaceRoles() {
		for _, role := range inNamespace {
			reconcileRole(r, owners, role.DeepCopy()) // upstream's own
		}
	}
	return nil
}

func (r *run) roleBindings() error {
	bindings, ok := served[*rbacv1.RoleBinding](r, rbacv1.SchemeGroupVersion.WithResource("rolebindings"))
	if !ok {
		return nil
	}
	owners := roleBindings[*rbacv1.RoleBinding]{r.ctx, bindings, func(b *rbacv1.RoleBinding) reconciliation.RoleBinding {
		return reconciliation.RoleBindingAdapter{RoleBinding: b}
	}}
	for _, inNamespace := range bootstrappolicy.NamespaceRoleBindings() {
		for _, binding := range inNamespace {
			reconcileBinding(r, owners, binding.DeepCopy()) // upstream's own
		}
	}
	return nil
}

// reconcileRole leaves to upstream's reconciliation what is not just as
// wanted: it compares what rules cover, which is slow.
func reconcileRole[P versioned](r *run, owners ruleOwners[P], role P) {
	want := owners.wrap(role)
	have, err := owners.Get(role.GetNamespace(), role.GetName())
	if err == nil && sameMetadata(have, want) &&
		equality.Semantic.DeepEqual(have.GetRules(), want.GetRules()) &&
		equality.Semantic.DeepEqual(have.GetAggregationRule(), want.GetAggregationRule()) {
		return
	}
	r.do(owners.objects.called(role), func(context.Context) error {
		_, err := (&reconciliation.ReconcileRoleOptions{Role: want, Client: owners, Confirm: true}).Run()
		return err
	})
}

func reconcileBinding[P versioned](r *run, owners roleBindings[P], binding P) {
	want := owners.wrap(binding)
	have, err := owners.Get(binding.GetNamespace(), binding.GetName())
	if err == nil && sameMetadata(have, want) && have.GetRoleRef() == want.GetRoleRef() &&
		equality.Semantic.DeepEqual(have.GetSubjects(), want.GetSubjects()) {
		return
	}
	r.do(owners.objects.called(binding), func(context.Context) error {
		_, err := (&reconciliation.ReconcileRoleBindingOptions{RoleBinding: want, Client: owners, Confirm: true}).Run()
		return err
	})
}

type described interface {
	GetLabels() map[string]string
	GetAnnotations() map[string]string
}

func sameMetadata(a, b described) bool {
	return maps.Equal(a.GetLabels(), b.GetLabels()) && maps.Equal(a.GetAnnotations(), b.GetAnnotations())
}

// ruleOwners are roles, of cluster or namespace scope, as upstream's
// reconciliation reads and writes them.
type ruleOwners[P versioned] struct {
	ctx     context.Context
	objects objects[P]
	wrap    func(P) reconciliation.RuleOwner
}

func (o ruleOwners[P]) Get(namespace, name string) (reconciliation.RuleOwner, error) {
	role, err := o.objects.in(namespace).Get(o.ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return o.wrap(role), nil
}

func (o ruleOwners[P]) Create(role reconciliation.RuleOwner) (reconciliation.RuleOwner, error) {
	_, err := o.objects.in(role.GetNamespace()).Create(o.ctx, role.GetObject().(P), metav1.CreateOptions{})
	return role, err
}

func (o ruleOwners[P]) Update(role reconciliation.RuleOwner) (reconciliation.RuleOwner, error) {
	_, err := o.objects.in(role.GetNamespace()).Update(o.ctx, role.GetObject().(P), metav1.UpdateOptions{})
	return role, err
}

// roleBindings are bindings, of cluster or namespace scope, as upstream's
// reconciliation reads and writes them.
type roleBindings[P versioned] struct {
	ctx     context.Context
	objects objects[P]
	wrap    func(P) reconciliation.RoleBinding
}

func (o roleBindings[P]) Get(namespace, name string) (reconciliation.RoleBinding, error) {
	binding, err := o.objects.in(namespace).Get(o.ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return o.wrap(binding), nil
}

func (o roleBindings[P]) Create(binding reconciliation.RoleBinding) (reconciliation.RoleBinding, error) {
	_, err := o.objects.in(binding.GetNamespace()).Create(o.ctx, binding.GetObject().(P), metav1.CreateOptions{})
	return binding, err
}

func (o roleBindings[P]) Update(binding reconciliation.RoleBinding) (reconciliation.RoleBinding, error) {
	_, err := o.objects.in(binding.GetNamespace()).Update(o.ctx, binding.GetObject().(P), metav1.UpdateOptions{})
	return binding, err
}

func (o roleBindings[P]) Delete(namespace, name string, uid types.UID) error {
	return o.objects.in(namespace).Delete(o.ctx, name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
}
