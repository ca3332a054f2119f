package peer

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// nodesReadyTimeout is how long nodes may take to become ready.
const nodesReadyTimeout = 2 * time.Minute

// AddNodes makes nodes, called node-1 and so on, that kwok simulates, and returns how long
// it took until the last of them was ready.
func (p *Plane) AddNodes(ctx context.Context, count int) (time.Duration, error) {
	clients, err := kubernetes.NewForConfig(p.server.Config)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	has := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("32"), corev1.ResourceMemory: resource.MustParse("128Gi"), corev1.ResourcePods: resource.MustParse("110"),
	}
	for i := range count {
		name := fmt.Sprint("node-", i+1)
		_, err := clients.CoreV1().Nodes().Create(ctx, &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{
				Name:   name,
				Labels: map[string]string{corev1.LabelHostname: name, corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64"},
			},
			Status: corev1.NodeStatus{Capacity: has, Allocatable: has, Addresses: []corev1.NodeAddress{
				{Type: corev1.NodeInternalIP, Address: fmt.Sprintf("192.0.2.%d", 10+i)}, {Type: corev1.NodeHostName, Address: name},
			}},
		}, metav1.CreateOptions{})
		if err != nil {
			return 0, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, nodesReadyTimeout)
	defer cancel()
	for {
		nodes, err := clients.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return 0, fmt.Errorf("nodes: %w", err)
		}
		ready := 0
		for i := range nodes.Items {
			if usable(&nodes.Items[i]) {
				ready++
			}
		}
		if ready >= count {
			return time.Since(began), nil
		}
		if err := p.Failure(); err != nil {
			return 0, err
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("%d of %d nodes are ready: %w", ready, count, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// usable tells whether a node is ready, and the controllers say so, too.
func usable(node *corev1.Node) bool {
	for _, taint := range node.Spec.Taints {
		if taint.Key == corev1.TaintNodeNotReady {
			return false
		}
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}
