package corecmd

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"time"
)

// A peer that is away is complained about at every attempt to reach it: the same words again within
// repeatAfter are counted, not written. At most maxRemembered different ones are remembered.
const (
	repeatAfter   = 30 * time.Second
	maxRemembered = 256
)

// quiet writes each line of a log at most once in repeatAfter. A line is known by what follows its time stamp.
type quiet struct {
	w   io.Writer
	now func() time.Time

	mu   sync.Mutex
	seen map[string]*repeated
}

type repeated struct {
	at   time.Time // when it was written last
	left int       // how often it was not written since
}

func newQuiet(w io.Writer, now func() time.Time) *quiet {
	return &quiet{w: w, now: now, seen: map[string]*repeated{}}
}

// Write takes one line, as loggers give it.
func (q *quiet) Write(line []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	_, text, stamped := bytes.Cut(line, []byte(" "))
	if !stamped {
		return q.w.Write(line)
	}
	now := q.now()
	r := q.seen[string(text)]
	switch {
	case r == nil:
		if len(q.seen) >= maxRemembered {
			clear(q.seen)
		}
		q.seen[string(text)] = &repeated{at: now}
	case now.Sub(r.at) < repeatAfter:
		r.left++
		return len(line), nil
	default:
		if r.left > 0 {
			fmt.Fprintf(q.w, "(%d times more, since %s:)\n", r.left, r.at.UTC().Format(time.TimeOnly))
		}
		*r = repeated{at: now}
	}
	return q.w.Write(line)
}
