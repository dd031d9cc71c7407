package engine_test

import (
	"bytes"
	"fmt"
	"math/rand"
	"strconv"
	"strings"
	"testing"

	"signalbox/engine"
	"signalbox/engine/column"
	"signalbox/engine/plan"
)

// keyMemory is what the oracle knows of one bus.
type keyMemory struct {
	passengers string
	route      string
	last       float64 // counter
	newest     int64
	counted    bool
	value      string
	valueTime  int64
	since      int64
	valued     bool
}

// stateOracle computes the four functions with maps, a row at a time.
func stateOracle(m map[string]*keyMemory, r busRow) string {
	k := m[r.bus]
	passengers, route := "NULL", r.route
	if r.passengers != nil {
		passengers = strconv.FormatInt(*r.passengers, 10)
	}
	if route == "" {
		route = "NULL"
	}
	first := k == nil
	if first {
		k = &keyMemory{passengers: "NULL", route: "NULL"}
		m[r.bus] = k
	}
	out := []string{k.passengers, k.route, fmt.Sprint(first || k.passengers != passengers), fmt.Sprint(first || k.route != route)}
	k.passengers, k.route = passengers, route
	rate := "NULL"
	if r.passengers != nil {
		v := float64(*r.passengers)
		if k.counted && r.t > k.newest {
			grown := v - k.last
			if v < k.last {
				grown = v
			}
			rate = fmt.Sprintf("%.9g", grown/(float64(r.t-k.newest)/1e6))
		}
		if !k.counted || r.t > k.newest {
			k.last, k.newest, k.counted = v, r.t, true
		}
	}
	since := "NULL"
	if !k.valued || r.t >= k.valueTime {
		if !k.valued || k.value != route {
			k.value, k.since = route, r.t
		}
		k.valueTime, k.valued = r.t, true
		since = fmt.Sprint(k.since)
	}
	return strings.Join(append(out, rate, since), ",")
}

const stateQuery = `CREATE STREAMING TABLE q AS SELECT bus, previous(passengers, bus) AS p, previous(route, bus) AS r,
	had_changed(passengers, bus) AS cp, had_changed(route, bus) AS cr, counter_rate(passengers, time, bus) AS rate,
	unchanged_since(route, time, bus) AS since FROM STREAM bus`

func stateLines(out *engine.Output) []string {
	var l []string
	for _, c := range out.Changes {
		for i := range c.Rows.Len {
			row := c.Rows.Row(i)
			var f []string
			for j := 1; j < len(row); j++ {
				switch d := row[j]; {
				case d.Null:
					f = append(f, "NULL")
				case j == 2:
					f = append(f, d.S)
				case j == 3 || j == 4:
					f = append(f, fmt.Sprint(d.I != 0))
				case j == 5:
					f = append(f, fmt.Sprintf("%.9g", d.F))
				default:
					f = append(f, fmt.Sprint(d.I))
				}
			}
			l = append(l, strings.Join(f, ","))
		}
	}
	return l
}

// TestKeyedStateAgainstOracle: random rows in entries of random size, with
// snapshots in between; the answer depends on the order of the rows alone.
func TestKeyedStateAgainstOracle(t *testing.T) {
	for seed := range int64(20) {
		r := rand.New(rand.NewSource(seed))
		rows := randomRows(r, 800, 1_700_000_000*second)
		e := newEngine(t, engine.DefaultOptions(), stateQuery)
		memory := map[string]*keyMemory{}
		for i := uint64(1); len(rows) > 0; i++ {
			n := min(1+r.Intn(60), len(rows))
			out := apply(t, e, &engine.Input{Index: i, Time: int64(i), Batches: []engine.StreamBatch{{Stream: "bus", Rows: busBatch(rows[:n])}}})
			got := stateLines(out)
			var want []string
			for _, x := range rows[:n] {
				want = append(want, stateOracle(memory, x))
			}
			if a, b := strings.Join(got, "\n"), strings.Join(want, "\n"); a != b {
				t.Fatalf("seed %d entry %d:\ngot\n%s\nwant\n%s", seed, i, a, b)
			}
			rows = rows[n:]
			if r.Intn(4) == 0 {
				e = throughSnapshot(t, e, engine.DefaultOptions())
			}
		}
	}
}

