package audit

import (
	"sync"

	auditinternal "k8s.io/apiserver/pkg/apis/audit"
	"k8s.io/apiserver/pkg/audit"
)

// maxDeliveries is how many batches are on their way at once. Upstream has as
// many as its throttle lets through until the first has failed for good, each
// with its events: a webhook that does not answer would cost it gigabytes.
const maxDeliveries = 64

// deliveries has a backend deliver batches at the same time. It makes who brings
// more of them wait; what that one has no room for, it drops.
type deliveries struct {
	audit.Backend
	slots   chan struct{}
	running sync.WaitGroup
}

func newDeliveries(b audit.Backend) *deliveries {
	return &deliveries{Backend: b, slots: make(chan struct{}, maxDeliveries)}
}

func (d *deliveries) ProcessEvents(events ...*auditinternal.Event) bool {
	d.slots <- struct{}{}
	d.running.Go(func() {
		defer func() { <-d.slots }()
		d.Backend.ProcessEvents(events...)
	})
	return true
}

// Shutdown is called when no more events come.
func (d *deliveries) Shutdown() {
	d.running.Wait()
	d.Backend.Shutdown()
}
