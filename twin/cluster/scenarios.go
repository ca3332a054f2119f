package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/knarr-io/knarr/twin/peer"
)

// A scenario is one thing that people do on clusters. It tells what is worth telling of it.
type scenario struct {
	name string
	run  func(ctx context.Context, c *cluster) (string, error)
}

// scenarios in the order they are done, all on one cluster.
var scenarios = []scenario{
	{"three simulated nodes are ready", nodes},
	{"kubectl create deployment --replicas=100", deployment},
	{"rolling update and rollback", rollout},
	{"Jobs and CronJobs", jobs},
	{"StatefulSets", statefulSets},
	{"DaemonSets", daemonSets},
	{"HPA objects", autoscalers},
	{"drain with PodDisruptionBudgets", drain},
	{"kubectl wait", wait},
	{"leader election over leases", leaders},
	{"namespaces with all in them end", ends},
}

const (
	before = "registry.k8s.io/pause:3.9"
	after  = "registry.k8s.io/pause:3.10"
	// images has kubectl print which images pods have, each once.
	images = `-o=jsonpath={.items[*].spec.containers[*].image}`
)

func nodes(ctx context.Context, c *cluster) (string, error) {
	took, err := c.plane.AddNodes(ctx, 3)
	if err != nil {
		return "", err
	}
	err = c.all(ctx, "wait --for=condition=Ready nodes --all --timeout=60s")
	return fmt.Sprintf("ready after %.1f s", took.Seconds()), err
}

func deployment(ctx context.Context, c *cluster) (string, error) {
	err := c.all(ctx,
		"create namespace shop",
		"create deployment web -n shop --image="+before+" --replicas=100",
		"rollout status deployment/web -n shop --timeout=300s",
		"wait deployment/web -n shop --for=jsonpath={.status.readyReplicas}=100 --timeout=60s")
	if err != nil {
		return "", err
	}
	where, err := c.spread(ctx, "shop")
	return where, errors.Join(err, c.counts(ctx, 100, "pods", "-n", "shop", "--field-selector=status.phase=Running"))
}

// spread tells how many pods of a namespace each node has.
func (c *cluster) spread(ctx context.Context, namespace string) (string, error) {
	out, err := c.k(ctx, "get", "pods", "-n", namespace, "-o=jsonpath={.items[*].spec.nodeName}")
	counts := map[string]int{}
	for _, node := range strings.Fields(out) {
		counts[node]++
	}
	var told []string
	for _, node := range slices.Sorted(maps.Keys(counts)) {
		told = append(told, fmt.Sprintf("%d on %s", counts[node], node))
	}
	return strings.Join(told, ", "), err
}

