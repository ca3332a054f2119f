package certificates_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	upstreaminformers "k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/kubernetes/pkg/controller/certificates/cleaner"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/knarr-io/knarr/internal/controller"
)

// aged are requests of all ages in all states; certificates are those issued.
func aged(random *rand.Rand, now time.Time, certificates [][]byte) []*certificatesv1.CertificateSigningRequest {
	before := func() metav1.Time {
		if random.IntN(8) == 0 {
			return metav1.Time{}
		}
		// Not so near to what counts that it matters how long the test takes.
		age := time.Duration(random.IntN(26*4)) * 15 * time.Minute
		return metav1.NewTime(now.Add(-age - 7*time.Minute).Truncate(time.Second))
	}
	var all []*certificatesv1.CertificateSigningRequest
	for i := range 300 {
		csr := &certificatesv1.CertificateSigningRequest{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("csr-", i), CreationTimestamp: before()}}
		csr.Spec.SignerName = client
		for _, kind := range []certificatesv1.RequestConditionType{certificatesv1.CertificateApproved, certificatesv1.CertificateDenied, certificatesv1.CertificateFailed, "Other"} {
			if random.IntN(3) == 0 {
				csr.Status.Conditions = append(csr.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
					Type: kind, Status: corev1.ConditionTrue, LastUpdateTime: before(),
				})
			}
		}
		if random.IntN(2) == 0 {
			csr.Status.Certificate = certificates[random.IntN(len(certificates))]
		}
		all = append(all, csr)
	}
	return all
}

// Of requests of all ages, those go that upstream's controller removes.
func TestCleanedAsUpstreams(t *testing.T) {
	certificates := [][]byte{newAuthority(t, time.Hour).certPEM, newAuthority(t, -30*time.Minute).certPEM, []byte("none"),
		[]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	all := aged(rand.New(rand.NewPCG(seed, 0)), time.Now(), certificates)
	c := newCluster(t, clock.RealClock{}, newAuthority(t, time.Hour), controller.CertificateCleaner)
	var objects []runtime.Object
	for _, csr := range all {
		objects = append(objects, csr.DeepCopy())
		c.put(requests, csr)
	}

	ctx, cancel := context.WithCancel(t.Context())
	theirs := fake.NewClientset(objects...)
	informers := upstreaminformers.NewSharedInformerFactory(theirs, 0)
	csrs := informers.Certificates().V1().CertificateSigningRequests()
	for _, o := range objects {
		if err := csrs.Informer().GetIndexer().Add(o); err != nil {
			t.Fatal(err)
		}
	}
	var running sync.WaitGroup
	running.Go(func() {
		cleaner.NewCSRCleanerController(theirs.CertificatesV1().CertificateSigningRequests(), csrs).Run(ctx, 1)
	})
	defer func() {
		cancel()
		running.Wait()
	}()
	c.run()

	there := func(name string) (ours, upstreams bool) {
		_, err := theirs.Tracker().Get(requests, "", name)
		return c.request(name) != nil, err == nil
	}
	left := 0
	await(t, "both have removed the same", func() bool {
		left = 0
		for _, csr := range all {
			ours, upstreams := there(csr.Name)
			if ours != upstreams {
				return false
			}
			if ours {
				left++
			}
		}
		return left < len(all)
	})
	if left == 0 {
		t.Error("all are gone")
	}
	t.Logf("%d of %d are left", left, len(all))
}

// Requests go when it is time, and not before.
func TestCleaner(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	clock := clocktesting.NewFakeClock(now)
	c := newCluster(t, clock, newAuthority(t, time.Hour), controller.CertificateCleaner, controller.PodCertificateCleaner)
	c.run()
	there := func(name string) bool { return c.request(name) != nil }
	for _, a := range []asking{
		{name: "waits"}, {name: "denied", conditions: denied}, {name: "approved", conditions: approved},
		{name: "issued", conditions: approved}, {name: "late"},
	} {
		a.signer, a.subject, a.usages = "example.com/own", jane, clientUsages
		c.made(a)
	}
	issued := c.request("issued")
	issued.Status.Certificate = newAuthority(t, 30*time.Minute).certPEM
	c.write(issued, "status")
	pod := &certificatesv1.PodCertificateRequest{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "a", CreationTimestamp: metav1.NewTime(now)}}
	c.put(pods, pod)
	podThere := func() bool { return c.get(pods, "default", "a", &certificatesv1.PodCertificateRequest{}) }

	// step goes on to a time, which is when both sleep until then or longer.
	step := func(to time.Duration) {
		t.Helper()
		await(t, "it sleeps", clock.HasWaiters)
		clock.SetTime(now.Add(to))
	}
	gone := func(name string) {
		t.Helper()
		await(t, name+" is gone", func() bool { return !there(name) })
	}
	stays := func(names ...string) {
		t.Helper()
		for _, name := range names {
			if !there(name) {
				t.Errorf("%s is gone too early", name)
			}
		}
	}
	step(15*time.Minute + time.Second)
	await(t, "the pod's request is gone", func() bool { return !podThere() })
	stays("waits", "denied", "approved", "issued", "late")
	step(31 * time.Minute)
	gone("issued") // its certificate has ended
	stays("waits", "denied", "approved", "late")
	step(time.Hour + time.Minute)
	gone("denied")
	stays("waits", "approved", "late")
	// What is denied before it has waited long enough goes by that: denied at 0 by the
	// clock of the rules, which is the real one.
	c.condition("late", certificatesv1.CertificateDenied)
	gone("late")
	stays("waits", "approved")
	step(25 * time.Hour)
	gone("waits")
	gone("approved")
}
