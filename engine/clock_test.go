package engine_test

import (
	"bytes"
	"testing"

	"signalbox/engine"
)

// TestNowIsTheTimeOfTheEntry: current_timestamp() of a continuous query is that
// of each entry, also below an aggregation and after a restore, and a filter by it lets rows through later on.
func TestNowIsTheTimeOfTheEntry(t *testing.T) {
	const start = 1_700_000_000 * second
	e := newEngine(t, engine.DefaultOptions(), `
CREATE STREAMING TABLE fresh AS SELECT passengers, unix_timestamp() - 1700000000 AS age FROM STREAM bus WHERE time > current_timestamp() - INTERVAL 10 SECONDS;
CREATE STREAMING TABLE old OPTIONS (mode 'update') AS SELECT now() - time > INTERVAL '10' SECOND AS late, count(*) AS n FROM STREAM bus GROUP BY now() - time > INTERVAL '10' SECOND;`)
	var got []string
	for i, at := range []int64{0, 5, 11, 60} {
		if i == 2 {
			var buf bytes.Buffer
			snap, err := e.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			if err := snap.Write(&buf); err != nil {
				t.Fatal(err)
			}
			if e, err = engine.Restore(&buf, engine.DefaultOptions()); err != nil {
				t.Fatal(err)
			}
		}
		out := apply(t, e, &engine.Input{Index: uint64(i + 2), Time: start + at*second, Batches: []engine.StreamBatch{{Stream: "bus", Rows: busBatch([]busRow{{t: start, bus: "b", passengers: i64(int64(i))}})}}})
		for _, c := range out.Changes {
			for r := range c.Rows.Len {
				got = append(got, c.Table+" "+rowText(c.Rows, r))
			}
		}
	}
	want := []string{"fresh 0,0", "old 0,1", "fresh 1,5", "old 0,2", "old 1,1", "old 1,2"}
	if len(got) != len(want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got %q, want %q", got, want)
			break
		}
	}
}
