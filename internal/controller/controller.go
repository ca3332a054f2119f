// Package controller is what happens by itself: which controllers there are
// and which of them run, and what they are made of. A controller reads what is
// true from the state, asleep until something is committed, and changes
// objects through the verbs, as a client does. Each is a package below this
// one.
//
// It must not know what a controller does.
package controller

import (
	"fmt"
	"slices"
	"strings"
)

// The controllers, by the names that kube-controller-manager gives them.
const (
	ServiceAccounts        = "serviceaccount-controller"
	RootCAPublisher        = "root-ca-certificate-publisher-controller"
	ServiceCIDRs           = "service-cidr-controller"
	ClusterRoleAggregation = "clusterrole-aggregation-controller"
	ResourceQuotas         = "resourcequota-controller"
	GarbageCollector       = "garbage-collector-controller"
	TTLAfterFinished       = "ttl-after-finished-controller"
	Namespaces             = "namespace-controller"
	ServiceAccountTokens   = "serviceaccount-token-controller"
	BootstrapTokenCleaner  = "token-cleaner-controller"
	LegacyTokenCleaner     = "legacy-serviceaccount-token-cleaner-controller"
	PodCollector           = "pod-garbage-collector-controller"
	ClaimProtection        = "persistentvolumeclaim-protection-controller"
	VolumeProtection       = "persistentvolume-protection-controller"
	ClassProtection        = "volumeattributesclass-protection-controller"

	CertificateSigning    = "certificatesigningrequest-signing-controller"
	CertificateApproving  = "certificatesigningrequest-approving-controller"
	CertificateCleaner    = "certificatesigningrequest-cleaner-controller"
	PodCertificateCleaner = "podcertificaterequest-cleaner-controller"
	TrustBundlePublisher  = "kube-apiserver-serving-clustertrustbundle-publisher-controller"
	PolicyStatus          = "validatingadmissionpolicy-status-controller"
)

// all returns the controllers there are, each with its former name,
// if it has one.
func all() [][2]string {
	return [][2]string{
		{RootCAPublisher, "root-ca-cert-publisher"},
		{ResourceQuotas, "resourcequota"},
		{GarbageCollector, "garbagecollector"},
		{TTLAfterFinished, "ttl-after-finished"},
		{ServiceAccounts, "serviceaccount"},
		{ServiceCIDRs, "service-cidr-controller"},
		{ClusterRoleAggregation, "clusterrole-aggregation"},
		{CertificateSigning, "csrsigning"},
		{CertificateApproving, "csrapproving"},
		{CertificateCleaner, "csrcleaner"},
		{PodCertificateCleaner},
		{TrustBundlePublisher},
		{PolicyStatus},
		{Namespaces, "namespace"},
		{ServiceAccountTokens, "serviceaccount-token"},
		{BootstrapTokenCleaner, "tokencleaner"},
		{LegacyTokenCleaner, "legacy-service-account-token-cleaner"},
		{PodCollector, "podgc"},
		{ClaimProtection, "pvc-protection"},
		{VolumeProtection, "pv-protection"},
		{ClassProtection},
	}
}

// askedFor reports whether a controller runs only if it is named, as
// kube-controller-manager's does.
func askedFor(name string) bool { return name == BootstrapTokenCleaner }

// Enabled tells which controllers run.
type Enabled map[string]bool

// Enable reads a list as kube-controller-manager's flag --controllers has it:
// "*" is all that run by default, "name" and "-name" are one that is to run or
// not, whatever else the list says. Nil means "*". A name that is not known is
// an error of one line that lists those that are.
func Enable(list []string) (Enabled, error) {
	byDefault, named, err := read(list)
	if err != nil {
		return nil, err
	}
	enabled := Enabled{}
	for _, c := range all() {
		on, is := named[c[0]]
		enabled[c[0]] = is && on || !is && byDefault && !askedFor(c[0])
	}
	return enabled, nil
}

// Named returns, of a list that Enable takes, the controllers that it names.
func Named(list []string) Enabled {
	_, named, _ := read(list)
	return named
}

// read returns what a list says of all controllers, and of those it names.
func read(list []string) (byDefault bool, named Enabled, err error) {
	if list == nil {
		list = []string{"*"}
	}
	named = Enabled{}
	for _, item := range list {
		if item == "*" {
			byDefault = true
			continue
		}
		name, off := strings.CutPrefix(item, "-")
		known, err := find(name)
		if err != nil {
			return false, nil, err
		}
		if _, before := named[known]; !before { // the first to name it decides
			named[known] = !off
		}
	}
	return byDefault, named, nil
}

// find returns the name of the controller that is called so now or formerly.
func find(called string) (string, error) {
	var known []string
	for _, c := range all() {
		if called != "" && slices.Contains(c[:], called) {
			return c[0], nil
		}
		known = append(known, c[0])
	}
	return "", fmt.Errorf("%q is not in the list of known controllers: %s", called, strings.Join(known, ", "))
}
