package engine_test

import (
	"fmt"
	"math/rand"
	"strings"
	"testing"

	"signalbox/engine"
)

// oldLines renders the changes of an entry without the columns that were added, last or in third place.
func oldLines(out *engine.Output, last bool) string {
	var s strings.Builder
	for _, c := range out.Changes {
		for i := range c.Rows.Len {
			fields := strings.Split(rowText(c.Rows, i), ",")
			old := fields[2:4]
			if !last {
				old = fields[len(fields)-2:]
			}
			fmt.Fprintf(&s, "%x r%d %s %s\n", c.IDs[i], c.Revisions[i], fields[:2], old)
		}
	}
	return s.String()
}

// TestAddedColumn: a query that aggregates more goes on with the ids, revisions
// and values it had, whenever it is changed; what is new counts from then on.
func TestAddedColumn(t *testing.T) {
	from := " FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS GROUP BY "
	for _, q := range []struct {
		options, keys, group string
		more                 string
	}{
		{"", "window.start AS start, route", "window(time, '1 minute'), route", "max(speed) AS m"},
		{"OPTIONS (allowed_lateness '2 minutes')", "window.start AS start, route", "window(time, '20 seconds'), route", "count(route) AS r, min(capacity) AS c"},
		{"OPTIONS (mode 'update')", "window.start AS start, bus", "window(time, '40 seconds', '20 seconds'), bus", "avg(speed) AS m"},
		{"OPTIONS (mode 'update', state_ttl '1 minute')", "bus, max(route) AS x", "bus", "last(route) AS l"},
		{"", "session_window.start AS start, bus", "session_window(time, '3 seconds'), bus", "sum(capacity) AS m"},
	} {
		base := "CREATE STREAMING TABLE q " + q.options + " AS SELECT " + q.keys + ", sum(passengers) AS s, count(*) AS n" + from + q.group
		for seed := range int64(4) {
			changed := "CREATE STREAMING TABLE q " + q.options + " AS SELECT " + q.keys + ", sum(passengers) AS s, count(*) AS n, " + q.more + from + q.group
			if seed%2 > 0 {
				changed = "CREATE STREAMING TABLE q " + q.options + " AS SELECT " + q.keys + ", " + q.more + ", sum(passengers) AS s, count(*) AS n" + from + q.group
			}
			r := rand.New(rand.NewSource(seed))
			list := inputs(r, randomRows(r, 800, 1_700_000_000*second), 40)
			whole, e := newEngine(t, engine.DefaultOptions(), base), newEngine(t, engine.DefaultOptions(), base)
			at := r.Intn(len(list))
			for i, in := range list {
				if i == at {
					v, err := e.Verdicts(changed)
					if err != nil || len(v) != 1 || v[0].Verdict != engine.AddsColumn || !strings.Contains(v[0].Reason, "(") {
						t.Fatalf("%s: %+v %v", changed, v, err)
					}
					if err := e.Execute(changed); err != nil {
						t.Fatal(err)
					}
					e = throughSnapshot(t, e, engine.DefaultOptions())
				}
				want, got := oldLines(apply(t, whole, in), true), oldLines(apply(t, e, in), i < at || seed%2 == 0)
				if got != want {
					t.Fatalf("%s\nseed %d, changed at entry %d, entry %d:\n%s\nwithout the change:\n%s", changed, seed, at, i, got, want)
				}
			}
		}
	}
}

func TestAddedColumnCountsFromNow(t *testing.T) {
	base := `CREATE STREAMING TABLE q AS SELECT window.start AS s, sum(passengers) AS p FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS GROUP BY window(time, '1 minute')`
	e := newEngine(t, engine.DefaultOptions(), base)
	at := 1_700_000_040 * second
	apply(t, e, busInput(1, 1, busRow{t: at, bus: "a", passengers: i64(7), speed: 80}))
	if err := e.Execute(strings.Replace(base, "AS p FROM", "AS p, max(speed) AS v, count(*) AS n FROM", 1)); err != nil {
		t.Fatal(err)
	}
	apply(t, e, busInput(2, 2, busRow{t: at + second, bus: "a", passengers: i64(3), speed: 30}))
	out := apply(t, e, &engine.Input{Index: 3, Time: 3, End: true})
	if got, want := rowText(out.Changes[0].Rows, 0), fmt.Sprintf("%d,10,30,1", at); got != want {
		t.Fatalf("%s, want %s", got, want)
	}
}

func TestOtherChangesAddNoColumn(t *testing.T) {
	base := `CREATE STREAMING TABLE q AS SELECT window.start AS s, sum(passengers) AS p, max(speed) AS v FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS WHERE bus <> 'x' GROUP BY window(time, '1 minute')`
	for _, change := range [][2]string{
		{"max(speed) AS v", "min(speed) AS v, count(*) AS n"}, // one is gone
		{"'1 minute'", "'2 minutes'"}, {"10 SECONDS", "20 SECONDS"}, {"bus <> 'x'", "bus <> 'y'"},
		{"AS v FROM", "AS v, route FROM"}, {"TABLE q AS", "TABLE q OPTIONS (mode 'update') AS"},
	} {
		text := strings.Replace(base, change[0], change[1], 1)
		if strings.Contains(text, "route") {
			text += ", route"
		}
		if !strings.Contains(text, "count(*)") {
			text = strings.Replace(text, "AS v", "AS v, count(*) AS n", 1)
		}
		e := newEngine(t, engine.DefaultOptions(), base)
		if v, err := e.Verdicts(text); err != nil || v[0].Verdict != engine.StartsAnew || v[0].Reason == "" {
			t.Errorf("%s: %+v %v", text, v, err)
		}
	}
}
