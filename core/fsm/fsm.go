// Package fsm is the replicated state machine of the core: command, dedup,
// engine, outbox, in one step per log entry.
//
// It promises that every batch an agent sealed is applied once, that an agent's
// cursor, the queries' state, alert state and the outbox move together, and that
// the same entries give the same state on every node. It refuses to know Raft,
// sockets and clocks: time comes with the entry.
package fsm

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/zeebo/xxh3"

	"signalbox/core/codec"
	"signalbox/core/outbox"
	"signalbox/edge/wire"
	"signalbox/engine"
	"signalbox/engine/column"
	"signalbox/raftstore"
	"signalbox/sinks"
)

// Engine is what the machine needs of engine.Engine. A test replaces it to make Apply panic or to count.
type Engine interface {
	Execute(sql string) error
	LoadTable(name string, version uint64, rows *column.Batch) error
	SetRules(files []Document) error // all rule files; replaces those before
	Apply(*engine.Input) (*engine.Output, error)
	Prepare(sql string) (*engine.Prepared, error) // beside Apply
	View(*engine.Prepared) (*engine.View, error)
	Alerts() *engine.AlertView
	Tables() []engine.TableInfo
	Counters() engine.Counters
	Snapshot() (EngineSnapshot, error)
}

// EngineSnapshot writes itself while the engine goes on.
type EngineSnapshot interface{ Write(io.Writer) error }

// EngineFactory makes engines. System answers the names of system tables.
type EngineFactory interface {
	New(system []engine.SystemTable) Engine
	Restore(r io.Reader, system []engine.SystemTable) (Engine, error)
}

// Strikes remembers, across restarts of the process, the entries on which Apply panicked. When it forgets,
// a poisonous entry is tried once more than needed; nothing else.
type Strikes interface {
	Count(index uint64) int
	Record(index uint64) error
}

// poisonStrikes is how often an entry may panic before it is set aside.
const poisonStrikes = 2

// Options of a Machine. IdleTimeout, MaxAgents and the bounds of the outbox decide results: equal on all nodes.
type Options struct {
	Group, Generation uint32
	Engine            EngineFactory
	Outbox            outbox.Options
	IdleTimeout       int64 // µs of tick time
	MaxAgents         int
	Strikes           Strikes
	// Observe sees every entry's output, valid only during the call; it must be quick.
	Observe func(index uint64, time int64, out *engine.Output)
	// Notice is told what an operator should find in the log of every node; it must be quick.
	Notice func(text string)
	// Diverged is told once when this node's state is not that of the node that leads; it must be quick.
	Diverged func(problem string)
}

// DefaultMaxAgents bounds the registry of agents.
const DefaultMaxAgents = 100_000

// Machine implements raftstore.StateMachine.
type Machine struct {
	opts Options
	mu   sync.Mutex // Apply, Restore and captures take turns
	st   *state
	dead error // after a panic nothing is applied any more

	recent   [recentEntries]checkpoint // of this node: what a CheckItem is compared with
	diverged string

	items    []Item
	results  []Result
	decoder  wire.Decoder
	pool     []*frameBuffer
	schemas  map[*column.Schema]*column.Schema
	input    engine.Input
	out      engine.Output // of an entry that needs no engine
	touched  []*agent
	accepted []acceptedBatch
	hashBuf  []byte
}

// state is everything that is replicated.
type state struct {
	group, generation uint32
	idleTimeout       int64
	maxAgents         int

	index, term uint64
	time, tick  int64 // µs: hybrid time, tick time
	leader      string
	agents      map[string]*agent
	order       []*agent // by ord
	round       uint64   // rises with every capture, see agent.round
	streams     []certified
	certSlot    int64
	minima      []minimum
	scripts     []Document
	rules       []Document
	uploads     []upload
	gaps        []AgentGap
	counts      Counters
	chain       uint64 // hash over all verdicts and outputs: equal on replicas
	engine      Engine
	outbox      *outbox.Outbox
	notice      func(text string)
	arena       []engine.Behind // memory of the last certificates
}

// Document is an applied script or rule file.
type Document struct {
	Name, Text string
	Index      uint64
}

// AgentGap is what an agent dropped by declared policy.
type AgentGap struct {
	Agent string
	At    int64 // hybrid time of the entry that told, µs
	wire.Gap
}

const maxGaps = 10_000

// Counters are the accounts of the core, in readings unless named otherwise.
// Received = Applied + Duplicate + Rejected.
type Counters struct {
	Entries, Batches                           uint64
	Received, Applied, Duplicate, Rejected     uint64
	BadEntries, Gaps, Conflicts, Fenced, Panic uint64 // batches and entries
	SinkRefused                                uint64 // rows
}

// New returns a machine with empty state.
func New(opts Options) (*Machine, error) {
	if opts.IdleTimeout == 0 {
		opts.IdleTimeout = DefaultIdleTimeout
	}
	if opts.MaxAgents == 0 {
		opts.MaxAgents = DefaultMaxAgents
	}
	m := &Machine{opts: opts, schemas: map[*column.Schema]*column.Schema{}}
	m.decoder.SharedDict = sharedDict
	st, err := m.newState()
	if err != nil {
		return nil, err
	}
	st.engine = opts.Engine.New(m.systemTables())
	m.st = st
	return m, nil
}

