package main

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// lease is what the managers of a server contend for.
var lease = types.NamespacedName{Namespace: "default", Name: "gateways.example.com"}

// A running is a manager that runs.
type running struct {
	manager.Manager
	name  string
	stop  context.CancelFunc
	ended chan error
}

// startManager starts a manager with the reconciler. It runs until stop, at the latest until
// ctx ends; how it ended is sent then.
func startManager(ctx context.Context, c *rest.Config, scheme *runtime.Scheme, name string, record *record) (*running, error) {
	own := rest.CopyConfig(c)
	own.QPS, own.Burst = -1, 0 // the server's own limits count
	yes := true
	m, err := ctrl.NewManager(own, manager.Options{
		Scheme:                        scheme,
		Metrics:                       server.Options{BindAddress: "0"},
		LeaderElection:                true,
		LeaderElectionID:              lease.Name,
		LeaderElectionNamespace:       lease.Namespace,
		LeaderElectionReleaseOnCancel: true,
		Controller:                    config.Controller{SkipNameValidation: &yes, MaxConcurrentReconciles: 4},
		Cache: cache.Options{ByObject: map[client.Object]cache.ByObject{
			&corev1.ConfigMap{}: {Label: labels.SelectorFromSet(labels.Set{managed: "true"})},
		}},
	})
	if err != nil {
		return nil, err
	}
	err = m.GetFieldIndexer().IndexField(ctx, &gatewayv1.Gateway{}, classField, func(o client.Object) []string {
		return []string{string(o.(*gatewayv1.Gateway).Spec.GatewayClassName)}
	})
	if err != nil {
		return nil, err
	}
	err = ctrl.NewControllerManagedBy(m).
		For(&gatewayv1.Gateway{}).
		Owns(&corev1.ConfigMap{}).
		Watches(&gatewayv1.GatewayClass{}, handler.EnqueueRequestsFromMapFunc(ofClass(m.GetClient()))).
		Complete(&reconciler{client: m.GetClient(), manager: name, record: record})
	if err != nil {
		return nil, err
	}
	running := &running{Manager: m, name: name, ended: make(chan error, 1)}
	ctx, running.stop = context.WithCancel(ctx)
	go func() { running.ended <- m.Start(ctx) }()
	return running, nil
}

// end stops the manager and returns how it ended.
func (r *running) end() error {
	r.stop()
	if err := <-r.ended; err != nil {
		return fmt.Errorf("manager %s: %w", r.name, err)
	}
	return nil
}

// leads reports whether the manager has been elected.
func (r *running) leads() bool {
	select {
	case <-r.Elected():
		return true
	default:
		return false
	}
}

// ofClass are the Gateways of a class.
func ofClass(c client.Client) handler.MapFunc {
	return func(ctx context.Context, class client.Object) []reconcile.Request {
		var gateways gatewayv1.GatewayList
		if err := c.List(ctx, &gateways, client.MatchingFields{classField: class.GetName()}); err != nil {
			return nil // only if the cache has been stopped
		}
		var requests []reconcile.Request
		for _, g := range gateways.Items {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&g)})
		}
		return requests
	}
}
