// Package etcd is a store in an etcd cluster, v3.5.13 or later, which it shares
// with other servers: with knarrs and kube-apiservers, under the keys that those
// use. All that happens below the prefix, this server's own commits included,
// comes back by one watch, which alone tells the follower; a commit returns when
// the watch has brought it. So all servers see the same, in the same order, under
// the same revisions.
//
// It knows etcd's protocol. It must not know what a key or a value means.
//
// # What is kept in memory
//
// The revision of every key, for Event.Prev; the waiting commits; a page of a few
// megabytes while loading; one answer of the watch. What etcd has for a slow
// reader of its watch waits there.
package etcd

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/knarr-io/knarr/internal/store"
)

// Options say where the cluster is, and what of it is ours. Servers is needed.
type Options struct {
	// Servers are URLs, such as http://127.0.0.1:2379.
	Servers []string
	// CAFile, CertFile and KeyFile are for TLS, as kube-apiserver has them.
	CAFile, CertFile, KeyFile string
	// Root is what every key of a change begins with, before a slash. In etcd
	// Prefix stands in its place; it may be the same.
	Root, Prefix string
	// CompactionInterval is how often the cluster is compacted, as kube-apiserver
	// does it and together with those there are; 0 leaves that to others.
	CompactionInterval time.Duration
	// HistoryRevisions is how many revisions of the past are loaded at most;
	// default 10,000, which etcd tells in about a second.
	HistoryRevisions uint64
	// StartTimeout is how long Start waits for etcd; default 20 s, as upstream.
	StartTimeout time.Duration
}

const (
	// As upstream, so that a server that is gone is noticed.
	keepaliveTime    = 30 * time.Second
	keepaliveTimeout = 10 * time.Second
	dialTimeout      = 20 * time.Second
	// closeGrace is how long Close waits for commits that etcd does not answer.
	closeGrace = 5 * time.Second
)

// Store is a store.Store in etcd.
type Store struct {
	o        Options
	client   *clientv3.Client
	follower store.Follower
	// Of the goroutine of Start, then of follow:
	index   map[string]uint64 // the revision of each key
	cluster uint64            // which one it is

	leases  leases
	reads   reads
	applied atomic.Uint64 // what the follower has been told of

	life   context.Context // ends when nothing runs any more that others wait for
	end    context.CancelCauseFunc
	commit sync.WaitGroup // running commits
	owners sync.WaitGroup // all else that Close waits for
	closed func() error
	prod   chan struct{} // has a token if wanted has grown

	mu struct {
		sync.Mutex
		started bool
		running bool
		closing bool
		waiters waiters
		wanted  uint64  // the watch is to come at least to here
		asked   *stream // that progress can be asked of; nil while there is none
	}
}

var _ store.Store = (*Store)(nil)

// New returns a store that connects when it is started.
func New(o Options) (*Store, error) {
	if o.HistoryRevisions == 0 {
		o.HistoryRevisions = 10_000
	}
	if o.StartTimeout == 0 {
		o.StartTimeout = dialTimeout
	}
	config := clientv3.Config{
		Endpoints:            o.Servers,
		DialTimeout:          dialTimeout,
		DialKeepAliveTime:    keepaliveTime,
		DialKeepAliveTimeout: keepaliveTimeout,
		Logger:               zap.NewNop(), // errors are told to those who are concerned
		// gRPC's own would have a server that was away for long found after minutes.
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
			MinConnectTimeout: dialTimeout,
		})},
	}
	if o.CAFile != "" || o.CertFile != "" || o.KeyFile != "" {
		info := transport.TLSInfo{CertFile: o.CertFile, KeyFile: o.KeyFile, TrustedCAFile: o.CAFile}
		var err error
		if config.TLS, err = info.ClientConfig(); err != nil {
			return nil, fmt.Errorf("the certificates for etcd: %w", err)
		}
	}
	client, err := clientv3.New(config)
	if err != nil {
		return nil, fmt.Errorf("etcd at %s: %w", strings.Join(o.Servers, ", "), err)
	}
	s := &Store{o: o, client: client, index: map[string]uint64{}, prod: make(chan struct{}, 1), leases: newLeases()}
	s.life, s.end = context.WithCancelCause(context.Background())
	s.closed = sync.OnceValue(s.close)
	return s, nil
}

// Start implements store.Store.
func (s *Store) Start(ctx context.Context, f store.Follower) error {
	s.mu.Lock()
	switch {
	case s.mu.closing:
		s.mu.Unlock()
		return store.ErrClosed
	case s.mu.started:
		s.mu.Unlock()
		return errors.New("the store has been started before")
	}
	s.mu.started = true
	s.follower = f
	s.owners.Add(1)
	s.owners.Go(s.runProd)
	s.mu.Unlock()
	defer s.owners.Done()

	ctx, cancel := s.untilClose(ctx)
	defer cancel()
	w, err := s.begin(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closing {
		w.close()
		return store.ErrClosed
	}
	s.mu.running = true
	s.owners.Go(func() { s.follow(w) })
	if s.o.CompactionInterval > 0 {
		s.owners.Go(s.runCompactor)
	}
	return nil
}

// usable tells why the store cannot be used, if so, and otherwise has Close wait
// for what the caller does until it calls Done.
func (s *Store) usable(group *sync.WaitGroup) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.mu.closing:
		return store.ErrClosed
	case !s.mu.running:
		return errors.New("the store has not been started")
	}
	group.Add(1)
	return nil
}

// Compact implements store.Store. The history is that of all who share the
// cluster: it goes when all of them have had their time, by the compactor.
func (s *Store) Compact(ctx context.Context, rev uint64) error {
	if err := s.usable(&s.owners); err != nil {
		return err
	}
	defer s.owners.Done()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if last := s.applied.Load(); rev > last {
		return fmt.Errorf("cannot compact at revision %d: the store is at %d", rev, last)
	}
	return nil
}

// Close implements store.Store. Commits that run have a while to end: the watch
// goes on for them.
func (s *Store) Close() error { return s.closed() }

func (s *Store) close() error {
	s.mu.Lock()
	s.mu.closing = true
	s.mu.Unlock()
	timer := time.AfterFunc(closeGrace, func() { s.end(store.ErrClosed) })
	s.commit.Wait()
	timer.Stop()
	s.end(store.ErrClosed)
	s.owners.Wait()
	return s.client.Close()
}

// untilClose returns a context that ends with ctx or with the store.
func (s *Store) untilClose(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.life, func() { cancel(context.Cause(s.life)) })
	return ctx, func() { stop(); cancel(nil) }
}

// inner returns the key in etcd of one of a change, outer the reverse.
func (s *Store) inner(key string) (string, error) {
	rest, ok := strings.CutPrefix(key, s.o.Root)
	if !ok || !strings.HasPrefix(rest, "/") {
		return "", fmt.Errorf("the key %q is not below %s/", key, s.o.Root)
	}
	return s.o.Prefix + rest, nil
}

func (s *Store) outer(key []byte) string {
	if s.o.Root == s.o.Prefix {
		return string(key)
	}
	return s.o.Root + string(key[len(s.o.Prefix):])
}

// all are the keys that are ours: from the first to before the last.
func (s *Store) all() (from, to string) {
	from = s.o.Prefix + "/"
	return from, clientv3.GetPrefixRangeEnd(from)
}

// read asks etcd for its revision, as of now.
func (s *Store) read(ctx context.Context) (uint64, error) {
	resp, err := s.client.Get(ctx, path.Join("/", s.o.Prefix, "health"))
	if err != nil {
		return 0, err
	}
	return uint64(resp.Header.Revision), nil
}
