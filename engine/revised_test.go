package engine_test

import (
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"

	"signalbox/engine"
	"signalbox/engine/alert"
	"signalbox/engine/plan"
)

const perBus = `SELECT window.start AS start, bus, sum(passengers) AS s FROM STREAM bus WATERMARK time DELAY OF INTERVAL 1 SECOND GROUP BY window(time, '10 seconds'), bus`

const overPerBus = `CREATE STREAMING TABLE b OPTIONS (allowed_lateness '1 hour') AS SELECT window.start AS start, sum(s) AS s, count(*) AS n FROM STREAM a WATERMARK start DELAY OF INTERVAL 0 SECONDS GROUP BY window(start, '100 seconds')`

func lateOf(t *testing.T, e *engine.Engine, table string) []string {
	t.Helper()
	b, err := e.Query("SELECT stream, query, reason, row FROM `" + table + "$late`")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for i := range b.Len {
		out = append(out, rowText(b, i))
	}
	return out
}

// TestARevisionCountsOnceAbove: a late reading of a bus that was told revises its row, which the table above has
// counted; a late reading of a bus that was away makes a new row, which it counts now.
func TestARevisionCountsOnceAbove(t *testing.T) {
	opt := engine.DefaultOptions()
	e := newEngine(t, opt, `CREATE STREAMING TABLE a OPTIONS (allowed_lateness '1 hour') AS `+perBus, overPerBus)
	base := 1_700_000_000 * second
	base -= base % (100 * second)
	at := func(i uint64, s int64, bus string, p int64) *engine.Input {
		return busInput(i, int64(i)*20*second, busRow{t: base + s*second, bus: bus, passengers: i64(p)})
	}
	l := latest{rev: map[engine.RowID]uint32{}, row: map[engine.RowID]string{}}
	step := func(in *engine.Input) *engine.Output {
		e = throughSnapshot(t, e, opt)
		out := apply(t, e, in)
		l.take(t, out, "b")
		return out
	}
	step(at(1, 5, "x", 10))
	step(at(2, 25, "x", 1)) // tells x 10
	out := step(busInput(3, 60*second, busRow{t: base + 6*second, bus: "x", passengers: i64(3)}, busRow{t: base + 7*second, bus: "y", passengers: i64(5)}))
	if len(out.Revised) != 1 || len(out.Late) != 0 {
		t.Fatalf("revised %v, late %v", out.Revised, out.Late)
	}
	step(at(4, 8, "y", 100)) // y is told already
	step(at(5, 150, "x", 0))
	step(&engine.Input{Index: 6, Time: 200 * second, End: true})
	want := map[string]int{fmt.Sprintf("%d,16,3", base): 1, fmt.Sprintf("%d,0,1", base+100*second): 1}
	got := map[string]int{}
	for _, x := range l.row {
		got[x]++
	}
	if a, b := counted(got), counted(want); a != b {
		t.Fatalf("b is %s, want %s", a, b)
	}
	late := lateOf(t, e, "b")
	if len(late) != 2 || !strings.HasPrefix(late[0], "a,b,revised,") || !strings.Contains(late[0], `"s":13`) || !strings.Contains(late[1], `"s":105`) {
		t.Fatalf("%q", late)
	}
	if c := e.Counters(); c.Revised != 2 || c.Late != 0 {
		t.Fatalf("%d revised, %d late", c.Revised, c.Late)
	}
}