// sharedDict: columns with more distinct strings than this get a dictionary per batch.
const sharedDict = 1 << 16

func (m *Machine) newState() (*state, error) {
	ob, err := outbox.New(m.opts.Outbox)
	if err != nil {
		return nil, err
	}
	return &state{group: m.opts.Group, generation: m.opts.Generation, idleTimeout: m.opts.IdleTimeout,
		maxAgents: m.opts.MaxAgents, agents: map[string]*agent{}, outbox: ob, notice: m.opts.Notice}, nil
}

// Outbox returns the outbox; after a Restore it is another one.
func (m *Machine) Outbox() *outbox.Outbox {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.st.outbox
}

// Apply implements raftstore.StateMachine. The result is a []Result, one per item.
func (m *Machine) Apply(e raftstore.Entry) (res any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead != nil {
		return m.dead
	}
	poison := m.opts.Strikes != nil && m.opts.Strikes.Count(e.Index) >= poisonStrikes
	defer func() {
		if p := recover(); p != nil {
			res = m.panicked(e.Index, p)
		}
	}()
	return m.apply(e, poison)
}

// panicked stops this machine: its state is undefined. The node rebuilds from its snapshot and tries again.
func (m *Machine) panicked(index uint64, p any) error {
	m.dead = fmt.Errorf("%w: panic in entry %d: %v\n%s", raftstore.ErrStopped, index, p, debug.Stack())
	if m.opts.Strikes != nil {
		if err := m.opts.Strikes.Record(index); err != nil {
			m.dead = errors.Join(m.dead, err)
		}
	}
	return m.dead
}

func (m *Machine) apply(e raftstore.Entry, poison bool) any {
	s := m.st
	h, items, err := decodeEntry(e.Data, m.items[:0])
	m.items = items
	s.index, s.term = e.Index, e.Term
	s.counts.Entries++
	m.results = m.results[:0]
	m.touched, m.accepted = m.touched[:0], m.accepted[:0]
	m.input = engine.Input{Index: e.Index, Batches: m.input.Batches[:0]}
	if err != nil || h.Group != s.group {
		s.counts.BadEntries++
		s.advance(Header{}, false)
		m.results = append(m.results, Result{Verdict: Refused, Index: e.Index, Reason: fmt.Sprintf("entry not understood: %v", err)})
		return m.finish(false)
	}
	s.advance(h, slices.ContainsFunc(items, func(it Item) bool { return it.Kind == ItemLeaderReady }))
	m.input.Time = s.time
	for _, it := range items {
		r := m.item(it, poison)
		r.Index = e.Index
		m.results = append(m.results, r)
	}
	return m.finish(!poison)
}

// advance moves time: ticks are monotone and step-clamped, so that one bad clock reading of a leader
// cannot throw everything into the future; the first entry of a term may jump.
func (s *state) advance(h Header, jump bool) {
	if h.Clock > s.tick {
		if jump || s.tick == 0 {
			s.tick = h.Clock
		}
		s.tick = min(h.Clock, s.tick+maxTickStep)
	}
	s.time = max(s.time+1, s.tick)
	s.generation = max(s.generation, h.Generation)
}

const maxTickStep = 60 * 1_000_000 // µs

// finish runs the engine over what was accepted and fills the outbox.
func (m *Machine) finish(run bool) any {
	s := m.st
	for _, a := range m.touched {
		s.heard(a)
	}
	out := &m.out
	if run { // otherwise what is certified waits for the next entry: the engine must hear of it
		m.input.Certified = s.watermarks(m.input.Certified[:0])
		var err error
		if out, err = s.engine.Apply(&m.input); err != nil {
			panic(fmt.Sprintf("engine: %v", err))
		}
	}
	m.account(out)
	s.outbox.Append(s.index, s.time, out.Changes, out.Alerts)
	m.extendChain(out)
	m.recent[s.index%recentEntries] = checkpoint{s.index, s.chain}
	if m.opts.Observe != nil {
		m.opts.Observe(s.index, s.time, out)
	}
	res := make([]Result, len(m.results))
	copy(res, m.results)
	return res
}

// account turns what was accepted into the identity received = applied + duplicate + rejected.
func (m *Machine) account(out *engine.Output) {
	s := m.st
	for _, b := range m.accepted {
		b.agent.counts.Received += uint64(b.rows)
		b.agent.counts.Applied += uint64(b.rows)
		s.counts.Received += uint64(b.rows)
		s.counts.Applied += uint64(b.rows)
	}
	for i := range out.Rejected {
		if r := &out.Rejected[i]; r.Query == "" && r.Origin.Agent != "" {
			s.counts.Applied--
			s.counts.Rejected++
			if a := s.writable(s.agents[r.Origin.Agent]); a != nil {
				a.counts.Applied--
				a.counts.Rejected++
			}
		}
	}
}

