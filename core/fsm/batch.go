package fsm

import (
	"fmt"

	"signalbox/edge/wire"
	"signalbox/engine"
	"signalbox/engine/column"
)

// frameBuffer is memory for one frame of an entry: what the decoder fills, and the same columns as the engine wants them.
type frameBuffer struct {
	raw   *column.Batch
	rows  column.Batch
	times []column.Column
}

type acceptedBatch struct {
	agent *agent
	rows  int
}

// batch judges and decodes a batch. A batch that cannot be decoded is set aside as a whole with its cursor advanced.
func (m *Machine) batch(data []byte, poison bool) Result {
	s := m.st
	name, b, err := decodeBatchItem(data)
	if err != nil {
		return Result{Verdict: Refused, Reason: err.Error()}
	}
	s.counts.Batches++
	a := s.agentNamed(name)
	if a == nil {
		s.counts.Fenced++
		return Result{Verdict: Fenced, Reason: "unknown agent: say Hello first"}
	}
	b.id.Agent = a.name
	r := a.judge(&b)
	switch r.Verdict {
	case Gap:
		s.counts.Gaps++
		return r
	case Conflict:
		s.counts.Conflicts++
		a.counts.Conflicts++
		return r
	case Fenced:
		s.counts.Fenced++
		return r
	}
	body, err := wire.DecodeBatch(b.body)
	rows := 0
	if err == nil {
		rows = countRows(body)
	}
	if r.Verdict == Duplicate || a.knownBefore(b.hash) {
		s.counts.Received += uint64(rows)
		s.counts.Duplicate += uint64(rows)
		a.counts.Received += uint64(rows)
		a.counts.Duplicate += uint64(rows)
		if r.Verdict == Applied {
			a.advance(b.id.Seq, b.hash)
			r.Verdict, r.Seq = Duplicate, a.applied
		}
		m.touched = append(m.touched, a)
		return r
	}
	a.advance(b.id.Seq, b.hash)
	r.Seq = a.applied
	a.counts.Batches++
	m.touched = append(m.touched, a)
	if err == nil && !poison {
		err = m.take(a, b.id, body)
	}
	if err != nil || poison {
		r.Verdict, r.Reason = Rejected, m.setAside(a, &b, rows, poison, err)
		return r
	}
	a.lane = body.Lane
	s.certify(a, body.Frontiers)
	for _, g := range body.Gaps {
		if len(s.gaps) == maxGaps {
			s.gaps = s.gaps[1:] // not moved: a capture may read them
		}
		s.gaps = append(s.gaps, AgentGap{Agent: a.name, At: s.time, Gap: g})
	}
	m.accepted = append(m.accepted, acceptedBatch{a, rows})
	return r
}

// countRows includes what the agent itself refused (frames of $rejected): received here, and rejected.
func countRows(b *wire.Batch) (n int) {
	for _, f := range b.Frames {
		if info, err := wire.Info(f); err == nil {
			n += info.Rows
		}
	}
	return n
}

// setAside counts and keeps a trace of a batch that is not applied.
func (m *Machine) setAside(a *agent, b *batchItem, rows int, poison bool, err error) string {
	rj := rejection{time: m.st.time, topic: a.name, reason: "frame", detail: fmt.Sprintf("batch %d of epoch %d: %v", b.id.Seq, b.id.Epoch, err)}
	if poison {
		m.st.counts.Panic++
		rj.reason, rj.detail = "poison", fmt.Sprintf("batch %d of epoch %d: Apply panicked on its entry twice", b.id.Seq, b.id.Epoch)
	}
	n := uint64(rows)
	m.st.counts.Received, m.st.counts.Rejected = m.st.counts.Received+n, m.st.counts.Rejected+n
	a.counts.Received, a.counts.Rejected = a.counts.Received+n, a.counts.Rejected+n
	if !poison { // a poisonous entry must not reach the engine at all
		m.reject([]rejection{rj})
	}
	return rj.reason + ": " + rj.detail
}

