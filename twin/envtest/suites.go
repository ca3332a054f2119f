package main

// A suite is tests of a published module that start their servers by envtest.
type suite struct {
	name, module, version string
	// packages are those whose tests need servers.
	packages []string
}

var suites = []suite{
	{
		name: "controller-runtime", module: "sigs.k8s.io/controller-runtime", version: "v0.25.2",
		packages: []string{
			"pkg/builder", "pkg/cache", "pkg/client", "pkg/client/apiutil", "pkg/cluster", "pkg/controller",
			"pkg/controller/controllerutil", "pkg/envtest", "pkg/handler", "pkg/internal/controller", "pkg/internal/recorder",
			"pkg/internal/testing/controlplane", "pkg/manager", "pkg/manager/internal/integration", "pkg/metrics/filters",
			"pkg/reconcile", "pkg/source", "pkg/webhook",
		},
	},
	{
		name: "kro", module: "github.com/kubernetes-sigs/kro", version: "v0.9.4",
		packages: []string{"test/integration/suites/core"},
	},
	{
		name: "cert-controller", module: "github.com/open-policy-agent/cert-controller", version: "v0.16.0",
		packages: []string{"pkg/rotator"},
	},
}
