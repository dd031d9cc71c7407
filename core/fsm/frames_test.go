package fsm_test

import (
	"fmt"
	"testing"

	"signalbox/core/fsm"
	"signalbox/edge/wire"
	"signalbox/engine"
	"signalbox/engine/column"
	"signalbox/raftstore"
)

// Two frames of one stream in a batch (an agent that meets another type begins a new frame) are told apart: a row
// of the second must not take the identity, and so the place, of a row of the first.
func TestRowsOfTwoFramesInABatchKeepTheirIdentity(t *testing.T) {
	m := machine(t)
	index := uint64(0)
	run := func(items ...fsm.Item) []fsm.Result {
		index++
		return m.Apply(raftstore.Entry{Index: index, Data: fsm.EncodeEntry(nil, fsm.Header{Clock: 1_700_000_000 * second}, items)}).([]fsm.Result)
	}
	run(fsm.ScriptItem("p", "CREATE STREAM bus (time TIMESTAMP, n BIGINT); CREATE STREAMING TABLE seen AS SELECT time, n FROM STREAM bus;"))
	run(fsm.GrantItem(&wire.Hello{Protocol: wire.Protocol, Agent: "a", Install: [16]byte{1}}))
	b := &wire.Batch{Received: 1_700_000_000 * second * 1000}
	for f := range 3 {
		rows := column.NewBatch(&column.Schema{Name: "bus", Fields: []column.Field{{Name: "time", Type: column.Of(column.TimestampNS)}, {Name: "n", Type: column.Of(column.BigInt)}}}, 2)
		for i := range 2 {
			rows.AppendRow(column.I64(int64(1_700_000_000*second*1000)), column.I64(int64(10*f+i)))
		}
		frame, err := wire.EncodeFrame(nil, rows)
		if err != nil {
			t.Fatal(err)
		}
		b.Frames = append(b.Frames, frame)
	}
	body, err := wire.AppendBatch(nil, b)
	if err != nil {
		t.Fatal(err)
	}
	if r := run(fsm.BatchItem(wire.BatchID{Agent: "a", Epoch: 1, Seq: 1}, wire.HashBody(body), body)); r[0].Verdict != fsm.Applied {
		t.Fatalf("%+v", r)
	}
	rows, _, err := m.Query(t.Context(), "SELECT n FROM seen ORDER BY n", engine.QueryLimits{})
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for i := range rows.Len {
		got += fmt.Sprint(rows.Cols[0].I64[i], " ")
	}
	if got != "0 1 10 11 20 21 " {
		t.Errorf("rows %s, want those of all three frames", got)
	}
}
