package raftstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// Peer is a member of the group, known from the configuration.
type Peer struct{ ID, Addr string }

// Stores is where a node keeps its log, its vote and its snapshots.
type Stores struct {
	Log       raft.LogStore
	Stable    raft.StableStore
	Snapshots raft.SnapshotStore
	Close     func() error
}

// MemoryStores returns stores for tests and simulations.
func MemoryStores() Stores {
	s := raft.NewInmemStore()
	return Stores{Log: s, Stable: s, Snapshots: raft.NewInmemSnapshotStore(), Close: func() error { return nil }}
}

// Timing holds the waits of a group. Zero values take the defaults, which suit a local network.
type Timing struct {
	Heartbeat time.Duration // follower without news of a leader starts an election after 1 to 2 times this
	Election  time.Duration // candidate without a result starts again
	Lease     time.Duration // leader without a majority steps down
	Commit    time.Duration // idle leader tells followers the commit index this often
	Transfer  time.Duration // a closing leader waits this long for its successor
	Shutdown  time.Duration // then this long for the library to stop; a crash is safe at any time
}

// Snapshots says when the log is compacted.
type Snapshots struct {
	Interval time.Duration // how often it is looked at
	Entries  uint64        // at least this many entries since the last one
	Trailing uint64        // entries kept for followers that are a little behind
}

// Options configures a node of a group.
type Options struct {
	NodeID    string
	Peers     []Peer // all voters, this node included; used when the stores are empty
	Stores    Stores
	Stream    raft.StreamLayer // from Mux.Group; or
	Transport raft.Transport   // an own transport (tests, simulation)
	Timing    Timing
	Snapshots Snapshots
	LogOutput io.Writer
	// OnLeader is called when this node leads and has applied all earlier entries. It commits what the
	// owner needs to begin a term; after nil the node is Ready. ctx ends with the leadership.
	OnLeader func(ctx context.Context, term uint64) error
	// OnFault is called once when this node must not go on (a corrupt entry, a log that cannot be written).
	OnFault func(error)
}

func (o *Options) applyDefaults() {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&o.Timing.Heartbeat, 500*time.Millisecond)
	def(&o.Timing.Election, o.Timing.Heartbeat)
	def(&o.Timing.Lease, o.Timing.Heartbeat)
	def(&o.Timing.Commit, 100*time.Millisecond)
	def(&o.Timing.Transfer, 2*time.Second)
	def(&o.Timing.Shutdown, 10*time.Second)
	def(&o.Snapshots.Interval, 30*time.Second)
	if o.Snapshots.Entries == 0 {
		o.Snapshots.Entries = 8192
	}
	if o.Snapshots.Trailing == 0 {
		o.Snapshots.Trailing = 4096
	}
	if o.LogOutput == nil {
		o.LogOutput = io.Discard
	}
}

// Store is a Partition on hashicorp/raft.
type Store struct {
	opts     Options
	raft     *raft.Raft
	fsm      *machine
	trans    raft.Transport
	notify   chan bool
	changed  notifier
	observer *raft.Observer
	observed chan raft.Observation
	stop     chan struct{}
	wg       sync.WaitGroup
	// cancelTerm ends the hook of the term that this node leads; only watch touches it.
	cancelTerm context.CancelFunc
	mu         sync.Mutex
	ready      bool
	closed     bool
}

var _ Partition = (*Store)(nil)

// enqueueTimeout bounds the wait for the leader's queue; longer means overload.
const enqueueTimeout = 2 * time.Second

// Open starts this node of the group.
func Open(opts Options, sm StateMachine) (*Store, error) {
	opts.applyDefaults()
	s := &Store{opts: opts, notify: make(chan bool, 16), stop: make(chan struct{}), observed: make(chan raft.Observation, 16), cancelTerm: func() {}}
	s.fsm = &machine{sm: sm, onFault: opts.OnFault}
	logger := hclog.New(&hclog.LoggerOptions{Name: "raft", Level: hclog.Warn, Output: opts.LogOutput})
	conf := s.config(logger)
	s.trans = opts.Transport
	if s.trans == nil {
		s.trans = raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
			Stream: opts.Stream, MaxPool: 3, MaxRPCsInFlight: 2, Timeout: 10 * time.Second, Logger: logger,
		})
	}
	if err := bootstrap(conf, opts, s.trans); err != nil {
		return nil, err
	}
	r, err := s.start(conf)
	if err != nil {
		return nil, fmt.Errorf("raftstore: start node %s: %w", opts.NodeID, err)
	}
	s.raft = r
	s.observer = raft.NewObserver(s.observed, false, func(o *raft.Observation) bool {
		_, leader := o.Data.(raft.LeaderObservation)
		return leader
	})
	r.RegisterObserver(s.observer)
	s.wg.Add(1)
	go s.watch()
	return s, nil
}

