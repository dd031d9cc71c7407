package engine_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand"
	"strings"
	"testing"

	"signalbox/engine"
	"signalbox/engine/column"
	"signalbox/engine/expr"
)

func reasons(out *engine.Output) string {
	var s []string
	for _, x := range out.Rejected {
		s = append(s, fmt.Sprintf("%s/%s:%s@%d", x.Stream, x.Query, x.Reason, x.Ordinal))
	}
	return strings.Join(s, " ")
}

func TestBadRowsAreRejectedAndTheRestGoesOn(t *testing.T) {
	e := newEngine(t, engine.DefaultOptions(), `CREATE STREAMING TABLE q AS SELECT bus, 100 / passengers AS x FROM STREAM bus`)
	// Another layout: an integer for a DOUBLE, text for a BIGINT, an undeclared column, two declared ones missing.
	s := &column.Schema{Name: "bus", Time: 1, Fields: []column.Field{{Name: "BUS", Type: column.Of(column.String)}, {Name: "time", Type: column.Of(column.TimestampNS)},
		{Name: "speed", Type: column.Of(column.BigInt)}, {Name: "passengers", Type: column.Of(column.BigInt)}, {Name: "capacity", Type: column.Of(column.String)}, {Name: "door", Type: column.Of(column.Boolean)}}}
	b := column.NewBatch(s, 5)
	now := 1_700_000_000 * second
	add := func(at column.Datum, passengers int64, capacity column.Datum) {
		b.AppendRow(column.Str("b1"), at, column.I64(7), column.I64(passengers), capacity, column.Bool(true))
	}
	add(column.I64(now*1000+999), 4, column.NullDatum)
	add(column.I64((now+400*second)*1000), 4, column.NullDatum) // future
	add(column.NullDatum, 4, column.NullDatum)                  // no time
	add(column.I64(now*1000), 4, column.Str("many"))            // type
	add(column.I64(now*1000), 0, column.NullDatum)              // division by zero in the query
	in := &engine.Input{Index: 1, Time: now, Batches: []engine.StreamBatch{
		{Stream: "bus", Rows: b, Received: now * 1000, Origin: engine.Origin{Agent: "a", Epoch: 1, Seq: 9}},
		{Stream: "tram", Rows: busBatch([]busRow{{t: now, bus: "t"}})},
	}}
	out := apply(t, e, in)
	if got, want := reasons(out), "bus/:type@3 bus/:future@1 bus/:no_time@2 tram/:unknown_stream@0 bus/q:expression@4"; got != want {
		t.Fatalf("rejected\n%s\nwant\n%s", got, want)
	}
	if len(out.Changes) != 1 || out.Changes[0].Rows.Len != 1 || out.Applied != 2 {
		t.Fatalf("%d applied, changes %v", out.Applied, lines(out))
	}
	c := e.Counters()
	refused := c.Rejected["type"] + c.Rejected["future"] + c.Rejected["no_time"] + c.Rejected["unknown_stream"]
	if c.Received != c.Applied+refused || c.Received != 6 || c.ExtraColumns != 1 {
		t.Fatalf("the accounts do not add up: %+v", c)
	}
	for name, n := range map[string]int64{"`$rejected`": 5, "`bus$rejected`": 4} {
		q, err := e.Query("SELECT count(*) FROM " + name)
		if err != nil || q.Cols[0].I64[0] != n {
			t.Errorf("%s: %v %v, want %d rows", name, q, err, n)
		}
	}
	out = apply(t, e, &engine.Input{Index: 2, Time: now + 1, Batches: []engine.StreamBatch{{Stream: "bus", Rows: busBatch([]busRow{{t: now, bus: "x", passengers: i64(1)}}), Origin: engine.Origin{Agent: "a", Epoch: 1, Seq: 10}}}})
	if len(out.Changes) != 1 {
		t.Fatal("the query stopped after a bad row")
	}
}

func TestStrictFails(t *testing.T) {
	opt := engine.DefaultOptions()
	opt.Strict = true
	e := newEngine(t, opt, `CREATE STREAMING TABLE q AS SELECT 100 / passengers AS x FROM STREAM bus`)
	_, err := e.Apply(busInput(1, 1, busRow{t: second, bus: "b", passengers: i64(0)}))
	var x *expr.Error
	if !errors.As(err, &x) || x.Condition != "DIVIDE_BY_ZERO" {
		t.Fatalf("got %v", err)
	}
}

