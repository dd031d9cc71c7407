package engine_test

import (
	"fmt"
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
		want := map[engine.Verdict]string{engine.Unchanged: fmt.Sprintf("%d,7", at), engine.IsNew: fmt.Sprintf("%d,7", at), engine.KeepsState: fmt.Sprintf("%d,14", at), engine.StartsAnew: ""}[c.want]
		if got != want {
			t.Fatalf("%s (%s): %q, want %q", c.sql, c.want, got, want)
		}
	}
}
