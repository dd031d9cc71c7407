package core

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"signalbox/core/api"
	"signalbox/core/deliver"
	"signalbox/core/fsm"
)

func (n *Node) status(p *parts) api.Status {
	r, s := p.store.Status(), p.machine.Status()
	leader, _ := p.store.Leader()
	out := api.Status{Node: n.cfg.NodeID, Version: n.opts.Version, Role: r.Role, Ready: ready(p) == nil, Term: r.Term,
		Index: s.Index, Commit: r.CommitIndex, Time: api.Timestamp(s.Time), Chain: fmt.Sprintf("%016x", s.Chain), Fault: r.Fault,
		Readings: api.Readings{Received: s.Counters.Received, Applied: s.Counters.Applied, Duplicate: s.Counters.Duplicate,
			Rejected: s.Counters.Rejected, Late: s.Engine.Late},
		Rejected: s.Engine.Rejected, Outbox: api.OutboxStatus{Bytes: s.Outbox.Bytes, Records: s.Outbox.Records, Dropped: s.Outbox.Dropped, Error: s.Outbox.Failure},
		Agents: []api.AgentStatus{}, Sinks: []api.SinkStatus{}, Streams: []api.StreamStatus{}, Tables: []api.TableStatus{}}
	if out.Fault == "" {
		out.Fault = s.Diverged
	}
	scripts, rules := p.machine.Documents()
	out.Documents = []string{}
	for _, d := range append(scripts, rules...) {
		out.Documents = append(out.Documents, d.Name)
	}
	up := n.peersUp(p)
	for _, peer := range n.peers {
		node := api.NodeStatus{ID: peer.ID, Address: peer.Addr, Leader: peer.ID == leader, Self: peer.ID == n.cfg.NodeID}
		if node.Clock = p.clocks.wrong(peer.ID); node.Self {
			node.Clock = p.clocks.wrong("")
		}
		if open, asked := up[peer.ID]; asked {
			node.Reachable = &open
		}
		out.Nodes = append(out.Nodes, node)
	}
	for i := range s.Agents {
		out.Agents = append(out.Agents, agentStatus(&s.Agents[i], s.Tick))
	}
	for _, st := range s.Streams {
		out.Streams = append(out.Streams, api.StreamStatus{Stream: st.Stream, LowWater: api.Timestamp(st.LowWater), Complete: st.Complete, Expected: st.Expected, Holder: st.Holder, Missing: st.Missing})
	}
	for _, k := range p.delivery.Status() {
		out.Sinks = append(out.Sinks, sinkStatus(k, s))
	}
	for _, t := range p.machine.Tables() {
		out.Tables = append(out.Tables, api.TableStatus{Name: t.Name, Kind: string(t.Kind), Rows: t.Rows, Version: t.Version, Watermark: api.Timestamp(t.Watermark)})
	}
	return out
}

func agentStatus(a *fsm.AgentStatus, tick int64) api.AgentStatus {
	out := api.AgentStatus{ID: a.Agent, Version: a.Version, Standing: a.Standing, Epoch: a.Epoch, AppliedSeq: a.AppliedSeq,
		LastSeen: api.Timestamp(a.Seen), Frontier: api.Timestamp(a.Frontier), LowWater: api.Timestamp(a.LowWater), Waiting: a.Waiting, Received: a.Received,
		Applied: a.Applied, Duplicate: a.Duplicate, Rejected: a.Rejected, Dropped: a.EdgeDropped}
	if out.Standing == "" {
		out.Standing = "live"
	}
	if a.LowWater > 0 {
		out.Lag = (time.Duration(max(0, tick-a.LowWater)) * time.Microsecond).Round(time.Millisecond).String()
	}
	return out
}

// sinkStatus shows a leader-scope sink's replicated position on the nodes that do not write it.
func sinkStatus(k deliver.Status, s fsm.Status) api.SinkStatus {
	if k.Scope == "leader" && !k.Active {
		for _, c := range s.Cursors {
			if c.Name == k.Name {
				k.UpTo, k.Lag = c.UpTo, s.Outbox.Newest-min(c.UpTo, s.Outbox.Newest)
			}
		}
	}
	return api.SinkStatus{Name: k.Name, Scope: k.Scope, Active: k.Active, UpTo: k.UpTo, Lag: k.Lag, Rows: k.Rows,
		Refused: k.Refused, Retries: k.Retries, Skipped: k.Skipped, Error: k.LastError}
}

// collector turns the status into metrics when they are asked for.
type collector struct {
	n *Node
	p *parts
}

