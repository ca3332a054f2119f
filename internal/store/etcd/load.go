package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/knarr-io/knarr/internal/store"
)

// lost says that etcd no longer has what the watch was to tell next.
type lost struct {
	compacted uint64 // up to here; 0 if etcd is another, or one of the past
}

func (l *lost) Error() string {
	if l.compacted == 0 {
		return "etcd is another, or at an earlier revision than before"
	}
	return fmt.Sprintf("etcd has been compacted at revision %d", l.compacted)
}

// begin loads what there is, with the history that etcd still has of it.
func (s *Store) begin(ctx context.Context) (*watch, error) {
	first, cancel := context.WithTimeout(ctx, s.o.StartTimeout)
	defer cancel()
	rev, err := s.read(first)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("etcd at %s does not answer: %w", strings.Join(s.o.Servers, ", "), err)
	}
	floor := uint64(1)
	if rev > s.o.HistoryRevisions {
		floor = rev - s.o.HistoryRevisions
	}
	for {
		w, err := s.load(ctx, rev, floor)
		var l *lost
		switch {
		case err == nil:
			return w, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case !errors.As(err, &l):
			return nil, err
		}
		// Another compaction may come before that is read.
		if floor = max(floor+1, l.compacted); floor > rev {
			if rev, err = s.read(ctx); err != nil {
				return nil, err
			}
			floor = rev
		}
	}
}

// load tells the follower what there was at floor and what has happened up to
// rev, and returns the watch of what comes after.
func (s *Store) load(ctx context.Context, rev, floor uint64) (*watch, error) {
	s.want(rev)
	index := map[string]uint64{}
	w := &watch{s: s, after: floor, patience: s.o.StartTimeout}
	var failed error // what is not the follower's fault
	now := time.Now()
	err := s.follower.Load(store.Load{
		Floor: floor,
		Rev:   rev,
		Base: func(visit func(store.Event) error) error {
			clear(index)
			return s.pages(ctx, floor, &failed, func(e store.Event) error {
				e.Time = now
				index[e.Key] = e.Rev
				return visit(e)
			})
		},
		Events: func(visit func(store.Event) error) error {
			for told := floor; told < rev; {
				n, err := w.next(ctx)
				if err != nil {
					failed = err
					return err
				}
				if n.rev > rev {
					w.queue = append([]news{n}, w.queue...)
					break
				}
				told = n.rev
				for _, kv := range n.events {
					if err := visit(s.event(index, kv, now)); err != nil {
						return err
					}
				}
			}
			return nil
		},
	})
	if failed != nil {
		err = failed
	}
	if err != nil {
		w.close()
		return nil, err
	}
	w.patience = 0
	s.index = index
	s.advance(rev)
	return w, nil
}

// Pages are of as many keys as make about pageBytes, going by the last one.
const (
	pageBytes = 4 << 20
	pageMin   = 16
	pageMax   = 10_000
)

// pages visits the keys there were at a revision.
func (s *Store) pages(ctx context.Context, rev uint64, failed *error, visit func(store.Event) error) error {
	from, to := s.all()
	limit := int64(500)
	for {
		resp, err := s.client.Get(ctx, from, clientv3.WithRange(to), clientv3.WithRev(int64(rev)), clientv3.WithLimit(limit))
		if errors.Is(err, rpctypes.ErrCompacted) {
			err = s.compacted(ctx)
		}
		if err != nil {
			*failed = err
			return err
		}
		size := int64(1)
		for _, kv := range resp.Kvs {
			size += int64(len(kv.Key) + len(kv.Value))
			if err := visit(store.Event{Key: s.outer(kv.Key), Value: present(kv.Value), Rev: uint64(kv.ModRevision)}); err != nil {
				return err
			}
		}
		if !resp.More {
			return nil
		}
		n := int64(len(resp.Kvs))
		from = string(resp.Kvs[n-1].Key) + "\x00"
		limit = min(max(n*pageBytes/size, pageMin), pageMax, 2*limit)
	}
}

// compacted finds out up to where etcd has been compacted, and returns a *lost.
func (s *Store) compacted(ctx context.Context) error {
	w := &watch{s: s, after: 0, patience: s.o.StartTimeout}
	defer w.close()
	for {
		if _, err := w.next(ctx); err != nil {
			return err
		}
	}
}

// reload begins again, with what there is now. It tries until it succeeds or the
// store closes, and then returns nil.
func (s *Store) reload() *watch {
	for wait := retryMin; ; wait = min(2*wait, retryMax) {
		rev, err := s.read(s.life)
		if err == nil {
			var w *watch
			if w, err = s.load(s.life, rev, rev); err == nil {
				return w
			}
		}
		select {
		case <-s.life.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// present is a value that is there, even if it is empty.
func present(value []byte) []byte {
	if value == nil {
		return []byte{}
	}
	return value
}