// take decodes the frames into the engine's input. On error the input is as before.
func (m *Machine) take(a *agent, id wire.BatchID, body *wire.Batch) error {
	s, before, first := m.st, len(m.input.Batches), 0
	for i, f := range body.Frames {
		rows, err := m.frame(f)
		if err != nil {
			m.input.Batches = m.input.Batches[:before]
			return fmt.Errorf("frame %d: %w", i, err)
		}
		m.input.Batches = append(m.input.Batches, engine.StreamBatch{
			Stream: rows.Schema.Name, Rows: rows,
			Origin:   engine.Origin{Agent: a.name, Epoch: id.Epoch, Seq: id.Seq},
			First:    first,
			Received: s.received(body.Received), Replayed: body.Lane == wire.Backlog,
		})
		first += rows.Len
	}
	return nil
}

// clockUnset: a device that says it is earlier has no battery behind its clock, and has not heard the time yet.
const clockUnset = 1_577_836_800 * int64(1e9) // 2020-01-01, ns

// received is when the readings of a batch were received, in ns, as far as the agent's clock can be believed: not after now.
// What is in the future is judged by it; an agent whose own clock is ahead must not excuse its devices.
func (s *state) received(agent int64) int64 {
	if now := s.tick * 1000; agent > now || agent < clockUnset {
		return now
	}
	return agent
}

// frame decodes into the buffer of this position and turns nanoseconds into the engine's microseconds.
func (m *Machine) frame(src []byte) (*column.Batch, error) {
	n := len(m.input.Batches)
	for len(m.pool) <= n {
		m.pool = append(m.pool, &frameBuffer{})
	}
	fb := m.pool[n]
	raw, err := m.decoder.Decode(src, wire.DecodeOptions{Reuse: fb.raw})
	if err != nil {
		fb.raw = nil
		return nil, err
	}
	fb.raw = raw
	fb.rows.Schema, fb.rows.Len = m.micros(raw.Schema), raw.Len
	fb.rows.Cols = append(fb.rows.Cols[:0], raw.Cols...)
	if len(fb.times) < len(raw.Cols) {
		fb.times = make([]column.Column, len(raw.Cols))
	}
	for i, c := range raw.Cols {
		if c == nil || c.Type.Kind != column.TimestampNS {
			continue
		}
		for j, ns := range c.I64 {
			c.I64[j] = column.FloorMicros(ns)
		}
		fb.times[i] = *c
		fb.times[i].Type = column.Of(column.Timestamp)
		fb.rows.Cols[i] = &fb.times[i]
	}
	return &fb.rows, nil
}

// maxSchemas bounds the cache of converted schemas; the decoder keeps fewer.
const maxSchemas = 256

// micros is the schema with microsecond times.
func (m *Machine) micros(s *column.Schema) *column.Schema {
	if c, ok := m.schemas[s]; ok {
		return c
	}
	if len(m.schemas) >= maxSchemas {
		clear(m.schemas)
	}
	c := &column.Schema{Name: s.Name, Time: s.Time, Fields: append([]column.Field(nil), s.Fields...)}
	for i := range c.Fields {
		if c.Fields[i].Type.Kind == column.TimestampNS {
			c.Fields[i].Type = column.Of(column.Timestamp)
		}
	}
	m.schemas[s] = c
	return c
}

// rejectedStream is the reserved stream of readings that were refused before they reached the engine.
const rejectedStream = "$rejected"

type rejection struct {
	time                                   int64
	stream, topic, reason, detail, payload string
}

// reject hands refusals to the engine, which keeps them in its $rejected table.
func (m *Machine) reject(rows []rejection) {
	str := column.Of(column.String)
	s := &column.Schema{Name: rejectedStream, Fields: []column.Field{{Name: "time", Type: column.Of(column.Timestamp)},
		{Name: "stream", Type: str}, {Name: "topic", Type: str}, {Name: "reason", Type: str},
		{Name: "detail", Type: str}, {Name: "payload", Type: str}}}
	b := column.NewBatch(s, len(rows))
	for _, r := range rows {
		b.AppendRow(column.I64(r.time), column.Str(r.stream), column.Str(r.topic), column.Str(r.reason),
			column.Str(clip(r.detail)), column.Str(clip(r.payload)))
	}
	m.input.Batches = append(m.input.Batches, engine.StreamBatch{Stream: rejectedStream, Rows: b})
}

const maxRejectedText = 1 << 10

func clip(s string) string { return s[:min(len(s), maxRejectedText)] }
