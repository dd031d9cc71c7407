package engine_test

import (
	"fmt"
	"math/rand"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

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

// closedKinds are what a closed window keeps for each bus: sum, count and max, or an average more, of readings like these.
var closedKinds = []struct {
	name   string
	most   float64 // bytes a group at 2,000 groups
	column string
	avg    bool
	value  func(r *rand.Rand) (speed float64, passengers int64)
}{
	{"BIGINT", 10, "passengers", false, func(r *rand.Rand) (float64, int64) { return 0, r.Int63n(80) }},
	{"DOUBLE, whole", 10, "speed", false, func(r *rand.Rand) (float64, int64) { return float64(r.Intn(90)), 0 }},
	{"DOUBLE, one decimal", 10, "speed", false, func(r *rand.Rand) (float64, int64) { return float64(r.Intn(900)) / 10, 0 }},
	{"DOUBLE, two decimals", 10, "speed", false, func(r *rand.Rand) (float64, int64) { return float64(r.Intn(9000)) / 100, 0 }},
	{"DOUBLE, two decimals, around zero", 10, "speed", false, func(r *rand.Rand) (float64, int64) { return float64(r.Intn(6000)-3000) / 100, 0 }},
	{"DOUBLE, one decimal, with avg", 10, "speed", true, func(r *rand.Rand) (float64, int64) { return float64(r.Intn(900)) / 10, 0 }},
	{"FLOAT of one decimal", 10, "speed", false, func(r *rand.Rand) (float64, int64) { return float64(float32(r.Intn(900)) / 10), 0 }},
	{"random mantissas", 18, "speed", false, func(r *rand.Rand) (float64, int64) { return r.Float64(), 0 }}, // their bits are random: nothing can make them much fewer
}

// closedWindow closes one window of a minute in which each bus reported that
// often, and returns the bytes a group.
func closedWindow(tb testing.TB, kind, groups, readings int) float64 {
	k := closedKinds[kind]
	list := "sum(%[1]s) AS s, count(*) AS n, max(%[1]s) AS m"
	if k.avg {
		list += ", avg(%[1]s) AS a"
	}
	e := engine.New(engine.Options{})
	if err := e.Execute(busStream + fmt.Sprintf(`CREATE STREAMING TABLE q OPTIONS (allowed_lateness '24 hours') AS SELECT window.start AS start, bus, `+list+`
	FROM STREAM bus WATERMARK time DELAY OF INTERVAL 0 SECONDS GROUP BY window(time, '1 minute'), bus`, k.column)); err != nil {
		tb.Fatal(err)
	}
	f := newFeed(min(groups, 10_000), groups)
	f.at = 1_700_000_040 * second
	r := rand.New(rand.NewSource(int64(kind)))
	for f.row < groups*readings {
		in := f.next(e)
		c := f.b.Cols
		for i := range f.b.Len {
			c[0].I64[i] = f.at
			c[5].F64[i], c[3].I64[i] = k.value(r)
		}
		if _, err := e.Apply(in); err != nil {
			tb.Fatal(err)
		}
	}
	out, err := e.Apply(busInput(f.index+1, 1_700_000_900*second, busRow{t: 1_700_000_900 * second, bus: "bus-0"}))
	if err != nil || len(out.Changes) != 1 || out.Changes[0].Rows.Len != groups {
		tb.Fatalf("closing the window: %v", err)
	}
	return float64(e.Counters().ClosedBytes) / float64(groups)
}

// TestClosedWindowBytesPerGroup holds what a closed window costs while it can
// still be revised. The keys are not in it: they are there once for all windows.
func TestClosedWindowBytesPerGroup(t *testing.T) {
	for kind, k := range closedKinds {
		per := closedWindow(t, kind, 2000, 60)
		t.Logf("%-36s %5.1f bytes a group", k.name, per)
		if per == 0 || per > k.most {
			t.Errorf("%s: %.1f bytes a group, at most %.0f are allowed", k.name, per, k.most)
		}
	}
}

func BenchmarkClosedWindow(b *testing.B) {
	for kind, k := range closedKinds {
		for _, groups := range []int{2000, 1_000_000} {
			b.Run(fmt.Sprintf("%s/%d", strings.ReplaceAll(k.name, " ", "_"), groups), func(b *testing.B) {
				per := 0.0
				for range b.N {
					per = closedWindow(b, kind, groups, min(60, 20_000_000/groups))
				}
				b.ReportMetric(per, "B/group")
			})
		}
	}
}

// BenchmarkGrow1MGroups measures the slowest entries while a million keys that
// were never seen arrive, a thousand an entry.
func BenchmarkGrow1MGroups(b *testing.B) {
	var slowest durations
	for range b.N {
		e := engine.New(engine.Options{})
		if err := e.Execute(busStream + scaleQuery); err != nil {
			b.Fatal(err)
		}
		f := newFeed(1000, 2_000_000)
		var all durations
		for f.row < 2_000_000 {
			in := f.next(e)
			at := time.Now()
			if _, err := e.Apply(in); err != nil {
				b.Fatal(err)
			}
			all = append(all, time.Since(at))
		}
		slices.Sort(all)
		slices.Reverse(all)
		slowest = append(slowest, all[0])
		b.Logf("the slowest entries: %v; the median %v", all[:8], all[len(all)/2])
	}
	b.ReportMetric(slowest.at(50), "ms-slowest-p50")
}
