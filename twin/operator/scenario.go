package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/knarr-io/knarr/twin/peer"
)

const (
	namespaces   = 4
	leastObjects = 8 * namespaces
	className    = "stories"
	writers      = 8
)

// A setting is one server with what runs against it.
type setting struct {
	server string
	config *rest.Config
	scheme *runtime.Scheme
	// client reads from the server, past all caches.
	client   client.Client
	record   *record
	managers []*running
	objects  int
}

// scenario goes through all steps against a server. The first that fails is the error.
func scenario(ctx context.Context, server *peer.Server, objects int) error {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), gatewayv1.Install(scheme)); err != nil {
		return err
	}
	config := rest.CopyConfig(server.Config)
	config.QPS = -1
	direct, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return err
	}
	s := &setting{server: server.Name, config: config, scheme: scheme, client: direct, record: newRecord(), objects: objects}
	ctx, cancel := context.WithCancel(ctx)
	defer s.endAll()
	defer cancel()
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"two managers start and one leads", s.start},
		{"objects are made", s.make},
		{"nothing is done when there is nothing to do", s.rest},
		{"objects are changed by two at a time", s.change},
		{"the class changes", s.changeClass},
		{"what they own is deleted and damaged", s.damage},
		{"the leader goes while objects change", s.takeOver},
		{"some are deleted", s.deleteSome},
		{"the cache is what the server has", s.compareCaches},
		{"a namespace goes", s.deleteNamespace},
		{"all that is left is deleted", s.deleteAll},
		{"the managers end, and the lease is let go", s.end},
	} {
		began, before := time.Now(), s.reconciled()
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.what, errors.Join(append([]error{err}, s.failures()...)...))
		}
		fmt.Printf("| %s | %s | %.1f | %d |\n", s.server, step.what, time.Since(began).Seconds(), s.reconciled()-before)
	}
	fmt.Printf("| %s | in all, %d conflicts among them | | %d |\n", s.server, s.record.conflicts, s.reconciled())
	return errors.Join(s.failures()...)
}

func (s *setting) endAll() {
	for _, m := range s.managers {
		m.stop()
		<-m.ended
	}
}

func (s *setting) reconciled() int {
	s.record.mu.Lock()
	defer s.record.mu.Unlock()
	return s.record.count
}

// failures are the errors of reconcilers that no client may see.
func (s *setting) failures() []error {
	s.record.mu.Lock()
	defer s.record.mu.Unlock()
	return s.record.errors[:min(len(s.record.errors), 5)]
}

func (s *setting) start(ctx context.Context) error {
	for _, name := range []string{"one", "two"} {
		m, err := startManager(ctx, s.config, s.scheme, name, s.record)
		if err != nil {
			return err
		}
		s.managers = append(s.managers, m)
	}
	return s.await(ctx, func() error {
		if s.managers[0].leads() == s.managers[1].leads() {
			return errors.New("not exactly one manager leads")
		}
		return nil
	})
}

// name is that of the object of a number, which says the namespace, too.
func name(i int) types.NamespacedName {
	return types.NamespacedName{Namespace: fmt.Sprint("gateways-", i%namespaces), Name: fmt.Sprintf("gateway-%03d", i)}
}

func (s *setting) make(ctx context.Context) error {
	description := "the first"
	class := &gatewayv1.GatewayClass{
		ObjectMeta: metav1.ObjectMeta{Name: className},
		Spec:       gatewayv1.GatewayClassSpec{ControllerName: "example.com/stories", Description: &description},
	}
	if err := s.client.Create(ctx, class); err != nil {
		return err
	}
	for i := range namespaces {
		if err := s.client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name(i).Namespace}}); err != nil {
			return err
		}
	}
	err := s.each(s.all(), func(i int) error {
		gateway := &gatewayv1.Gateway{
			ObjectMeta: metav1.ObjectMeta{Namespace: name(i).Namespace, Name: name(i).Name},
			Spec:       gatewayv1.GatewaySpec{GatewayClassName: className, Listeners: []gatewayv1.Listener{listener(0)}},
		}
		return s.client.Create(ctx, gateway)
	})
	return errors.Join(err, s.converged(ctx, s.all()))
}

func listener(i int) gatewayv1.Listener {
	return gatewayv1.Listener{Name: gatewayv1.SectionName(fmt.Sprint("l", i)), Port: gatewayv1.PortNumber(8000 + i), Protocol: gatewayv1.HTTPProtocolType}
}

// rest waits until nothing is reconciled for a while, and wants it to stay so.
func (s *setting) rest(ctx context.Context) error {
	const quiet = 2 * time.Second
	err := s.await(ctx, func() error {
		before := s.reconciled()
		time.Sleep(quiet)
		if now := s.reconciled(); now != before {
			return fmt.Errorf("%d more were reconciled", now-before)
		}
		return nil
	})
	if err != nil {
		return err
	}
	before, err := s.revisions(ctx, s.client)
	if err != nil {
		return err
	}
	time.Sleep(quiet)
	after, err := s.revisions(ctx, s.client)
	if err == nil && !maps.Equal(before, after) {
		err = errors.New("something changes, and nobody has a reason to change it")
	}
	return err
}

func (s *setting) change(ctx context.Context) error {
	return errors.Join(s.changeAll(ctx), s.converged(ctx, s.all()))
}

