package engine_test

import (
	"bytes"
	"fmt"
	"math/rand"
	"strings"
	"testing"

	"signalbox/engine"
	"signalbox/engine/column"
)

const busStream = `CREATE STREAM bus (time TIMESTAMP, bus STRING, route STRING, passengers BIGINT, capacity BIGINT, speed DOUBLE);`

// busRow is a reading of the tests; NULL fields are nil.
type busRow struct {
	t                    int64 // µs
	bus, route           string
	passengers, capacity *int64
	speed                float64
}

var busSchema = &column.Schema{Name: "bus", Time: 0, Fields: []column.Field{
	{Name: "time", Type: column.Of(column.Timestamp)}, {Name: "bus", Type: column.Of(column.String)}, {Name: "route", Type: column.Of(column.String)},
	{Name: "passengers", Type: column.Of(column.BigInt)}, {Name: "capacity", Type: column.Of(column.BigInt)}, {Name: "speed", Type: column.Of(column.Double)},
}}

func opt64(p *int64) column.Datum {
	if p == nil {
		return column.NullDatum
	}
	return column.I64(*p)
}

func busBatch(rows []busRow) *column.Batch {
	b := column.NewBatch(busSchema, len(rows))
	for _, r := range rows {
		route := column.Str(r.route)
		if r.route == "" {
			route = column.NullDatum
		}
		b.AppendRow(column.I64(r.t), column.Str(r.bus), route, opt64(r.passengers), opt64(r.capacity), column.F64(r.speed))
	}
	return b
}

func newEngine(t *testing.T, opt engine.Options, ddl ...string) *engine.Engine {
	t.Helper()
	e := engine.New(opt)
	if err := e.Execute(busStream + strings.Join(ddl, ";\n")); err != nil {
		t.Fatal(err)
	}
	return e
}

// lines renders the changes of an entry, one line a row.
func lines(out *engine.Output) []string {
	var l []string
	for _, c := range out.Changes {
		for i := range c.Rows.Len {
			del := ""
			if c.Deleted != nil && c.Deleted[i] {
				del = " deleted"
			}
			l = append(l, fmt.Sprintf("%s %x r%d%s %s", c.Table, c.IDs[i][:4], c.Revisions[i], del, rowText(c.Rows, i)))
		}
	}
	for _, x := range out.Late {
		l = append(l, fmt.Sprintf("late %s %s %s", x.Query, x.Reason, x.Row))
	}
	for _, x := range out.Rejected {
		l = append(l, fmt.Sprintf("rejected %s %s %s", x.Query, x.Reason, x.Row))
	}
	return l
}

func rowText(b *column.Batch, i int) string {
	var s []string
	for j, d := range b.Row(i) {
		switch b.Schema.Fields[j].Type.Kind.Storage() {
		case column.StoreF64:
			s = append(s, fmt.Sprint(d.F))
		case column.StoreDict:
			s = append(s, d.S)
		default:
			s = append(s, fmt.Sprint(d.I))
		}
		if d.Null {
			s[len(s)-1] = "NULL"
		}
	}
	return strings.Join(s, ",")
}

