package edge

import "time"

// maxMarks bounds how many settings of the device's clock are remembered: older ones count as the oldest known.
const maxMarks = 32

// clock says what time it was for the core when something was received. A device's own clock may be a year off, or
// be set while readings wait: durations are taken from a clock that nobody sets, and the time from the core once it was heard.
type clock struct {
	began time.Time
	heard time.Time // when the core told its time, zero = not yet
	core  int64     // ns, what it told
	marks []mark
}

// mark says what the records from a number on were stamped with: base is the stamp less the time since the start.
type mark struct {
	number uint64
	base   int64
}

func newClock() clock { return clock{began: time.Now()} }

// since is the time since the start in ns, never 0: what the session counts by.
func (c *clock) since() int64 { return int64(time.Since(c.began)) + 1 }

func (c *clock) hear(core int64) { c.core, c.heard = core, time.Now() }

// stamp is the time of a moment, in ns.
func (c *clock) stamp(at time.Time) int64 {
	if c.heard.IsZero() {
		return at.UnixNano()
	}
	return c.core + int64(at.Sub(c.heard))
}

func (c *clock) base(at time.Time) int64 { return c.stamp(at) - int64(at.Sub(c.began)) }

// wrote remembers how the record of a number was stamped.
func (c *clock) wrote(number uint64, at time.Time) {
	base := c.base(at)
	if n := len(c.marks); n > 0 && (base-c.marks[n-1].base > -int64(time.Second) && base-c.marks[n-1].base < int64(time.Second)) {
		return
	}
	if len(c.marks) == maxMarks {
		c.marks = append(c.marks[:1], c.marks[2:]...)
	}
	c.marks = append(c.marks, mark{number, base})
}

// corrected is what a record of this process would be stamped with, knowing what is known now; one of an earlier process stays as it is.
func (c *clock) corrected(number uint64, stamp int64) int64 {
	for i := len(c.marks) - 1; i >= 0; i-- {
		if c.marks[i].number <= number {
			return stamp - c.marks[i].base + c.base(time.Now())
		}
	}
	return stamp
}
