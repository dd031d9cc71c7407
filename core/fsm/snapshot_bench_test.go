package fsm_test

import (
	"fmt"
	"io"
	"testing"
	"time"

	"signalbox/core/fsm"
	"signalbox/edge/wire"
	"signalbox/raftstore"
)

// BenchmarkSnapshotPause is how long Apply waits for a snapshot of 2,000 agents, each with a full window of hashes.
func BenchmarkSnapshotPause(b *testing.B) {
	m := machine(b)
	index, clock := uint64(0), int64(1_700_000_000)*second
	run := func(items ...fsm.Item) {
		index++
		m.Apply(raftstore.Entry{Index: index, Data: fsm.EncodeEntry(nil, fsm.Header{Clock: clock}, items)})
	}
	run(fsm.LeaderReadyItem(fsm.LeaderReady{Term: 1, Sinks: []string{"a"}}), fsm.ScriptItem("p", pipeline))
	body := body(b, "bus", "b", 1, clock, wire.Live)
	for a := range 2000 {
		name := fmt.Sprint("agent-", a)
		items := []fsm.Item{fsm.GrantItem(&wire.Hello{Protocol: wire.Protocol, Agent: name, Install: [16]byte{1}})}
		for seq := range uint64(wire.MaxHashes) {
			items = append(items, batch(b, name, 1, seq+1, body))
		}
		run(items...)
	}
	b.ResetTimer()
	var pauses time.Duration
	least, most := time.Hour, time.Duration(0)
	for range b.N {
		at := time.Now()
		s, err := m.Snapshot()
		if err != nil {
			b.Fatal(err)
		}
		d := time.Since(at)
		pauses, least, most = pauses+d, min(least, d), max(most, d)
		if err := s.Write(io.Discard); err != nil {
			b.Fatal(err)
		}
		s.Release()
	}
	b.ReportMetric(float64(pauses.Microseconds())/1000/float64(b.N), "ms-mean")
	b.ReportMetric(float64(least.Microseconds())/1000, "ms-min")
	b.ReportMetric(float64(most.Microseconds())/1000, "ms-max")
}
