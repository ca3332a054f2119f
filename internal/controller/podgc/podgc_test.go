package podgc

import (
	"context"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	api "k8s.io/kubernetes/pkg/apis/core"
	testclock "k8s.io/utils/clock/testing"

	"github.com/knarr-io/knarr/internal/controller/controllertest"
	"github.com/knarr-io/knarr/internal/state/statetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type cluster struct {
	*controllertest.Cluster
	clock *testclock.FakeClock
}

// newCluster is a server with a namespace and a node.
func newCluster(t *testing.T) *cluster {
	c := &cluster{controllertest.New(t, statetest.Start(t), "NamespaceLifecycle"), testclock.NewFakeClock(time.Now())}
	c.Namespace("shop")
	c.node("node-1")
	return c
}

func (c *cluster) run(threshold int) (stop func()) {
	return c.Run(func(ctx context.Context) { New(c.Verbs, c.Catalogue, threshold, c.clock).Run(ctx) })
}

func (c *cluster) node(name string) {
	c.Create("nodes", "", &api.Node{ObjectMeta: metav1.ObjectMeta{Name: name}})
}

func (c *cluster) pod(name, node string, change ...func(*api.Pod)) {
	c.Helper()
	c.Create("pods", "shop", controllertest.Pod(name, node, change...))
}

// step waits until something is to be looked at later, and lets time pass.
func (c *cluster) step(d time.Duration) {
	c.Helper()
	for !c.clock.HasWaiters() {
		if c.Context.Err() != nil {
			c.Fatal("nothing is to be looked at later")
		}
		time.Sleep(time.Millisecond)
	}
	c.clock.Step(d)
}

func finalizer(p *api.Pod) { p.Finalizers = []string{"example.com/mine"} }

func TestNodesThatAreGone(t *testing.T) {
	c := newCluster(t)
	c.node("node-2")
	c.pod("lost", "node-0", finalizer)
	c.pod("kept", "node-1")
	c.pod("later", "node-2", func(p *api.Pod) { p.Status.Phase = api.PodRunning })
	c.run(0)
	c.step(quarantine - time.Second)
	c.step(time.Second)
	c.Await("pods", "the pod of a node that never was is removed", func() bool {
		p := controllertest.Get[*api.Pod](c.Cluster, "pods", "shop", "lost")
		if p.DeletionTimestamp == nil {
			return false
		}
		if len(p.Status.Conditions) != 1 || p.Status.Phase != api.PodFailed || *p.DeletionGracePeriodSeconds != 0 {
			t.Errorf("it says %+v", p.Status)
		}
		is := p.Status.Conditions[0]
		is.LastTransitionTime = metav1.Time{}
		want := api.PodCondition{Type: api.DisruptionTarget, Status: api.ConditionTrue, Reason: "DeletionByPodGC", Message: "PodGC: node no longer exists", ObservedGeneration: is.ObservedGeneration}
		if is != want {
			t.Errorf("it says %+v", is)
		}
		return true
	})
	c.Delete("nodes", "", "node-2")
	c.Delete("nodes", "", "node-1")
	c.node("node-1") // is back in time
	c.step(quarantine)
	c.AwaitGone("pods", "shop", "later")
	if !c.There("pods", "shop", "kept") {
		t.Error("a pod has gone whose node is there")
	}
}

func TestPodsWithoutANode(t *testing.T) {
	c := newCluster(t)
	c.pod("before", "", finalizer)
	c.pod("stays", "")
	c.Delete("pods", "shop", "before")
	stop := c.run(0)
	failed := func(name string) {
		t.Helper()
		c.Await("pods", name+" has failed", func() bool {
			return controllertest.Get[*api.Pod](c.Cluster, "pods", "shop", name).Status.Phase == api.PodFailed
		})
	}
	failed("before")
	c.pod("after", "", finalizer)
	c.Delete("pods", "shop", "after")
	failed("after")
	rev := c.State.Rev()
	stop()
	if now := c.State.Rev(); now != rev { // though it is there still
		t.Errorf("%d writes more", now-rev)
	}
	if controllertest.Get[*api.Pod](c.Cluster, "pods", "shop", "stays").Status.Phase == api.PodFailed {
		t.Error("a pod has failed that is not to go")
	}
}

func TestNodesOutOfService(t *testing.T) {
	c := newCluster(t)
	c.node("node-2")
	c.pod("before", "node-1")
	c.pod("after", "node-1")
	c.pod("stays", "node-1")
	c.pod("elsewhere", "node-2")
	c.run(0)
	c.Delete("pods", "shop", "before")
	c.Delete("pods", "shop", "elsewhere")
	c.Patch("nodes", "", "node-1", fmt.Sprintf(`{"spec":{"taints":[{"key":%q,"effect":"NoExecute"}]}}`, corev1.TaintNodeOutOfService))
	c.AwaitGone("pods", "shop", "before")
	c.Delete("pods", "shop", "after")
	c.AwaitGone("pods", "shop", "after")
	for _, name := range []string{"stays", "elsewhere"} {
		if !c.There("pods", "shop", name) {
			t.Errorf("%s has gone", name)
		}
	}
}

// Of those that have ended the oldest go, those that were put out first.
func TestTooManyHaveEnded(t *testing.T) {
	c := newCluster(t)
	stop := c.run(3)
	end := func(name, reason string) {
		c.pod(name, "node-1")
		c.Patch("pods/status", "shop", name, fmt.Sprintf(`{"status":{"phase":"Failed","reason":%q}}`, reason))
	}
	c.pod("runs", "node-1")
	for _, name := range []string{"a", "b", "c"} {
		end(name, "")
	}
	end("d", evicted)
	c.step(gather)
	c.AwaitGone("pods", "shop", "d")
	end("e", "")
	c.step(gather)
	c.AwaitGone("pods", "shop", "a")
	if n := c.State.Snapshot("/registry/pods").Len("shop"); n != 4 {
		t.Errorf("there are %d pods", n)
	}
	stop()
	end("f", "")
	c.run(3)
	c.step(gather)
	c.AwaitGone("pods", "shop", "b")
}
