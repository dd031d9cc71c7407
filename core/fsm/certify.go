package fsm

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"

	"github.com/zeebo/xxh3"

	"signalbox/edge/wire"
	"signalbox/engine"
	"signalbox/engine/column"
)

// Times of certification, in µs of tick time.
const (
	DefaultIdleTimeout = 30 * 1_000_000     // an agent silent for this long leaves the minimum
	recertifyEvery     = 250_000            // idle agents and counts are looked at this often
	idleMargin         = int64(5e9)         // ns: how long an agent hears nothing before it says that it is idle
	maxLowAhead        = 5 * 60 * 1_000_000 // a frontier further ahead of the tick is not believed: its clock is wrong, and says nothing about others
)

// certified is the state of one stream's certified watermark.
type certified struct {
	name               string
	low                int64 // µs, published, never goes back
	complete, expected int
	holder             int   // ord of the agent that holds the minimum, -1 = none
	holderLow          int64 // ns
	dirty              bool
	behind             uint64 // hash of those behind low, as the engine was told; 0 = nobody
}

func (s *state) streamNamed(name string) int {
	for i := range s.streams {
		if s.streams[i].name == name {
			return i
		}
	}
	s.streams = append(s.streams, certified{name: name, low: math.MinInt64, holder: -1, dirty: true})
	return len(s.streams) - 1
}

// certify takes an agent's frontiers, once everything they speak about is applied. Nobody certifies what has not happened
// yet: a mark ahead of the tick counts as the tick, so that one fast clock behind a gateway closes nobody's windows early.
func (s *state) certify(a *agent, fs []wire.Frontier) {
	for _, f := range fs {
		if len(s.streams) >= maxStreams && !slices.ContainsFunc(s.streams, func(c certified) bool { return c.name == f.Stream }) {
			continue // an agent naming ever new streams certifies nothing
		}
		i := s.streamNamed(f.Stream)
		j := slices.IndexFunc(a.fronts, func(x front) bool { return x.stream == i })
		if j < 0 {
			a.fronts = append(a.fronts, front{stream: i, max: math.MinInt64, low: math.MinInt64})
			j = len(a.fronts) - 1
			s.streams[i].dirty = true // one more is expected
		}
		if column.FloorMicros(f.MaxTime) <= s.tick+maxLowAhead {
			a.fronts[j].max = max(a.fronts[j].max, f.MaxTime)
		}
		if column.FloorMicros(f.LowWater) <= s.tick+maxLowAhead {
			a.fronts[j].low = max(a.fronts[j].low, min(f.LowWater, s.tick*1000))
		}
	}
}

const maxStreams = 1024

// certifyIdle takes the word of an agent that has nothing to send and hears nothing also for streams that it does not
// name: since it was started none of their readings came, and it has forgotten that it ever sent them.
func (s *state) certifyIdle(a *agent, hb *wire.Heartbeat) {
	if !hb.Idle {
		return
	}
	low := min(hb.Clock, s.tick*1000) - idleMargin
	for i := range a.fronts {
		f := &a.fronts[i]
		if !slices.ContainsFunc(hb.Frontiers, func(x wire.Frontier) bool { return x.Stream == s.streams[f.stream].name }) {
			f.low = max(f.low, low)
		}
	}
}

// heard notes news of an agent: the streams it holds, or now would hold, are looked at again.
func (s *state) heard(a *agent) {
	a.seen = s.tick
	s.revive(a)
	if a.pending != nil && a.pending.Epoch == a.epoch && a.pending.Sent <= a.applied {
		s.certify(a, a.pending.Frontiers)
		s.certifyIdle(a, a.pending)
		a.pending = nil
	}
	for _, f := range a.fronts {
		c := &s.streams[f.stream]
		if c.holder == a.ord || c.holder < 0 || f.low < c.holderLow {
			c.dirty = true
		}
	}
}

func (s *state) heartbeat(a *agent, hb *wire.Heartbeat) Result {
	if hb.Epoch != a.epoch {
		return Result{Verdict: Fenced, Epoch: a.epoch, Seq: a.applied}
	}
	a.live, a.back = hb.Live, hb.Backlog
	if hb.Backlog.Readings == 0 {
		a.lane = wire.Live // whatever its last batch was, the backlog is through
	}
	a.edge = edgeCounts{hb.Received, hb.Rejected, hb.Dropped}
	a.pending = hb
	s.heard(a)
	return Result{Verdict: Applied, Epoch: a.epoch, Seq: a.applied}
}

