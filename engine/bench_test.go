package engine_test

import (
	"fmt"
	"testing"
	"time"

	"signalbox/engine"
	"signalbox/engine/alert"
	"signalbox/engine/column"
)

// feed makes entries of n rows over the given number of groups, endlessly, in
// columns that share one dictionary, as decoded frames of one session do.
type feed struct {
	b      *column.Batch
	groups int
	at     int64
	row    int
	index  uint64
	in     engine.Input
}

func newFeed(rows, groups int) *feed {
	f := &feed{b: column.NewBatch(busSchema, rows), groups: groups, at: 1_700_000_000 * second}
	for _, c := range f.b.Cols {
		c.Resize(rows)
	}
	f.b.Len = rows
	d := f.b.Cols[1].Dict
	for i := range groups {
		d.Code(fmt.Sprintf("bus-%d", i))
	}
	f.b.Cols[2].Dict.Code("r")
	f.in.Batches = []engine.StreamBatch{{Stream: "bus"}}
	return f
}

// next fills the batch with the following rows; each group reports once a second of event time.
func (f *feed) next(e *engine.Engine) *engine.Input {
	c := f.b.Cols
	for i := range f.b.Len {
		g := f.row % f.groups
		c[0].I64[i] = f.at + int64(f.row/f.groups)*second
		c[1].Codes[i] = uint32((g * 7919) % f.groups)
		c[2].Codes[i] = 0
		c[3].I64[i], c[4].I64[i], c[5].F64[i] = int64(g%60), 50, float64(g%90)
		f.row++
	}
	f.index++
	f.in.Index, f.in.Time = f.index, f.at+int64(f.index)
	f.in.Batches[0].Rows = f.b
	return &f.in
}

// benchAggregate counts the whole of Apply, and not the making of the rows (ns/op has both).
func benchAggregate(b *testing.B, groups int, sql string) {
	const rows = 1000
	e := engine.New(engine.Options{})
	if err := e.Execute(busStream + sql); err != nil {
		b.Fatal(err)
	}
	f := newFeed(rows, groups)
	for range 2*groups/rows + 200 {
		if _, err := e.Apply(f.next(e)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	var took time.Duration
	for range b.N {
		in := f.next(e)
		from := time.Now()
		if _, err := e.Apply(in); err != nil {
			b.Fatal(err)
		}
		took += time.Since(from)
	}
	b.ReportMetric(float64(took.Nanoseconds())/float64(b.N)/rows, "ns/reading")
}

const benchWindow = `CREATE STREAMING TABLE q AS SELECT window.start AS start, bus, sum(passengers) AS s, avg(passengers) AS a, max(passengers) AS m, count(*) AS n
	FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS GROUP BY window(time, '1 hour'), bus`

func BenchmarkAggregate100Groups(b *testing.B)  { benchAggregate(b, 100, benchWindow) }
func BenchmarkAggregate2000Groups(b *testing.B) { benchAggregate(b, 2000, benchWindow) }
func BenchmarkAggregate1MGroups(b *testing.B)   { benchAggregate(b, 1_000_000, benchWindow) }

func BenchmarkSliding2000Groups(b *testing.B) {
	benchAggregate(b, 2000, `CREATE STREAMING TABLE q AS SELECT window.start AS start, bus, avg(speed) AS a, max(speed) AS m
	FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS GROUP BY window(time, '5 minutes', '1 minute'), bus`)
}

func BenchmarkFleetTotal2000Groups(b *testing.B) {
	benchAggregate(b, 2000, `CREATE STREAMING TABLE q AS SELECT sum(p) AS s, count(*) AS n FROM (SELECT bus, max(passengers) AS p FROM STREAM bus GROUP BY bus)`)
}

func BenchmarkFleetTotal1MGroups(b *testing.B) {
	benchAggregate(b, 1_000_000, `CREATE STREAMING TABLE q AS SELECT sum(p) AS s, count(*) AS n FROM (SELECT bus, max(passengers) AS p FROM STREAM bus GROUP BY bus)`)
}

func BenchmarkFilter(b *testing.B) {
	benchAggregate(b, 2000, `CREATE STREAMING TABLE q AS SELECT bus, route, time, passengers, capacity FROM STREAM bus WHERE passengers >= capacity`)
}

// BenchmarkSmallEntries is one reading an entry through two queries and a rule, as without linger.
func BenchmarkSmallEntries(b *testing.B) {
	e := engine.New(engine.DefaultOptions())
	if err := e.Execute(busStream + benchWindow + `; CREATE STREAMING TABLE q2 AS SELECT bus, route, time, passengers FROM STREAM bus WHERE passengers >= capacity;
		CREATE STREAMING TABLE q3 AS SELECT sum(p) AS s, count(*) AS n FROM (SELECT bus, max(passengers) AS p FROM STREAM bus GROUP BY bus)`); err != nil {
		b.Fatal(err)
	}
	if err := e.SetRules([]alert.Rule{fullRule}); err != nil {
		b.Fatal(err)
	}
	f := newFeed(1, 2000)
	for range 2000 {
		if _, err := e.Apply(f.next(e)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if _, err := e.Apply(f.next(e)); err != nil {
			b.Fatal(err)
		}
	}
}
