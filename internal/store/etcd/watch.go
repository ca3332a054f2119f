package etcd

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
)

// The time between two tries to reach etcd grows from one to the other.
const (
	retryMin = 20 * time.Millisecond
	retryMax = time.Second
)

// news is what a watch tells next: the events of one revision or, if there are
// none, that all up to it has been told.
type news struct {
	rev    uint64
	events []*mvccpb.Event
}

// watch reads what happens below the prefix, in order, over as many streams as it
// takes. etcd's client has a watch, too, but that reads ahead without a bound, and
// does not end when it is told to. It belongs to one goroutine.
type watch struct {
	s     *Store
	after uint64 // all up to here is in the queue or was in it
	queue []news

	stream   *stream
	part     []*mvccpb.Event // of an answer that comes in fragments: the last revision, which may go on
	wait     time.Duration   // before the next try
	patience time.Duration   // of tries without success; 0 for ever
	failing  time.Time
}

// stream is one connection's worth of a watch.
type stream struct {
	pb.Watch_WatchClient
	cancel context.CancelFunc

	sending sync.Mutex
}

func (w *watch) close() {
	if w.stream == nil {
		return
	}
	w.s.mu.Lock()
	if w.s.mu.asked == w.stream {
		w.s.mu.asked = nil
	}
	w.s.mu.Unlock()
	w.stream.cancel()
	for { // its goroutines end with what it has received
		if _, err := w.stream.Recv(); err != nil {
			break
		}
	}
	w.stream, w.part = nil, nil
}

// next waits for what comes next. Its error is a *lost, ctx's, or that patience
// has come to an end.
func (w *watch) next(ctx context.Context) (news, error) {
	for {
		if len(w.queue) > 0 {
			n := w.queue[0]
			w.queue[0] = news{}
			w.queue = w.queue[1:]
			return n, nil
		}
		err := w.receive(ctx)
		var l *lost
		switch {
		case err == nil:
			w.wait, w.failing = 0, time.Time{}
			continue
		case ctx.Err() != nil:
			return news{}, context.Cause(ctx)
		case errors.As(err, &l):
			w.close()
			return news{}, err
		}
		w.close()
		if w.failing.IsZero() {
			w.failing = time.Now()
		}
		if w.patience > 0 && time.Since(w.failing) > w.patience {
			return news{}, err
		}
		w.wait = min(max(2*w.wait, retryMin), retryMax)
		select {
		case <-ctx.Done():
			return news{}, context.Cause(ctx)
		case <-time.After(w.wait/2 + rand.N(w.wait/2)):
		}
	}
}

// receive takes one answer of the stream, which it opens if there is none.
func (w *watch) receive(ctx context.Context) error {
	if w.stream == nil {
		return w.open(ctx)
	}
	stop := context.AfterFunc(ctx, w.stream.cancel)
	defer stop()
	resp, err := w.stream.Recv()
	switch {
	case err != nil:
		return err
	case resp.CompactRevision != 0:
		return &lost{compacted: uint64(resp.CompactRevision)}
	case resp.Canceled:
		return fmt.Errorf("etcd has ended the watch: %s", resp.CancelReason)
	case len(resp.Events) == 0 && !resp.Fragment && len(w.part) == 0:
		if rev := uint64(resp.Header.GetRevision()); rev > w.after {
			w.tell(news{rev: rev})
		}
		return nil
	}
	w.part = append(w.part, resp.Events...)
	for len(w.part) > 0 {
		rev, n := w.part[0].Kv.ModRevision, 1
		for n < len(w.part) && w.part[n].Kv.ModRevision == rev {
			n++
		}
		if n == len(w.part) && resp.Fragment {
			break // the rest of the revision may follow
		}
		w.tell(news{uint64(rev), w.part[:n:n]})
		w.part = w.part[n:]
	}
	return nil
}

func (w *watch) tell(n news) {
	w.queue = append(w.queue, n)
	w.after = n.rev
}

// open begins a stream after what the last one has told.
func (w *watch) open(ctx context.Context) error {
	// It outlives ctx, which may be that of Start.
	streaming, cancel := context.WithCancel(clientv3.WithRequireLeader(w.s.life))
	stop := context.AfterFunc(ctx, cancel)
	defer stop()
	client, err := pb.NewWatchClient(w.s.client.ActiveConnection()).Watch(streaming, grpc.MaxCallRecvMsgSize(math.MaxInt32))
	if err != nil {
		cancel()
		return err
	}
	w.stream = &stream{Watch_WatchClient: client, cancel: cancel}
	from, to := w.s.all()
	if err := client.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{
		Key: []byte(from), RangeEnd: []byte(to), StartRevision: int64(w.after + 1), ProgressNotify: true, Fragment: true,
	}}}); err != nil {
		return err
	}
	created, err := client.Recv()
	switch {
	case err != nil:
		return err
	case created.CompactRevision != 0:
		return &lost{compacted: uint64(created.CompactRevision)}
	case created.Canceled:
		return fmt.Errorf("etcd refuses the watch: %s", created.CancelReason)
	}
	// What is made again from a snapshot is another cluster, whatever its revision.
	if was, is := w.s.cluster, created.Header.GetClusterId(); was != is {
		if w.s.cluster = is; was != 0 {
			return &lost{}
		}
	}
	// A member of the cluster may lag behind; the cluster may not.
	if uint64(created.Header.GetRevision()) < w.after {
		rev, err := w.s.read(ctx)
		if err != nil {
			return err
		}
		if rev < w.after {
			return &lost{}
		}
	}
	w.s.mu.Lock()
	w.s.mu.asked = w.stream
	w.s.mu.Unlock()
	return nil
}

// askProgress has the stream tell how far it is. It is told nothing if there are
// events that it has yet to tell.
func (s *stream) askProgress() {
	s.sending.Lock()
	defer s.sending.Unlock()
	// An error comes up where the stream is read.
	_ = s.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}})
}
