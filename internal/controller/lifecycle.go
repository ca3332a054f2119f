package controller

import (
	"context"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/apis/coordination"
	"k8s.io/utils/clock"

	"github.com/knarr-io/knarr/internal/kind"
	"github.com/knarr-io/knarr/internal/state"
)

// Row is a controller of the server's.
type Row struct {
	Name string
	// Beside has it run although a kube-controller-manager runs, which has this
	// controller only if it is given files that it can do without.
	Beside bool
	// Run does its work until ctx ends, and returns when nothing of it runs any
	// more. It may be called again then: it begins with what is true.
	Run func(ctx context.Context)
}

// Lifecycle runs controllers, and steps aside while a kube-controller-manager
// does the same work: while the lease by which its instances elect a leader is
// held, those that it would run too wait. Those that were asked for by name run
// all the same.
type Lifecycle struct {
	State *state.State
	// Leases is where leases are kept; nil if they are not served, and then nothing
	// is known of others.
	Leases         *kind.Resource
	Enabled, Named Enabled
	Clock          clock.Clock
	Rows           []Row
}

// managersLease is the lease that a kube-controller-manager holds.
const managersLease = "kube-controller-manager"

// Run runs the controllers until ctx ends, and returns when none runs any more.
func (l *Lifecycle) Run(ctx context.Context) {
	var always, alone []Row
	for _, r := range l.Rows {
		switch {
		case !l.Enabled[r.Name]:
		case r.Beside, l.Named[r.Name], l.Leases == nil:
			always = append(always, r)
		default:
			alone = append(alone, r)
		}
	}
	stop := run(ctx, always)
	defer stop()
	if len(alone) > 0 {
		l.runAlone(ctx, alone)
	}
	<-ctx.Done()
}

// run starts rows. stop ends them and returns when they have.
func run(ctx context.Context, rows []Row) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	for _, r := range rows {
		running.Go(func() { r.Run(ctx) })
	}
	return func() {
		cancel()
		running.Wait()
	}
}

// runAlone runs rows while no kube-controller-manager runs, until ctx ends.
func (l *Lifecycle) runAlone(ctx context.Context, rows []Row) {
	lease := l.Leases.Storage.Key(metav1.NamespaceSystem, managersLease)
	changed := make(chan struct{}, 1)
	look := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	var following sync.WaitGroup
	defer following.Wait()
	following.Go(func() {
		l.State.Follow(ctx, l.Leases.Storage.Prefix, func(state.Snapshot) { look() }, func(e *state.Event) {
			if e.Object.Name == managersLease && e.Object.Namespace == metav1.NamespaceSystem {
				look()
			}
		})
	})
	m := manager{leases: l.Leases, clock: l.Clock}
	var stop func()
	for ctx.Err() == nil {
		m.see(l.State, lease)
		left := m.until.Sub(l.Clock.Now())
		switch {
		case left > 0 && stop != nil:
			klog.V(1).InfoS("A kube-controller-manager runs: its controllers do not run here", "holder", m.holder)
			stop()
			stop = nil
		case left <= 0 && stop == nil:
			klog.V(1).InfoS("No kube-controller-manager runs: its controllers run here")
			stop = run(ctx, rows)
		}
		wait(ctx, l.Clock, changed, left)
	}
	if stop != nil {
		stop()
	}
}

// wait returns when something has changed, after left, if that is not yet over,
// or when ctx ends.
func wait(ctx context.Context, clock clock.Clock, changed <-chan struct{}, left time.Duration) {
	var over <-chan time.Time
	if left > 0 {
		timer := clock.NewTimer(left)
		defer timer.Stop()
		over = timer.C()
	}
	select {
	case <-changed:
	case <-over:
	case <-ctx.Done():
	}
}

// manager is what is known of the kube-controller-manager that leads.
type manager struct {
	leases *kind.Resource
	clock  clock.Clock
	seen   uint64 // the lease's revision
	holder string
	until  time.Time // when it must have renewed its lease; zero if there is none
}

// see looks at the lease. As those who elect do, it goes by when the lease was
// seen to change, not by others' clocks; only of the first it sees, which may be
// old, there is nothing but what it says itself.
func (m *manager) see(st *state.State, key string) {
	o := st.Get(key)
	if o == nil {
		m.holder, m.until = "", time.Time{}
		return
	}
	if o.Rev == m.seen {
		return
	}
	first := m.seen == 0
	m.seen, m.holder, m.until = o.Rev, "", time.Time{}
	lease, err := Read[*coordination.Lease](m.leases, o)
	if err != nil {
		klog.ErrorS(err, "The lease of kube-controller-manager cannot be read")
		return
	}
	holder, seconds := lease.Spec.HolderIdentity, lease.Spec.LeaseDurationSeconds
	if holder == nil || *holder == "" || seconds == nil {
		return
	}
	from := m.clock.Now()
	if renewed := lease.Spec.RenewTime; first && renewed != nil && renewed.Time.Before(from) {
		from = renewed.Time
	}
	m.holder, m.until = *holder, from.Add(time.Duration(*seconds)*time.Second)
}
