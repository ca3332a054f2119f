package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// patience is how long may pass until things are as they should be.
const patience = 2 * time.Minute

// await asks until what should be is, and returns what is missing if it never is.
func (s *setting) await(ctx context.Context, missing func() error) error {
	for deadline := time.Now().Add(patience); ; {
		err := missing()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// each does something for the objects of the numbers, several at a time.
func (s *setting) each(numbers []int, do func(i int) error) error {
	work := make(chan int)
	errs := make([]error, writers)
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range work {
				if err := do(i); err != nil {
					errs[w] = errors.Join(errs[w], fmt.Errorf("%s: %w", name(i), err))
				}
			}
		})
	}
	for _, i := range numbers {
		work <- i
	}
	close(work)
	all.Wait()
	return errors.Join(errs...)
}

// which are the numbers of the objects that belong.
func (s *setting) which(belongs func(i int) bool) []int {
	var numbers []int
	for i := range s.objects {
		if belongs(i) {
			numbers = append(numbers, i)
		}
	}
	return numbers
}

func (s *setting) all() []int { return s.which(func(int) bool { return true }) }

// left are those whose finalizer has not been seen to.
func (s *setting) left() []int {
	s.record.mu.Lock()
	defer s.record.mu.Unlock()
	return s.which(func(i int) bool { return s.record.released[name(i)] == 0 })
}

// converged waits until the reconciler has done for each of the objects all that it should.
func (s *setting) converged(ctx context.Context, numbers []int) error {
	return s.each(numbers, func(i int) error {
		return s.await(ctx, func() error { return s.missing(ctx, name(i)) })
	})
}

// missing is what has not been done for a Gateway.
func (s *setting) missing(ctx context.Context, name types.NamespacedName) error {
	var gateway gatewayv1.Gateway
	var class gatewayv1.GatewayClass
	var own corev1.ConfigMap
	if err := errors.Join(
		s.client.Get(ctx, name, &gateway),
		s.client.Get(ctx, types.NamespacedName{Name: className}, &class),
		s.client.Get(ctx, name, &own),
	); err != nil {
		return err
	}
	if !controllerutil.ContainsFinalizer(&gateway, finalizer) {
		return errors.New("no finalizer")
	}
	accepted := meta.FindStatusCondition(gateway.Status.Conditions, string(gatewayv1.GatewayConditionAccepted))
	if accepted == nil || accepted.Status != metav1.ConditionTrue || accepted.ObservedGeneration != gateway.Generation {
		return fmt.Errorf("not accepted in generation %d: %v", gateway.Generation, accepted)
	}
	if wanted := int64(len(gateway.Spec.Listeners)); gateway.Generation != wanted {
		return fmt.Errorf("%d changes of the spec made generation %d", wanted, gateway.Generation)
	}
	if wanted := content(&gateway, &class); !maps.Equal(own.Data, wanted) {
		return fmt.Errorf("the ConfigMap has %v, not %v", own.Data, wanted)
	}
	if !metav1.IsControlledBy(&own, &gateway) {
		return errors.New("the ConfigMap is not controlled by its Gateway")
	}
	return nil
}

// gone waits until the objects are gone with what they own, the finalizer of each seen to once.
func (s *setting) gone(ctx context.Context, numbers []int) error {
	return s.each(numbers, func(i int) error {
		err := s.await(ctx, func() error {
			return errors.Join(notFound(s.client.Get(ctx, name(i), &gatewayv1.Gateway{})), notFound(s.client.Get(ctx, name(i), &corev1.ConfigMap{})))
		})
		if err != nil {
			return err
		}
		s.record.mu.Lock()
		defer s.record.mu.Unlock()
		if times := s.record.released[name(i)]; times != 1 {
			return fmt.Errorf("its finalizer was removed %d times", times)
		}
		return nil
	})
}

// notFound wants that error.
func notFound(err error) error {
	switch {
	case err == nil:
		return errors.New("still there")
	case apierrors.IsNotFound(err):
		return nil
	}
	return err
}

// revisions are those of all Gateways and of the ConfigMaps they own, as the client has them.
func (s *setting) revisions(ctx context.Context, c client.Client) (map[string]string, error) {
	var gateways gatewayv1.GatewayList
	var owned corev1.ConfigMapList
	if err := errors.Join(c.List(ctx, &gateways), c.List(ctx, &owned, client.MatchingLabels{managed: "true"})); err != nil {
		return nil, err
	}
	revisions := map[string]string{}
	for _, g := range gateways.Items {
		revisions["gateway "+g.Namespace+"/"+g.Name] = g.ResourceVersion
	}
	for _, o := range owned.Items {
		revisions["configmap "+o.Namespace+"/"+o.Name] = o.ResourceVersion
	}
	return revisions, nil
}
