// Package core is a node of the cluster: it wires the replicated state machine
// to its log, the agents, the sinks and the API, all on one port, and brings
// them up and down in order.
//
// It promises that Run returns only after everything it started has stopped,
// that leadership is handed over on a graceful stop, and that a node whose state
// is in doubt stops instead of answering. It refuses to know concrete sinks:
// they are handed in.
package core

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"signalbox/core/api"
	"signalbox/core/catalog"
	"signalbox/core/deliver"
	"signalbox/core/fsm"
	"signalbox/core/ingest"
	"signalbox/core/outbox"
	"signalbox/engine"
	"signalbox/raftstore"
	"signalbox/raftstore/walstore"
	"signalbox/sinks"
)

// Options are the parts that are handed in.
type Options struct {
	Sinks     []sinks.Sink // closed when Run returns
	Page      http.Handler // at "/"; nil = none
	Version   string
	LogOutput io.Writer         // nil = discard
	Clock     func() time.Time  // nil = time.Now
	Engine    fsm.EngineFactory // nil = the real one with its defaults
	// LogSegmentBytes is the size of a segment of the log, 0 = the default: truncated entries stay readable until theirs is full.
	LogSegmentBytes int
}

// Node is one member of the cluster.
type Node struct {
	cfg     Config
	opts    Options
	peers   []raftstore.Peer
	tls     raftstore.TLS
	started chan struct{} // closed when the port answers
	once    sync.Once
	reach   reach

	mu sync.Mutex
	p  *parts
}

// New checks the configuration; Run does the rest.
func New(cfg Config, opts Options) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	peers, err := cfg.peers()
	if err != nil {
		return nil, err
	}
	sec, err := cfg.transport()
	if err != nil {
		return nil, err
	}
	if opts.LogOutput == nil {
		opts.LogOutput = io.Discard
	}
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	if opts.Engine == nil {
		opts.Engine = fsm.RealEngine{Options: cfg.engineOptions()}
	}
	return &Node{cfg: cfg, opts: opts, peers: peers, tls: sec, started: make(chan struct{})}, nil
}

// DefaultLateness is the allowed_lateness of a table that says none and may have
// one: a depot that was without a network for a day still corrects its windows.
// It is no key of the configuration, because all nodes must agree on it.
const DefaultLateness = 24 * time.Hour

// EngineOptions are those of the engine of every node, but for what its configuration says.
func EngineOptions() engine.Options {
	o := engine.DefaultOptions()
	o.DefaultLateness = DefaultLateness.Microseconds()
	return o
}

func (c *Config) engineOptions() engine.Options {
	o := EngineOptions()
	o.MaxKeys = c.MaxKeys
	return o
}

// Started is closed when the port answers for the first time.
func (n *Node) Started() <-chan struct{} { return n.started }

// errRebuild means: the state is undefined after a panic, build it again from snapshot and log.
var errRebuild = errors.New("core: state machine panicked, rebuilding from the snapshot")

// Run serves until ctx ends. After a panic of the state machine it rebuilds itself in place; any other
// fault ends it with an error, and the node must not be started again before the cause is understood.
func (n *Node) Run(ctx context.Context) error {
	defer func() {
		for _, s := range n.opts.Sinks {
			_ = s.Close()
		}
	}()
	for {
		err := n.run(ctx)
		if !errors.Is(err, errRebuild) || ctx.Err() != nil {
			return n.wayBack(err)
		}
		fmt.Fprintf(n.opts.LogOutput, "%v\n", err)
	}
}

// parts is what lives from one start to the next.
type parts struct {
	mux      *raftstore.Mux
	machine  *fsm.Machine
	store    *raftstore.Store
	proposer *ingest.Proposer
	forward  *ingest.Forwarder
	agents   *ingest.AgentServer
	delivery *deliver.Delivery
	catalog  *catalog.Catalog
	events   *api.Events
	queries  *api.Queries
	clocks   *clocks
	fault    chan error
}

func (n *Node) run(ctx context.Context) error {
	p, err := n.open()
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.p = p
	n.mu.Unlock()
	runCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	spawn := func(f func(context.Context)) {
		wg.Add(1)
		go func() { defer wg.Done(); f(runCtx) }()
	}
	spawn(p.delivery.Run)
	spawn(func(ctx context.Context) { p.proposer.Tick(ctx, n.cfg.TickEvery) })
	spawn(func(ctx context.Context) { n.watchClocks(ctx, p) })
	public, peer := n.servers(p)
	go func() { _ = public.Serve(p.mux.HTTP()) }()
	go func() { _ = peer.Serve(p.mux.Peer()) }()
	n.once.Do(func() { close(n.started) })
	select {
	case <-ctx.Done():
		err = nil
	case err = <-p.fault:
	}
	n.stop(p, cancel, &wg, public, peer)
	if err != nil && errors.Is(err, raftstore.ErrStopped) {
		return fmt.Errorf("%w: %w", errRebuild, err)
	}
	return err
}

const stopTimeout = 5 * time.Second

// stop goes outside in: agents are told, leadership is handed over while the port still works, then everything closes.
func (n *Node) stop(p *parts, cancel context.CancelFunc, wg *sync.WaitGroup, public, peer *http.Server) {
	p.agents.Close()
	p.events.Close()
	cancel()
	wg.Wait()
	if err := p.store.Close(); err != nil {
		fmt.Fprintf(n.opts.LogOutput, "core: %v\n", err)
	}
	p.proposer.Close()
	p.forward.Close()
	ctx, done := context.WithTimeout(context.Background(), stopTimeout)
	defer done()
	_ = public.Shutdown(ctx)
	_ = public.Close()
	_ = peer.Close()
	_ = p.mux.Close()
	_ = p.machine.Outbox().Close()
}

