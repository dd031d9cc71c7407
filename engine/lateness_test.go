package engine_test

import (
	"fmt"
	"math/rand"
	"testing"

	"signalbox/engine"
)

// latest keeps the newest revision of each row, as an upsert sink does.
type latest struct {
	rev  map[engine.RowID]uint32
	row  map[engine.RowID]string
	rev2 int // rows that came with a revision above 1
}

func (l *latest) take(t *testing.T, out *engine.Output, table string) {
	t.Helper()
	for _, c := range out.Changes {
		if c.Table != table {
			continue
		}
		for i, id := range c.IDs {
			if c.Revisions[i] <= l.rev[id] {
				t.Fatalf("%s: revision %d after %d", rowText(c.Rows, i), c.Revisions[i], l.rev[id])
			}
			if c.Revisions[i] > 1 {
				l.rev2++
			}
			l.rev[id], l.row[id] = c.Revisions[i], rowText(c.Rows, i)
		}
	}
}

// TestAllowedLatenessAgainstOracle: after the last revision every window says
// what adding up all rows that were not too late says; restoring in between changes nothing.
func TestAllowedLatenessAgainstOracle(t *testing.T) {
	for _, c := range []struct {
		window      string
		size, slide int64
	}{{"'20 seconds'", 20, 20}, {"'30 seconds', '10 seconds'", 30, 10}} {
		for seed := range int64(5) {
			r := rand.New(rand.NewSource(seed))
			opt := engine.DefaultOptions()
			opt.ReviseEvery = 3 * second
			e := newEngine(t, opt, fmt.Sprintf(`CREATE STREAMING TABLE q OPTIONS (allowed_lateness '90 seconds') AS SELECT window.start AS start, route, sum(passengers) AS s, max(passengers) AS m, count(*) AS n
				FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS GROUP BY window(time, %s), route`, c.window))
			o := &oracle{size: c.size * second, slide: c.slide * second, delay: 10 * second, lateness: 90 * second, key: keyOfRoute, groups: map[[2]any]*cell{}, emitted: -1 << 62, all: map[[2]any]*cell{}}
			l := latest{rev: map[engine.RowID]uint32{}, row: map[engine.RowID]string{}}
			rows := randomRows(r, 1500, 1_700_000_000*second)
			for i := range rows { // outages: some rows come minutes late
				if r.Intn(25) == 0 {
					rows[i].t -= r.Int63n(200) * second
				}
			}
			late, packed := 0, false
			for i := uint64(1); ; i++ {
				n := min(1+r.Intn(60), len(rows))
				in := &engine.Input{Index: i, Time: int64(i) * second, End: n == 0}
				if n > 0 {
					in.Batches = []engine.StreamBatch{{Stream: "bus", Rows: busBatch(rows[:n])}}
				}
				out := apply(t, e, in)
				late += len(out.Late)
				l.take(t, out, "q")
				o.step(rows[:n], n == 0)
				if n == 0 {
					break
				}
				rows = rows[n:]
				if i%7 == 0 {
					e, packed = throughSnapshot(t, e, opt), true
				}
			}
			want := map[string]int{}
			for k, g := range o.all {
				if g.n == 0 {
					want[fmt.Sprintf("%d,%s,NULL,NULL,%d", k[0], k[1], g.rows)]++
				} else {
					want[fmt.Sprintf("%d,%s,%d,%d,%d", k[0], k[1], g.sum, g.max, g.rows)]++
				}
			}
			got := map[string]int{}
			for _, x := range l.row {
				got[x]++
			}
			if a, b := counted(got), counted(want); a != b {
				t.Fatalf("%s seed %d:\ngot  %s\nwant %s", c.window, seed, a, b)
			}
			if late != o.late || late == 0 || l.rev2 == 0 || !packed {
				t.Fatalf("%s seed %d: %d late rows, want %d (and some); %d revisions", c.window, seed, late, o.late, l.rev2)
			}
		}
	}
}

func TestClosedWindowsHaveABudget(t *testing.T) {
	opt := engine.DefaultOptions()
	opt.MaxClosedBytes = 400
	e := newEngine(t, opt, `CREATE STREAMING TABLE q OPTIONS (allowed_lateness '10 hours') AS SELECT window.start AS start, bus, count(*) AS n
		FROM STREAM bus WATERMARK time DELAY OF INTERVAL 1 SECOND GROUP BY window(time, '1 minute'), bus`)
	base := 1_700_000_040 * second
	for i := range int64(50) {
		var rows []busRow
		for b := range 20 {
			rows = append(rows, busRow{t: base + i*60*second, bus: fmt.Sprint("b", b)})
		}
		apply(t, e, busInput(uint64(i+1), base+i*60*second, rows...))
	}
	if c := e.Counters(); c.ClosedEvict == 0 {
		t.Fatalf("no window was given up: %+v", c)
	}
	out := apply(t, e, busInput(100, base+51*60*second, busRow{t: base, bus: "b1"}, busRow{t: base + 48*60*second, bus: "b1"}))
	if len(out.Late) != 1 {
		t.Fatalf("%d late rows, the one for the window that was given up is expected", len(out.Late))
	}
}

func TestAllowedLatenessIsRefusedWhereItNeedsRetractions(t *testing.T) {
	for _, q := range []string{
		`SELECT bus FROM STREAM bus WATERMARK time DELAY OF INTERVAL 1 SECOND DEDUP BY (bus) WITHIN WATERMARK`,
		`SELECT route, count(*) AS n FROM STREAM bus GROUP BY route`,
		`SELECT window(w, '1 hour').start AS s, sum(n) AS n FROM (SELECT window AS w, count(*) AS n FROM STREAM bus WATERMARK time DELAY OF INTERVAL 1 SECOND GROUP BY window(time, '1 minute')) GROUP BY window(w, '1 hour')`,
	} {
		e := newEngine(t, engine.DefaultOptions())
		if err := e.Execute("CREATE STREAMING TABLE q OPTIONS (allowed_lateness '1 hour') AS " + q); err == nil {
			t.Errorf("accepted: %s", q)
		}
	}
}

func TestDefaultLateness(t *testing.T) {
	opt := engine.DefaultOptions()
	opt.DefaultLateness = 3600 * second
	const window = `AS SELECT window.start AS s, count(*) AS n FROM STREAM bus WATERMARK time DELAY OF INTERVAL 1 SECOND GROUP BY window(time, '1 minute')`
	e := newEngine(t, opt, `CREATE STREAMING TABLE a `+window, `CREATE STREAMING TABLE b OPTIONS (allowed_lateness '0 seconds') `+window, `CREATE STREAMING TABLE c AS SELECT bus FROM STREAM bus`)
	for range 2 {
		got := map[string]int64{}
		for _, x := range e.Tables() {
			got[x.Name] = x.Options.AllowedLateness
		}
		if got["a"] != 3600*second || got["b"] != 0 || got["c"] != 0 {
			t.Fatalf("%v", got)
		}
		e = throughSnapshot(t, e, engine.DefaultOptions()) // another default later does not change a table that exists
	}
}