func TestKeyLimit(t *testing.T) {
	for _, q := range []string{
		`SELECT window.start AS s, bus, count(*) AS n FROM STREAM bus WATERMARK time DELAY OF INTERVAL 0 SECONDS GROUP BY window(time, '1 minute'), bus`,
		`SELECT bus, count(*) AS n FROM STREAM bus GROUP BY bus`,
		`SELECT bus FROM STREAM bus DEDUP BY (bus)`,
	} {
		opt := engine.DefaultOptions()
		opt.MaxKeys = 10
		e := newEngine(t, opt, `CREATE STREAMING TABLE q AS `+q)
		var rows []busRow
		for i := range 25 {
			rows = append(rows, busRow{t: 60 * second, bus: fmt.Sprint(i % 15)})
		}
		out := apply(t, e, busInput(1, 1, rows...))
		if n := len(out.Rejected); n != 5 || out.Rejected[0].Reason != "state_limit" {
			t.Errorf("%s: %d rejected, want the 5 rows with new keys: %s", q, n, reasons(out))
		}
		if c := e.Counters(); c.StateLimited != 5 {
			t.Errorf("%s: counted %d", q, c.StateLimited)
		}
	}
}

func TestCertifiedWatermark(t *testing.T) {
	e := newEngine(t, engine.DefaultOptions(), `CREATE STREAMING TABLE q AS SELECT window.start AS s, count(*) AS n FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS GROUP BY window(time, '1 minute')`)
	base := 1_700_000_040 * second // a full minute
	cert := func(in *engine.Input, low int64, complete int) *engine.Input {
		c := engine.Certified{Stream: "bus", LowWater: low, AgentsComplete: complete, AgentsExpected: 3}
		if complete < 3 {
			c.Behind = []engine.Behind{{Agent: "away", Reason: "offline", Low: base + 69*second}}
		}
		in.Certified = []engine.Certified{c}
		return in
	}
	apply(t, e, cert(busInput(1, 1, busRow{t: base + 5*second, bus: "a"}), base, 3))
	out := apply(t, e, busInput(2, 2, busRow{t: base + 300*second, bus: "a"}))
	if len(out.Changes) != 0 {
		t.Fatal("a reading moved a certified watermark")
	}
	apply(t, e, cert(busInput(3, 3, busRow{t: base + 6*second, bus: "b"}), base+69*second, 3))
	out = apply(t, e, cert(busInput(4, 4), base+70*second, 2))
	if len(out.Changes) != 1 || rowText(out.Changes[0].Rows, 0) != fmt.Sprintf("%d,2", base) {
		t.Fatalf("low water minus delay reached the end of the window: %v", lines(out))
	}
	if c := out.Changes[0]; c.Complete[0] != 2 || c.Expected[0] != 3 {
		t.Fatalf("completeness %v of %v", c.Complete, c.Expected)
	}
	out = apply(t, e, busInput(5, 5, busRow{t: base + 7*second, bus: "c"}))
	if len(out.Late) != 1 {
		t.Fatal("a row for a closed window is late")
	}
	q, err := e.Query("SELECT query, reason FROM `bus$late`")
	if err != nil || q.Len != 1 || q.Cols[0].Str(0) != "q" {
		t.Fatalf("bus$late: %v %v", q, err)
	}
}

func TestExecuteIsAllOrNothing(t *testing.T) {
	e := newEngine(t, engine.DefaultOptions())
	err := e.Execute("CREATE STREAM tram (time TIMESTAMP, id STRING);\nCREATE STREAMING TABLE a AS SELECT nope FROM STREAM tram;\nCREATE STREAMING TABLE b AS SELECT id FROM STREAM trm")
	if err == nil || !strings.Contains(err.Error(), "2:") || !strings.Contains(err.Error(), "3:") {
		t.Fatalf("both errors are expected, with their lines: %v", err)
	}
	if n := len(e.Tables()); n != 1 {
		t.Fatalf("%d relations after a failed script", n)
	}
	if err := e.Execute("DROP STREAM bus"); err != nil {
		t.Fatal(err)
	}
}