func (n *Node) advertised() string {
	for _, p := range n.peers {
		if p.ID == n.cfg.NodeID {
			return p.Addr
		}
	}
	return n.cfg.Listen
}

func (n *Node) open() (_ *parts, err error) {
	if err := os.MkdirAll(n.cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("core: data_dir: %w", err)
	}
	p := &parts{fault: make(chan error, 1), events: &api.Events{}, clocks: newClocks(n.opts.Clock)}
	if p.machine, err = n.machine(p); err != nil {
		return nil, err
	}
	p.queries = api.NewQueries(p.machine, api.QueryLimits{Concurrent: n.cfg.QueryConcurrent, Timeout: n.cfg.QueryTimeout, Rows: n.cfg.QueryRows, Bytes: n.cfg.QueryBytes})
	stores, err := walstore.Open(filepath.Join(n.cfg.DataDir, "raft"), walstore.Options{LogOutput: n.opts.LogOutput, SegmentBytes: n.opts.LogSegmentBytes})
	if err != nil {
		return nil, err
	}
	dropCopies(n.cfg.DataDir) // nobody else writes there: the log is locked
	l, err := net.Listen("tcp", n.cfg.Listen)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("core: listen: %w", err), stores.Close())
	}
	p.mux = raftstore.NewMux(l, n.advertised(), n.tls)
	wired := make(chan struct{}) // leadership may come before the proposer is there
	p.store, err = raftstore.Open(raftstore.Options{
		NodeID: n.cfg.NodeID, Peers: n.peers, Stores: stores, Stream: p.mux.Group(0), LogOutput: n.opts.LogOutput,
		Timing:    raftstore.Timing{Heartbeat: n.cfg.Heartbeat},
		Snapshots: raftstore.Snapshots{Interval: n.cfg.SnapshotEvery, Entries: n.cfg.SnapshotEntries, Trailing: n.cfg.TrailingEntries},
		OnLeader: func(ctx context.Context, term uint64) error {
			select {
			case <-wired:
			case <-ctx.Done():
				return ctx.Err()
			}
			if p.clocks.known() < len(n.peers)/2 { // its clock may be the wrong one, and the first entry of a term may jump
				n.askClocks(ctx, p)
			}
			return p.proposer.LeaderReady(ctx, fsm.LeaderReady{Term: term, Node: n.cfg.NodeID, Sinks: n.cursorNames()})
		},
		OnFault: func(err error) {
			select {
			case p.fault <- err:
			default:
			}
		},
	}, p.machine)
	if err != nil {
		return nil, errors.Join(err, p.mux.Close(), stores.Close())
	}
	p.forward = ingest.NewForwarder(p.mux.DialPeer)
	p.proposer = ingest.NewProposer(ingest.Options{Log: p.store, Remote: p.forward, Clock: n.opts.Clock, Stamp: p.clocks.now, Generation: n.cfg.Generation, Chain: p.machine.Chain})
	close(wired)
	p.agents = &ingest.AgentServer{Proposer: p.proposer, Log: p.store, Clock: p.clocks.now, Identity: n.identity()}
	p.catalog = &catalog.Catalog{State: p.machine, Submit: p.proposer, Engine: n.opts.Engine}
	p.delivery = deliver.New(deliver.Options{
		Node: n.cfg.NodeID, Sinks: n.opts.Sinks, Source: p.machine, Leadership: p.store, Submit: p.proposer,
		Rand:      rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		Alerts:    p.machine.Alerts,
		FetchCopy: func(ctx context.Context, sink string) (string, error) { return n.fetchCopy(ctx, p, sink) },
	})
	return p, nil
}

func (n *Node) machine(p *parts) (*fsm.Machine, error) {
	st := strikes{filepath.Join(n.cfg.DataDir, "strikes")}
	counts, err := st.known()
	if err != nil {
		return nil, fmt.Errorf("core: %w", err)
	}
	return fsm.New(fsm.Options{
		Engine: n.opts.Engine, Generation: n.cfg.Generation,
		Outbox:      outbox.Options{Dir: filepath.Join(n.cfg.DataDir, "outbox"), MaxBytes: n.cfg.OutboxBytes},
		IdleTimeout: n.cfg.IdleTimeout.Microseconds(), MaxAgents: n.cfg.MaxAgents,
		Strikes: remembered{st, counts},
		Observe: func(index uint64, time int64, out *engine.Output) {
			p.clocks.passed.Store(time)
			p.events.Observe(index, time, out)
		},
		Notice:   func(text string) { fmt.Fprintf(n.opts.LogOutput, "core: %s\n", text) },
		Diverged: func(problem string) { fmt.Fprintf(n.opts.LogOutput, "core: %s\n", problem) },
	})
}

// cursorNames are the positions the cluster keeps: a leader sink's, and one per node for the others.
func (n *Node) cursorNames() []string {
	var out []string
	for _, s := range n.opts.Sinks {
		if s.Scope() == sinks.Leader {
			out = append(out, deliver.CursorName(s, ""))
			continue
		}
		for _, p := range n.peers {
			out = append(out, deliver.CursorName(s, p.ID))
		}
	}
	return out
}
