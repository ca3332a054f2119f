package etcd

import (
	"context"
	"errors"
	"fmt"
	"math"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/knarr-io/knarr/internal/store"
)

// Commit implements store.Store: one transaction.
//
// That it is not known what became of one is told, and never guessed from what is
// read afterwards: another server may have written the same bytes from the same
// base, and one of the two has lost.
func (s *Store) Commit(ctx context.Context, changes []store.Change) ([]uint64, error) {
	if err := store.Validate(changes); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := s.usable(&s.commit); err != nil {
		return nil, err
	}
	defer s.commit.Done()
	ctx, cancel := s.untilClose(ctx)
	defer cancel()
	resp, err := s.transact(ctx, changes)
	if errors.Is(err, rpctypes.ErrLeaseNotFound) { // it has ended before its time: nothing was changed
		s.leases.forget()
		resp, err = s.transact(ctx, changes)
	}
	if err != nil {
		return nil, commitError(ctx, err)
	}
	rev := uint64(resp.Header.Revision)
	s.want(rev)
	if err := s.reach(ctx, rev); err != nil {
		return nil, &unknown{err} // to the caller, who cannot see it
	}
	if !resp.Succeeded {
		return nil, conflict(changes, resp)
	}
	revs := make([]uint64, len(changes))
	for i := range changes {
		if revs[i] = rev; changes[i].Check {
			revs[i] = changes[i].If
		}
	}
	return revs, nil
}

// transact has etcd make all changes, or tell what each key is at.
func (s *Store) transact(ctx context.Context, changes []store.Change) (*clientv3.TxnResponse, error) {
	conditions := make([]clientv3.Cmp, len(changes))
	reads := make([]clientv3.Op, len(changes))
	ops := make([]clientv3.Op, 0, len(changes))
	for i := range changes {
		c := &changes[i]
		key, err := s.inner(c.Key)
		if err != nil {
			return nil, &refused{err}
		}
		conditions[i] = clientv3.Compare(clientv3.ModRevision(key), "=", int64(min(c.If, math.MaxInt64)))
		reads[i] = clientv3.OpGet(key, clientv3.WithKeysOnly())
		switch {
		case c.Check:
		case c.Value == nil && c.If == 0:
			conditions[i] = clientv3.Compare(clientv3.ModRevision(key), "<", 0) // never
		case c.Value == nil:
			ops = append(ops, clientv3.OpDelete(key))
		case c.TTL > 0:
			lease, err := s.leases.get(ctx, s.client, c.TTL)
			if err != nil {
				return nil, &refused{err}
			}
			ops = append(ops, clientv3.OpPut(key, string(c.Value), clientv3.WithLease(lease)))
		default:
			ops = append(ops, clientv3.OpPut(key, string(c.Value)))
		}
	}
	return s.client.Txn(ctx).If(conditions...).Then(ops...).Else(reads...).Commit()
}

// conflict finds the first change whose condition has failed.
func conflict(changes []store.Change, resp *clientv3.TxnResponse) error {
	for i := range changes {
		var rev uint64
		if kvs := resp.Responses[i].GetResponseRange().GetKvs(); len(kvs) > 0 {
			rev = uint64(kvs[0].ModRevision)
		}
		if c := changes[i].Failed(rev); c != nil {
			return c
		}
	}
	return errors.New("etcd has refused a transaction whose conditions hold")
}

// refused is an error with which nothing was changed; unknown one with which that
// is not known. Both say no more than what they hold, as upstream does.
type (
	refused struct{ error }
	unknown struct{ error }
)

func (r *refused) Unwrap() error        { return r.error }
func (u *unknown) Unwrap() error        { return u.error }
func (u *unknown) Is(target error) bool { return target == store.ErrUnknown }

func commitError(ctx context.Context, err error) error {
	var r *refused
	if errors.As(err, &r) {
		err = r.error
	}
	if ctx.Err() != nil && !errors.Is(err, context.Cause(ctx)) {
		err = context.Cause(ctx)
	} else if ctx.Err() == nil && (r != nil || definite(err)) {
		return err
	}
	if r != nil {
		return fmt.Errorf("nothing was changed: %w", err)
	}
	return &unknown{err}
}

// definite reports whether an error of etcd says that nothing was changed.
func definite(err error) bool {
	code := status.Code(err)
	var known rpctypes.EtcdError
	if errors.As(err, &known) {
		code = known.Code()
	}
	switch code {
	case codes.InvalidArgument, codes.NotFound, codes.FailedPrecondition, codes.ResourceExhausted,
		codes.OutOfRange, codes.PermissionDenied, codes.Unauthenticated, codes.Unimplemented:
		return true
	}
	return false
}
