package engine_test

import (
	"fmt"
	"math/rand"
	"sort"
	"strings"
	"testing"

	"signalbox/engine"
	"signalbox/engine/batch"
	"signalbox/engine/column"
	"signalbox/engine/plan"
	"signalbox/engine/sql"
)

// busCatalog is the catalog of TestStreamingEqualsBatch for the bounded run.
type busCatalog map[string]plan.Relation

func (c busCatalog) Relation(name string) (plan.Relation, bool) {
	r, ok := c[strings.ToLower(name)]
	return r, ok
}
func (c busCatalog) Names() []string { return nil }

// TestStreamingEqualsBatch: while no row is late, a continuous query in append
// mode has said, when its input ends, what the bounded executor says about all
// rows, whatever the entries were. The two executors share expressions, not operators.
func TestStreamingEqualsBatch(t *testing.T) {
	const w = `FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS `
	const w2 = `STREAM bus2 WATERMARK time DELAY OF INTERVAL 10 SECONDS `
	queries := []string{
		`SELECT upper(bus) AS b, passengers * 2 AS p, CASE WHEN passengers > 30 THEN 'full' ELSE 'ok' END AS c FROM STREAM bus WHERE passengers > 5`,
		`SELECT window.start AS s, window.end AS e, route, count(*) AS n, sum(passengers) AS p, min(speed) AS mi, max(speed) AS ma, avg(passengers) AS a, count(passengers) FILTER (WHERE speed > 20) AS f ` + w + `GROUP BY window(time, '30 seconds'), route`,
		`SELECT window.start AS s, bus, sum(passengers) AS p ` + w + `GROUP BY window(time, '30 seconds', '10 seconds'), bus HAVING sum(passengers) > 60`,
		`SELECT window.start AS s, count(*) AS n ` + w + `WHERE route = 'r1' GROUP BY window(time, '25 seconds', '10 seconds', '3 seconds')`,
		`SELECT session_window.start AS s, session_window.end AS e, bus, count(*) AS n, max(passengers) AS m ` + w + `GROUP BY session_window(time, '3 seconds'), bus`,
		`SELECT session_window.start AS s, count(*) AS n ` + w + `GROUP BY session_window(time, CASE WHEN bus = 'b1' THEN '1 second' ELSE '2 seconds' END), bus HAVING count(*) > 1`,
		`SELECT window.start AS s, sum(n) AS n, max(m) AS m FROM (SELECT window_time(w) AS t, n, m FROM (SELECT window AS w, count(*) AS n, max(passengers) AS m ` + w + `GROUP BY window(time, '10 seconds'), route)) GROUP BY window(t, '1 minute')`,
		`SELECT window(w, '1 minute').start AS s, sum(n) AS n FROM (SELECT window AS w, count(*) AS n ` + w + `GROUP BY window(time, '10 seconds'), route) GROUP BY window(w, '1 minute')`,
		`SELECT w, sum(n) AS n FROM (SELECT window AS w, route, count(*) AS n ` + w + `GROUP BY window(time, '10 seconds'), route) GROUP BY w`,
		`SELECT time, count(*) AS n ` + w + `GROUP BY time`,
		`SELECT DISTINCT time, route ` + w,
		`SELECT time, bus ` + w + `DEDUP BY (time, bus)`,
		`SELECT bus FROM STREAM bus DEDUP BY (bus)`,
		`SELECT window.start AS s, first(k) AS k, count(*) AS n FROM (SELECT time, explode(array(bus, route)) AS k ` + w + `) GROUP BY window(time, '1 minute'), k`,
		`SELECT b.time, b.bus, d.seats FROM STREAM bus b JOIN buses d ON b.bus = d.bus WHERE b.passengers > d.seats`,
		`SELECT b.bus, d.seats FROM STREAM bus b LEFT JOIN buses d ON b.bus = d.bus AND d.seats > 40`,
		`SELECT b.bus, b.time FROM STREAM bus b LEFT SEMI JOIN buses d ON b.bus = d.bus`,
		`SELECT b.bus, b.time FROM STREAM bus b LEFT ANTI JOIN buses d ON b.bus = d.bus`,
		`SELECT bus, time FROM STREAM bus WHERE bus IN (SELECT bus FROM buses WHERE seats > 40)`,
		`SELECT bus, time FROM STREAM bus WHERE bus NOT IN (SELECT bus FROM buses)`,
		`SELECT d.bus, b.time FROM buses d RIGHT JOIN STREAM bus b ON b.bus = d.bus`,
		`WITH x AS (SELECT time, route, passengers ` + w + `) SELECT window.start AS s, route, sum(passengers) AS p FROM x GROUP BY window(time, '1 minute'), route`,
		`SELECT window.start AS s, count(*) AS n FROM (SELECT time, bus ` + w + `UNION ALL SELECT time, bus FROM ` + w2 + `) GROUP BY window(time, '20 seconds')`,
		`SELECT a.time AS t, b.time AS u, a.passengers AS p FROM ` + strings.TrimPrefix(w, "FROM ") + `AS a JOIN ` + w2 + `AS b ON a.bus = b.bus AND b.time BETWEEN a.time - INTERVAL 1 SECOND AND a.time + INTERVAL 1 SECOND`,
		`SELECT a.time AS t, b.time AS u FROM ` + strings.TrimPrefix(w, "FROM ") + `AS a LEFT JOIN ` + w2 + `AS b ON a.bus = b.bus AND a.passengers > 30 AND b.time > a.time AND b.time < a.time + INTERVAL 1 SECOND`,
		`SELECT window.start AS s, count(*) AS n FROM (SELECT a.time AS time FROM ` + strings.TrimPrefix(w, "FROM ") + `AS a JOIN ` + w2 + `AS b ON a.bus = b.bus AND b.time >= a.time AND b.time <= a.time + INTERVAL 1 SECOND) GROUP BY window(time, '20 seconds')`,
		`SELECT bus, passengers FROM STREAM bus LIMIT 10`,
		`SELECT window.start AS s, bus, approx_count_distinct(passengers) AS d, percentile_approx(speed, array(0.1, 0.5, 0.99)) AS p, percentile(passengers, 0.5) AS x, counter_increase(passengers, time) AS c,
			rate_per_second(passengers, time) AS r, state_duration(passengers > 30, time) AS u, median(speed) AS m, sort_array(collect_set(route)) AS k ` + w + `GROUP BY window(time, '30 seconds', '10 seconds'), bus`,
		`SELECT session_window.start AS s, bus, approx_count_distinct(passengers, 0.01) AS d, percentile_approx(speed, 0.5) AS p, rate_per_second(passengers, time) AS r ` + w + `GROUP BY session_window(time, '3 seconds'), bus`,
	}
	buses := column.NewBatch(&column.Schema{Name: "buses", Time: -1, Fields: []column.Field{{Name: "bus", Type: column.Of(column.String)}, {Name: "seats", Type: column.Of(column.BigInt)}}}, 0)
	for i := range 6 {
		buses.AppendRow(column.Str(fmt.Sprintf("b%d", i)), column.I64(int64(20+10*i)))
	}
	bus2 := *busSchema
	bus2.Name = "bus2"
	cat := busCatalog{"bus": {Schema: busSchema, Stream: true}, "bus2": {Schema: &bus2, Stream: true}, "buses": {Schema: buses.Schema}}
	for i, text := range queries {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			st, err := sql.ParseSelect(text)
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			q, err := plan.Analyze(st, cat, plan.AnalyzeOptions{Mode: plan.Append})
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			for seed := range int64(3) {
				r := rand.New(rand.NewSource(seed))
				rows, rows2 := punctual(r, 400), punctual(r, 300)
				source := func(s *plan.Scan) ([]*column.Batch, error) {
					switch s.Table {
					case "bus":
						return []*column.Batch{busBatch(rows)}, nil
					case "bus2":
						b := busBatch(rows2)
						b.Schema = &bus2
						return []*column.Batch{b}, nil
					}
					return []*column.Batch{buses}, nil
				}
				want, err := batch.Run(q, source, batch.Options{Strict: true})
				if err != nil {
					t.Fatalf("%s: %v", text, err)
				}
				e := newEngine(t, engine.DefaultOptions(), `CREATE STREAM bus2 (time TIMESTAMP, bus STRING, route STRING, passengers BIGINT, capacity BIGINT, speed DOUBLE)`,
					`CREATE TABLE buses (bus STRING, seats BIGINT)`, `CREATE STREAMING TABLE q AS `+text)
				if err := e.LoadTable("buses", 1, buses); err != nil {
					t.Fatal(err)
				}
				var got []string
				for _, in := range twoStreams(r, rows, rows2) {
					out := apply(t, e, in)
					if len(out.Late)+len(out.Rejected) > 0 {
						t.Fatalf("%s: %v", text, lines(out))
					}
					for _, c := range out.Changes {
						for j := range c.Rows.Len {
							got = append(got, fmt.Sprint(c.Rows.Row(j)))
						}
					}
					if r.Intn(9) == 0 {
						e = throughSnapshot(t, e, engine.DefaultOptions())
					}
				}
				var exp []string
				for j := range want.Len {
					exp = append(exp, fmt.Sprint(want.Row(j)))
				}
				if len(exp) == 0 {
					t.Fatalf("%s: no rows: the case proves nothing", text)
				}
				sort.Strings(got)
				sort.Strings(exp)
				if a, b := strings.Join(got, "\n"), strings.Join(exp, "\n"); a != b {
					t.Fatalf("%s\nseed %d: got %d rows, want %d\n%.1500s\n--- want\n%.1500s", text, seed, len(got), len(exp), a, b)
				}
			}
		})
	}
}