// Describe sends nothing: the sinks and reasons are not known beforehand.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	send := func(kind prometheus.ValueType, name, help string, v float64, labels ...string) {
		var names, values []string
		for i := 0; i+1 < len(labels); i += 2 {
			names, values = append(names, labels[i]), append(values, labels[i+1])
		}
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc("signalbox_core_"+name, help, names, nil), kind, v, values...)
	}
	counter := func(name, help string, v uint64, labels ...string) {
		send(prometheus.CounterValue, name, help, float64(v), labels...)
	}
	gauge := func(name, help string, v float64, labels ...string) {
		send(prometheus.GaugeValue, name, help, v, labels...)
	}
	s, r := c.p.machine.Status(), c.p.store.Status()
	for _, x := range []struct {
		outcome string
		v       uint64
	}{{"received", s.Counters.Received}, {"applied", s.Counters.Applied}, {"duplicate", s.Counters.Duplicate}, {"rejected", s.Counters.Rejected}} {
		counter("readings_total", "Readings by outcome: received = applied + duplicate + rejected.", x.v, "outcome", x.outcome)
	}
	for reason, v := range s.Engine.Rejected {
		counter("rejected_readings_total", "Readings and rows that were refused, by reason.", v, "reason", reason)
	}
	counter("late_rows_total", "Rows that a query found too late.", s.Engine.Late)
	counter("partly_late_rows_total", "Rows that counted in some of their sliding windows only.", s.Engine.LatePartly)
	counter("revised_rows_total", "Revisions of rows of a table that another table had counted as they were told first.", s.Engine.Revised)
	counter("final_rows_total", "Result rows told again because their window became final.", s.Engine.Finals)
	gauge("incomplete_windows", "Windows that were told while agents were missing, and can still become final.", float64(s.Engine.Incomplete))
	counter("listed_windows_dropped_total", "Closed windows that the bound of the list of windows pushed out.", s.Engine.WindowsEvict)
	for _, st := range s.Streams {
		gauge("stream_agents_expected", "Agents expected to send a stream.", float64(st.Expected), "stream", st.Stream)
		gauge("stream_agents_complete", "Agents that have certified up to the watermark of a stream.", float64(st.Complete), "stream", st.Stream)
	}
	counter("entries_total", "Log entries applied.", s.Counters.Entries)
	counter("batches_total", "Batches seen in the log.", s.Counters.Batches)
	for _, x := range []struct {
		what string
		v    uint64
	}{{"gap", s.Counters.Gaps}, {"conflict", s.Counters.Conflicts}, {"fenced", s.Counters.Fenced}, {"poison", s.Counters.Panic}} {
		counter("refused_batches_total", "Batches that were not applied, by reason.", x.v, "reason", x.what)
	}
	counter("bad_entries_total", "Log entries this program could not read.", s.Counters.BadEntries)
	gauge("applied_index", "Log index applied.", float64(s.Index))
	gauge("commit_index", "Log index committed.", float64(r.CommitIndex))
	gauge("agents", "Agents known.", float64(len(s.Agents)))
	ahead, _ := c.p.clocks.ahead("")
	gauge("clock_ahead_seconds", "This node's clock against the median of the nodes'.", ahead.Seconds())
	gauge("leader", "1 on the leader.", map[bool]float64{true: 1}[r.Role == "Leader"])
	counter("log_bytes_total", "Bytes of log entries applied since start.", r.EntryBytes)
	gauge("outbox_bytes", "Results waiting for sinks.", float64(s.Outbox.Bytes))
	counter("outbox_dropped_total", "Records the outbox's bound pushed out.", s.Outbox.Dropped)
	gauge("engine_state_bytes", "Estimated state of all queries.", float64(s.Engine.StateBytes))
	gauge("engine_keys", "Groups held by all queries.", float64(s.Engine.Keys))
	counter("port_refused_total", "Connections closed before they said what they are, or without the right to it.", c.p.mux.Refused())
	c.collectIngest(counter, gauge)
	c.collectQueries(counter, gauge)
	for _, k := range c.p.delivery.Status() {
		counter("sink_rows_total", "Rows and transitions written by this node.", k.Rows, "sink", k.Name)
		counter("sink_refused_rows_total", "Rows a sink refused for good.", k.Refused, "sink", k.Name)
		counter("sink_retries_total", "Failed attempts.", k.Retries, "sink", k.Name)
		counter("sink_skipped_total", "Times that output was gone before the sink had it.", k.Skipped, "sink", k.Name)
		gauge("sink_lag_entries", "Log entries the sink is behind.", float64(k.Lag), "sink", k.Name)
	}
}

func (c *collector) collectIngest(counter func(string, string, uint64, ...string), gauge func(string, string, float64, ...string)) {
	in, pr := c.p.agents.Stats(), c.p.proposer.Stats()
	gauge("agent_connections", "Agents connected to this node.", float64(in.Connections))
	gauge("in_flight_bytes", "Batches proposed by this node and not yet applied.", float64(in.InFlightBytes))
	counter("agent_sessions_total", "Sessions accepted.", in.Accepted)
	counter("agent_refused_total", "Sessions refused.", in.Refused)
	counter("slow_downs_total", "Times an agent was asked to wait.", in.SlowDowns)
	counter("malformed_messages_total", "Messages of agents that could not be read.", in.Malformed)
	counter("proposed_entries_total", "Entries this node proposed.", pr.Entries)
	counter("proposed_items_total", "Items in them.", pr.Items)
	counter("forwarded_requests_total", "Requests passed on to the leader.", pr.Forwarded)
	counter("overloaded_total", "Items refused because the queue was full.", pr.Overloaded)
	gauge("queued_bytes", "Items waiting for an entry.", float64(pr.QueuedBytes))
}

func (c *collector) collectQueries(counter func(string, string, uint64, ...string), gauge func(string, string, float64, ...string)) {
	q := c.p.queries.Counts()
	gauge("queries_running", "Queries worked on, or whose answer is being taken, at most query_concurrent.", float64(q.Running))
	gauge("queries_waiting", "Queries that wait for one of those to end.", float64(q.Waiting))
	for _, x := range []struct {
		outcome string
		v       uint64
	}{{"answered", q.Answered}, {"invalid", q.Invalid}, {"too_large", q.TooLarge}, {"timed_out", q.TimedOut}, {"busy", q.Busy}, {"gone", q.Gone}} {
		counter("queries_total", "Queries by outcome: too_large by query_rows or query_bytes, timed_out by query_timeout, busy refused at once, gone with their client.", x.v, "outcome", x.outcome)
	}
}
