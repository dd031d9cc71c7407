package alert

import "math"

const (
	never = math.MaxInt64 // a deadline that does not come
	unset = math.MinInt64 // an event time before all others
)

// phase is a State as a number; they are part of the snapshot format: append, never renumber.
type phase uint8

const (
	inactive phase = iota
	pending
	firing
	noData
	resolved
)

var phaseStates = [...]State{Inactive, Pending, Firing, NoData, Resolved}

// tri is a condition in three-valued logic.
type tri uint8

const (
	null tri = iota // no information
	no
	yes
)

// machine is the state of one alert. A condition holds from one reading to the
// next, so what fires does not depend on how often the clock is advanced.
type machine struct {
	last     int64 // event time of the last evaluated reading
	due      int64 // when time alone changes the state
	episode  int64 // event time of the first true reading of the episode
	cleared  int64 // event time of the reading that cleared it; valid while clearing
	at       int64 // event time of the last transition
	state    phase
	told     phase // the state of the last transition
	prior    phase // the state before no-data
	clearing bool  // cleared, but kept firing
}

func newMachine() machine { return machine{last: unset, due: never, at: unset} }

// timing is what a rule says about time.
type timing struct{ hold, keep, absent int64 }

// later adds a duration to a time, without overflow.
func later(t, d int64) int64 {
	if t > math.MaxInt64-d {
		return never
	}
	return t + d
}

// deadline computes due.
func (m *machine) deadline(w timing) int64 {
	due := int64(never)
	switch {
	case m.state == pending:
		due = later(m.episode, w.hold)
	case m.state == firing && m.clearing:
		due = later(m.cleared, w.keep)
	}
	if w.absent > 0 && m.state != noData && m.last != unset {
		due = min(due, later(m.last, w.absent))
	}
	return due
}

// active reports whether the alert is pending or firing, also behind no-data.
func (m *machine) active() bool {
	s := m.state
	if s == noData {
		s = m.prior
	}
	return s == pending || s == firing
}

// elapse changes the state by time alone, for the deadline at hand, and returns when.
func (m *machine) elapse(w timing) int64 {
	at := m.due
	switch {
	case m.state == pending && at == later(m.episode, w.hold):
		m.state = firing
	case m.state == firing && m.clearing && at == later(m.cleared, w.keep):
		m.state, m.clearing = resolved, false
	default:
		m.prior, m.state = m.state, noData
	}
	m.due = m.deadline(w)
	return at
}

// read evaluates one reading at time t, after every earlier deadline has elapsed.
// mayStart says whether a new alert may start. It reports whether one was held back.
func (m *machine) read(t int64, cond, resolve tri, separate bool, w timing, mayStart bool) (held bool) {
	m.last = t
	if m.state == noData {
		m.state = m.prior
	}
	clears := cond == no
	if separate {
		clears = cond != yes && resolve == yes
	}
	switch m.state {
	case inactive, resolved:
		if cond == yes {
			if !mayStart {
				held = true
				break
			}
			m.episode, m.clearing, m.state = t, false, pending
		}
	case pending:
		if cond == no {
			m.state = inactive
		}
	case firing:
		switch {
		case cond == yes:
			m.clearing = false
		case clears && !m.clearing:
			m.clearing, m.cleared = true, t
		}
	}
	m.due = m.deadline(w)
	return held
}

// settle fires or resolves what is due at the very time of the reading.
func (m *machine) settle(t int64, w timing) {
	switch {
	case m.state == pending && later(m.episode, w.hold) <= t:
		m.state = firing
	case m.state == firing && m.clearing && later(m.cleared, w.keep) <= t:
		m.state, m.clearing = resolved, false
	}
	m.due = m.deadline(w)
}