// punctual makes rows that are at most 8 s out of order.
func punctual(r *rand.Rand, n int) []busRow {
	rows := randomRows(r, n, 1_700_000_000*second)
	for i := range rows {
		rows[i].t = 1_700_000_000*second + int64(i)*second/4 - r.Int63n(8000)*1000
		if rows[i].route == "" && r.Intn(2) == 0 {
			rows[i].route = "r1"
		}
	}
	return rows
}

// twoStreams spreads the rows of two streams over entries, at the same pace, and ends the input.
func twoStreams(r *rand.Rand, a, b []busRow) []*engine.Input {
	var out []*engine.Input
	for from := 0; from < max(len(a), len(b)); {
		to := from + 1 + r.Intn(6)
		i := uint64(len(out) + 1)
		in := &engine.Input{Index: i, Time: int64(i)}
		for name, rows := range map[string][]busRow{"bus": a, "bus2": b} {
			if lo, hi := min(from, len(rows)), min(to, len(rows)); lo < hi {
				x := busBatch(rows[lo:hi])
				s := *busSchema
				s.Name = name
				x.Schema = &s
				in.Batches = append(in.Batches, engine.StreamBatch{Stream: name, Rows: x})
			}
		}
		sort.Slice(in.Batches, func(i, j int) bool { return in.Batches[i].Stream < in.Batches[j].Stream })
		out = append(out, in)
		from = to
	}
	i := uint64(len(out) + 1)
	return append(out, &engine.Input{Index: i, Time: int64(i), End: true})
}