func TestDamagedSnapshotsAreRefused(t *testing.T) {
	e := newEngine(t, engine.DefaultOptions(), init11()...)
	apply(t, e, busInput(1, second, busRow{t: second, bus: "b", passengers: i64(3)}))
	s, err := e.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	var buf strings.Builder
	if err := s.Write(&buf); err != nil {
		t.Fatal(err)
	}
	good := buf.String()
	for i := 0; i < len(good); i += 7 {
		if _, err := engine.Restore(strings.NewReader(good[:i]), engine.DefaultOptions()); err == nil {
			t.Fatalf("the first %d of %d bytes were restored", i, len(good))
		}
		bad := []byte(good)
		bad[i] ^= 0x40
		if _, err := engine.Restore(strings.NewReader(string(bad)), engine.DefaultOptions()); err == nil {
			t.Fatalf("a flipped bit in byte %d went unnoticed", i)
		}
	}
}

func TestOpenWindowsCanBeQueried(t *testing.T) {
	e := newEngine(t, engine.DefaultOptions(), `CREATE STREAMING TABLE q AS SELECT window.start AS s, bus, sum(passengers) AS p FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS GROUP BY window(time, '1 minute'), bus`)
	base := 1_700_000_040 * second
	out := apply(t, e, busInput(1, 1, busRow{t: base, bus: "a", passengers: i64(3)}, busRow{t: base + second, bus: "a", passengers: i64(4)}, busRow{t: base + 61*second, bus: "b", passengers: i64(5)}))
	before, err := e.StateHash()
	if err != nil {
		t.Fatal(err)
	}
	held := strings.Join(lines(out), "\n")
	b, err := e.Query("SELECT s, bus, p FROM `q$open` ORDER BY s, bus")
	if err != nil || b.Len != 2 || rowText(b, 0) != fmt.Sprintf("%d,a,7", base) || rowText(b, 1) != fmt.Sprintf("%d,b,5", base+60*second) {
		t.Fatalf("%v %v", b, err)
	}
	if after, err := e.StateHash(); err != nil || after != before || strings.Join(lines(out), "\n") != held {
		t.Fatalf("looking changed the state or the output: %v", err)
	}
	out = apply(t, e, busInput(2, 2, busRow{t: base + 90*second, bus: "a"}))
	if len(out.Changes) != 1 || rowText(out.Changes[0].Rows, 0) != fmt.Sprintf("%d,a,7", base) {
		t.Fatalf("%v", lines(out))
	}
}

// TestExtremeTimes: no event time makes the engine panic, loop or lose its accounts.
func TestExtremeTimes(t *testing.T) {
	extremes := []int64{math.MinInt64, math.MinInt64 + 1, math.MinInt64 + 60*second, -1, 0, 1, math.MaxInt64 - 60*second, math.MaxInt64 - 1, math.MaxInt64}
	queries := init11()
	queries = append(queries,
		`CREATE STREAMING TABLE x1 AS SELECT session_window.start AS s, bus, count(*) AS n FROM STREAM bus WATERMARK time DELAY OF INTERVAL 1 SECOND GROUP BY session_window(time, '5 seconds'), bus`,
		`CREATE STREAMING TABLE x2 AS SELECT window.start AS s, count(*) AS n FROM STREAM bus WATERMARK time DELAY OF INTERVAL 1 SECOND GROUP BY window(time, '25 seconds', '10 seconds')`,
		`CREATE STREAMING TABLE x3 AS SELECT a.time AS t, b.time AS u FROM STREAM bus WATERMARK time DELAY OF INTERVAL 1 SECOND AS a LEFT JOIN STREAM bus WATERMARK time DELAY OF INTERVAL 1 SECOND AS b ON a.bus = b.bus AND b.time BETWEEN a.time AND a.time + INTERVAL 5 SECONDS`,
		`CREATE STREAMING TABLE x4 OPTIONS (allowed_lateness '1 hour') AS SELECT window.start AS s, count(*) AS n FROM STREAM bus WATERMARK time DELAY OF INTERVAL 1 SECOND GROUP BY window(time, '20 seconds', '10 seconds')`)
	for seed := range int64(20) {
		r := rand.New(rand.NewSource(seed))
		e := newEngine(t, engine.DefaultOptions(), queries...)
		for i := uint64(1); i < 12; i++ {
			var rows []busRow
			for range r.Intn(4) + 1 {
				rows = append(rows, busRow{t: extremes[r.Intn(len(extremes))], bus: "a", route: "r", passengers: i64(r.Int63()), capacity: i64(1)})
			}
			apply(t, e, busInput(i, int64(i), rows...))
		}
		e = throughSnapshot(t, e, engine.DefaultOptions())
		apply(t, e, &engine.Input{Index: 100, Time: 100, End: true})
	}
}
