package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/knarr-io/knarr/twin/peer"
)

// aloneScenarios are done on knarr alone, after all others: what it leaves to a controller
// manager while there is one, it does itself when there is none.
var aloneScenarios = []scenario{
	{"without kube-controller-manager knarr works itself", alone},
	{"with kube-controller-manager again it rests", together},
}

const owned = `
apiVersion: v1
kind: ConfigMap
metadata: {name: owned, ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: owner, uid: %s}]}
`

// leaseEnds is after how long at most nobody holds the controller manager's lease any more.
const leaseEnds = 60 * time.Second

func alone(ctx context.Context, c *cluster) (string, error) {
	c.plane.StopPart(peer.ControllerManagerPart)
	ctx, cancel := context.WithTimeout(ctx, leaseEnds+30*time.Second)
	defer cancel()
	began := time.Now()
	var noticed time.Duration
	steps := []func() error{
		func() error { return c.all(ctx, "create namespace solo", "create configmap owner -n solo") },
		func() error {
			return c.until(ctx, "default", "get", "serviceaccounts", "-n", "solo", "-o=jsonpath={.items[*].metadata.name}")
		},
		func() error {
			return c.until(ctx, "configmap/kube-root-ca.crt", "get", "configmap/kube-root-ca.crt", "-n", "solo", "-o=name")
		},
		func() error {
			uid, err := c.k(ctx, "get", "configmap/owner", "-n", "solo", "-o=jsonpath={.metadata.uid}")
			if err != nil {
				return err
			}
			_, err = c.apply(ctx, fmt.Sprintf(owned, uid), "create", "-n", "solo", "-f", "-")
			return errors.Join(err, c.all(ctx, "delete configmap/owner -n solo"))
		},
		func() error {
			err := c.all(ctx, "wait configmap/owned -n solo --for=delete --timeout=90s")
			noticed = time.Since(began)
			return err
		},
		func() error { return c.all(ctx, "delete namespace solo --timeout=60s") },
	}
	err := inOrder(steps)
	return fmt.Sprintf("the dependent was gone %.1f s after the controller manager had ended", noticed.Seconds()), err
}

func together(ctx context.Context, c *cluster) (string, error) {
	c.plane.StopPart(peer.ControllerManagerPart) // it runs, if nothing was done without it
	if err := c.plane.StartControllerManager(ctx); err != nil {
		return "", err
	}
	began := time.Now()
	steps := []func() error{
		func() error {
			return c.all(ctx, "create namespace again", "create deployment web -n again --image="+before+" --replicas=10")
		},
		func() error { return c.all(ctx, "rollout status deployment/web -n again --timeout=120s") },
		func() error { return c.all(ctx, "delete deployment/web -n again --cascade=foreground --timeout=60s") },
		func() error { return c.until(ctx, "", "get", "pods,replicasets", "-n", "again", "-o=name") },
		func() error { return c.all(ctx, "delete namespace again --timeout=60s") },
	}
	err := inOrder(steps)
	return fmt.Sprintf("done after %.1f s", time.Since(began).Seconds()), err
}
