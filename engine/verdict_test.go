package engine_test

import (
	"fmt"
	"strings"
	"testing"

	"signalbox/engine"
)

func TestChangedQuery(t *testing.T) {
	base := `CREATE STREAMING TABLE q AS SELECT window.start AS s, sum(passengers) AS p FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS GROUP BY window(time, '1 minute')`
	cases := []struct {
		sql  string
		want engine.Verdict
	}{
		{base, engine.Unchanged},
		{`CREATE STREAMING TABLE q AS SELECT window.start AS s, sum(passengers) * 2 AS p FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS GROUP BY window(time, '1 minute')`, engine.KeepsState},
		{`CREATE STREAMING TABLE q AS SELECT window.start AS s, max(passengers) AS p FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS GROUP BY window(time, '1 minute')`, engine.StartsAnew},
		{`CREATE STREAMING TABLE q AS SELECT window.start AS s, sum(passengers) AS p FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS WHERE route = 'x' GROUP BY window(time, '1 minute')`, engine.StartsAnew},
		{base + ` HAVING sum(passengers) > 3`, engine.KeepsState},
		{base + ` HAVING max(passengers) > 3`, engine.AddsColumn},
		{base + ` HAVING window.start > TIMESTAMP'2000-01-01'`, engine.StartsAnew}, // a condition on a key filters the input
		{`CREATE STREAMING TABLE r AS SELECT bus FROM STREAM bus`, engine.IsNew},
	}
	for _, c := range cases {
		e := newEngine(t, engine.DefaultOptions(), base)
		at := 1_700_000_040 * second
		apply(t, e, busInput(1, 1, busRow{t: at, bus: "a", passengers: i64(7)}))
		v, err := e.Verdicts(c.sql)
		if err != nil || len(v) != 1 || v[0].Verdict != c.want {
			t.Fatalf("%s: %v %v, want %s", c.sql, v, err, c.want)
		}
		if err := e.Execute(c.sql); err != nil {
			t.Fatal(err)
		}
		out := apply(t, e, &engine.Input{Index: 2, Time: 2, End: true})
		got := ""
		for _, ch := range out.Changes {
			if ch.Table == "q" {
				got = rowText(ch.Rows, 0)
			}
		}
		want := map[engine.Verdict]string{engine.Unchanged: fmt.Sprintf("%d,7", at), engine.IsNew: fmt.Sprintf("%d,7", at), engine.KeepsState: fmt.Sprintf("%d,14", at)}[c.want]
		if c.want == engine.KeepsState && strings.Contains(c.sql, "HAVING") {
			want = fmt.Sprintf("%d,7", at)
		}
		if got != want {
			t.Fatalf("%s (%s): %q, want %q", c.sql, c.want, got, want)
		}
	}
}

// HAVING comes and goes while groups without a window go on counting.
func TestHavingKeepsState(t *testing.T) {
	plain := `CREATE STREAMING TABLE q OPTIONS (mode 'update') AS SELECT bus, sum(passengers) AS p FROM STREAM bus GROUP BY bus`
	e := newEngine(t, engine.DefaultOptions(), plain)
	at := 1_700_000_040 * second
	index := uint64(0)
	push := func(bus string, n int64) string {
		index++
		out := apply(t, e, busInput(index, int64(index), busRow{t: at + int64(index), bus: bus, passengers: i64(n)}))
		got := ""
		for _, ch := range out.Changes {
			if ch.Table == "q" {
				for i := range ch.Rows.Len {
					if ch.Deleted != nil && ch.Deleted[i] {
						got += "gone: "
					}
					got += rowText(ch.Rows, i) + ";"
				}
			}
		}
		return got
	}
	if got := push("a", 5); got != "a,5;" {
		t.Fatal(got)
	}
	for _, step := range []struct {
		sql  string
		n    int64
		want string
	}{
		{plain + ` HAVING sum(passengers) > 8`, 1, "gone: a,6;"},
		{plain + ` HAVING sum(passengers) > 5`, 1, "a,7;"},
		{plain, -9, "a,-2;"},
		{`CREATE STREAMING TABLE q OPTIONS (mode 'update') AS SELECT * FROM (SELECT bus, sum(passengers) AS p FROM STREAM bus GROUP BY bus) WHERE p > 0`, 3, "a,1;"},
	} {
		v, err := e.Verdicts(step.sql)
		if err != nil || v[0].Verdict != engine.KeepsState {
			t.Fatalf("%s: %v %v", step.sql, v, err)
		}
		if err := e.Execute(step.sql); err != nil {
			t.Fatal(err)
		}
		if got := push("a", step.n); got != step.want {
			t.Fatalf("%s: %q, want %q", step.sql, got, step.want)
		}
	}
}
