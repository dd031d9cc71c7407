package engine

import (
	"bytes"
	"fmt"
	"testing"

	"signalbox/engine/column"
)

// captureCase is an entry that changes, between the call of Snapshot and its
// writing, what only one kind of barrier protects.
var captureCases = []struct {
	name, sql string
	before    [][2]int64 // bus, second
	after     [2]int64
}{
	{
		// Session 100 is merged into session 0, whose block of groups is another, and its state is cleared.
		"a session that is merged away", `CREATE STREAMING TABLE q AS SELECT session_window.start AS s, bus, count(*) AS n, sum(v) AS p FROM STREAM bus WATERMARK time DELAY OF INTERVAL 100 SECONDS GROUP BY session_window(time, '4 seconds'), bus`,
		append(eachBus(100, 0), [2]int64{0, 6}), [2]int64{0, 3},
	},
	{
		// A late row brings a bus that the packed window did not have.
		"a new group of a closed window", `CREATE STREAMING TABLE q OPTIONS (allowed_lateness '1 hour') AS SELECT window.start AS s, bus, count(*) AS n, sum(v) AS p FROM STREAM bus WATERMARK time DELAY OF INTERVAL 0 SECONDS GROUP BY window(time, '10 seconds'), bus`,
		append(eachBus(100, 0), [2]int64{100, 60}), [2]int64{100, 5},
	},
}

func eachBus(n, second int64) (rows [][2]int64) {
	for i := range n {
		rows = append(rows, [2]int64{i, second})
	}
	return rows
}

func captureInput(i int, rows ...[2]int64) *Input {
	field := func(n string, k column.Kind) column.Field { return column.Field{Name: n, Type: column.Of(k)} }
	b := column.NewBatch(&column.Schema{Name: "bus", Fields: []column.Field{field("time", column.Timestamp), field("bus", column.String), field("v", column.BigInt)}}, 0)
	for _, r := range rows {
		b.AppendRow(column.I64((1_700_000_000+r[1])*1_000_000), column.Str(fmt.Sprintf("b%d", r[0])), column.I64(r[0]+r[1]))
	}
	return &Input{Index: uint64(i), Time: int64(i), Batches: []StreamBatch{{Stream: "bus", Rows: b}}}
}

// TestCapturesAreOfTheirMoment: one entry between the capture and its writing
// leaves the snapshot as it was, although it clears or widens what was captured.
func TestCapturesAreOfTheirMoment(t *testing.T) {
	for _, c := range captureCases {
		t.Run(c.name, func(t *testing.T) {
			e, twin := New(DefaultOptions()), New(DefaultOptions())
			for _, x := range []*Engine{e, twin} {
				if err := x.Execute("CREATE STREAM bus (time TIMESTAMP, bus STRING, v BIGINT);" + c.sql); err != nil {
					t.Fatal(err)
				}
				if _, err := x.Apply(captureInput(1, c.before...)); err != nil {
					t.Fatal(err)
				}
			}
			w, err := twin.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			want := body(t, w)
			s, err := e.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := e.Apply(captureInput(2, c.after)); err != nil {
				t.Fatal(err)
			}
			if got := body(t, s); !bytes.Equal(got, want) {
				t.Fatalf("the snapshot is not of its moment: it differs at byte %d of %d", differAt(got, want), len(want))
			}
			n, err := e.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Equal(body(t, n), want) {
				t.Fatal("the entry changed nothing")
			}
		})
	}
}
