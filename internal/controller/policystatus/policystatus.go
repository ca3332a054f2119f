// Package policystatus checks the expressions of ValidatingAdmissionPolicies
// against the types of what they look at, and says in their status what is wrong,
// as kube-controller-manager's validatingadmissionpolicy-status-controller does.
//
// It must not know what a policy decides.
package policystatus

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"
	applyv1 "k8s.io/client-go/applyconfigurations/admissionregistration/v1"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/verb"
)

// manager owns the status.
const manager = "validatingadmissionpolicy-status"

var gvr = admissionregistrationv1.SchemeGroupVersion.WithResource("validatingadmissionpolicies")

// actingAs is who the controller is to others.
func actingAs() user.Info {
	u := serviceaccount.UserInfo(metav1.NamespaceSystem, controller.PolicyStatus, "")
	return &user.DefaultInfo{Name: u.GetName(), Groups: append(u.GetGroups(), user.AllAuthenticated)}
}

// Controller keeps the status of the policies of one server.
type Controller struct {
	client   controller.Client
	state    *state.State
	policies *kind.Resource
	checker  *validating.TypeChecker
	schedule *controller.Schedule[string] // names
}

// New returns a controller that writes through verbs; nil if there are no
// policies. catalogue tells what is served now.
func New(verbs *verb.Verbs, catalogue func() *kind.Catalogue, clock clock.Clock) *Controller {
	now := catalogue()
	r := now.Resource(gvr.GroupResource())
	if r == nil {
		return nil
	}
	return &Controller{
		client:   controller.Client{Verbs: verbs, Catalogue: now, User: actingAs(), Manager: manager},
		state:    verbs.State,
		policies: r,
		checker:  &validating.TypeChecker{SchemaResolver: &schemas{catalogue: catalogue}, RestMapper: &kind.Mapper{Catalogue: catalogue}},
		schedule: controller.NewSchedule[string](clock),
	}
}

// Run keeps the status of policies until ctx ends.
func (c *Controller) Run(ctx context.Context) {
	var following sync.WaitGroup
	defer following.Wait()
	see := func(e *state.Event) {
		if !e.Deleted {
			c.schedule.Add(e.Object.Name)
		}
	}
	following.Go(func() { c.state.Follow(ctx, c.policies.Storage.Prefix, state.AsNew(see), see) })
	c.schedule.Work(ctx, c.sync, func(name string, err error) {
		klog.ErrorS(err, "The expressions of a ValidatingAdmissionPolicy could not be checked", "policy", name)
	})
}

// sync checks one policy, unless that is done.
func (c *Controller) sync(ctx context.Context, name string) error {
	o := c.state.Get(c.policies.Storage.Key("", name))
	if o == nil {
		return nil
	}
	hub, err := c.policies.Decode(o)
	if err != nil {
		return err
	}
	obj, err := c.policies.Convertor.ConvertToVersion(hub, gvr.GroupVersion())
	if err != nil {
		return err
	}
	policy, ok := obj.(*admissionregistrationv1.ValidatingAdmissionPolicy)
	if !ok {
		return fmt.Errorf("%T is no policy", obj)
	}
	if policy.Generation <= policy.Status.ObservedGeneration {
		return nil
	}
	checked := applyv1.TypeChecking()
	for _, w := range c.checker.Check(policy) {
		checked.WithExpressionWarnings(applyv1.ExpressionWarning().WithFieldRef(w.FieldRef).WithWarning(w.Warning))
	}
	patch, err := json.Marshal(applyv1.ValidatingAdmissionPolicy(name).WithStatus(
		applyv1.ValidatingAdmissionPolicyStatus().WithObservedGeneration(policy.Generation).WithTypeChecking(checked)))
	if err != nil {
		return err
	}
	return c.client.ApplyStatus(ctx, gvr, "", name, manager, patch)
}
