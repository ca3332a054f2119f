package controller

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/kubernetes/pkg/apis/coordination"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/knarr-io/knarr/internal/kind/native"
	"github.com/knarr-io/knarr/internal/ownership"
	"github.com/knarr-io/knarr/internal/state/statetest"
	"github.com/knarr-io/knarr/internal/verb"
)

// beside is a server with a kube-controller-manager that writes its lease.
type beside struct {
	*testing.T
	lifecycle Lifecycle
	client    Client
	clock     *testingclock.FakeClock
	runs      map[string]*atomic.Int32 // how many of each controller run
	passing   time.Duration            // how much time passes each time that something is expected in vain
}

func newBeside(t *testing.T, list ...string) *beside {
	catalogue, err := native.Catalogue(native.Options{})
	if err != nil {
		t.Fatal(err)
	}
	enabled, err := Enable(list)
	if err != nil {
		t.Fatal(err)
	}
	st := statetest.Start(t)
	b := &beside{
		T: t, clock: testingclock.NewFakeClock(time.Now()), runs: map[string]*atomic.Int32{},
		client: Client{
			Verbs: &verb.Verbs{State: st, Ownership: new(ownership.Managers).For}, Catalogue: catalogue,
			User: &user.DefaultInfo{Name: "system:kube-controller-manager"}, Manager: "kube-controller-manager",
		},
	}
	b.lifecycle = Lifecycle{
		State: st, Leases: catalogue.Resource(coordination.Resource("leases")), Enabled: enabled, Named: Named(list), Clock: b.clock,
	}
	for _, c := range all() {
		n := new(atomic.Int32)
		b.runs[c[0]] = n
		b.lifecycle.Rows = append(b.lifecycle.Rows, Row{Name: c[0], Beside: c[0] == RootCAPublisher, Run: func(ctx context.Context) {
			n.Add(1)
			<-ctx.Done()
			n.Add(-1)
		}})
	}
	return b
}

func (b *beside) start() {
	ctx, cancel := context.WithCancel(b.Context())
	var running sync.WaitGroup
	running.Go(func() { b.lifecycle.Run(ctx) })
	b.Cleanup(func() {
		cancel()
		running.Wait()
		b.expect("after the end", map[string]bool{})
	})
}

var leases = coordinationv1.SchemeGroupVersion.WithResource("leases")

// hold writes the lease, renewed some time ago by the holder's clock.
func (b *beside) hold(namespace, name, holder string, ago time.Duration) {
	b.Helper()
	seconds, renewed := int32(15), metav1.NewMicroTime(b.clock.Now().Add(-ago))
	lease := &coordination.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: coordination.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &seconds, RenewTime: &renewed}}
	var err error
	if stored := b.lifecycle.State.Get(b.lifecycle.Leases.Storage.Key(namespace, name)); stored == nil {
		err = b.client.Create(b.Context(), leases, namespace, lease)
	} else {
		now, readErr := Read[*coordination.Lease](b.lifecycle.Leases, stored)
		if readErr != nil {
			b.Fatal(readErr)
		}
		now.Spec = lease.Spec
		err = b.client.Update(b.Context(), leases, "", now)
	}
	if err != nil {
		b.Fatal(err)
	}
}

// expect waits until those controllers run, and no others.
func (b *beside) expect(when string, want map[string]bool) {
	b.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		wrong := ""
		for name, n := range b.runs {
			if on := n.Load() == 1; n.Load() > 1 || on != want[name] {
				wrong = name
			}
		}
		if wrong == "" {
			return
		}
		if time.Now().After(deadline) {
			b.Fatalf("%s: %d of %s run", when, b.runs[wrong].Load(), wrong)
		}
		b.clock.Step(b.passing)
	}
}

func everything() map[string]bool {
	on := map[string]bool{}
	for _, c := range all() {
		on[c[0]] = !askedFor(c[0])
	}
	return on
}

// What kube-controller-manager does as well is left to it while it is there.
func TestStepsAside(t *testing.T) {
	b := newBeside(t, "*", ServiceCIDRs)
	left := map[string]bool{RootCAPublisher: true, ServiceCIDRs: true}
	b.start()
	b.expect("alone", everything())
	b.hold("kube-system", "kube-scheduler", "a", 0)
	b.hold("default", managersLease, "a", 0)
	b.expect("beside leases of others", everything())
	b.hold("kube-system", managersLease, "a", 0)
	b.expect("beside a manager", left)
	b.clock.Step(14 * time.Second)
	b.hold("kube-system", managersLease, "a", time.Hour) // its clock is wrong
	b.clock.Step(14 * time.Second)
	b.expect("while it renews its lease", left)
	b.passing = 100 * time.Millisecond
	b.expect("once it no longer does", everything())
	b.passing = 0
	b.hold("kube-system", managersLease, "b", 0)
	b.expect("beside another", left)
	b.hold("kube-system", managersLease, "", 0)
	b.expect("once that has let go", everything())
}

// A lease that is older than the server is worth what it says itself.
func TestOldLease(t *testing.T) {
	for _, test := range []struct {
		ago  time.Duration
		want map[string]bool
	}{{time.Minute, everything()}, {time.Second, map[string]bool{RootCAPublisher: true}}} {
		b := newBeside(t)
		b.hold("kube-system", managersLease, "a", test.ago)
		b.start()
		b.expect("with an old lease", test.want)
	}
}

func TestOnlyWhatIsEnabledRuns(t *testing.T) {
	b := newBeside(t, "-"+ServiceAccounts, ResourceQuotas)
	b.start()
	b.expect("with two named", map[string]bool{ResourceQuotas: true})
	b.hold("kube-system", managersLease, "a", 0)
	b.expect("beside a manager", map[string]bool{ResourceQuotas: true})
}
