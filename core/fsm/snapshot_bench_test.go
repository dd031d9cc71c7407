package fsm_test

import (
	"fmt"
	"io"
	"slices"
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

// BenchmarkSnapshotPauseLarge is how long Apply waits for a snapshot of 100,000 agents and 100,000 firing alerts, and how
// long the entry after it takes, beside one before.
func BenchmarkSnapshotPauseLarge(b *testing.B) {
	const many = 100_000
	m := machine(b)
	index, clock := uint64(0), int64(1_700_000_000)*second
	run := func(items ...fsm.Item) time.Duration {
		index++
		data := fsm.EncodeEntry(nil, fsm.Header{Clock: clock}, items)
		at := time.Now()
		m.Apply(raftstore.Entry{Index: index, Data: data})
		return time.Since(at)
	}
	run(fsm.LeaderReadyItem(fsm.LeaderReady{Term: 1, Sinks: []string{"a"}}), fsm.ScriptItem("p", pipeline), fsm.RulesItem("r.yaml", `groups:
  - name: g
    rules:
      - alert: Full
        from: bus
        expr: passengers >= 0
        by: [bus]
        value: passengers
        annotations: {summary: "{{ $labels.bus }} has {{ $value }}"}
`))
	name := func(a int) string { return fmt.Sprint("agent-", a) }
	for a := 0; a < many; a += 1000 {
		var hello, first []fsm.Item
		for k := a; k < a+1000; k++ {
			hello = append(hello, fsm.GrantItem(&wire.Hello{Protocol: wire.Protocol, Agent: name(k), Install: [16]byte{1}}))
			first = append(first, batch(b, name(k), 1, 1, body(b, "bus", fmt.Sprint("bus-", k), 1, clock, wire.Live)))
		}
		run(hello...)
		run(first...)
	}
	if active, _, _ := m.Alerts(0); len(active) != many || len(m.Status().Agents) != many {
		b.Fatalf("%d alerts, %d agents", len(active), len(m.Status().Agents))
	}
	seq := uint64(1)
	entry := func() time.Duration {
		seq++
		var items []fsm.Item
		for k := 0; k < many; k += 1000 {
			items = append(items, batch(b, name(k), 1, seq, body(b, "bus", fmt.Sprint("bus-", k), 1, clock, wire.Live)))
		}
		return run(items...)
	}
	var calls, before, after []time.Duration
	b.ResetTimer()
	for range b.N {
		clock += second
		before = append(before, entry())
		at := time.Now()
		s, err := m.Snapshot()
		if err != nil {
			b.Fatal(err)
		}
		calls = append(calls, time.Since(at))
		after = append(after, entry())
		if err := s.Write(io.Discard); err != nil {
			b.Fatal(err)
		}
		s.Release()
	}
	for what, list := range map[string][]time.Duration{"call": calls, "before": before, "after": after} {
		slices.Sort(list)
		b.ReportMetric(float64(list[len(list)/2].Microseconds())/1000, "ms-"+what+"-p50")
		b.ReportMetric(float64(list[len(list)-1].Microseconds())/1000, "ms-"+what+"-max")
	}
}