// TestKeyedStateSnapshotOfItsMoment: a snapshot that is written later is of the moment it was taken.
func TestKeyedStateSnapshotOfItsMoment(t *testing.T) {
	const query = `CREATE STREAMING TABLE q OPTIONS (state_ttl '30 seconds') AS SELECT bus, previous(route, bus) AS r, previous(passengers, bus) AS p, unchanged_since(route, time, bus) AS s FROM STREAM bus`
	for seed := range int64(5) {
		r := rand.New(rand.NewSource(seed))
		e := newEngine(t, engine.DefaultOptions(), query)
		index := uint64(0)
		entry := func(to *engine.Engine, rows []busRow) string {
			index++
			return strings.Join(lines(apply(t, to, &engine.Input{Index: index, Time: int64(index), Batches: []engine.StreamBatch{{Stream: "bus", Rows: busBatch(rows)}}})), "\n")
		}
		rows := randomRows(r, 3000, 1_700_000_000*second)
		for i := range rows {
			rows[i].bus = fmt.Sprintf("b%d", r.Intn(700))
		}
		entry(e, rows[:1500])
		s, err := e.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		now := throughSnapshot(t, e, engine.DefaultOptions())
		for from := 1500; from < 2500; from += 100 {
			entry(e, rows[from:from+100])
		}
		var buf bytes.Buffer
		if err := s.Write(&buf); err != nil {
			t.Fatal(err)
		}
		later, err := engine.Restore(&buf, engine.DefaultOptions())
		if err != nil {
			t.Fatal(err)
		}
		index = 100
		a := entry(now, rows[2500:])
		index = 100
		if b := entry(later, rows[2500:]); a != b {
			t.Fatalf("seed %d: a snapshot written later differs:\n%.2000s\nwant\n%.2000s", seed, b, a)
		}
	}
}

// TestKeyedStateOfEveryType: values of every kind are remembered, also across
// snapshots, and are those of the row of the key before.
func TestKeyedStateOfEveryType(t *testing.T) {
	values := []string{"passengers", "speed", "route", "time", "passengers > 30", "CAST(speed AS DECIMAL(10,2))", "CAST(speed AS DECIMAL(38,18))", "CAST(speed AS FLOAT)",
		"CAST(time AS DATE)", "CAST(time AS TIMESTAMP_NTZ)", "CAST(route AS BINARY)", "struct(route, passengers)", "array(route, bus)", "array(struct(speed, route))",
		"map(bus, passengers)", "time - TIMESTAMP'2023-01-01'", "NULL", "if(speed > 25, 'NaN', '-0.0')::DOUBLE"}
	var items []string
	for i, v := range values {
		items = append(items, fmt.Sprintf("%s AS v%d, previous(%s, bus) AS p%d, had_changed(%s, bus) AS c%d, unchanged_since(%s, time, bus) AS s%d", v, i, v, i, v, i, v, i))
	}
	query := "CREATE STREAMING TABLE q AS SELECT bus, " + strings.Join(items, ", ") + " FROM STREAM bus"
	r := rand.New(rand.NewSource(8))
	rows := randomRows(r, 200, 1_700_000_000*second)
	a, b := newEngine(t, engine.DefaultOptions(), query), newEngine(t, engine.DefaultOptions(), query)
	before := map[string][]column.Datum{}
	for i := uint64(1); len(rows) > 0; i++ {
		n := min(1+r.Intn(20), len(rows))
		in := &engine.Input{Index: i, Time: int64(i), Batches: []engine.StreamBatch{{Stream: "bus", Rows: busBatch(rows[:n])}}}
		out := apply(t, a, in)
		if x, y := strings.Join(lines(out), "\n"), strings.Join(lines(apply(t, b, in)), "\n"); x != y {
			t.Fatalf("entry %d differs after a snapshot:\n%.1500s\n%.1500s", i, x, y)
		}
		rows, b = rows[n:], throughSnapshot(t, b, engine.DefaultOptions())
		batch := out.Changes[0].Rows
		for j := range batch.Len {
			row := batch.Row(j)
			last, known := before[row[0].S]
			for v := range values {
				want := column.NullDatum
				if known {
					want = last[1+4*v]
				}
				if got := fmt.Sprint(row[2+4*v]); got != fmt.Sprint(want) {
					t.Fatalf("previous(%s) is %s, want %v", values[v], got, want)
				}
			}
			before[row[0].S] = row
		}
	}
}

