package fsm_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"testing"

	"signalbox/core/fsm"
	"signalbox/edge/wire"
	"signalbox/engine"
)

// TestOlderSnapshotIsRead restores what version 1 wrote after 80 entries of a hard history, and goes on.
// The file is never rewritten.
func TestOlderSnapshotIsRead(t *testing.T) {
	f, err := os.Open("testdata/v1.snap.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	old, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	a, b := machine(t), machine(t)
	for _, m := range []*fsm.Machine{a, b} {
		if err := m.Restore(bytes.NewReader(old)); err != nil {
			t.Fatal(err)
		}
	}
	s := a.Status()
	if s.Index != 80 || s.Counters.Received != 842 || s.Counters.Applied != 578 || s.Counters.Duplicate != 62 || len(s.Agents) != 6 ||
		len(s.Streams) != 3 || s.Streams[0].LowWater != 1_700_000_065_058_024 || s.Streams[0].Complete != 5 || s.Engine.Late != 75 {
		t.Fatalf("read %+v", s)
	}
	clock := s.Tick
	for i := range uint64(90) { // everybody speaks and certifies: what was incomplete becomes final
		clock += second
		var items []fsm.Item
		for j := range s.Agents {
			x := &s.Agents[j]
			items = append(items, batch(t, x.Agent, x.Epoch, x.AppliedSeq+1+i, body(t, "bus", x.Agent, 2, clock, wire.Live)))
		}
		data := fsm.EncodeEntry(nil, fsm.Header{Clock: clock}, items)
		for k, r := range apply(t, a, 81+i, data) {
			if r.Verdict != fsm.Applied {
				t.Fatalf("batch of %s: %+v", s.Agents[k].Agent, r)
			}
		}
		apply(t, b, 81+i, data)
		if i == 20 { // and a snapshot of today in between changes nothing
			snap := snapshot(t, b)
			b = machine(t)
			if err := b.Restore(bytes.NewReader(snap)); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, ca := a.Chain()
	if _, cb := b.Chain(); ca != cb {
		t.Error("restored once more, it goes on differently")
	}
	rows, _, err := a.Query(t.Context(), "SELECT count(*) FROM `load$windows` WHERE state = 'final' AND agents_complete = 6", engine.QueryLimits{})
	if err != nil || rows.Cols[0].I64[0] < 5 {
		t.Errorf("windows that are final: %v %v", rows, err)
	}
}
