package stream

import (
	"fmt"
	"math"
	"sort"
	"strings"
)

// Behind is an agent that is expected but has not certified up to the watermark
// of its stream: what it still has to send may change windows that were told.
type Behind struct {
	Agent  string
	Reason string // backlog, offline, behind
	Low    int64  // µs: it has sent everything up to here
}

// Agents is what stands behind the certified watermark of a source.
type Agents struct {
	Complete, Expected int      // agents that the watermark waits for, and all that are expected
	Behind             []Behind // sorted by Low: who has not certified up to the watermark, whatever the reason
}

// MaxMissing bounds the names that a text about missing agents spells out.
const MaxMissing = 20

// fullness is what the rows of a chunk can claim.
type fullness struct {
	known              bool // false: the rows belong to no window, or no source has agents
	complete, expected int32
	same               bool // the rows repeat what was told: only their completeness is news
}

// final reports whether nothing is missing any more.
func (f fullness) final() bool { return f.known && f.complete >= f.expected }

// Run is what holds for rows of a Result: those before To that no earlier Run holds for.
type Run struct {
	To                 int
	Known              bool // otherwise the rows belong to no window with agents behind it
	Complete, Expected int32
	Same               bool // the rows repeat what was told: only their completeness is news
}

func (r *Run) fullness() fullness { return fullness{r.Known, r.Complete, r.Expected, r.Same} }

// addRun notes that the next n rows have a fullness.
func addRun(runs []Run, n int, f fullness) []Run {
	to := n
	if k := len(runs); k > 0 {
		if runs[k-1].fullness() == f {
			runs[k-1].To += n
			return runs
		}
		to += runs[k-1].To
	}
	return append(runs, Run{To: to, Known: f.known, Complete: f.complete, Expected: f.expected, Same: f.same})
}

// held is how much the operators up to a mark hold back output.
func (m *mark) held() int64 {
	h := int64(0)
	for _, in := range m.inputs {
		h = max(h, in.held())
	}
	return h + m.hold
}

// slackOf finds how far a certificate must be past the end of a window for each
// source: the DELAY of its watermark; what operators hold back comes on top.
func (p *Pipeline) slackOf() {
	common := int64(0)
	for _, w := range p.wms {
		if w.scan == nil {
			common = max(common, w.delay)
		}
	}
	for _, s := range p.scans {
		s.slack = common
		for _, w := range p.wms {
			if w.scan == s {
				s.slack = w.delay
			}
		}
	}
}

// certified reports whether agents stand behind the time of a source of the query.
func (p *Pipeline) certified() bool {
	for _, sc := range p.scans {
		if sc.certified {
			return true
		}
	}
	return false
}

// certifiedEnd is the end of the last window that a certificate is past.
func certifiedEnd(low, slack int64) int64 {
	if low < math.MinInt64/2 {
		return noMark
	}
	return floorDiv(low, 1000)*1000 - slack
}

// fullness is how many of the expected agents certified past a window that
// ends at end. With several sources the least complete one counts. While the
// watermark of a source has not passed the window nobody counts as past it.
func (p *Pipeline) fullness(m *mark, end int64) (f fullness) {
	hold := m.held()
	for _, s := range p.scans {
		if !s.certified || s.agents == nil {
			continue
		}
		a, slack := s.agents, s.slack+hold
		g := fullness{known: true, expected: int32(a.Expected)}
		if certifiedEnd(s.low, slack) >= end {
			g.complete = int32(max(0, a.Expected-a.missing(end, slack)))
		}
		if !f.known || g.expected-g.complete > f.expected-f.complete {
			f = g
		}
	}
	return f
}

// missing counts the agents that have not certified past a window that the watermark has passed.
func (a *Agents) missing(end, slack int64) int {
	return sort.Search(len(a.Behind), func(i int) bool { return certifiedEnd(a.Behind[i].Low, slack) >= end })
}

// finalEnd is the end of the last window that every expected agent is past, noMark when there are no agents.
func (p *Pipeline) finalEnd(m *mark) int64 {
	hold, end, any := m.held(), int64(noMark), false
	for _, s := range p.scans {
		if !s.certified || s.agents == nil {
			continue
		}
		low := s.low
		if len(s.agents.Behind) > 0 {
			low = min(low, s.agents.Behind[0].Low)
		}
		if e := certifiedEnd(low, s.slack+hold); !any || e < end {
			end, any = e, true
		}
	}
	return end
}

// missingText names the agents that have not certified past a window.
func (p *Pipeline) missingText(m *mark, end int64) string {
	hold := m.held()
	var all []Behind
	for _, s := range p.scans {
		if s.certified && s.agents != nil {
			all = append(all, s.agents.Behind[:s.agents.missing(end, s.slack+hold)]...)
		}
	}
	return MissingText(all)
}

// MissingText names agents with the reason why they are behind, each once and at most MaxMissing of them.
func MissingText(list []Behind) string {
	var b strings.Builder
	named, more := map[string]bool{}, 0
	for i := range list {
		x := &list[i]
		switch {
		case named[x.Agent]:
			continue
		case len(named) >= MaxMissing:
			more++
			continue
		case b.Len() > 0:
			b.WriteString(", ")
		}
		named[x.Agent] = true
		fmt.Fprintf(&b, "%s (%s)", x.Agent, x.Reason)
	}
	if more > 0 {
		fmt.Fprintf(&b, " and %d more", more)
	}
	return b.String()
}

// Know tells a pipeline that was just restored what stands behind the watermark
// of a source, as an entry would. It changes no state.
func (p *Pipeline) Know(source string, agents *Agents) {
	for _, s := range p.scans {
		if s.certified && strings.EqualFold(s.node.Table, source) {
			s.agents = agents
		}
	}
}
