package fsm

import (
	"math"

	"signalbox/core/outbox"
	"signalbox/engine"
	"signalbox/engine/alert"
	"signalbox/engine/column"
	"signalbox/sinks"
)

// Query runs a read-only SELECT; index is the entry after which it was answered.
func (m *Machine) Query(sql string) (rows *column.Batch, index uint64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead != nil {
		return nil, 0, m.dead
	}
	b, err := m.st.engine.Query(sql)
	if err != nil {
		return nil, m.st.index, err
	}
	return detach(b), m.st.index, nil
}

// detach copies rows, so that they can be read while Apply goes on (dictionaries are shared and grow).
func detach(b *column.Batch) *column.Batch {
	out := &column.Batch{Schema: b.Schema, Cols: make([]*column.Column, len(b.Cols)), Len: b.Len}
	for i, c := range b.Cols {
		if c == nil {
			continue
		}
		n := column.New(c.Type, b.Len)
		for j := range b.Len {
			n.Append(c.Datum(j))
		}
		out.Cols[i] = n
	}
	return out
}

// Alerts lists the alerts that are pending, firing or without data, and the latest that are over.
func (m *Machine) Alerts(resolved int) (active, over []alert.Active, index uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.st.engine.ActiveAlerts(), m.st.engine.ResolvedAlerts(resolved), m.st.index
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
	Complete, Expected int
	Holder             string
	Missing            string // agents that have not certified up to LowWater, with reasons
}

// Status describes the state.
func (m *Machine) Status() Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.st
	out := Status{Index: s.index, Term: s.term, Time: s.time, Tick: s.tick, Generation: s.generation, Group: s.group, Leader: s.leader,
		Chain: s.chain, Diverged: m.diverged, Counters: s.counts, Engine: s.engine.Counters(), Outbox: s.outbox.Stats(), Cursors: s.outbox.Cursors()}
	for _, a := range s.order {
		out.Agents = append(out.Agents, s.agentStatus(a))
	}
	for i := range s.streams {
		c := &s.streams[i]
		st := StreamStatus{Stream: c.name, LowWater: c.low, Complete: c.complete, Expected: c.expected}
		if c.low != math.MinInt64 {
			s.arena = s.arena[:0]
			st.Missing = engine.MissingText(s.behind(i, c.low))
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

// systemTable answers the engine's question for tables that only the core knows. It is called under mu.
func (m *Machine) systemTable(name string) (*column.Batch, bool) {
	if m.st == nil {
		return nil, false
	}
	switch name {
	case "agents$status":
		return m.agentsTable(), true
	case "agents$gaps":
		return m.gapsTable(), true
	}
	return nil, false
}

func systemSchema(name string, fields ...any) *column.Schema {
	s := &column.Schema{Name: name, Time: -1}
	for i := 0; i < len(fields); i += 2 {
		s.Fields = append(s.Fields, column.Field{Name: fields[i].(string), Type: column.Of(fields[i+1].(column.Kind))})
	}
	return s
}

func (m *Machine) agentsTable() *column.Batch {
	b := column.NewBatch(systemSchema("agents$status", "agent", column.String, "version", column.String, "epoch", column.BigInt,
		"applied_seq", column.BigInt, "standing", column.String, "seen", column.Timestamp, "frontier", column.Timestamp,
		"low_water", column.Timestamp, "waiting", column.BigInt, "received", column.BigInt, "applied", column.BigInt,
		"duplicate", column.BigInt, "rejected", column.BigInt, "edge_received", column.BigInt, "edge_rejected", column.BigInt,
		"edge_dropped", column.BigInt), len(m.st.order))
	count := func(v uint64) column.Datum { return column.I64(int64(v)) }
	for _, a := range m.st.order {
		s := m.st.agentStatus(a)
		if s.Standing == "" {
			s.Standing = "live"
		}
		b.AppendRow(column.Str(s.Agent), column.Str(s.Version), count(s.Epoch), count(s.AppliedSeq), column.Str(s.Standing),
			column.I64(s.Seen), column.I64(s.Frontier), column.I64(s.LowWater), count(s.Waiting), count(s.Received), count(s.Applied),
			count(s.Duplicate), count(s.Rejected), count(s.EdgeReceived), count(s.EdgeRejected), count(s.EdgeDropped))
	}
	return b
}

func (m *Machine) gapsTable() *column.Batch {
	b := column.NewBatch(systemSchema("agents$gaps", "agent", column.String, "stream", column.String, "from", column.Timestamp,
		"to", column.Timestamp, "readings", column.BigInt, "reason", column.String, "told", column.Timestamp), len(m.st.gaps))
	for _, g := range m.st.gaps {
		b.AppendRow(column.Str(g.Agent), column.Str(g.Stream), column.I64(column.FloorMicros(g.From)), column.I64(column.FloorMicros(g.To)),
			column.I64(int64(g.Readings)), column.Str(g.Reason), column.I64(g.At))
	}
	return b
}
