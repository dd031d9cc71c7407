package outbox_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"signalbox/core/outbox"
	"signalbox/engine"
	"signalbox/engine/alert"
	"signalbox/engine/column"
	"signalbox/sinks"
)

var schema = column.Schema{Name: "t", Time: -1, Fields: []column.Field{{Name: "k", Type: column.Of(column.String)}, {Name: "n", Type: column.Of(column.BigInt)}}}

func changes(index uint64, n int) []engine.Changes {
	b := column.NewBatch(&schema, n)
	c := engine.Changes{Table: "t", Rows: b}
	for i := range n {
		b.AppendRow(column.Str(fmt.Sprint("key", i)), column.I64(int64(index)))
		c.IDs = append(c.IDs, engine.RowID{byte(index), byte(index >> 8), byte(i)})
		c.Revisions = append(c.Revisions, uint32(i+1))
	}
	c.Complete, c.Expected = make([]int32, n), make([]int32, n)
	return []engine.Changes{c}
}

func transition(index uint64) []alert.Transition {
	return []alert.Transition{{ID: fmt.Sprint("alert", index), Seq: index, To: alert.Firing, Labels: []alert.Label{{Name: "bus", Value: "7"}}}}
}

func open(t *testing.T, o outbox.Options) *outbox.Outbox {
	t.Helper()
	ob, err := outbox.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ob.Close() })
	return ob
}

// readAll reads in pieces and checks that each ends at an entry's end.
func readAll(t *testing.T, ob *outbox.Outbox, after uint64, piece int, accept ...uint64) (rows map[uint64]int, alerts []uint64) {
	t.Helper()
	rows = map[uint64]int{}
	lost := uint64(0)
	if len(accept) > 0 {
		lost = accept[0]
	}
	for {
		batches, upTo, err := ob.Read(after, piece, lost)
		if err != nil {
			t.Fatal(err)
		}
		if len(batches) == 0 {
			return rows, alerts
		}
		last := after
		for _, b := range batches {
			if b.Index <= after || b.Index > upTo || b.Index < last {
				t.Fatalf("index %d in a piece from %d to %d", b.Index, after, upTo)
			}
			last = b.Index
			if b.Rows != nil {
				rows[b.Index] += b.Rows.Len
			}
			for range b.Alerts {
				alerts = append(alerts, b.Index)
			}
		}
		after = upTo
	}
}

func TestEveryPieceSizeGivesTheSameEntries(t *testing.T) {
	for _, dir := range []string{"", t.TempDir()} {
		ob := open(t, outbox.Options{Dir: dir, SegmentBytes: 2000, MemoryBytes: 4000})
		ob.Register([]string{"a"})
		rng := rand.New(rand.NewPCG(1, 1))
		want := map[uint64]int{}
		var wantAlerts int
		for i := uint64(1); i <= 200; i++ {
			var c []engine.Changes
			var a []alert.Transition
			if rng.IntN(3) > 0 {
				n := 1 + rng.IntN(9)
				c = append(changes(i, n), changes(i, 1)...)
				want[i] = n + 1
			}
			if rng.IntN(4) == 0 {
				a = transition(i)
				wantAlerts++
			}
			ob.Append(i, int64(i), c, a)
		}
		if spilled := ob.Stats().Spilled; (spilled > 0) != (dir != "") {
			t.Errorf("%d bytes spilled to %q", spilled, dir)
		}
		for _, piece := range []int{1, 300, 5000, 1 << 30} {
			rows, alerts := readAll(t, ob, 0, piece)
			if fmt.Sprint(rows) != fmt.Sprint(want) || len(alerts) != wantAlerts {
				t.Fatalf("piece %d: %v and %d alerts, want %v and %d", piece, rows, len(alerts), want, wantAlerts)
			}
		}
	}
}

