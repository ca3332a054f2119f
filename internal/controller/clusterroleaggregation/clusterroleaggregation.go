// Package clusterroleaggregation keeps the rules of aggregated cluster roles as
// kube-controller-manager's clusterrole-aggregation-controller does: they are
// those of all the roles that the aggregation rule selects.
//
// It must not know who decides by them.
package clusterroleaggregation

import (
	"context"
	"encoding/json"
	"slices"
	"sync"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	rbacv1apply "k8s.io/client-go/applyconfigurations/rbac/v1"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/apis/rbac"
	"k8s.io/utils/clock"

	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/object"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/verb"
)

// manager owns the rules.
const manager = "clusterrole-aggregation-controller"

var gvr = rbacv1.SchemeGroupVersion.WithResource("clusterroles")

// Controller keeps the cluster roles of one server.
type Controller struct {
	client   controller.Client
	state    *state.State
	roles    *kind.Resource
	schedule *controller.Schedule[string] // names of aggregated roles
	// aggregated are the roles that are so; they belong to who follows.
	aggregated map[string]bool
}

// New returns a controller that writes through verbs; nil if the catalogue has
// no cluster roles.
func New(verbs *verb.Verbs, catalogue *kind.Catalogue, clock clock.Clock) *Controller {
	c := &Controller{
		client:     controller.Client{Verbs: owning(verbs), Catalogue: catalogue, User: controller.ServiceAccount("clusterrole-aggregation-controller"), Manager: manager},
		state:      verbs.State,
		roles:      catalogue.Resource(rbac.Resource(gvr.Resource)),
		schedule:   controller.NewSchedule[string](clock),
		aggregated: map[string]bool{},
	}
	if c.roles == nil {
		return nil
	}
	return c
}

// Run keeps cluster roles until ctx ends.
func (c *Controller) Run(ctx context.Context) {
	var following sync.WaitGroup
	defer following.Wait()
	following.Go(func() {
		c.state.Follow(ctx, c.roles.Storage.Prefix, state.AsNew(c.see), c.see)
	})
	c.schedule.Work(ctx, c.sync, func(name string, err error) {
		klog.ErrorS(err, "A ClusterRole could not be brought up to date", "clusterRole", name)
	})
}

// see has all aggregated roles looked at, as one may have come to select, or no
// longer to select, what has changed. There are few.
func (c *Controller) see(e *state.Event) {
	role, err := controller.Read[*rbac.ClusterRole](c.roles, e.Object)
	if !e.Deleted && err == nil && role.AggregationRule != nil {
		c.aggregated[e.Object.Name] = true
	} else {
		delete(c.aggregated, e.Object.Name)
	}
	for name := range c.aggregated {
		c.schedule.Add(name)
	}
}

// sync brings one role up to date.
func (c *Controller) sync(ctx context.Context, name string) error {
	all := c.state.Snapshot(c.roles.Storage.Prefix)
	o := all.Get("", name)
	if o == nil {
		return nil
	}
	role, err := controller.Read[*rbac.ClusterRole](c.roles, o)
	if err != nil || role.AggregationRule == nil {
		return err
	}
	rules, err := c.gather(all, role)
	if err != nil || equality.Semantic.DeepEqual(rules, role.Rules) {
		return err
	}
	return c.apply(ctx, name, rules)
}

// gather returns the rules of the roles that one selects, each once: selector by
// selector, by the roles' names.
func (c *Controller) gather(all state.Snapshot, role *rbac.ClusterRole) ([]rbac.PolicyRule, error) {
	rules := []rbac.PolicyRule{}
	for i := range role.AggregationRule.ClusterRoleSelectors {
		selector, err := metav1.LabelSelectorAsSelector(&role.AggregationRule.ClusterRoleSelectors[i])
		if err != nil {
			return nil, err
		}
		all.Each(state.Range{}, func(o *object.Object) bool {
			if o.Name != role.Name {
				rules = c.add(rules, o, selector)
			}
			return true
		})
	}
	return rules, nil
}

// add adds the rules of a stored role that a selector matches. One that cannot be
// read has none.
func (c *Controller) add(rules []rbac.PolicyRule, o *object.Object, selector labels.Selector) []rbac.PolicyRule {
	attributes, err := o.Attributes(c.roles.Selector())
	if err != nil || !selector.Matches(attributes.Labels) {
		return rules
	}
	role, err := controller.Read[*rbac.ClusterRole](c.roles, o)
	if err != nil {
		return rules
	}
	for _, rule := range role.Rules {
		if !slices.ContainsFunc(rules, func(r rbac.PolicyRule) bool { return equality.Semantic.DeepEqual(r, rule) }) {
			rules = append(rules, rule)
		}
	}
	return rules
}

func (c *Controller) apply(ctx context.Context, name string, rules []rbac.PolicyRule) error {
	role := rbacv1apply.ClusterRole(name)
	for i := range rules {
		r := &rules[i]
		role.WithRules(&rbacv1apply.PolicyRuleApplyConfiguration{
			Verbs: r.Verbs, APIGroups: r.APIGroups, Resources: r.Resources, ResourceNames: r.ResourceNames, NonResourceURLs: r.NonResourceURLs,
		})
	}
	patch, err := json.Marshal(role)
	if err != nil {
		return err
	}
	return c.client.Apply(ctx, gvr, "", name, patch)
}
