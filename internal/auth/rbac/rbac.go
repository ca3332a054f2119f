// Package rbac decides by roles and their bindings as they are in the state, by
// upstream's rules. It keeps them decoded, and found by subject; before each
// decision it looks whether any has changed, which is a comparison of four
// numbers, and catches up. So what a write has granted or revoked holds from
// the moment the write has returned.
//
// It must not know how users are authenticated, nor what else may allow or
// refuse.
package rbac

import (
	"context"
	"fmt"
	"sync"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/kubernetes/pkg/registry/rbac/validation"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac"

	"github.com/knarr-io/knarr/internal/state"
)

// Authorizer allows what a rule allows that a binding gives to the user, and has
// no opinion on all else. It remembers what it has decided for as long as no
// role or binding changes. It is safe for concurrent use.
type Authorizer struct {
	resolver resolver
	upstream *rbac.RBACAuthorizer

	mu       sync.RWMutex // guards what follows
	tail     *state.Tail
	policy   policy
	decided  decisions
	remember bool // false in tests that measure
}

var (
	_ authorizer.Authorizer                = (*Authorizer)(nil)
	_ authorizer.RuleResolver              = (*Authorizer)(nil)
	_ validation.AuthorizationRuleResolver = (*resolver)(nil)
)

// New returns an Authorizer of the roles and bindings in st, which it begins to
// read when it is first asked.
func New(st *state.State) *Authorizer {
	a := &Authorizer{tail: st.Tail(prefixes[:]...), policy: newPolicy(), remember: true}
	a.resolver.Authorizer = a
	a.upstream = rbac.New(&a.policy, &a.policy, &a.policy, &a.policy)
	stored := storedPolicy{&a.policy}
	a.resolver.upstream = validation.NewDefaultRuleResolver(stored, stored, stored, stored)
	return a
}

// Resolver tells which rules apply to whom and what is in roles, to those who
// check writes of them.
func (a *Authorizer) Resolver() validation.AuthorizationRuleResolver { return &a.resolver }

// reading calls do while a.policy is what is true now and does not change.
func (a *Authorizer) reading(do func()) {
	a.mu.RLock()
	for !a.tail.Current() {
		a.mu.RUnlock()
		a.mu.Lock()
		if !a.tail.Current() {
			a.policy.catchUp(a.tail)
			a.decided.forget()
		}
		a.mu.Unlock()
		a.mu.RLock()
	}
	defer a.mu.RUnlock()
	do()
}

// Authorize decides by upstream's rules.
func (a *Authorizer) Authorize(ctx context.Context, attributes authorizer.Attributes) (decision authorizer.Decision, reason string, err error) {
	a.reading(func() {
		if !a.remember {
			decision, reason, err = a.upstream.Authorize(with(ctx, attributes.GetUser()), attributes)
			return
		}
		var buffer [keySize]byte
		key, small := keyOf(buffer[:0], attributes)
		if small {
			if known, ok := a.decided.find(key); ok {
				decision, reason = known.decision, known.reason
				return
			}
		}
		decision, reason, err = a.upstream.Authorize(with(ctx, attributes.GetUser()), attributes)
		if small && err == nil {
			a.decided.add(key, decided{decision, reason})
		}
	})
	return decision, reason, err
}

// ConditionsAwareAuthorize decides without conditions.
func (a *Authorizer) ConditionsAwareAuthorize(ctx context.Context, attributes authorizer.Attributes) authorizer.ConditionsAwareDecision {
	return authorizer.ConditionsAwareDecisionFromParts(a.Authorize(ctx, attributes))
}

// EvaluateConditions is for those whose decisions have conditions.
func (a *Authorizer) EvaluateConditions(ctx context.Context, decision authorizer.ConditionsAwareDecision, data authorizer.ConditionsData) (authorizer.Decision, string, error) {
	return a.upstream.EvaluateConditions(ctx, decision, data)
}

// RulesFor tells what a user may do in a namespace.
func (a *Authorizer) RulesFor(ctx context.Context, who user.Info, namespace string) (resources []authorizer.ResourceRuleInfo, others []authorizer.NonResourceRuleInfo, incomplete bool, err error) {
	a.reading(func() { resources, others, incomplete, err = a.upstream.RulesFor(with(ctx, who), who, namespace) })
	return resources, others, incomplete, err
}

// resolver is upstream's, of the policy as it is when it is asked.
type resolver struct {
	*Authorizer
	upstream *validation.DefaultRuleResolver
}

func (r *resolver) GetRoleReferenceRules(ctx context.Context, ref rbacv1.RoleRef, namespace string) (rules []rbacv1.PolicyRule, err error) {
	r.reading(func() { rules, err = r.upstream.GetRoleReferenceRules(ctx, ref, namespace) })
	return rules, err
}

func (r *resolver) RulesFor(ctx context.Context, who user.Info, namespace string) (rules []rbacv1.PolicyRule, err error) {
	r.reading(func() { rules, err = r.upstream.RulesFor(with(ctx, who), who, namespace) })
	return rules, err
}

func (r *resolver) VisitRulesFor(ctx context.Context, who user.Info, namespace string, visitor func(source fmt.Stringer, rule *rbacv1.PolicyRule, err error) bool) {
	r.reading(func() { r.upstream.VisitRulesFor(with(ctx, who), who, namespace, visitor) })
}

// asks is the key under which a context has the user whose bindings are wanted:
// upstream's rules list bindings without saying whose.
type asks struct{}

func with(ctx context.Context, who user.Info) context.Context {
	return context.WithValue(ctx, asks{}, who)
}
