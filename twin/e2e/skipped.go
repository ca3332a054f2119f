package main

import "regexp"

// A reason says why the specs that a regular expression of their names matches do not pass.
type reason struct{ specs, why string }

// skipped are the specs that cannot pass here against any server.
var skipped = []reason{
	{`CustomResourceConversionWebhook|CustomResourceFieldSelectors`, "the webhook that converts runs in a pod, and no kubelet starts it"},
	{`OpenAPI V3 for Aggregated APIServer`, "the aggregated server runs in a pod, and no kubelet starts it"},
	{`\[sig-auth\] (NodeAuthenticator|Projected PodCertificate.*(should issue|mTLS|SPIFFE)|ServiceAccounts.*(OIDC discovery|should mount|set ownership|InClusterConfig))|` +
		`\[sig-auth\].*ClusterTrustBundleProjection\] .*(able to (mount|specify)|capable to mount|prevent a pod from starting)`, "it waits for a pod to run, and no kubelet starts it"},
	{`Generated clientset should create pods|should ensure that all pods are removed when a namespace is deleted|can restrict access by-node`, "it waits for a pod to run, and no kubelet starts it"},
}

// known are the specs that do not pass against knarr yet. One that does has to leave the list.
var known = []reason{
	{`health handlers should contain necessary checks`, "health checks name what is there, and knarr has fewer parts than kube-apiserver"},
}

// why is the reason for a spec in a list, or nothing.
func why(list []reason, name string) string {
	for _, r := range list {
		if regexp.MustCompile(r.specs).MatchString(name) {
			return r.why
		}
	}
	return ""
}
