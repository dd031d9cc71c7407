package fsm

import (
	"context"
	"math"

	"signalbox/core/outbox"
	"signalbox/engine"
	"signalbox/engine/alert"
	"signalbox/engine/column"
	"signalbox/sinks"
)

// Query runs a read-only SELECT; index is the entry after which it was answered. Apply goes on meanwhile: it waits only
// for the capture of what the query reads. The query ends with the cause of ctx when that is over.
func (m *Machine) Query(ctx context.Context, sql string, limits engine.QueryLimits) (rows *column.Batch, index uint64, err error) {
	m.mu.Lock()
	e, index, dead := m.st.engine, m.st.index, m.dead
	m.mu.Unlock()
	if dead != nil {
		return nil, 0, dead
	}
	p, err := e.Prepare(sql)
	if err != nil {
		return nil, index, err
	}
	v, index, err := m.view(p)
	if err != nil {
		return nil, index, err
	}
	defer v.Release()
	limits.Interrupt = func() error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return nil
	}
	rows, err = v.Run(limits)
	return rows, index, err
}

func (m *Machine) view(p *engine.Prepared) (*engine.View, uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead != nil {
		return nil, 0, m.dead
	}
	v, err := m.st.engine.View(p)
	return v, m.st.index, err
}

// Alerts lists the alerts that are pending, firing or without data, and the latest that are over.
func (m *Machine) Alerts(resolved int) (active, over []alert.Active, index uint64) {
	m.mu.Lock()
	v, index := m.st.engine.Alerts(), m.st.index
	m.mu.Unlock()
	defer v.Release()
	return v.Active(), v.Resolved(resolved), index
}

// Tables describes the catalog.
func (m *Machine) Tables() []engine.TableInfo {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.st.engine.Tables()
}

// ResultTables describes the streaming tables as sinks see them.
func (m *Machine) ResultTables() []sinks.Table {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.st.tables()
}

// Documents returns the applied scripts and rule files.
func (m *Machine) Documents() (scripts, rules []Document) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append(scripts, m.st.scripts...), append(rules, m.st.rules...)
}

// AgentStatus is what the core knows of an agent.
type AgentStatus struct {
	Agent             string
	Version           string
	Epoch, AppliedSeq uint64
	Standing          string // "" = takes part in certified watermarks; otherwise backlog, offline or retired
	Seen              int64  // tick time of its last word, µs
	Frontier          int64  // newest event time certified, µs; 0 = none
	LowWater          int64  // µs; 0 = none
	Waiting           uint64 // readings in its spool, as it said last
	AgentCounts
	EdgeReceived, EdgeRejected, EdgeDropped uint64
}

// Status is a consistent picture of the replicated state.
type Status struct {
	Index, Term uint64
	Time, Tick  int64
	Generation  uint32
	Group       uint32
	Leader      string
	Chain       uint64
	Diverged    string // this node only: why it is not to be trusted
	Agents      []AgentStatus
	Streams     []StreamStatus
	Counters    Counters
	Engine      engine.Counters
	Outbox      outbox.Stats
	Cursors     []outbox.Cursor
}

// StreamStatus is a stream's certified watermark.
type StreamStatus struct {
	Stream             string
	LowWater           int64
	Complete, Expected int    // agents that have certified up to LowWater, and all that are expected
	Holder             string // who holds it back
	Missing            string // agents that have not certified up to LowWater, with reasons
}

// Status describes the state.
func (m *Machine) Status() Status {
	m.mu.Lock()
	s := m.st.picture()
	out := Status{Index: s.index, Term: s.term, Time: s.time, Tick: s.tick, Generation: s.generation, Group: s.group, Leader: s.leader,
		Chain: s.chain, Diverged: m.diverged, Counters: s.counts, Engine: m.st.engine.Counters(), Outbox: m.st.outbox.Stats(), Cursors: m.st.outbox.Cursors()}
	m.mu.Unlock()
	for _, a := range s.order {
		out.Agents = append(out.Agents, s.agentStatus(a))
	}
	for i := range s.streams {
		c := &s.streams[i]
		st := StreamStatus{Stream: c.name, LowWater: c.low, Complete: c.complete, Expected: c.expected}
		if c.low != math.MinInt64 {
			s.arena = s.arena[:0]
			behind := s.behind(i, c.low)
			st.Complete, st.Missing = max(0, c.expected-len(behind)), engine.MissingText(behind)
		}
		if c.holder >= 0 {
			st.Holder = s.order[c.holder].name
		}
		out.Streams = append(out.Streams, st)
	}
	return out
}