// TestFirstTellingsHaveRevisionOne: a row has revision 1 when it is told first, also in a window that others had been
// told of, and no other time, also in windows that slide and through snapshots.
func TestFirstTellingsHaveRevisionOne(t *testing.T) {
	for _, window := range []string{"'20 seconds'", "'30 seconds', '10 seconds'"} {
		for seed := range int64(6) {
			r := rand.New(rand.NewSource(seed))
			opt := engine.DefaultOptions()
			opt.ReviseEvery = int64(2+seed%3*10) * second
			e := newEngine(t, opt, fmt.Sprintf(`CREATE STREAMING TABLE q OPTIONS (allowed_lateness '90 seconds') AS SELECT window.start AS start, bus, count(*) AS n
				FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS GROUP BY window(time, %s), bus`, window),
				`CREATE STREAMING TABLE up OPTIONS (mode 'update') AS SELECT count(*) AS rows FROM STREAM q`)
			told, firstLate, unmarked, rows := map[engine.RowID]bool{}, 0, 0, randomRows(r, 1500, 1_700_000_000*second)
			windows, ones := map[string]bool{}, uint64(0)
			for i := range rows {
				if r.Intn(8) == 0 {
					rows[i].t -= r.Int63n(90) * second
				}
			}
			for i := uint64(1); len(rows) > 0; i++ {
				n := min(1+r.Intn(60), len(rows))
				out := apply(t, e, &engine.Input{Index: i, Time: int64(i) * second, Batches: []engine.StreamBatch{{Stream: "bus", Rows: busBatch(rows[:n])}}})
				rows = rows[n:]
				for _, c := range out.Changes {
					if c.Table != "q" {
						continue
					}
					before := len(windows)
					for k, id := range c.IDs {
						first, start := !told[id], fmt.Sprint(c.Rows.Row(k)[0])
						if c.Revisions[k] == 1 {
							ones++
						}
						if told[id] && c.Revisions[k] == 1 {
							t.Fatalf("%s seed %d: told again as revision 1: %s", window, seed, rowText(c.Rows, k))
						}
						if first && c.Revisions[k] != 1 {
							unmarked++
						}
						if first && windows[start] && before > 0 && c.Revisions[k] == 1 {
							firstLate++
						}
						told[id] = true
					}
					for k := range c.IDs {
						windows[fmt.Sprint(c.Rows.Row(k)[0])] = true
					}
				}
				if i%3 == 0 {
					e = throughSnapshot(t, e, opt)
				}
			}
			if firstLate == 0 || unmarked > 0 {
				t.Fatalf("%s seed %d: %d late first rows, %d of them not with revision 1", window, seed, firstLate, unmarked)
			}
			b, err := e.Query("SELECT rows FROM up")
			if err != nil || b.Len != 1 || b.Cols[0].I64[0] != int64(ones) {
				t.Fatalf("%s seed %d: %v %v, want %d", window, seed, b, err, ones)
			}
		}
	}
}

// TestWhatRemembersRowsTakesThemOnce: dedup, functions with state, LIMIT and joins, and an aggregate above a table that only filters.
func TestWhatRemembersRowsTakesThemOnce(t *testing.T) {
	for _, c := range []struct{ name, sql, want string }{
		{"keyed", `CREATE STREAMING TABLE b OPTIONS (mode 'update') AS SELECT sum(s) AS s FROM STREAM a`, "13"},
		{"session", `CREATE STREAMING TABLE b AS SELECT bus, sum(s) AS s FROM STREAM a WATERMARK start DELAY OF INTERVAL 0 SECONDS GROUP BY session_window(start, '25 seconds'), bus`, "x,13"},
		{"state", `CREATE STREAMING TABLE b AS SELECT s, previous(s, bus) AS p FROM STREAM a`, "1,10;10,NULL;2,1"},
		{"limit", `CREATE STREAMING TABLE b AS SELECT s FROM STREAM a LIMIT 3`, "1;10;2"},
		{"dedup", `CREATE STREAMING TABLE b AS SELECT s FROM STREAM a DEDUP BY (s)`, "1;10;2"},
		{"join", `CREATE STREAMING TABLE b AS SELECT l.s AS x FROM STREAM a l JOIN STREAM a r ON l.bus = r.bus AND l.s = r.s`, "1;10;2"},
		{"through a filter", `CREATE STREAMING TABLE f AS SELECT start, s FROM STREAM a WHERE s > 0; CREATE STREAMING TABLE b OPTIONS (mode 'update') AS SELECT sum(s) AS s FROM STREAM f`, "13"},
		{"filter", `CREATE STREAMING TABLE b AS SELECT s FROM STREAM a WHERE s > 5`, "13"},
	} {
		e := newEngine(t, engine.DefaultOptions(), `CREATE STREAMING TABLE a OPTIONS (allowed_lateness '1 hour') AS `+perBus, c.sql)
		base, shown := 1_700_000_000*second, map[engine.RowID]string{}
		for i, r := range []busRow{{t: 5, passengers: i64(10)}, {t: 25, passengers: i64(1)}, {t: 45, passengers: i64(2)}, {t: 6, passengers: i64(3)}, {}} {
			in := &engine.Input{Index: uint64(i + 1), Time: int64(i) * 20 * second, End: r.passengers == nil}
			if !in.End {
				in = busInput(in.Index, in.Time, busRow{t: base + r.t*second, bus: "x", passengers: r.passengers})
			}
			out := apply(t, e, in)
			for _, ch := range out.Changes {
				for k, id := range ch.IDs {
					if ch.Table == "b" {
						shown[id] = rowText(ch.Rows, k)
					}
				}
			}
			e = throughSnapshot(t, e, engine.DefaultOptions())
		}
		var got []string
		for _, x := range shown {
			got = append(got, x)
		}
		slices.Sort(got)
		if text := strings.Join(got, ";"); text != c.want {
			t.Errorf("%s: %s, want %s", c.name, text, c.want)
		}
		listed := 1
		if c.name == "filter" {
			listed = 0
		}
		if late := lateOf(t, e, "b"); len(late) < listed || len(late) > 2*listed {
			t.Errorf("%s: %q", c.name, late)
		}
	}
}

