package certificates_test

import (
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"github.com/knarr-io/knarr/internal/controller"
	"github.com/knarr-io/knarr/internal/controller/certificates"
)

// What cannot be signed now is signed when it can be.
func TestSignerRetries(t *testing.T) {
	ca := newAuthority(t, 24*time.Hour)
	ca.broken = 3
	c := newCluster(t, clock.RealClock{}, ca, controller.CertificateSigning)
	c.run()
	c.made(asking{name: "a", signer: client, subject: jane, usages: clientUsages, conditions: approved})
	await(t, "it is signed", func() bool { return len(c.request("a").Status.Certificate) > 0 })
}

// Only what has something to do is there.
func TestControllers(t *testing.T) {
	c := newCluster(t, clock.RealClock{}, newAuthority(t, time.Hour))
	count := func(want int, what string) {
		t.Helper()
		if got := len(certificates.New(c.verbs, c.catalogue, c.options)); got != want {
			t.Errorf("%d controllers %s, want %d", got, what, want)
		}
	}
	count(4, "without a bundle to publish")
	c.options.TrustBundle = newAuthority(t, time.Hour).certPEM
	count(5, "with one")
}

// One bundle tells what the server's certificate is verified with, whatever others do.
func TestPublisher(t *testing.T) {
	c := newCluster(t, clock.RealClock{}, newAuthority(t, time.Hour), controller.TrustBundlePublisher)
	content := newAuthority(t, time.Hour).certPEM
	c.options.TrustBundle = content
	name := fmt.Sprintf("kubernetes.io:kube-apiserver-serving:%x", sha256.Sum256(content))[:len("kubernetes.io:kube-apiserver-serving:")+24]
	bundle := func(name, signer string) *certificatesv1.ClusterTrustBundle {
		return &certificatesv1.ClusterTrustBundle{ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: certificatesv1.ClusterTrustBundleSpec{SignerName: signer, TrustBundle: string(newAuthority(t, time.Hour).certPEM)}}
	}
	const serving = "kubernetes.io/kube-apiserver-serving"
	c.create(bundles, "", bundle("kubernetes.io:kube-apiserver-serving:old", serving), admin)
	c.create(bundles, "", bundle("example.com:own:a", "example.com/own"), admin)
	c.create(bundles, "", bundle("plain", ""), admin)
	read := func(name string) *certificatesv1.ClusterTrustBundle {
		b := &certificatesv1.ClusterTrustBundle{}
		if !c.get(bundles, "", name, b) {
			return nil
		}
		return b
	}
	right := func() bool {
		b := read(name)
		return b != nil && b.Spec.TrustBundle == string(content) && b.Spec.SignerName == serving &&
			read("kubernetes.io:kube-apiserver-serving:old") == nil && read("example.com:own:a") != nil && read("plain") != nil
	}
	c.run()
	await(t, "the bundle is there", right)

	first := read(name).UID
	c.remove(bundles, name)
	await(t, "it is made again", func() bool { return right() && read(name).UID != first })
	changed := read(name)
	changed.Spec.TrustBundle = string(newAuthority(t, time.Hour).certPEM)
	c.put(bundles, changed)
	await(t, "it is put right", right)
	c.create(bundles, "", bundle("kubernetes.io:kube-apiserver-serving:old", serving), admin)
	await(t, "another goes", right)
	if m := read(name).ManagedFields; len(m) != 1 || m[0].Manager != "kube-controller-manager" {
		t.Errorf("its fields are %v's", m)
	}
}

// With no bundles at all there is one.
func TestPublisherBegins(t *testing.T) {
	c := newCluster(t, clock.RealClock{}, newAuthority(t, time.Hour), controller.TrustBundlePublisher)
	c.options.TrustBundle = newAuthority(t, time.Hour).certPEM
	c.run()
	prefix := c.catalogue.Lookup(bundles).Resource.Storage.Prefix
	await(t, "there is one", func() bool { return c.verbs.State.Snapshot(prefix).Len("") == 1 })
}