// A function with state sees the rows that WHERE drops, and may be counted in windows.
func TestKeyedStateInClauses(t *testing.T) {
	e := newEngine(t, engine.DefaultOptions(),
		`CREATE STREAMING TABLE changed AS SELECT time, bus, route, previous(route, bus) AS before FROM STREAM bus WHERE had_changed(route, bus) AND route <> 'r2'`,
		`CREATE STREAMING TABLE per_minute AS SELECT window.start AS start, bus, count_if(had_changed(route, bus)) AS changes
			FROM STREAM bus WATERMARK time DELAY OF INTERVAL 1 SECOND GROUP BY window(time, '1 minute'), bus`,
		`CREATE STREAMING TABLE total AS SELECT previous(passengers) AS p, passengers FROM STREAM bus`,
		`CREATE STREAMING TABLE two AS SELECT previous(passengers, bus) AS b, previous(passengers, route) AS r, previous(passengers, bus) + 1 AS again FROM STREAM bus`)
	rows := []busRow{{t: 1 * second, bus: "b1", route: "r1"}, {t: 2 * second, bus: "b1", route: "r1"}, {t: 3 * second, bus: "b1", route: "r2"}, {t: 4 * second, bus: "b2", route: "r1"}, {t: 5 * second, bus: "b1", route: "r1"}}
	for i := range rows {
		p := int64(i)
		rows[i].passengers = &p
	}
	got := map[string][]string{}
	for i, in := range [][]busRow{rows[:2], rows[2:], nil} {
		out := apply(t, e, &engine.Input{Index: uint64(i + 1), Time: int64(i + 1), Batches: []engine.StreamBatch{{Stream: "bus", Rows: busBatch(in)}}, End: in == nil})
		for _, c := range out.Changes {
			for j := range c.Rows.Len {
				got[c.Table] = append(got[c.Table], rowText(c.Rows, j))
			}
		}
	}
	want := map[string]string{
		"changed":    "1000000,b1,r1,NULL|4000000,b2,r1,NULL|5000000,b1,r1,r2",
		"per_minute": "0,b1,3|0,b2,1",
		"total":      "NULL,0|0,1|1,2|2,3|3,4",
		"two":        "NULL,NULL,NULL|0,0,1|1,NULL,2|NULL,1,NULL|2,3,3",
	}
	for table, w := range want {
		if g := strings.Join(got[table], "|"); g != w {
			t.Errorf("%s:\ngot  %s\nwant %s", table, g, w)
		}
	}
}

func TestKeyedStateLimits(t *testing.T) {
	opt := engine.DefaultOptions()
	opt.MaxKeys = 3
	e := newEngine(t, opt, `CREATE STREAMING TABLE q OPTIONS (state_ttl '10 seconds') AS SELECT bus, had_changed(route, bus) AS c FROM STREAM bus`)
	at := func(i uint64, sec int64, buses ...string) *engine.Output {
		var rows []busRow
		for _, b := range buses {
			rows = append(rows, busRow{t: sec * second, bus: b, route: "r"})
		}
		return apply(t, e, &engine.Input{Index: i, Time: int64(i), Batches: []engine.StreamBatch{{Stream: "bus", Rows: busBatch(rows)}}})
	}
	out := at(1, 100, "a", "b", "c", "d", "a")
	if n := out.Changes[0].Rows.Len; n != 4 || len(out.Rejected) != 1 || out.Rejected[0].Reason != "state_limit" {
		t.Fatalf("with 3 keys: %d rows, rejected %v", n, out.Rejected)
	}
	if e.Counters().StateLimited != 1 || e.Counters().Keys != 3 {
		t.Fatalf("counters %+v", e.Counters())
	}
	at(2, 105, "a")
	e = throughSnapshot(t, e, opt)
	at(3, 111, "a") // b and c are 11 s old: forgotten, and there is room
	if k := e.Counters().Keys; k != 1 {
		t.Fatalf("%d keys after state_ttl, want 1", k)
	}
	out = at(4, 112, "b", "a")
	if got := rowText(out.Changes[0].Rows, 0) + " " + rowText(out.Changes[0].Rows, 1); got != "b,1 a,0" {
		t.Fatalf("after state_ttl: %s", got)
	}
}

