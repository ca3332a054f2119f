package etcd

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// As upstream: a lease serves what is written in a twentieth of its time, at most
// a minute, and a thousand keys. So a key may live that much longer.
const (
	leaseShare   = 20
	leaseSharing = time.Minute
	leaseKeys    = 1000
)

// leases are what keys with a time to live hang on. One lease is kept for each
// time to live, of which there are few; where there are more, all are forgotten.
type leases struct {
	busy chan struct{} // holds a token while byTTL is used
	by   map[int64]*lease
}

type lease struct {
	id      clientv3.LeaseID
	expires time.Time // at the earliest
	keys    int
}

const leasesMax = 16

func newLeases() leases {
	return leases{busy: make(chan struct{}, 1), by: map[int64]*lease{}}
}

// get returns a lease that ends after ttl, rounded up to a second, or somewhat
// later.
func (l *leases) get(ctx context.Context, client *clientv3.Client, ttl time.Duration) (clientv3.LeaseID, error) {
	select {
	case l.busy <- struct{}{}:
		defer func() { <-l.busy }()
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	seconds := int64((ttl + time.Second - 1) / time.Second)
	now := time.Now()
	if have := l.by[seconds]; have != nil && have.keys < leaseKeys && now.Add(time.Duration(seconds)*time.Second).Before(have.expires) {
		have.keys++
		return have.id, nil
	}
	granted := seconds + min(seconds/leaseShare, int64(leaseSharing/time.Second))
	resp, err := client.Grant(ctx, granted)
	if err != nil {
		return 0, err
	}
	if len(l.by) >= leasesMax {
		clear(l.by)
	}
	l.by[seconds] = &lease{id: resp.ID, expires: now.Add(time.Duration(granted) * time.Second), keys: 1}
	return resp.ID, nil
}

// forget has none used again.
func (l *leases) forget() {
	l.busy <- struct{}{}
	clear(l.by)
	<-l.busy
}