// start loads what is on disk. The library panics when the log does not begin where the newest readable snapshot ends.
func (s *Store) start(conf *raft.Config) (r *raft.Raft, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: the log does not continue the newest snapshot that can be read: %v", ErrDamaged, p)
		} else if err != nil {
			err = fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}()
	log := newLogCache(&disk{LogStore: s.opts.Stores.Log, onFault: s.fsm.fail})
	return raft.NewRaft(conf, s.fsm, log, s.opts.Stores.Stable, s.opts.Stores.Snapshots, s.trans)
}

func (s *Store) config(logger hclog.Logger) *raft.Config {
	c := raft.DefaultConfig()
	t := s.opts.Timing
	c.LocalID = raft.ServerID(s.opts.NodeID)
	c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout, c.CommitTimeout = t.Heartbeat, t.Election, t.Lease, t.Commit
	c.SnapshotInterval, c.SnapshotThreshold, c.TrailingLogs = s.opts.Snapshots.Interval, s.opts.Snapshots.Entries, s.opts.Snapshots.Trailing
	c.MaxAppendEntries = 64
	c.NoLegacyTelemetry = true
	c.NotifyCh = s.notify
	c.Logger = logger
	return c
}

func bootstrap(conf *raft.Config, opts Options, trans raft.Transport) error {
	has, err := raft.HasExistingState(opts.Stores.Log, opts.Stores.Stable, opts.Stores.Snapshots)
	if err != nil {
		return fmt.Errorf("raftstore: read existing state: %w", err)
	}
	if has {
		return nil
	}
	var c raft.Configuration
	for _, p := range opts.Peers {
		c.Servers = append(c.Servers, raft.Server{Suffrage: raft.Voter, ID: raft.ServerID(p.ID), Address: raft.ServerAddress(p.Addr)})
	}
	if err := raft.BootstrapCluster(conf, opts.Stores.Log, opts.Stores.Stable, opts.Stores.Snapshots, trans, c); err != nil {
		return fmt.Errorf("raftstore: bootstrap with %d peers: %w", len(c.Servers), err)
	}
	return nil
}

// watch follows leadership: barrier, the owner's first entry of the term, ready.
func (s *Store) watch() {
	defer s.wg.Done()
	defer func() { s.cancelTerm() }()
	for {
		select {
		case <-s.stop:
			return
		case <-s.observed:
			s.changed.notify()
		case lead := <-s.notify:
			s.cancelTerm() // the old term's hook can no longer declare this node ready
			s.setReady(context.Background(), false)
			if lead {
				var ctx context.Context
				ctx, s.cancelTerm = context.WithCancel(context.Background())
				s.wg.Add(1)
				go s.lead(ctx)
			}
		}
	}
}

const leadRetry = 50 * time.Millisecond // between attempts to begin a term

func (s *Store) lead(ctx context.Context) {
	defer s.wg.Done()
	for ctx.Err() == nil {
		err := s.Barrier(ctx)
		if err == nil && s.opts.OnLeader != nil {
			err = s.opts.OnLeader(ctx, s.raft.CurrentTerm())
		}
		if err == nil {
			s.setReady(ctx, true)
			return
		}
		select {
		case <-ctx.Done():
		case <-s.stop:
			return
		case <-time.After(leadRetry):
		}
	}
}

func (s *Store) setReady(ctx context.Context, ready bool) {
	s.mu.Lock()
	if ctx.Err() == nil {
		s.ready = ready
	}
	s.mu.Unlock()
	s.changed.notify()
}

// Propose implements Partition.
func (s *Store) Propose(ctx context.Context, data []byte) (any, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	wait, err := s.Begin(data)
	if err != nil {
		return nil, err
	}
	return wait(ctx)
}

// Begin puts a proposal into the log's order and returns how to wait for its result: proposals begun one
// after the other are applied in that order. It keeps a copy of data, and blocks while the leader's queue is full.
func (s *Store) Begin(data []byte) (wait func(context.Context) (any, error), err error) {
	if len(data) > MaxEntryBytes {
		return nil, fmt.Errorf("raftstore: proposal of %d bytes, the bound is %d", len(data), MaxEntryBytes)
	}
	f := s.raft.Apply(sealEntry(data), enqueueTimeout)
	return func(ctx context.Context) (any, error) {
		if err := await(ctx, f); err != nil {
			return nil, outcome(err)
		}
		if err, bad := f.Response().(error); bad && errors.Is(err, errFaulted) {
			return nil, fmt.Errorf("%w: %v", ErrIndeterminate, err)
		}
		return f.Response(), nil
	}, nil
}

