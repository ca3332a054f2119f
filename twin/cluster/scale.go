package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/knarr-io/knarr/twin/peer"
)

// scaleName is what -run knows the many pods by.
const scaleName = "many pods on many nodes"

// A scale is what it took to have many pods come up and vanish.
type scale struct {
	Nodes, Pods         int
	NodesUp, Up, Gone   time.Duration
	Busy, Idle          []peer.Usage // of the server's processes, while pods came up and in ten seconds after that
	Plane               map[string]time.Duration
	Most                map[string]int64 // memory at most, by process
	Errors, AfterErrors []logged         // while pods came up, and while they vanished
	Err                 string
}

// scale has many pods come up on a new cluster.
func (m maker) scale(ctx context.Context, name string, start peer.Starter) *scale {
	s := &scale{Nodes: m.flags.nodes, Pods: m.flags.pods, Plane: map[string]time.Duration{}, Most: map[string]int64{}}
	c, end, err := m.make(ctx, name, start, false)
	if err != nil {
		s.Err = err.Error()
		return s
	}
	ctx, cancel := context.WithTimeout(ctx, 3*c.timeout)
	defer cancel()
	watching, stopWatching := context.WithCancel(ctx)
	var sampler sync.WaitGroup
	sampler.Go(func() { s.sample(watching, c.server) })
	if err := errors.Join(s.measure(ctx, c), c.plane.Failure()); err != nil {
		s.Err = err.Error()
	}
	stopWatching()
	sampler.Wait()
	end()
	fmt.Fprintf(os.Stderr, "%s %s: %d pods: %.1f s %s\n", time.Now().Format(time.TimeOnly), name, s.Pods, s.Up.Seconds(), s.Err)
	return s
}

// sample keeps what memory each process had at most.
func (s *scale) sample(ctx context.Context, server *peer.Server) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(500 * time.Millisecond):
		}
		usages, err := server.Usages()
		if err != nil {
			return // measure finds it, too
		}
		for _, u := range usages {
			s.Most[u.Process] = max(s.Most[u.Process], u.Memory)
		}
	}
}

func (s *scale) measure(ctx context.Context, c *cluster) (err error) {
	clients, err := kubernetes.NewForConfig(c.server.Config)
	if err != nil {
		return err
	}
	if s.NodesUp, err = c.plane.AddNodes(ctx, s.Nodes); err != nil {
		return err
	}
	const namespace, deployments = "many", 10
	if _, err := clients.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{}); err != nil {
		return err
	}
	if err := c.until(ctx, "default", "get", "serviceaccounts", "-n", namespace, "-o=jsonpath={.items[*].metadata.name}"); err != nil {
		return err
	}
	usedBefore, planeBefore, err := used(c)
	if err != nil {
		return err
	}
	// What happens before belongs to the start, which is not asked about.
	past, err := errorsIn(c.plane.Logs())
	if err != nil {
		return err
	}
	began := time.Now()
	for i := range deployments {
		d := manyPods(fmt.Sprintf("pods-%d", i), int32(s.Pods/deployments))
		if _, err := clients.AppsV1().Deployments(namespace).Create(ctx, d, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	err = wantedReplicas(ctx, c, clients, namespace, s.Pods)
	s.Up = time.Since(began)
	if err != nil {
		return err
	}
	usedThen, planeThen, err := used(c)
	if err != nil {
		return err
	}
	s.Busy = difference(usedBefore, usedThen)
	for part := range planeThen {
		s.Plane[part] = planeThen[part] - planeBefore[part]
	}
	running, err := clients.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{FieldSelector: "status.phase=Running"})
	if err != nil {
		return err
	}
	if len(running.Items) != s.Pods {
		return fmt.Errorf("%d of %d pods run", len(running.Items), s.Pods)
	}
	time.Sleep(5 * time.Second) // what is left to be told of the pods
	usedBefore, _, err = used(c)
	if err != nil {
		return err
	}
	time.Sleep(10 * time.Second)
	usedThen, _, err = used(c)
	if err != nil {
		return err
	}
	s.Idle = difference(usedBefore, usedThen)
	now, err := errorsIn(c.plane.Logs())
	if err != nil {
		return err
	}
	s.Errors = since(past, now)
	began = time.Now()
	if _, err := c.k(ctx, "delete", "namespace", namespace, "--timeout=1200s"); err != nil {
		return err
	}
	s.Gone = time.Since(began)
	last, err := errorsIn(c.plane.Logs())
	s.AfterErrors = since(now, last)
	return err
}

// manyPods is a deployment as people write them.
func manyPods(name string, replicas int32) *appsv1.Deployment {
	labels := map[string]string{"app": name, "app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "many"}
	small := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("16Mi")}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{
					Name: "main", Image: after, Resources: corev1.ResourceRequirements{Requests: small, Limits: small},
					Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
					Env:   []corev1.EnvVar{{Name: "POD_NAME", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}}},
				}}},
			},
		},
	}
}

// wantedReplicas waits until so many pods of deployments are ready.
func wantedReplicas(ctx context.Context, c *cluster, clients kubernetes.Interface, namespace string, wanted int) error {
	for {
		deployments, err := clients.AppsV1().Deployments(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		ready := 0
		for _, d := range deployments.Items {
			ready += int(d.Status.ReadyReplicas)
		}
		if ready == wanted {
			return nil
		}
		if err := c.plane.Failure(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d pods are ready: %w", ready, wanted, ctx.Err())
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// used is what the server's processes and the parts beside it have used so far.
func used(c *cluster) ([]peer.Usage, map[string]time.Duration, error) {
	usages, err := c.server.Usages()
	if err != nil {
		return nil, nil, err
	}
	parts := map[string]time.Duration{}
	for _, part := range []string{peer.ControllerManagerPart, peer.SchedulerPart, peer.KwokPart} {
		if parts[part], err = c.plane.CPU(part); err != nil {
			return nil, nil, err
		}
	}
	return usages, parts, nil
}

func difference(before, then []peer.Usage) []peer.Usage {
	var all []peer.Usage
	for i, u := range then {
		u.CPU -= before[i].CPU
		all = append(all, u)
	}
	return all
}

// since are the errors that were not there before.
func since(before, now []logged) []logged {
	counts := map[[2]string]int{}
	for _, l := range before {
		counts[[2]string{l.Program, l.Kind}] = l.Count
	}
	var all []logged
	for _, l := range now {
		if l.Count -= counts[[2]string{l.Program, l.Kind}]; l.Count > 0 {
			all = append(all, l)
		}
	}
	return all
}