func TestUpdatedRowsAreNotCounted(t *testing.T) {
	const upd = `CREATE STREAMING TABLE a OPTIONS (mode 'update') AS ` + perBus
	e := newEngine(t, engine.DefaultOptions(), upd, `CREATE STREAMING TABLE f AS SELECT start, bus, s FROM STREAM a WHERE s > 3`)
	for _, from := range []string{"a", "f"} {
		for _, q := range []string{
			`CREATE STREAMING TABLE b OPTIONS (mode 'update') AS SELECT sum(s) AS s FROM STREAM ` + from,
			`CREATE STREAMING TABLE b AS SELECT s FROM STREAM ` + from + ` DEDUP BY (s)`,
			`CREATE STREAMING TABLE b AS SELECT previous(s, bus) AS s FROM STREAM ` + from,
			`CREATE STREAMING TABLE b AS SELECT s FROM STREAM ` + from + ` LIMIT 3`,
			`CREATE STREAMING TABLE b AS SELECT l.s FROM STREAM ` + from + ` l JOIN STREAM bus r ON l.bus = r.bus`,
		} {
			err := e.Execute(q)
			if err == nil || !strings.Contains(err.Error(), "UPDATED_ROWS_COUNT_AGAIN") || !strings.Contains(err.Error(), from) {
				t.Errorf("%s: %v", q, err)
				continue
			}
			if line, col := plan.Position(unjoined(err)); line != 1 || col != strings.Index(q, "STREAM "+from)+1 {
				t.Errorf("%s: at %d:%d", q, line, col)
			}
		}
	}
	if err := e.SetRules([]alert.Rule{{Group: "g", Name: "Full", From: "a", Expr: "s > 3", Time: "start", By: []string{"bus"}}}); err != nil {
		t.Error(err)
	}
	// A table that is counted cannot begin to tell its rows again, not even through a filter.
	e = newEngine(t, engine.DefaultOptions(), `CREATE STREAMING TABLE a AS `+perBus, `CREATE STREAMING TABLE f AS SELECT start, bus, s FROM STREAM a WHERE s > 3`,
		`CREATE STREAMING TABLE b OPTIONS (mode 'update') AS SELECT sum(s) AS s FROM STREAM f`)
	if err := e.Execute(upd); err == nil || !strings.Contains(err.Error(), "b counts the rows of a") {
		t.Error(err)
	}
	if errs := plan.Check(`CREATE STREAM bus (time TIMESTAMP, bus STRING, passengers BIGINT);`+upd+`; CREATE STREAMING TABLE b OPTIONS (mode 'update') AS SELECT sum(s) AS s FROM STREAM a`, nil); len(errs) != 1 {
		t.Error(errs)
	}
}

func unjoined(err error) error {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		return j.Unwrap()[0]
	}
	return err
}

func TestExplainNotesRevisions(t *testing.T) {
	e := newEngine(t, engine.DefaultOptions(), `CREATE STREAMING TABLE a OPTIONS (allowed_lateness '1 hour') AS `+perBus, overPerBus, `CREATE STREAMING TABLE once OPTIONS (allowed_lateness '0 seconds') AS `+perBus,
		`CREATE STREAMING TABLE c OPTIONS (mode 'update') AS SELECT sum(s) AS s FROM STREAM once`)
	for _, x := range e.Tables() {
		if x.Plan == nil {
			continue
		}
		text := plan.Explain(&plan.Query{Root: x.Plan, Streaming: true, Mode: x.Mode, SQL: x.SQL}, x.Options)
		if noted := strings.Contains(text, "each row of a counts once"); noted != (x.Name == "b") {
			t.Errorf("%s: %s", x.Name, text)
		}
	}
}