// outcome sorts the library's errors by what may have happened to the entry.
func outcome(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return fmt.Errorf("%w: %v", ErrNotLeader, err)
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return fmt.Errorf("%w: %v", ErrOverloaded, err)
	}
	// ErrLeadershipLost, ErrRaftShutdown, a deadline, a failed disk write: replicated or not, nobody knows.
	return fmt.Errorf("%w: %w", ErrIndeterminate, err)
}

func await(ctx context.Context, f raft.Future) error {
	if ctx.Done() == nil {
		return f.Error()
	}
	done := make(chan error, 1)
	go func() { done <- f.Error() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Leader implements Partition.
func (s *Store) Leader() (id, addr string) {
	a, i := s.raft.LeaderWithID()
	return string(i), string(a)
}

// IsLeader implements Partition.
func (s *Store) IsLeader() bool { return s.raft.State() == raft.Leader }

// Ready implements Partition.
func (s *Store) Ready() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ready && s.IsLeader()
}

// Changed returns a channel that is closed at the next change of leader or readiness.
func (s *Store) Changed() <-chan struct{} { return s.changed.wait() }

// Applied returns a channel that is closed after the next entry was applied here.
func (s *Store) Applied() <-chan struct{} { return s.fsm.waiters.wait() }

// AppliedIndex implements Partition.
func (s *Store) AppliedIndex() uint64 { return s.fsm.applied.Load() }

// Term is the current term.
func (s *Store) Term() uint64 { return s.raft.CurrentTerm() }

// Barrier implements Partition.
func (s *Store) Barrier(ctx context.Context) error {
	if err := await(ctx, s.raft.Barrier(enqueueTimeout)); err != nil {
		return outcome(err)
	}
	return nil
}

// Snapshot takes a snapshot now and truncates the log as configured. It is not an error when there is nothing new.
func (s *Store) Snapshot() error {
	if err := s.raft.Snapshot().Error(); err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return fmt.Errorf("raftstore: snapshot: %w", err)
	}
	return nil
}

// TransferLeadership hands the leadership to another node and waits until it has.
func (s *Store) TransferLeadership() error { return s.raft.LeadershipTransfer().Error() }

// Close hands leadership over when there is somebody to take it, stops the node and closes its stores.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	if s.IsLeader() && len(s.opts.Peers) > 1 {
		s.bounded(s.opts.Timing.Transfer, func() { _ = s.TransferLeadership() })
	}
	return s.kill()
}

// kill stops without handing over: what a crash looks like to the others.
func (s *Store) kill() error {
	s.setReady(context.Background(), false)
	stopped := s.bounded(s.opts.Timing.Shutdown, func() { _ = s.raft.Shutdown().Error() })
	close(s.stop)
	s.wg.Wait()
	s.raft.DeregisterObserver(s.observer)
	var err error
	if c, ok := s.trans.(io.Closer); ok {
		err = c.Close()
	}
	if !stopped {
		return errors.Join(err, fmt.Errorf("raftstore: node %s did not stop within %s", s.opts.NodeID, s.opts.Timing.Shutdown))
	}
	return errors.Join(err, s.opts.Stores.Close())
}

func (s *Store) bounded(d time.Duration, f func()) bool {
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
		return true
	case <-time.After(d):
		return false
	}
}

// Status is what an operator asks for.
type Status struct {
	Role                               string
	Term                               uint64
	LastIndex, CommitIndex, FSMApplied uint64
	Entries, EntryBytes                uint64 // applied since start
	Fault                              string
	LastContact                        time.Duration // since this follower heard of its leader; 0 on the leader
}

// Status describes this node.
func (s *Store) Status() Status {
	st := Status{
		Role: s.raft.State().String(), Term: s.raft.CurrentTerm(), LastIndex: s.raft.LastIndex(),
		CommitIndex: s.raft.CommitIndex(), FSMApplied: s.AppliedIndex(),
		Entries: s.fsm.entries.Load(), EntryBytes: s.fsm.bytes.Load(),
	}
	if e := s.fsm.fault.Load(); e != nil {
		st.Fault = (*e).Error()
	}
	if !s.IsLeader() {
		st.LastContact = time.Since(s.raft.LastContact())
	}
	return st
}