// changeAll adds a listener to each Gateway while another sets a label.
func (s *setting) changeAll(ctx context.Context) error {
	return s.each(s.all(), func(i int) error {
		var both sync.WaitGroup
		var update, patch error
		both.Go(func() {
			update = retry.RetryOnConflict(retry.DefaultBackoff, func() error {
				var gateway gatewayv1.Gateway
				if err := s.client.Get(ctx, name(i), &gateway); err != nil {
					return err
				}
				gateway.Spec.Listeners = append(gateway.Spec.Listeners, listener(len(gateway.Spec.Listeners)))
				return s.client.Update(ctx, &gateway)
			})
		})
		both.Go(func() {
			gateway := &gatewayv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: name(i).Namespace, Name: name(i).Name}}
			label := fmt.Sprintf(`{"metadata":{"labels":{"example.com/parity":"%d"}}}`, i%2)
			patch = s.client.Patch(ctx, gateway, client.RawPatch(types.MergePatchType, []byte(label)))
		})
		both.Wait()
		return errors.Join(update, patch)
	})
}

func (s *setting) changeClass(ctx context.Context) error {
	class := &gatewayv1.GatewayClass{ObjectMeta: metav1.ObjectMeta{Name: className}}
	err := s.client.Patch(ctx, class, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"description":"the second"}}`)))
	return errors.Join(err, s.converged(ctx, s.all()))
}

// damage deletes some ConfigMaps and writes into others.
func (s *setting) damage(ctx context.Context) error {
	err := s.each(s.all(), func(i int) error {
		own := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: name(i).Namespace, Name: name(i).Name}}
		switch i % 3 {
		case 0:
			return s.client.Delete(ctx, own)
		case 1:
			return s.client.Patch(ctx, own, client.RawPatch(types.MergePatchType, []byte(`{"data":{"listeners":"none"}}`)))
		}
		return nil
	})
	return errors.Join(err, s.converged(ctx, s.all()))
}

// takeOver stops the leader while objects change; the other manager has to finish.
func (s *setting) takeOver(ctx context.Context) error {
	leader, other := s.managers[0], s.managers[1]
	if other.leads() {
		leader, other = other, leader
	}
	if other.leads() {
		return errors.New("both lead")
	}
	var changed sync.WaitGroup
	var change error
	changed.Go(func() { change = s.changeAll(ctx) })
	s.managers = []*running{other}
	err := leader.end()
	changed.Wait()
	if err := errors.Join(err, change, s.converged(ctx, s.all())); err != nil {
		return err
	}
	s.record.mu.Lock()
	defer s.record.mu.Unlock()
	if !other.leads() || s.record.by[other.name] == 0 {
		return errors.New("nobody took over")
	}
	return nil
}

// deleteSome deletes half the Gateways: one by one in three namespaces, all at once by
// their label in the last.
func (s *setting) deleteSome(ctx context.Context) error {
	last := name(namespaces - 1).Namespace
	some := s.which(func(i int) bool { return i < s.objects/2 && name(i).Namespace != last })
	err := s.each(some, func(i int) error {
		return s.client.Delete(ctx, &gatewayv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: name(i).Namespace, Name: name(i).Name}},
			client.PropagationPolicy([]metav1.DeletionPropagation{metav1.DeletePropagationBackground, metav1.DeletePropagationForeground}[i%2]))
	})
	odd := s.which(func(i int) bool { return i%2 == 1 && name(i).Namespace == last })
	err = errors.Join(err, s.client.DeleteAllOf(ctx, &gatewayv1.Gateway{}, client.InNamespace(last), client.MatchingLabels{"example.com/parity": "1"}))
	return errors.Join(err, s.gone(ctx, slices.Concat(some, odd)), s.converged(ctx, s.left()))
}

func (s *setting) compareCaches(ctx context.Context) error {
	return s.await(ctx, func() error {
		there, err := s.revisions(ctx, s.client)
		if err != nil {
			return err
		}
		cached, err := s.revisions(ctx, s.managers[0].GetClient())
		if err == nil && !maps.Equal(there, cached) {
			err = fmt.Errorf("the cache has %d objects, the server %d, or others", len(cached), len(there))
		}
		return err
	})
}

// deleteNamespace deletes a namespace with all in it, finalizers and all.
func (s *setting) deleteNamespace(ctx context.Context) error {
	first := name(0).Namespace
	there := s.which(func(i int) bool { return name(i).Namespace == first && slices.Contains(s.left(), i) })
	if len(there) == 0 {
		return errors.New("the namespace is empty")
	}
	err := s.client.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: first}})
	return errors.Join(err, s.gone(ctx, there), s.await(ctx, func() error {
		return notFound(s.client.Get(ctx, types.NamespacedName{Name: first}, &corev1.Namespace{}))
	}))
}

func (s *setting) deleteAll(ctx context.Context) error {
	left := s.left()
	for i := range namespaces {
		if err := s.client.DeleteAllOf(ctx, &gatewayv1.Gateway{}, client.InNamespace(name(i).Namespace)); err != nil {
			return err
		}
	}
	if err := s.gone(ctx, left); err != nil {
		return err
	}
	s.record.mu.Lock()
	defer s.record.mu.Unlock()
	if len(s.record.released) != s.objects {
		return fmt.Errorf("the finalizers of %d of %d were seen to", len(s.record.released), s.objects)
	}
	return nil
}

func (s *setting) end(ctx context.Context) error {
	last := s.managers[0]
	s.managers = nil
	if err := last.end(); err != nil {
		return err
	}
	var held coordinationv1.Lease
	if err := s.client.Get(ctx, lease, &held); err != nil {
		return err
	}
	if held.Spec.HolderIdentity != nil && *held.Spec.HolderIdentity != "" {
		return fmt.Errorf("the lease is still held by %q", *held.Spec.HolderIdentity)
	}
	if held.Spec.LeaseTransitions == nil || *held.Spec.LeaseTransitions == 0 {
		return errors.New("the lease has never passed to another")
	}
	return nil
}
