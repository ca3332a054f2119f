package main

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"

	"github.com/knarr-io/knarr/twin/peer"
)

// A chart is one that is installed, and upgraded to other values.
type chart struct {
	name string
	// module is the Go module that has it, as path@version; our own has none.
	module, dir string
	namespace   string // where it wants to be; of its own name if empty
	// definitions are those in the module that it takes to be there.
	definitions string
	first, then []string // --set
	files       []string // of the definitions, when found
}

const (
	istio      = "istio.io/istio@v0.0.0-20260827124520-eed52ebb66ad"
	kwok       = "sigs.k8s.io/kwok@v0.8.0"
	crossplane = "github.com/crossplane/crossplane@v1.20.0"
	kueue      = "sigs.k8s.io/kueue@v0.17.0"
	kro        = "github.com/kubernetes-sigs/kro@v0.9.4"
)

// known are the charts, in the order that they are installed.
var known = []chart{
	{name: "hooks", dir: "hooks", first: []string{"replicas=1", "text=first"}, then: []string{"replicas=2", "text=second"}},
	{name: "istio-base", module: istio, dir: "manifests/charts/base", namespace: "istio-system", then: []string{"defaultRevision=canary"}},
	{name: "istiod", module: istio, dir: "manifests/charts/istio-control/istio-discovery", namespace: "istio-system",
		then: []string{"autoscaleEnabled=false", "replicaCount=2", "resources.requests.cpu=20m", "meshConfig.accessLogFile=/dev/stdout"}},
	{name: "istio-default", module: istio, dir: "manifests/charts/default", namespace: "istio-system", then: []string{"revision=canary"}},
	{name: "istio-gateway", module: istio, dir: "manifests/charts/gateway", namespace: "istio-ingress", first: []string{"service.type=NodePort"}, then: []string{"autoscaling.minReplicas=2", "service.type=ClusterIP"}},
	{name: "istio-ingress", module: istio, dir: "manifests/charts/gateways/istio-ingress", namespace: "istio-ingress",
		first: []string{"gateways.istio-ingressgateway.type=NodePort"}, then: []string{"gateways.istio-ingressgateway.type=NodePort", "gateways.istio-ingressgateway.autoscaleMin=2"}},
	{name: "istio-cni", module: istio, dir: "manifests/charts/istio-cni", namespace: "istio-system", then: []string{"ambient.enabled=true", "logging.level=cni:debug"}},
	{name: "ztunnel", module: istio, dir: "manifests/charts/ztunnel", namespace: "istio-system", then: []string{"logLevel=debug"}},
	{name: "kwok", module: kwok, dir: "charts/kwok", first: []string{"fullnameOverride=kwok-again"}, then: []string{"fullnameOverride=kwok-again", "replicas=2"}},
	{name: "kwok-stage-fast", module: kwok, dir: "charts/stage-fast", definitions: "kustomize/crd/bases/*.yaml"},
	{name: "kwok-metrics-usage", module: kwok, dir: "charts/metrics-usage", definitions: "kustomize/crd/bases/*.yaml"},
	{name: "crossplane", module: crossplane, dir: "cluster/charts/crossplane", namespace: "crossplane-system", then: []string{"replicas=2", "metrics.enabled=true"}},
	{name: "kueue", module: kueue, dir: "charts/kueue", namespace: "kueue-system", then: []string{"controllerManager.replicas=2"}},
	{name: "kro", module: kro, dir: "helm", namespace: "kro-system", then: []string{"deployment.replicaCount=2"}},
}

// findCharts has the modules that the charts are in downloaded, and tells where they are.
func findCharts(ctx context.Context, root string, wanted *regexp.Regexp) ([]chart, error) {
	var all []chart
	for _, c := range known {
		if !wanted.MatchString(c.name) {
			continue
		}
		if c.module == "" {
			own, err := filepath.Abs(filepath.Join(root, "twin", "helm", c.dir))
			if err != nil {
				return nil, err
			}
			c.dir = own
		} else {
			files, err := peer.ModuleFiles(ctx, c.module, c.dir+"/Chart.yaml")
			if err != nil {
				return nil, err
			}
			if len(files) != 1 {
				return nil, fmt.Errorf("%s has no chart in %s", c.module, c.dir)
			}
			c.dir = filepath.Dir(files[0])
		}
		if c.definitions != "" {
			var err error
			if c.files, err = peer.ModuleFiles(ctx, c.module, c.definitions); err != nil {
				return nil, err
			}
		}
		if c.namespace == "" {
			c.namespace = c.name
		}
		all = append(all, c)
	}
	return all, nil
}