func TestTheSlowestSinkDecidesWhatIsKept(t *testing.T) {
	ob := open(t, outbox.Options{SegmentBytes: 500})
	ob.Append(1, 1, changes(1, 1), nil) // nobody is registered: not kept
	ob.Register([]string{"fast", "slow"})
	for i := uint64(2); i <= 100; i++ {
		ob.Append(i, int64(i), changes(i, 1), nil)
	}
	ob.Ack("fast", 100)
	ob.Ack("unknown", 100)
	if rows, _ := readAll(t, ob, 1, 1<<20); len(rows) != 99 {
		t.Errorf("%d entries kept for the slow sink, want 99", len(rows))
	}
	ob.Ack("slow", 50)
	ob.Ack("slow", 20) // never back
	if _, _, err := ob.Read(1, 1<<20, 0); !errors.Is(err, outbox.ErrGap) {
		t.Errorf("reading what is gone: %v", err)
	}
	if rows, _ := readAll(t, ob, 50, 1<<20); len(rows) != 50 {
		t.Errorf("%d entries after 50", len(rows))
	}
	ob.Register([]string{"fast"})
	if s := ob.Stats(); s.Bytes != 0 {
		t.Errorf("%d bytes kept when every sink has everything", s.Bytes)
	}
}

func TestBoundDropsRowsButNeverAlerts(t *testing.T) {
	ob := open(t, outbox.Options{SegmentBytes: 1000, MaxBytes: 5000})
	ob.Register([]string{"dead"})
	for i := uint64(1); i <= 500; i++ {
		ob.Append(i, int64(i), changes(i, 2), transition(i))
	}
	s := ob.Stats()
	if s.Dropped == 0 {
		t.Fatal("nothing was dropped")
	}
	if _, alerts := readAll(t, ob, 0, 700, s.Trimmed); len(alerts) != 500 {
		t.Errorf("%d of 500 alerts are left", len(alerts))
	}
	if got := s.Records + int(s.Dropped); got != 1000 {
		t.Errorf("%d records kept and dropped, want 1000", got)
	}
}

func TestSnapshotCarriesWhatIsNotAcknowledged(t *testing.T) {
	ob := open(t, outbox.Options{Dir: t.TempDir(), SegmentBytes: 1000, MemoryBytes: 3000})
	ob.Define([]sinks.Table{{Name: "t", Schema: &schema, Key: []string{"k"}, Entity: []string{"k"}}})
	ob.Register([]string{"a", "b"})
	for i := uint64(1); i <= 100; i++ {
		ob.Append(i, int64(i), changes(i, 3), transition(i))
	}
	ob.Ack("a", 90)
	ob.Ack("b", 40)
	f := ob.Freeze()
	for i := uint64(101); i <= 150; i++ { // the copy does not move
		ob.Append(i, int64(i), changes(i, 3), nil)
	}
	ob.Ack("b", 150)
	ob.Ack("a", 150)
	var buf bytes.Buffer
	if err := f.Write(&buf); err != nil {
		t.Fatal(err)
	}
	f.Release()
	copied := open(t, outbox.Options{SegmentBytes: 1000})
	if err := copied.Load(bytes.NewReader(buf.Bytes())); err != nil {
		t.Fatal(err)
	}
	rows, alerts := readAll(t, copied, 40, 700)
	if len(rows) != 60 || len(alerts) != 60 {
		t.Errorf("copy has %d entries with rows and %d with alerts after 40, want 60", len(rows), len(alerts))
	}
	if tables := copied.Tables(); len(tables) != 1 || tables[0].Key[0] != "k" {
		t.Errorf("definitions %+v", tables)
	}
	if fmt.Sprint(copied.Cursors()) != "[{a 90} {b 40}]" {
		t.Errorf("cursors %v", copied.Cursors())
	}
	for cut := 0; cut < buf.Len(); cut += 97 {
		if err := open(t, outbox.Options{}).Load(bytes.NewReader(buf.Bytes()[:cut])); err == nil {
			t.Fatalf("a copy cut at %d was taken", cut)
		}
	}
}
