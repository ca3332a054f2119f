package admission

import (
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apiserver/pkg/admission/plugin/cel"
	mutatingpolicy "k8s.io/apiserver/pkg/admission/plugin/policy/mutating"
	"k8s.io/apiserver/pkg/admission/plugin/policy/mutating/patch"
	validatingpolicy "k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/environment"
)

// policyCompiler compiles what a policy says, as upstream's plugins do, whose own
// way to it is not open to others. What is wrong is told when it is evaluated.
type policyCompiler struct {
	*cel.CompositedCompiler
	name    string
	failure *admissionregistrationv1.FailurePolicyType
	params  bool
}

func newPolicyCompiler(name string, failure *admissionregistrationv1.FailurePolicyType, params *admissionregistrationv1.ParamKind) (policyCompiler, error) {
	c, err := cel.NewCompositedCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()))
	return policyCompiler{c, name, failure, params != nil}, err
}

// declares returns what an expression may name. All but those of messages may ask
// for what somebody may do.
func (c policyCompiler) declares(authorizer, patches bool) cel.OptionalVariableDeclarations {
	return cel.OptionalVariableDeclarations{HasParams: c.params, HasAuthorizer: authorizer, HasPatchTypes: patches}
}

// conditions compiles one expression for each of some parts of a policy; nil is
// for a part without.
func conditions[T any](c policyCompiler, parts []T, authorizer bool, expression func(*T) cel.ExpressionAccessor) cel.ConditionEvaluator {
	all := make([]cel.ExpressionAccessor, len(parts))
	for i := range parts {
		all[i] = expression(&parts[i])
	}
	return c.CompileCondition(all, c.declares(authorizer, false), environment.StoredExpressions)
}

// variables makes variables known to the expressions that are compiled after.
func variables[T any](c policyCompiler, all []T, read func(*T) (name, expression string)) {
	named := make([]cel.NamedExpressionAccessor, len(all))
	for i := range all {
		name, expression := read(&all[i])
		named[i] = &validatingpolicy.Variable{Name: name, Expression: expression}
	}
	c.CompileAndStoreVariables(named, c.declares(true, false), environment.StoredExpressions)
}

// matcher returns what tells whether the conditions of a policy hold; nil if it
// has none.
func (c policyCompiler) matcher(all []admissionregistrationv1.MatchCondition) matchconditions.Matcher {
	if len(all) == 0 {
		return nil
	}
	evaluator := conditions(c, all, true, func(m *admissionregistrationv1.MatchCondition) cel.ExpressionAccessor {
		return (*matchconditions.MatchCondition)(m)
	})
	return matchconditions.NewMatcher(evaluator, c.failure, "policy", "validate", c.name)
}

func variableOf(v *admissionregistrationv1.Variable) (name, expression string) {
	return v.Name, v.Expression
}

func compileValidating(p *validatingpolicy.Policy) validatingpolicy.Validator {
	c, err := newPolicyCompiler(p.Name, p.Spec.FailurePolicy, p.Spec.ParamKind)
	if err != nil {
		return validatingpolicy.NewValidator(nil, nil, nil, nil, p.Spec.FailurePolicy, err)
	}
	variables(c, p.Spec.Variables, variableOf)
	matcher := c.matcher(p.Spec.MatchConditions)
	rules := conditions(c, p.Spec.Validations, true, func(v *admissionregistrationv1.Validation) cel.ExpressionAccessor {
		return &validatingpolicy.ValidationCondition{Expression: v.Expression, Message: v.Message, Reason: v.Reason}
	})
	annotations := conditions(c, p.Spec.AuditAnnotations, true, func(a *admissionregistrationv1.AuditAnnotation) cel.ExpressionAccessor {
		return &validatingpolicy.AuditAnnotationCondition{Key: a.Key, ValueExpression: a.ValueExpression}
	})
	messages := conditions(c, p.Spec.Validations, false, func(v *admissionregistrationv1.Validation) cel.ExpressionAccessor {
		if v.MessageExpression == "" {
			return nil
		}
		return &validatingpolicy.MessageExpressionCondition{MessageExpression: v.MessageExpression}
	})
	return validatingpolicy.NewValidator(rules, matcher, annotations, messages, p.Spec.FailurePolicy, nil)
}

func compileMutating(p *mutatingpolicy.Policy) mutatingpolicy.PolicyEvaluator {
	c, err := newPolicyCompiler(p.Name, p.Spec.FailurePolicy, p.Spec.ParamKind)
	if err != nil {
		return mutatingpolicy.PolicyEvaluator{Error: &apiservercel.Error{
			Type: apiservercel.ErrorTypeInternal, Detail: "failed to initialize CEL compiler: " + err.Error(),
		}}
	}
	variables(c, p.Spec.Variables, variableOf)
	compiled := mutatingpolicy.PolicyEvaluator{CompositedCompiler: c.CompositedCompiler, Matcher: c.matcher(p.Spec.MatchConditions)}
	mutation := func(e cel.ExpressionAccessor) cel.MutatingEvaluator {
		return c.CompileMutatingEvaluator(e, c.declares(true, true), environment.StoredExpressions)
	}
	for _, m := range p.Spec.Mutations {
		switch {
		case m.PatchType == admissionregistrationv1.PatchTypeJSONPatch && m.JSONPatch != nil:
			evaluator := mutation(&patch.JSONPatchCondition{Expression: m.JSONPatch.Expression})
			compiled.Mutators = append(compiled.Mutators, patch.NewJSONPatcher(evaluator))
		case m.PatchType == admissionregistrationv1.PatchTypeApplyConfiguration && m.ApplyConfiguration != nil:
			evaluator := mutation(&patch.ApplyConfigurationCondition{Expression: m.ApplyConfiguration.Expression})
			compiled.Mutators = append(compiled.Mutators, patch.NewApplyConfigurationPatcher(evaluator))
		}
	}
	return compiled
}