// watermarks returns the streams whose certificate changed, sorted by name.
func (s *state) watermarks(out []engine.Certified) []engine.Certified {
	out = out[:0]
	slot := s.tick / recertifyEvery
	all := slot != s.certSlot
	s.certSlot = slot
	any := false
	for i := range s.streams {
		any = any || all || s.streams[i].dirty
	}
	if !any {
		return out
	}
	s.scanAgents(all)
	s.arena = s.arena[:0]
	for i := range s.streams {
		c := &s.streams[i]
		if !c.dirty && !all {
			continue
		}
		c.dirty = false
		m := s.minima[i]
		low := c.low
		if m.holder >= 0 {
			low = max(low, column.FloorMicros(m.low))
		}
		c.holder, c.holderLow = m.holder, m.low
		if low == math.MinInt64 {
			continue
		}
		var behind []engine.Behind
		if m.lowest < low {
			behind = s.behind(i, low)
		}
		sum := hashBehind(behind)
		if low == c.low && m.complete == c.complete && m.expected == c.expected && sum == c.behind {
			continue
		}
		c.low, c.complete, c.expected, c.behind = low, m.complete, m.expected, sum
		out = append(out, engine.Certified{Stream: c.name, LowWater: low, AgentsComplete: m.complete, AgentsExpected: m.expected, Behind: behind})
	}
	slices.SortFunc(out, func(a, b engine.Certified) int { return cmp.Compare(a.Stream, b.Stream) })
	return out
}

// behind lists the expected agents that have not certified up to the watermark of a stream, the furthest behind
// first: also those that came back and are waited for again, but only for what comes next.
func (s *state) behind(stream int, low int64) []engine.Behind {
	from := len(s.arena)
	for _, a := range s.order {
		for _, f := range a.fronts {
			if f.stream != stream || column.FloorMicros(f.low) >= low {
				continue
			}
			reason := s.standing(a)
			if reason == "" {
				reason = "behind"
			}
			s.arena = append(s.arena, engine.Behind{Agent: a.name, Reason: reason, Low: column.FloorMicros(f.low)})
		}
	}
	out := s.arena[from:len(s.arena):len(s.arena)]
	slices.SortFunc(out, func(a, b engine.Behind) int {
		return cmp.Or(cmp.Compare(a.Low, b.Low), cmp.Compare(a.Agent, b.Agent))
	})
	return out
}

func hashBehind(list []engine.Behind) uint64 {
	if len(list) == 0 {
		return 0
	}
	var h xxh3.Hasher
	var low [8]byte
	for i := range list {
		binary.LittleEndian.PutUint64(low[:], uint64(list[i].Low))
		_, _ = h.Write(low[:]) // it never fails
		_, _ = h.WriteString(list[i].Agent)
		_, _ = h.WriteString(list[i].Reason)
	}
	return max(1, h.Sum64())
}

type minimum struct {
	low                int64 // of those that take part
	lowest             int64 // of all that are expected, µs
	holder             int
	complete, expected int
}

func (s *state) scanAgents(all bool) {
	s.minima = s.minima[:0]
	for range s.streams {
		s.minima = append(s.minima, minimum{low: math.MaxInt64, lowest: math.MaxInt64, holder: -1})
	}
	for _, a := range s.order {
		ok := s.standing(a) == ""
		for _, f := range a.fronts {
			if !all && !s.streams[f.stream].dirty {
				continue
			}
			m := &s.minima[f.stream]
			m.expected++
			m.lowest = min(m.lowest, column.FloorMicros(f.low))
			if !ok {
				continue
			}
			m.complete++
			if f.low < m.low {
				m.low, m.holder = f.low, a.ord
			}
		}
	}
}

// standing is "" for an agent that takes part in the minimum, otherwise why it does not.
func (s *state) standing(a *agent) string {
	switch {
	case a.retired != 0:
		return "retired"
	case s.tick-a.seen >= s.idleTimeout:
		return "offline"
	case a.back.Readings > 0 || a.lane == wire.Backlog:
		return "backlog"
	}
	return ""
}