// onlyImage waits until all pods of a namespace have one image: those with another end.
func onlyImage(ctx context.Context, c *cluster, namespace, image string) error {
	for {
		out, err := c.k(ctx, "get", "pods", "-n", namespace, images)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(strings.Fields(out), func(is string) bool { return is != image })
		if i < 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("a pod of %s has the image %s, not %s: %w", namespace, strings.Fields(out)[i], image, ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func rollout(ctx context.Context, c *cluster) (string, error) {
	steps := []func() error{
		func() error { return c.all(ctx, "set image deployment/web -n shop pause="+after) },
		func() error { return c.all(ctx, "rollout status deployment/web -n shop --timeout=300s") },
		func() error {
			return c.until(ctx, "100", "get", "deployment/web", "-n", "shop", "-o=jsonpath={.status.replicas}")
		},
		func() error { return onlyImage(ctx, c, "shop", after) },
		func() error { return c.all(ctx, "rollout undo deployment/web -n shop") },
		func() error { return c.all(ctx, "rollout status deployment/web -n shop --timeout=300s") },
		func() error {
			return c.until(ctx, "100", "get", "deployment/web", "-n", "shop", "-o=jsonpath={.status.replicas}")
		},
		func() error { return onlyImage(ctx, c, "shop", before) },
		func() error {
			return c.expect(ctx, "3", "get", "deployment/web", "-n", "shop", `-o=jsonpath={.metadata.annotations.deployment\.kubernetes\.io/revision}`)
		},
		func() error { return c.counts(ctx, 2, "replicasets", "-n", "shop") },
	}
	return "", inOrder(steps)
}

func inOrder(steps []func() error) error {
	for _, s := range steps {
		if err := s(); err != nil {
			return err
		}
	}
	return nil
}

const job = `
apiVersion: batch/v1
kind: Job
metadata: {name: sum}
spec:
  completions: 12
  parallelism: 4
  template:
    spec:
      restartPolicy: Never
      containers: [{name: pause, image: registry.k8s.io/pause:3.10}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: gone}
spec:
  completionMode: Indexed
  completions: 3
  ttlSecondsAfterFinished: 1
  template:
    spec:
      restartPolicy: Never
      containers: [{name: pause, image: registry.k8s.io/pause:3.10}]
`

func jobs(ctx context.Context, c *cluster) (string, error) {
	if err := c.all(ctx, "create namespace batch"); err != nil {
		return "", err
	}
	if _, err := c.k(ctx, "create", "cronjob", "tick", "-n", "batch", "--image="+after, "--schedule=*/1 * * * *"); err != nil {
		return "", err
	}
	if _, err := c.apply(ctx, job, "create", "-n", "batch", "-f", "-"); err != nil {
		return "", err
	}
	steps := []func() error{
		func() error { return c.all(ctx, "wait job/sum -n batch --for=condition=Complete --timeout=120s") },
		func() error {
			return c.expect(ctx, "12", "get", "job/sum", "-n", "batch", "-o=jsonpath={.status.succeeded}")
		},
		func() error {
			return c.counts(ctx, 12, "pods", "-n", "batch", "-l=job-name=sum", "--field-selector=status.phase=Succeeded")
		},
		func() error { return c.all(ctx, "wait job/gone -n batch --for=delete --timeout=120s") },
		func() error { return c.until(ctx, "", "get", "pods", "-n", "batch", "-l=job-name=gone", "-o=name") },
		func() error {
			return c.all(ctx, "create job now -n batch --from=cronjob/tick", "wait job/now -n batch --for=condition=Complete --timeout=60s")
		},
		func() error {
			return c.all(ctx, "wait cronjob/tick -n batch --for=jsonpath={.status.lastScheduleTime} --timeout=150s")
		},
		func() error { return c.all(ctx, "delete cronjob/tick -n batch --timeout=60s") },
		func() error { return c.until(ctx, "job.batch/sum", "get", "jobs", "-n", "batch", "-o=name") },
	}
	return "", inOrder(steps)
}

const statefulSet = `
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 5
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      containers: [{name: pause, image: registry.k8s.io/pause:3.9}]
`

func statefulSets(ctx context.Context, c *cluster) (string, error) {
	if err := c.all(ctx, "create namespace data"); err != nil {
		return "", err
	}
	if _, err := c.apply(ctx, statefulSet, "apply", "-n", "data", "-f", "-"); err != nil {
		return "", err
	}
	pods := func(wanted string) func() error {
		return func() error {
			return c.until(ctx, wanted, "get", "pods", "-n", "data", "-o=jsonpath={.items[*].metadata.name}")
		}
	}
	steps := []func() error{
		func() error { return c.all(ctx, "rollout status statefulset/db -n data --timeout=120s") },
		pods("db-0 db-1 db-2 db-3 db-4"),
		func() error {
			return c.all(ctx, "set image statefulset/db -n data pause="+after, "rollout status statefulset/db -n data --timeout=120s")
		},
		func() error { return onlyImage(ctx, c, "data", after) },
		func() error { return c.counts(ctx, 2, "controllerrevisions", "-n", "data") },
		func() error { return c.all(ctx, "scale statefulset/db -n data --replicas=2") },
		pods("db-0 db-1"),
		func() error {
			return c.all(ctx, "delete pod/db-0 -n data", "rollout status statefulset/db -n data --timeout=60s")
		},
		pods("db-0 db-1"),
		// The endpoints follow the pods.
		func() error {
			return c.until(ctx, "2", "get", "endpointslices", "-n", "data", "-l=kubernetes.io/service-name=db", "-o=go-template={{range .items}}{{len .endpoints}}{{end}}")
		},
	}
	return "", inOrder(steps)
}

const daemonSet = `
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      containers: [{name: pause, image: registry.k8s.io/pause:3.9}]
`

func daemonSets(ctx context.Context, c *cluster) (string, error) {
	if err := c.all(ctx, "create namespace every"); err != nil {
		return "", err
	}
	if _, err := c.apply(ctx, daemonSet, "create", "-n", "every", "-f", "-"); err != nil {
		return "", err
	}
	steps := []func() error{
		func() error { return c.all(ctx, "rollout status daemonset/agent -n every --timeout=60s") },
		func() error {
			return c.until(ctx, "node-1 node-2 node-3", "get", "pods", "-n", "every", "--sort-by={.spec.nodeName}", "-o=jsonpath={.items[*].spec.nodeName}")
		},
		func() error {
			return c.all(ctx, "set image daemonset/agent -n every pause="+after, "rollout status daemonset/agent -n every --timeout=60s")
		},
		func() error { return onlyImage(ctx, c, "every", after) },
		func() error {
			return c.all(ctx, "rollout undo daemonset/agent -n every", "rollout status daemonset/agent -n every --timeout=60s")
		},
		func() error { return onlyImage(ctx, c, "every", before) },
	}
	return "", inOrder(steps)
}

// autoscalers has no metrics to go by, so that its controller says so in its conditions.
func autoscalers(ctx context.Context, c *cluster) (string, error) {
	steps := []func() error{
		func() error { return c.all(ctx, "autoscale deployment/web -n shop --min=2 --max=120 --cpu=50%") },
		func() error {
			return c.all(ctx, "wait hpa/web -n shop --for=condition=AbleToScale --timeout=60s", "wait hpa/web -n shop --for=condition=ScalingActive=False --timeout=60s")
		},
		func() error {
			return c.expect(ctx, "100", "get", "hpa/web", "-n", "shop", "-o=jsonpath={.status.currentReplicas}")
		},
		// What it may do it does without metrics: the limits hold.
		func() error {
			return c.all(ctx, `patch hpa/web -n shop -p={"spec":{"maxReplicas":60}}`, "wait deployment/web -n shop --for=jsonpath={.spec.replicas}=60 --timeout=60s")
		},
		func() error {
			return c.all(ctx, "delete hpa/web -n shop", "rollout status deployment/web -n shop --timeout=60s")
		},
	}
	return "", inOrder(steps)
}

const budget = `
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 59, selector: {matchLabels: {app: web}}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: never}
spec: {maxUnavailable: 0, selector: {matchLabels: {app: stays}}}
`

func drain(ctx context.Context, c *cluster) (string, error) {
	if _, err := c.apply(ctx, budget, "create", "-n", "shop", "-f", "-"); err != nil {
		return "", err
	}
	where, err := c.spread(ctx, "shop")
	if err != nil {
		return "", err
	}
	steps := []func() error{
		func() error {
			return c.all(ctx, "wait pdb/web -n shop --for=jsonpath={.status.disruptionsAllowed}=1 --timeout=60s")
		},
		func() error {
			return c.all(ctx, "drain node-2 --ignore-daemonsets --delete-emptydir-data --force --timeout=280s")
		},
		// What is left there are the daemons.
		func() error {
			return c.until(ctx, "agent", "get", "pods", "-A", "--field-selector=spec.nodeName=node-2,status.phase=Running", "-o=jsonpath={.items[*].metadata.labels.app}")
		},
		func() error {
			return c.all(ctx, "wait deployment/web -n shop --for=jsonpath={.status.readyReplicas}=60 --timeout=60s", "uncordon node-2")
		},
		func() error {
			return c.all(ctx, "create deployment stays -n shop --image="+before+" --replicas=4", "rollout status deployment/stays -n shop --timeout=60s",
				"wait pdb/never -n shop --for=jsonpath={.status.currentHealthy}=4 --timeout=60s")
		},
		func() error {
			node, err := c.k(ctx, "get", "pods", "-n", "shop", "-l=app=stays", "-o=jsonpath={.items[0].spec.nodeName}")
			if err != nil {
				return err
			}
			_, err = c.k(ctx, "drain", node, "--pod-selector=app=stays", "--timeout=7s")
			if err == nil || !strings.Contains(err.Error(), "Cannot evict pod as it would violate the pod's disruption budget") {
				return fmt.Errorf("a drain that a budget forbids: %v", err)
			}
			return c.all(ctx, "uncordon "+node)
		},
		func() error { return c.counts(ctx, 4, "pods", "-n", "shop", "-l=app=stays") },
	}
	return where, inOrder(steps)
}

func wait(ctx context.Context, c *cluster) (string, error) {
	steps := []func() error{
		func() error {
			return c.all(ctx, "create namespace waits", "run one -n waits --image="+before, "run two -n waits --image="+before)
		},
		func() error {
			return c.all(ctx, "wait pod --all -n waits --for=condition=Ready --timeout=60s", "wait pod/one -n waits --for=jsonpath={.status.phase}=Running --timeout=60s")
		},
		func() error {
			return c.all(ctx, "wait pod/one -n waits --for=create --timeout=10s", "delete pod/one -n waits --wait=false", "wait pod/one -n waits --for=delete --timeout=60s")
		},
		func() error {
			_, err := c.k(ctx, "wait", "pod/two", "-n", "waits", "--for=condition=Never", "--timeout=1s")
			if err == nil || !strings.Contains(err.Error(), "timed out waiting for the condition on pods/two") {
				return fmt.Errorf("a wait that is in vain: %v", err)
			}
			return nil
		},
	}
	return "", inOrder(steps)
}

// leaders has the scheduler that leads end, and the one that waits take its place.
func leaders(ctx context.Context, c *cluster) (string, error) {
	clients, err := kubernetes.NewForConfig(c.server.Config)
	if err != nil {
		return "", err
	}
	holder := func() (string, error) {
		lease, err := clients.CoordinationV1().Leases("kube-system").Get(ctx, "kube-scheduler", metav1.GetOptions{})
		if err != nil || lease.Spec.HolderIdentity == nil {
			return "", err
		}
		return *lease.Spec.HolderIdentity, nil
	}
	const second = peer.SchedulerPart + "-second"
	if err := c.plane.StartScheduler(second); err != nil {
		return "", err
	}
	first, err := holder()
	if err != nil {
		return "", err
	}
	select { // it has asked for the lease by then, and was told that it is held
	case <-ctx.Done():
		return "", ctx.Err()
	case <-time.After(6 * time.Second):
	}
	if now, err := holder(); err != nil || now != first {
		return "", fmt.Errorf("the lease of %s went to %s while it was held (%v)", first, now, err)
	}
	c.plane.StopPart(peer.SchedulerPart)
	began := time.Now()
	for {
		now, err := holder()
		if err != nil {
			return "", err
		}
		if now != "" && now != first {
			break
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	took := time.Since(began)
	return fmt.Sprintf("the second led after %.1f s", took.Seconds()),
		c.all(ctx, "run three -n waits --image="+before, "wait pod/three -n waits --for=condition=Ready --timeout=60s")
}

// ends has all that was made vanish.
func ends(ctx context.Context, c *cluster) (string, error) {
	names := []string{"shop", "batch", "data", "every", "waits"}
	steps := []func() error{
		func() error { return c.all(ctx, "delete namespace "+strings.Join(names, " ")+" --timeout=240s") },
		func() error { return c.counts(ctx, 0, "pods", "-A") },
		func() error { return c.counts(ctx, 0, "replicasets", "-A") },
		func() error { return c.until(ctx, "", "get", "endpointslices", "-n", "data", "-o=name") },
	}
	return "", inOrder(steps)
}