func TestKeyedStateRefused(t *testing.T) {
	e := newEngine(t, engine.DefaultOptions(), `CREATE STREAM other (time TIMESTAMP, bus STRING)`, `CREATE TABLE buses (bus STRING, seats BIGINT)`)
	for query, want := range map[string]string{
		`SELECT previous(seats, bus) FROM buses`:                                                                                                      "lag(value) OVER",
		`SELECT lag(route) OVER (PARTITION BY bus ORDER BY time) AS l FROM STREAM bus`:                                                                "previous(value, key)",
		`SELECT previous(route, bus) AS p FROM STREAM bus UNION ALL SELECT route FROM STREAM bus WHERE previous(previous(route, bus), bus) = 'r'`:     "stands inside",
		`SELECT previous(b.route, b.bus) AS p FROM STREAM bus WATERMARK time DELAY OF INTERVAL 1 SECOND AS b JOIN STREAM other AS o ON b.bus = o.bus`: "one stream",
		`SELECT previous(p, bus) AS p FROM (SELECT bus, max(passengers) AS p FROM STREAM bus GROUP BY bus)`:                                           "without event time",
		`SELECT bus, count(*) AS n, previous(route, bus) AS p FROM STREAM bus GROUP BY bus`:                                                           "GROUP BY",
		`SELECT bus, count(*) AS n FROM STREAM bus GROUP BY bus HAVING had_changed(count(*), bus)`:                                                    "may not stand in the arguments",
		`SELECT counter_rate(route, time, bus) AS c FROM STREAM bus`:                                                                                  "is a number",
		`SELECT unchanged_since(route, bus) AS c FROM STREAM bus`:                                                                                     "TIMESTAMP",
		`SELECT counter_rate(passengers) AS c FROM STREAM bus`:                                                                                        "counter_rate(counter, time, key…)",
		`SELECT previous(DISTINCT route, bus) AS c FROM STREAM bus`:                                                                                   "previous",
		`SELECT b.bus FROM STREAM bus b JOIN buses d ON b.bus = d.bus AND had_changed(b.route, b.bus)`:                                                "may not stand in",
		`SELECT had_chnged(route, bus) AS c FROM STREAM bus`:                                                                                          "had_changed",
	} {
		err := e.Execute("CREATE STREAMING TABLE x AS " + query)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n%v\nshould say %q", query, err, want)
		}
	}
	if _, err := e.Query(`SELECT previous(seats, bus) FROM buses`); err == nil {
		t.Error("a table has no order of rows, but previous was accepted")
	}
}

// TestStateFunctionExamples runs what the reference shows.
func TestStateFunctionExamples(t *testing.T) {
	for _, f := range plan.StateFunctions() {
		got, err := stateExample(f.Example)
		if err != nil || got != f.Result {
			t.Errorf("%s: %s gives %s (%v), documented %s", f.Name, f.Example, got, err, f.Result)
		}
	}
}

func stateExample(example string) (string, error) {
	e := engine.New(engine.DefaultOptions())
	if err := e.Execute(`CREATE STREAM bus (time TIMESTAMP, bus STRING, door STRING, km BIGINT);
		CREATE STREAMING TABLE q AS SELECT CAST(` + example + ` AS STRING) AS v FROM STREAM bus`); err != nil {
		return "", err
	}
	b := busDoors(e)
	out, err := e.Apply(&engine.Input{Index: 1, Time: 1, Batches: []engine.StreamBatch{{Stream: "bus", Rows: b}}})
	if err != nil || len(out.Changes) == 0 {
		return "", err
	}
	var l []string
	for i := range out.Changes[0].Rows.Len {
		l = append(l, rowText(out.Changes[0].Rows, i))
	}
	return strings.Join(l, ", "), nil
}

// busDoors is the stream of the examples of plan.StateFunctions.
func busDoors(e *engine.Engine) *column.Batch {
	b := column.NewBatch(e.Tables()[0].Schema, 3)
	for i, door := range []string{"closed", "open", "open"} {
		b.AppendRow(column.I64(int64(i)*10*second), column.Str("b1"), column.Str(door), column.I64([]int64{10, 30, 60}[i]))
	}
	return b
}

func BenchmarkPrevious2000Groups(b *testing.B) {
	benchAggregate(b, 2000, `CREATE STREAMING TABLE q AS SELECT bus, previous(passengers, bus) AS p, counter_rate(passengers, time, bus) AS r FROM STREAM bus`)
}

func BenchmarkHadChanged2000Groups(b *testing.B) {
	benchAggregate(b, 2000, `CREATE STREAMING TABLE q AS SELECT bus, time FROM STREAM bus WHERE had_changed(route, bus)`)
}
