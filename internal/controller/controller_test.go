package controller

import (
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/kubernetes/cmd/kube-controller-manager/names"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEnable(t *testing.T) {
	everything := []string{}
	for _, c := range all() {
		if c[0] != BootstrapTokenCleaner {
			everything = append(everything, c[0])
		}
	}
	without := func(name string) []string {
		return slices.DeleteFunc(slices.Clone(everything), func(n string) bool { return n == name })
	}
	for _, test := range []struct {
		list []string
		want []string
	}{
		{nil, everything},
		{[]string{"*"}, everything},
		{[]string{}, nil},
		{[]string{"*", "tokencleaner"}, append(slices.Clone(everything), BootstrapTokenCleaner)},
		{[]string{ServiceAccounts}, []string{ServiceAccounts}},
		{[]string{"-" + ServiceAccounts}, nil}, // nothing says that others run
		{[]string{"*", "-" + ServiceAccounts}, without(ServiceAccounts)},
		{[]string{"-" + ServiceAccounts, "*"}, without(ServiceAccounts)},
		{[]string{"-" + ServiceAccounts, ServiceAccounts}, nil},
		{[]string{ServiceAccounts, "-" + ServiceAccounts}, []string{ServiceAccounts}},
		{[]string{"*", "-root-ca-cert-publisher"}, without(RootCAPublisher)},
		{[]string{"serviceaccount", RootCAPublisher}, []string{RootCAPublisher, ServiceAccounts}},
	} {
		enabled, err := Enable(test.list)
		if err != nil {
			t.Errorf("%q: %v", test.list, err)
			continue
		}
		var got []string
		for name, on := range enabled {
			if on {
				got = append(got, name)
			}
		}
		if want := sets.New(test.want...); !want.Equal(sets.New(got...)) {
			t.Errorf("%q: %q, want %q", test.list, got, test.want)
		}
	}
	for _, list := range [][]string{{"deployment-controller"}, {"*", "-x"}, {"-*"}, {""}} {
		_, err := Enable(list)
		if err == nil || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "known controllers: "+RootCAPublisher+", ") {
			t.Errorf("%q: %v, want one line with those that are known", list, err)
		}
	}
}

func TestNamesAreUpstreams(t *testing.T) {
	for name, want := range map[string]string{
		ServiceAccounts: names.ServiceAccountController, RootCAPublisher: names.RootCACertificatePublisherController,
		ClusterRoleAggregation: names.ClusterRoleAggregationController,
		Namespaces:             names.NamespaceController,
		ClaimProtection:        names.PersistentVolumeClaimProtectionController, VolumeProtection: names.PersistentVolumeProtectionController,
		ClassProtection:       names.VolumeAttributesClassProtectionController,
		BootstrapTokenCleaner: names.TokenCleanerController,
		PodCollector:          names.PodGarbageCollectorController,
		ServiceAccountTokens:  names.ServiceAccountTokenController, LegacyTokenCleaner: names.LegacyServiceAccountTokenCleanerController,
	} {
		if name != want {
			t.Errorf("%s is %s in kube-controller-manager", name, want)
		}
	}
}
