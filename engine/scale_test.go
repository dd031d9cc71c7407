package engine_test

import (
	"runtime"
	"testing"

	"signalbox/engine"
)

const scaleQuery = `CREATE STREAMING TABLE q AS SELECT window.start AS start, bus, sum(passengers) AS s, count(*) AS n, max(passengers) AS m
	FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS GROUP BY window(time, '1 hour'), bus`

func fillGroups(tb testing.TB, groups int, sql string) *engine.Engine {
	e := engine.New(engine.Options{})
	if err := e.Execute(busStream + sql); err != nil {
		tb.Fatal(err)
	}
	f := newFeed(10_000, groups)
	for f.row < groups {
		if _, err := e.Apply(f.next(e)); err != nil {
			tb.Fatal(err)
		}
	}
	return e
}

// TestStateBytesPerGroup holds the memory of open windows: at most 64 bytes a
// group for sum, count and max, key table included (the text of the key counts extra).
func TestStateBytesPerGroup(t *testing.T) {
	const groups = 1_000_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	e := fillGroups(t, groups, scaleQuery)
	runtime.GC()
	runtime.ReadMemStats(&after)
	per := float64(after.HeapAlloc-before.HeapAlloc) / groups
	t.Logf("heap %.1f bytes a group, estimate %.1f", per, float64(e.Counters().StateBytes)/groups)
	runtime.KeepAlive(e)
	if est := float64(e.Counters().StateBytes) / groups; est > 64+12 {
		t.Errorf("%.1f bytes of state a group, at most 64 and the key's text are allowed", est)
	}
}

// TestClosedWindowBytesPerGroup holds what a closed window costs while it can still be revised.
func TestClosedWindowBytesPerGroup(t *testing.T) {
	const groups = 200_000
	e := fillGroups(t, groups, `CREATE STREAMING TABLE q OPTIONS (allowed_lateness '24 hours') AS SELECT window.start AS start, bus, sum(passengers) AS s, count(*) AS n, max(passengers) AS m
	FROM STREAM bus WATERMARK time DELAY OF INTERVAL 0 SECONDS GROUP BY window(time, '1 minute'), bus`)
	open := e.Counters()
	out, err := e.Apply(busInput(1_000_000, 1_700_000_900*second, busRow{t: 1_700_000_900 * second, bus: "bus-0"}))
	if err != nil || len(out.Changes) != 1 || out.Changes[0].Rows.Len != groups {
		t.Fatalf("closing the window: %v", err)
	}
	c := e.Counters()
	per := float64(c.ClosedBytes) / groups
	t.Logf("open %d bytes, closed window %.1f bytes a group", open.StateBytes, per)
	if per == 0 || per > 10 {
		t.Errorf("%.1f bytes a group, at most 10 are allowed", per)
	}
}
