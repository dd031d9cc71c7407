// Package window is the arithmetic of time windows: which windows a time is
// in, where panes begin, and how sessions merge.
//
// It promises Spark's answers: windows are [start, end), aligned to the UTC
// epoch plus an offset, and sessions merge when they touch. It refuses to know
// rows, groups and watermarks.
package window

import "slices"

// Spec is a tumbling (Slide == Size) or sliding window, in µs.
type Spec struct{ Size, Slide, Start int64 }

// Span is one window: [Start, End), in µs.
type Span struct{ Start, End int64 }

// Last returns the start of the latest window that begins at or before t.
func (s Spec) Last(t int64) int64 {
	r := (t - s.Start) % s.Slide
	if r < 0 {
		r += s.Slide
	}
	return t - r
}

// Windows appends the windows that contain t, latest first. With Slide > Size there may be none.
func (s Spec) Windows(dst []Span, t int64) []Span {
	// Differences are taken as unsigned, so that times near the ends of int64 end the loop too.
	for start := s.Last(t); uint64(t-start) < uint64(s.Size); start -= s.Slide {
		dst = append(dst, Span{start, start + s.Size})
	}
	return dst
}

// Panes reports whether every window is a whole number of panes of Slide µs,
// so that a row is added once and panes are merged when a window is emitted.
func (s Spec) Panes() bool { return s.Size >= s.Slide && s.Size%s.Slide == 0 }

// PerWindow is the number of panes of a window.
func (s Spec) PerWindow() int { return int(s.Size / s.Slide) }

// Touching finds the sessions that a new span touches or overlaps: list[lo:hi]
// of a list that is sorted and whose spans do not touch each other. It returns
// the union of them all, which takes their place.
func Touching[S any](list []S, span func(S) Span, x Span) (union Span, lo, hi int) {
	lo, _ = slices.BinarySearchFunc(list, x.Start, func(s S, t int64) int {
		if span(s).End < t {
			return -1
		}
		return 1
	})
	for hi = lo; hi < len(list) && span(list[hi]).Start <= x.End; hi++ {
		s := span(list[hi])
		x.Start, x.End = min(x.Start, s.Start), max(x.End, s.End)
	}
	return x, lo, hi
}
