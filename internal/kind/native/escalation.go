package native

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/kubernetes/pkg/registry/rbac/validation"
)

// policyBased makes what upstream puts around the storage of a kind of RBAC: it
// refuses writes by which a user would give what he does not have.
type policyBased[S rest.CreaterUpdater] func(rest.StandardStorage, authorizer.UnconditionalAuthorizer, validation.AuthorizationRuleResolver) S

// permit is upstream's check of writes of a kind of RBAC; nil, which permits
// everything, if there is nobody to ask.
func permit[S rest.CreaterUpdater](b *builder, around policyBased[S]) func(ctx context.Context, obj, old runtime.Object) error {
	a, rules := b.options.Authorizer, b.options.RoleRules
	if a == nil || rules == nil {
		return nil
	}
	return func(ctx context.Context, obj, old runtime.Object) error {
		if old == nil {
			_, err := around(permitted{}, a, rules).Create(ctx, obj, nil, nil)
			return err
		}
		_, _, err := around(permitted{old: old}, a, rules).Update(ctx, "", rest.DefaultUpdatedObjectInfo(obj), nil, nil, false, nil)
		return err
	}
}

// permitted is a storage that stores nothing: what comes to it was permitted. old
// is what an update is of.
type permitted struct {
	rest.StandardStorage
	old runtime.Object
}

func (permitted) Create(context.Context, runtime.Object, rest.ValidateObjectFunc, *metav1.CreateOptions) (runtime.Object, error) {
	return nil, nil
}

func (p permitted) Update(ctx context.Context, _ string, info rest.UpdatedObjectInfo, _ rest.ValidateObjectFunc, _ rest.ValidateObjectUpdateFunc, _ bool, _ *metav1.UpdateOptions) (runtime.Object, bool, error) {
	_, err := info.UpdatedObject(ctx, p.old)
	return nil, false, err
}
