package engine_test

import (
	"io"
	"slices"
	"testing"
	"time"

	"signalbox/engine"
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
	var quiet, first, busy, calls, writes durations
	for range 500 {
		quiet = append(quiet, step())
	}
	b.ResetTimer()
	for range b.N {
		at := time.Now()
		s, err := e.Snapshot()
		if err != nil {
			b.Fatal(err)
		}
		calls = append(calls, time.Since(at))
		first = append(first, step())
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
				writes, open = append(writes, d), false
			default:
				busy = append(busy, step())
			}
		}
	}
	b.ReportMetric(calls.at(50), "ms-call-p50")
	b.ReportMetric(calls.at(100), "ms-call-max")
	b.ReportMetric(quiet.at(50), "ms-quiet-p50")
	b.ReportMetric(quiet.at(99), "ms-quiet-p99")
	b.ReportMetric(first.at(50), "ms-next-p50")
	b.ReportMetric(first.at(100), "ms-next-max")
	b.ReportMetric(busy.at(50), "ms-beside-p50")
	b.ReportMetric(busy.at(99), "ms-beside-p99")
	b.ReportMetric(writes.at(50), "ms-write-p50")
}

// BenchmarkQuery1MGroups measures what a query over a million groups that are open costs Apply: the capture, and the
// entries while it runs, beside those without.
func BenchmarkQuery1MGroups(b *testing.B) {
	e := fillGroups(b, 1_000_000, scaleQuery)
	f := newFeed(1000, 1_000_000)
	f.index, f.row = e.Tables()[0].Version+1_000_000, 500_000
	var machine durations // making the rows of an entry takes no lock: how long it takes at worst is the machine's doing
	step := func() time.Duration {
		if f.row > 100*f.groups { // stay in the window: its end would be a million rows of results
			f.row = 500_000
		}
		at := time.Now()
		in := f.next(e)
		machine = append(machine, time.Since(at))
		at = time.Now()
		if _, err := e.Apply(in); err != nil {
			b.Fatal(err)
		}
		return time.Since(at)
	}
	var quiet, busy, calls, queries durations
	for range 500 {
		quiet = append(quiet, step())
	}
	machine = machine[:0]
	p, err := e.Prepare("SELECT count(*) AS n, count(DISTINCT bus) AS buses FROM `q$open`")
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for range b.N {
		at := time.Now()
		v, err := e.View(p)
		if err != nil {
			b.Fatal(err)
		}
		calls = append(calls, time.Since(at))
		done := make(chan time.Duration)
		go func() {
			at := time.Now()
			if rows, err := v.Run(engine.QueryLimits{}); err != nil || rows.Cols[0].I64[0] < 1_000_000 {
				b.Error(rows, err)
			}
			done <- time.Since(at)
		}()
		for open := true; open; {
			select {
			case d := <-done:
				queries, open = append(queries, d), false
			default:
				busy = append(busy, step())
			}
		}
	}
	b.ReportMetric(calls.at(50), "ms-capture-p50")
	b.ReportMetric(calls.at(100), "ms-capture-max")
	b.ReportMetric(quiet.at(50), "ms-quiet-p50")
	b.ReportMetric(quiet.at(99), "ms-quiet-p99")
	b.ReportMetric(busy.at(50), "ms-beside-p50")
	b.ReportMetric(busy.at(99), "ms-beside-p99")
	b.ReportMetric(busy.at(100), "ms-beside-max")
	b.ReportMetric(machine.at(100), "ms-rows-max")
	b.ReportMetric(queries.at(50), "ms-query-p50")
}

// durations are measurements of which percentiles are told: on a machine that
// does other things, the maximum is about those.
type durations []time.Duration

func (d durations) at(percent int) float64 {
	slices.Sort(d)
	return float64(d[min(len(d)-1, len(d)*percent/100)].Microseconds()) / 1000
}