// extendChain folds verdicts and outputs into one number that replicas must agree on.
func (m *Machine) extendChain(out *engine.Output) {
	b := appendU64(m.hashBuf[:0], m.st.chain)
	b = appendU64(b, uint64(m.st.time))
	for i := range m.results {
		b = appendU64(append(b, byte(m.results[i].Verdict)), m.results[i].Seq)
	}
	for i := range out.Changes {
		c := &out.Changes[i]
		b = append(b, c.Table...)
		for j := range c.IDs {
			b = append(b, c.IDs[j][:]...)
			b = appendU64(b, uint64(c.Revisions[j]))
		}
	}
	for i := range out.Alerts {
		b = appendU64(append(b, out.Alerts[i].ID...), out.Alerts[i].Seq)
	}
	b = appendU64(appendU64(b, uint64(len(out.Late))), uint64(len(out.Rejected)))
	b = appendU64(b, m.st.outbox.Sum())
	m.hashBuf = b
	m.st.chain = xxh3.Hash(b)
}

// checkpoint is the chain after an entry.
type checkpoint struct{ index, chain uint64 }

// recentEntries is how long a chain is remembered: longer than a check is on its way.
const recentEntries = 4096

// check compares this node with the one that leads. Which of the two is wrong nobody can tell here: it changes nothing
// in the state, but the node says that it is not to be trusted.
func (m *Machine) check(d []byte) {
	if len(d) == 0 || m.diverged != "" {
		return
	}
	r := codec.NewReader(d, "check")
	index, chain := r.Uvarint(), r.Uvarint()
	mine := m.recent[index%recentEntries]
	if r.End() != nil || mine.index != index || mine.chain == chain {
		return
	}
	m.diverged = fmt.Sprintf("this node's state differs from the leader's (%s) after entry %d: %016x, there %016x; compare the chain in the status of all nodes, "+
		"stop the one that is alone, remove its data directory and let it rejoin", m.st.leader, index, mine.chain, chain)
	if m.opts.Diverged != nil {
		m.opts.Diverged(m.diverged)
	}
}

func appendU64(b []byte, v uint64) []byte {
	return append(b, byte(v), byte(v>>8), byte(v>>16), byte(v>>24), byte(v>>32), byte(v>>40), byte(v>>48), byte(v>>56))
}

// item executes one item; poison means: the entry panicked before, set batches aside and change nothing else.
func (m *Machine) item(it Item, poison bool) Result {
	s := m.st
	refuse := func(err error) Result { return Result{Verdict: Refused, Reason: err.Error()} }
	if poison && it.Kind != ItemBatch && it.Kind != ItemLeaderReady {
		return refuse(errors.New("entry set aside: Apply panicked on it twice"))
	}
	switch it.Kind {
	case ItemBatch:
		return m.batch(it.Data, poison)
	case ItemHeartbeat:
		name, hb, err := decodeHeartbeatItem(it.Data)
		if err != nil {
			return refuse(err)
		}
		if a := s.writable(s.agents[name]); a != nil {
			return s.heartbeat(a, hb)
		}
		return Result{Verdict: Fenced}
	case ItemGrant:
		msg, err := wire.DecodeMessage(it.Data)
		hello, ok := msg.(*wire.Hello)
		if err != nil || !ok {
			return refuse(fmt.Errorf("%w: not a hello", codec.ErrCorrupt))
		}
		return s.grant(hello)
	case ItemLeaderReady:
		l, err := decodeLeaderReady(it.Data)
		if err != nil {
			return refuse(err)
		}
		s.leader = l.Node
		s.outbox.Register(l.Sinks)
	case ItemTick:
		m.check(it.Data)
	case ItemRetire:
		name, err := decodeRetire(it.Data)
		if err != nil {
			return refuse(err)
		}
		return s.retire(name)
	case ItemSinkAck:
		a, err := decodeSinkAck(it.Data)
		if err != nil {
			return refuse(err)
		}
		m.sinkAck(a)
	default:
		return m.catalog(it)
	}
	return Result{Verdict: Applied}
}

func (m *Machine) sinkAck(a SinkAck) {
	for _, c := range a.Cursors {
		m.st.outbox.Ack(c.Name, c.UpTo)
	}
	if len(a.Refused) == 0 {
		return
	}
	m.st.counts.SinkRefused += uint64(len(a.Refused))
	rows := make([]rejection, 0, len(a.Refused))
	for _, f := range a.Refused {
		rows = append(rows, rejection{time: f.Time, stream: f.Table, topic: f.Sink, reason: "sink", detail: f.Detail, payload: f.Row})
	}
	m.reject(rows)
}

// tables describes the result tables for sinks.
func (s *state) tables() []sinks.Table {
	var out []sinks.Table
	for _, t := range s.engine.Tables() {
		if t.Kind == engine.KindStreaming {
			out = append(out, sinks.Table{Name: t.Name, Schema: t.Schema, Key: t.Key, Entity: t.Entity, Time: t.Time})
		}
	}
	return out
}
