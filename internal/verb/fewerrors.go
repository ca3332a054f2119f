package verb

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/operation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/rest"
)

// maxErrors is how many things a refusal says are wrong with an object. Upstream
// tells all, in a message that takes the square of their number to make: a body of
// 60 KB kept a processor busy for half a minute.
const maxErrors = 1000

func few(errs field.ErrorList) field.ErrorList {
	if len(errs) <= maxErrors {
		return errs
	}
	return append(errs[:maxErrors:maxErrors], field.InternalError(nil, fmt.Errorf("%d more errors are not shown", len(errs)-maxErrors)))
}

// beforeCreate is upstream's, with few errors.
func beforeCreate(strategy rest.RESTCreateStrategy, ctx context.Context, obj runtime.Object) error {
	checks := creating{strategy}
	if declared, ok := strategy.(rest.DeclarativeValidationStrategy); ok {
		return rest.BeforeCreate(declaredCreating{checks, declaration{declared}}, ctx, obj)
	}
	return rest.BeforeCreate(checks, ctx, obj)
}

// beforeUpdate is upstream's, with few errors.
func beforeUpdate(strategy rest.RESTUpdateStrategy, ctx context.Context, obj, old runtime.Object) error {
	checks := replacing{strategy}
	if declared, ok := strategy.(rest.DeclarativeValidationStrategy); ok {
		return rest.BeforeUpdate(declaredReplacing{checks, declaration{declared}}, ctx, obj, old)
	}
	return rest.BeforeUpdate(checks, ctx, obj, old)
}

type creating struct{ rest.RESTCreateStrategy }

func (c creating) Validate(ctx context.Context, obj runtime.Object) field.ErrorList {
	return few(c.RESTCreateStrategy.Validate(ctx, obj))
}

type replacing struct{ rest.RESTUpdateStrategy }

func (r replacing) ValidateUpdate(ctx context.Context, obj, old runtime.Object) field.ErrorList {
	return few(r.RESTUpdateStrategy.ValidateUpdate(ctx, obj, old))
}

type declaration struct {
	rest.DeclarativeValidationStrategy
}

func (d declaration) ValidateDeclaratively(ctx context.Context, obj, old runtime.Object, errs field.ErrorList, op operation.Type, config rest.DeclarativeValidationConfig) field.ErrorList {
	return few(d.DeclarativeValidationStrategy.ValidateDeclaratively(ctx, obj, old, errs, op, config))
}

type declaredCreating struct {
	creating
	declaration
}

type declaredReplacing struct {
	replacing
	declaration
}
