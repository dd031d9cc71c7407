package engine_test

import (
	"io"
	"testing"
	"time"
)

// BenchmarkSnapshot1MGroups measures what a snapshot of a million groups costs
// Apply: the call itself, and the slowest entries while it is written, beside those without.
func BenchmarkSnapshot1MGroups(b *testing.B) {
	e := fillGroups(b, 1_000_000, scaleQuery)
	f := newFeed(1000, 1_000_000)
	f.index = e.Tables()[0].Version + 1_000_000
	f.row = 500_000
	step := func() time.Duration {
		in := f.next(e)
		at := time.Now()
		if _, err := e.Apply(in); err != nil {
			b.Fatal(err)
		}
		return time.Since(at)
	}
	var quiet, call, first, busy, write time.Duration
	for range 200 {
		quiet = max(quiet, step())
	}
	b.ResetTimer()
	for range b.N {
		at := time.Now()
		s, err := e.Snapshot()
		if err != nil {
			b.Fatal(err)
		}
		call = max(call, time.Since(at))
		first = max(first, step())
		done := make(chan time.Duration)
		go func() {
			at := time.Now()
			if err := s.Write(io.Discard); err != nil {
				b.Error(err)
			}
			done <- time.Since(at)
		}()
		for open := true; open; {
			select {
			case d := <-done:
				write, open = max(write, d), false
			default:
				busy = max(busy, step())
			}
		}
	}
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(ms(call), "ms-call-max")
	b.ReportMetric(ms(first), "ms-next-entry-max")
	b.ReportMetric(ms(busy), "ms-entry-beside-write-max")
	b.ReportMetric(ms(quiet), "ms-entry-quiet-max")
	b.ReportMetric(ms(write), "ms-write-max")
}
