// Package servicecidr keeps ServiceCIDRs as kube-controller-manager's
// service-cidr-controller does: it says in their status that addresses may be
// taken from them, and protects them by a finalizer, so that one goes only
// when the addresses that were taken from it are gone, or are in another.
//
// It must not know who takes addresses: internal/service reads the ServiceCIDRs
// itself.
package servicecidr

import (
	"context"
	"encoding/json"
	"net/netip"
	"slices"
	"sync"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1apply "k8s.io/client-go/applyconfigurations/meta/v1"
	networkingv1apply "k8s.io/client-go/applyconfigurations/networking/v1"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/apis/networking"
	"k8s.io/utils/clock"

	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/state"
	"github.com/knarr-io/knarr/internal/verb"
)

const (
	// Finalizer protects a ServiceCIDR.
	Finalizer = "networking.k8s.io/service-cidr-finalizer"
	// ReadyMessage is what the status of one from which addresses may be taken
	// says.
	ReadyMessage = "Kubernetes Service CIDR is ready"

	terminatingMessage = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR"
	// grace is how long a ServiceCIDR stays at least after it was deleted, for
	// all API servers on the store to learn of it.
	grace = 10 * time.Second
)

var gvr = networkingv1.SchemeGroupVersion.WithResource("servicecidrs")

// Controller keeps the ServiceCIDRs of one server.
type Controller struct {
	client            controller.Client
	state             *state.State
	ranges, addresses *kind.Resource
	clock             clock.Clock
	schedule          *controller.Schedule[string] // names
}

// New returns a controller that writes through verbs; nil if the catalogue has
// no ServiceCIDRs.
func New(verbs *verb.Verbs, catalogue *kind.Catalogue, clock clock.Clock) *Controller {
	c := &Controller{
		client:    controller.Client{Verbs: verbs, Catalogue: catalogue, User: controller.ServiceAccount("service-cidrs-controller"), Manager: "kube-controller-manager"},
		state:     verbs.State,
		ranges:    catalogue.Resource(networking.Resource("servicecidrs")),
		addresses: catalogue.Resource(networking.Resource("ipaddresses")),
		clock:     clock,
		schedule:  controller.NewSchedule[string](clock),
	}
	if c.ranges == nil || c.addresses == nil {
		return nil
	}
	return c
}

// Run keeps ServiceCIDRs until ctx ends.
func (c *Controller) Run(ctx context.Context) {
	var following sync.WaitGroup
	defer following.Wait()
	following.Go(func() {
		c.state.Follow(ctx, c.ranges.Storage.Prefix, state.AsNew(c.seeRange), c.seeRange)
	})
	following.Go(func() {
		c.state.Follow(ctx, c.addresses.Storage.Prefix, state.AsNew(c.seeAddress), c.seeAddress)
	})
	c.schedule.Work(ctx, c.sync, func(name string, err error) {
		klog.ErrorS(err, "A ServiceCIDR could not be brought up to date", "serviceCIDR", name)
	})
}

// seeRange has a ServiceCIDR looked at and, if it is new, those that share
// addresses with it: it may let them go.
func (c *Controller) seeRange(e *state.Event) {
	c.schedule.Add(e.Object.Name)
	if e.Prev != nil || e.Deleted {
		return
	}
	if added, err := controller.Read[*networking.ServiceCIDR](c.ranges, e.Object); err == nil {
		for _, other := range c.all() {
			if overlap(added, other) {
				c.schedule.Add(other.Name)
			}
		}
	}
}

// seeAddress has the ServiceCIDRs looked at that are to go and wait for it.
func (c *Controller) seeAddress(e *state.Event) {
	if e.Prev != nil && !e.Deleted {
		return
	}
	address, err := netip.ParseAddr(e.Object.Name)
	if err != nil {
		return
	}
	for _, cidr := range c.all() {
		if cidr.DeletionTimestamp != nil && contains(cidr, address) {
			c.schedule.Add(cidr.Name)
		}
	}
}

// sync brings one ServiceCIDR up to date.
func (c *Controller) sync(ctx context.Context, name string) error {
	o := c.state.Get(c.ranges.Storage.Key("", name))
	if o == nil {
		return nil
	}
	cidr, err := controller.Read[*networking.ServiceCIDR](c.ranges, o)
	if err != nil {
		return err
	}
	if cidr.DeletionTimestamp == nil {
		if err := c.protect(ctx, cidr); err != nil {
			return err
		}
		return c.setReady(ctx, cidr, metav1.ConditionTrue, "", ReadyMessage)
	}
	if !c.mayGo(cidr) {
		return c.setReady(ctx, cidr, metav1.ConditionFalse, networkingv1.ServiceCIDRReasonTerminating, terminatingMessage)
	}
	if wait := grace - c.clock.Since(cidr.DeletionTimestamp.Time); wait > 0 {
		c.schedule.AddAfter(name, wait)
		return nil
	}
	return c.letGo(ctx, cidr)
}

// protect adds the finalizer.
func (c *Controller) protect(ctx context.Context, cidr *networking.ServiceCIDR) error {
	if slices.Contains(cidr.Finalizers, Finalizer) {
		return nil
	}
	return c.patchFinalizers(ctx, cidr.Name, "finalizers")
}

// letGo removes the finalizer.
func (c *Controller) letGo(ctx context.Context, cidr *networking.ServiceCIDR) error {
	if !slices.Contains(cidr.Finalizers, Finalizer) {
		return nil
	}
	return c.patchFinalizers(ctx, cidr.Name, "$deleteFromPrimitiveList/finalizers")
}

func (c *Controller) patchFinalizers(ctx context.Context, name, field string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{field: []string{Finalizer}}})
	if err != nil {
		return err
	}
	err = c.client.Patch(ctx, gvr, "", name, patch)
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// setReady sets the Ready condition, unless it says so already.
func (c *Controller) setReady(ctx context.Context, cidr *networking.ServiceCIDR, status metav1.ConditionStatus, reason, message string) error {
	now := meta.FindStatusCondition(cidr.Status.Conditions, networkingv1.ServiceCIDRConditionReady)
	if now != nil && now.Status == status && now.Reason == reason && now.Message == message {
		return nil
	}
	condition := metav1apply.Condition().WithType(networkingv1.ServiceCIDRConditionReady).WithStatus(status).
		WithReason(reason).WithMessage(message).WithLastTransitionTime(metav1.NewTime(c.clock.Now()))
	patch, err := json.Marshal(networkingv1apply.ServiceCIDR(cidr.Name).
		WithStatus(networkingv1apply.ServiceCIDRStatus().WithConditions(condition)))
	if err != nil {
		return err
	}
	return c.client.ApplyStatus(ctx, gvr, "", cidr.Name, controller.ServiceCIDRs, patch)
}
