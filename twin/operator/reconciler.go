package main

import (
	"context"
	"fmt"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	gatewayv1ac "sigs.k8s.io/gateway-api/applyconfiguration/apis/v1"
)

const (
	fieldOwner = "gateways"
	finalizer  = "example.com/gateways"
	// classField is the index of Gateways by their class.
	classField = "spec.gatewayClassName"
	// managed is the label of the ConfigMaps that the reconciler makes, and sees.
	managed = "example.com/managed"
)

// A reconciler makes a ConfigMap of each Gateway and its class, and says so in the Gateway's
// status. Its client reads from the manager's cache.
type reconciler struct {
	client  client.Client
	manager string
	record  *record
}

// A record is what the reconcilers of a server have done.
type record struct {
	mu        sync.Mutex
	count     int
	by        map[string]int // by manager
	conflicts int
	errors    []error // other than conflicts
	released  map[types.NamespacedName]int
}

func newRecord() *record {
	return &record{by: map[string]int{}, released: map[types.NamespacedName]int{}}
}

// Reconcile puts one Gateway right.
func (r *reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	released, err := r.reconcile(ctx, request.NamespacedName)
	r.record.mu.Lock()
	defer r.record.mu.Unlock()
	r.record.count++
	r.record.by[r.manager]++
	if released {
		r.record.released[request.NamespacedName]++
	}
	switch {
	case err == nil || ctx.Err() != nil: // a manager that is stopped may be in the middle
	case apierrors.IsConflict(err): // the cache is behind, and it will be tried again
		r.record.conflicts++
	default:
		r.record.errors = append(r.record.errors, fmt.Errorf("%s: %w", request, err))
	}
	return reconcile.Result{}, err
}

func (r *reconciler) reconcile(ctx context.Context, name types.NamespacedName) (released bool, err error) {
	var gateway gatewayv1.Gateway
	if err := r.client.Get(ctx, name, &gateway); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	if !gateway.DeletionTimestamp.IsZero() {
		if !controllerutil.RemoveFinalizer(&gateway, finalizer) {
			return false, nil
		}
		err := r.client.Update(ctx, &gateway)
		return err == nil, client.IgnoreNotFound(err)
	}
	if controllerutil.AddFinalizer(&gateway, finalizer) {
		if err := r.client.Update(ctx, &gateway); err != nil {
			return false, client.IgnoreNotFound(err)
		}
	}
	var class gatewayv1.GatewayClass
	if err := r.client.Get(ctx, types.NamespacedName{Name: string(gateway.Spec.GatewayClassName)}, &class); err != nil {
		return false, err
	}
	if err := r.client.Apply(ctx, configMap(&gateway, &class), client.FieldOwner(fieldOwner), client.ForceOwnership); err != nil {
		return false, ignoreEnding(err)
	}
	return false, ignoreEnding(r.setStatus(ctx, &gateway))
}

// ignoreEnding takes the refusal to make something in a namespace that goes for none.
func ignoreEnding(err error) error {
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return nil
	}
	return client.IgnoreNotFound(err)
}

// configMap is what belongs to a Gateway.
func configMap(gateway *gatewayv1.Gateway, class *gatewayv1.GatewayClass) *corev1ac.ConfigMapApplyConfiguration {
	return corev1ac.ConfigMap(gateway.Name, gateway.Namespace).
		WithLabels(map[string]string{managed: "true"}).
		WithOwnerReferences(metav1ac.OwnerReference().
			WithAPIVersion(gatewayv1.GroupVersion.String()).WithKind("Gateway").WithName(gateway.Name).WithUID(gateway.UID).
			WithController(true).WithBlockOwnerDeletion(true)).
		WithData(content(gateway, class))
}

func content(gateway *gatewayv1.Gateway, class *gatewayv1.GatewayClass) map[string]string {
	var listeners []string
	for _, l := range gateway.Spec.Listeners {
		listeners = append(listeners, fmt.Sprint(l.Name, ":", l.Port))
	}
	description := ""
	if class.Spec.Description != nil {
		description = *class.Spec.Description
	}
	return map[string]string{"class": description, "listeners": strings.Join(listeners, " ")}
}

// setStatus says what was done for the Gateway: a patch, an update and an apply take turns.
func (r *reconciler) setStatus(ctx context.Context, gateway *gatewayv1.Gateway) error {
	before := gateway.DeepCopy()
	condition := metav1.Condition{
		Type: string(gatewayv1.GatewayConditionAccepted), Status: metav1.ConditionTrue,
		Reason: string(gatewayv1.GatewayReasonAccepted), ObservedGeneration: gateway.Generation,
	}
	meta.SetStatusCondition(&gateway.Status.Conditions, condition)
	address := gatewayv1.IPAddressType
	gateway.Status.Addresses = []gatewayv1.GatewayStatusAddress{{Type: &address, Value: "192.0.2.7"}}
	if equality.Semantic.DeepEqual(before.Status, gateway.Status) {
		return nil
	}
	switch len(gateway.Spec.Listeners) % 3 {
	case 0:
		return r.client.Status().Patch(ctx, gateway, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	case 1:
		return r.client.Status().Update(ctx, gateway)
	}
	var conditions []*metav1ac.ConditionApplyConfiguration
	for _, c := range gateway.Status.Conditions { // those that the definition defaults, too
		conditions = append(conditions, metav1ac.Condition().WithType(c.Type).WithStatus(c.Status).WithReason(c.Reason).
			WithMessage(c.Message).WithObservedGeneration(c.ObservedGeneration).WithLastTransitionTime(c.LastTransitionTime))
	}
	return r.client.Status().Apply(ctx, gatewayv1ac.Gateway(gateway.Name, gateway.Namespace).WithStatus(gatewayv1ac.GatewayStatus().
		WithAddresses(gatewayv1ac.GatewayStatusAddress().WithType(address).WithValue(gateway.Status.Addresses[0].Value)).
		WithConditions(conditions...)), client.FieldOwner(fieldOwner), client.ForceOwnership)
}