func (s *state) agentStatus(a *agent) AgentStatus {
	st := AgentStatus{Agent: a.name, Version: a.version, Epoch: a.epoch, AppliedSeq: a.applied, Standing: s.standing(a), Seen: a.seen,
		Waiting: a.live.Readings + a.back.Readings, AgentCounts: a.counts,
		EdgeReceived: a.edge.received, EdgeRejected: a.edge.rejected, EdgeDropped: a.edge.dropped}
	for i, f := range a.fronts {
		lo, hi := column.FloorMicros(f.low), column.FloorMicros(f.max)
		if i == 0 || lo < st.LowWater {
			st.LowWater = lo
		}
		st.Frontier = max(st.Frontier, hi)
	}
	return st
}

// Chain returns the index and the hash that replicas must agree on.
func (m *Machine) Chain() (index, hash uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.st.index, m.st.chain
}

// Diverged says why this node is not to be trusted; "" = nothing is known against it.
func (m *Machine) Diverged() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.diverged
}

// systemTables are the tables that only the core knows. They are captured under mu.
func (m *Machine) systemTables() []engine.SystemTable {
	table := func(schema *column.Schema, rows func(s *state, b *column.Batch)) engine.SystemTable {
		return engine.SystemTable{Schema: schema, Capture: func() func() *column.Batch {
			p := m.st.picture()
			return func() *column.Batch {
				b := column.NewBatch(schema, 0)
				rows(p, b)
				return b
			}
		}}
	}
	return []engine.SystemTable{table(agentsSchema(), (*state).agentRows), table(gapsSchema(), (*state).gapRows)}
}

func systemSchema(name string, fields ...any) *column.Schema {
	s := &column.Schema{Name: name, Time: -1}
	for i := 0; i < len(fields); i += 2 {
		s.Fields = append(s.Fields, column.Field{Name: fields[i].(string), Type: column.Of(fields[i+1].(column.Kind))})
	}
	return s
}

func agentsSchema() *column.Schema {
	return systemSchema("agents$status", "agent", column.String, "version", column.String, "epoch", column.BigInt,
		"applied_seq", column.BigInt, "standing", column.String, "seen", column.Timestamp, "frontier", column.Timestamp,
		"low_water", column.Timestamp, "waiting", column.BigInt, "received", column.BigInt, "applied", column.BigInt,
		"duplicate", column.BigInt, "rejected", column.BigInt, "edge_received", column.BigInt, "edge_rejected", column.BigInt,
		"edge_dropped", column.BigInt)
}

func (s *state) agentRows(b *column.Batch) {
	count := func(v uint64) column.Datum { return column.I64(int64(v)) }
	for _, a := range s.order {
		st := s.agentStatus(a)
		if st.Standing == "" {
			st.Standing = "live"
		}
		b.AppendRow(column.Str(st.Agent), column.Str(st.Version), count(st.Epoch), count(st.AppliedSeq), column.Str(st.Standing),
			column.I64(st.Seen), column.I64(st.Frontier), column.I64(st.LowWater), count(st.Waiting), count(st.Received), count(st.Applied),
			count(st.Duplicate), count(st.Rejected), count(st.EdgeReceived), count(st.EdgeRejected), count(st.EdgeDropped))
	}
}

func gapsSchema() *column.Schema {
	return systemSchema("agents$gaps", "agent", column.String, "stream", column.String, "from", column.Timestamp,
		"to", column.Timestamp, "readings", column.BigInt, "reason", column.String, "told", column.Timestamp)
}

func (s *state) gapRows(b *column.Batch) {
	for _, g := range s.gaps {
		b.AppendRow(column.Str(g.Agent), column.Str(g.Stream), column.I64(column.FloorMicros(g.From)), column.I64(column.FloorMicros(g.To)),
			column.I64(int64(g.Readings)), column.Str(g.Reason), column.I64(g.At))
	}
}