func apply(t *testing.T, e *engine.Engine, in *engine.Input) *engine.Output {
	t.Helper()
	out, err := e.Apply(in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func i64(v int64) *int64 { return &v }

const second = int64(1_000_000)

func randomRows(r *rand.Rand, n int, base int64) []busRow {
	rows := make([]busRow, n)
	for i := range rows {
		rows[i] = busRow{t: base + int64(i)*second/4 - r.Int63n(8*second), bus: fmt.Sprintf("b%d", r.Intn(9)), speed: float64(r.Intn(200)) / 4}
		if r.Intn(10) > 0 {
			rows[i].route = fmt.Sprintf("r%d", r.Intn(3))
		}
		if r.Intn(10) > 0 {
			rows[i].passengers = i64(r.Int63n(60))
		}
		rows[i].capacity = i64(50)
		if r.Intn(40) == 0 {
			rows[i].t -= 60 * second
		}
	}
	return rows
}

var allQueries = []string{
	`CREATE STREAMING TABLE q1 AS SELECT window.start AS start, route, sum(passengers) AS s, avg(passengers) AS a, max(passengers) AS m, count(*) AS n FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS GROUP BY window(time, '1 minute'), route`,
	`CREATE STREAMING TABLE q2 AS SELECT bus, route, time, passengers FROM STREAM bus WHERE passengers >= capacity`,
	`CREATE STREAMING TABLE q3 AS SELECT window.start AS start, bus, avg(speed) AS a, max(speed) AS m FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS GROUP BY window(time, '50 seconds', '10 seconds'), bus`,
	`CREATE STREAMING TABLE q4 AS SELECT window.start AS start, sum(passengers) AS total FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS GROUP BY window(time, '1 second')`,
	`CREATE STREAMING TABLE q5 AS SELECT sum(p) AS passengers, count(*) AS buses FROM (SELECT bus, max(passengers) AS p FROM STREAM bus GROUP BY bus)`,
	`CREATE STREAMING TABLE q6 OPTIONS (mode 'update', state_ttl '20 seconds') AS SELECT sum(p) AS passengers, avg(v) AS av, max(p) AS mp FROM (SELECT bus, max(passengers) AS p, min(speed) AS v FROM STREAM bus GROUP BY bus)`,
	`CREATE STREAMING TABLE q7 OPTIONS (mode 'update') AS SELECT window.start AS start, route, count(*) AS n FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS GROUP BY window(time, '20 seconds', '10 seconds'), route`,
	`CREATE STREAMING TABLE q8 OPTIONS (allowed_lateness '2 minutes') AS SELECT window.start AS start, route, sum(passengers) AS s, count(*) AS n FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS GROUP BY window(time, '1 minute'), route`,
	`CREATE STREAMING TABLE q9 AS SELECT time, bus FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS DEDUP BY (bus) WITHIN WATERMARK`,
	`CREATE STREAMING TABLE q10 OPTIONS (mode 'update', state_ttl '30 seconds') AS SELECT route, sum(p) AS p, count(*) AS n FROM (SELECT bus, max(route) AS route, max(passengers) AS p FROM STREAM bus GROUP BY bus) GROUP BY route`,
	`CREATE STREAMING TABLE q11 AS SELECT window.start AS s, sum(n) AS n FROM STREAM q4b WATERMARK s DELAY OF INTERVAL 0 SECONDS GROUP BY window(s, '10 seconds')`,
}

func init11() []string {
	q := append([]string{}, allQueries[:10]...)
	return append(q, `CREATE STREAMING TABLE q4b AS SELECT window.start AS s, count(*) AS n FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS GROUP BY window(time, '1 second')`, allQueries[10])
}

// inputs cuts rows into entries of random sizes.
func inputs(r *rand.Rand, rows []busRow, most int) []*engine.Input {
	var out []*engine.Input
	for len(rows) > 0 {
		n := min(1+r.Intn(most), len(rows))
		i := uint64(len(out) + 1)
		out = append(out, &engine.Input{Index: i, Time: int64(i) * second, Batches: []engine.StreamBatch{{Stream: "bus", Rows: busBatch(rows[:n])}}})
		rows = rows[n:]
	}
	i := uint64(len(out) + 1)
	return append(out, &engine.Input{Index: i, Time: int64(i) * second, End: true})
}

func TestRestoreAtEveryEntry(t *testing.T) {
	r := rand.New(rand.NewSource(7))
	entries := inputs(r, randomRows(r, 1200, 1_700_000_000*second), 40)
	whole := newEngine(t, engine.DefaultOptions(), init11()...)
	cut := newEngine(t, engine.DefaultOptions(), init11()...)
	for _, in := range entries {
		want := lines(apply(t, whole, in))
		got := lines(apply(t, cut, in))
		if a, b := strings.Join(got, "\n"), strings.Join(want, "\n"); a != b {
			t.Fatalf("entry %d after restore:\n%s\nwithout:\n%s", in.Index, a, b)
		}
		s, err := cut.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		h, err := whole.StateHash()
		if err != nil {
			t.Fatal(err)
		}
		if s.Hash() != h {
			t.Fatalf("entry %d: state hash after restore differs", in.Index)
		}
		cut = throughSnapshot(t, cut, engine.DefaultOptions())
	}
	b, err := whole.Query("SELECT count(*) FROM q1")
	if err != nil || b.Len != 1 || b.Cols[0].I64[0] < 10 {
		t.Fatalf("count of q1: %v %v", b, err)
	}
}

// throughSnapshot takes an engine through its snapshot.
func throughSnapshot(t *testing.T, e *engine.Engine, opt engine.Options) *engine.Engine {
	t.Helper()
	s, err := e.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if err := s.Write(&buf); err != nil {
		t.Fatal(err)
	}
	if e, err = engine.Restore(&buf, opt); err != nil {
		t.Fatal(err)
	}
	return e
}
