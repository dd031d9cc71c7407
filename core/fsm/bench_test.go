package fsm_test

import (
	"bytes"
	"fmt"
	"testing"

	"signalbox/core/fsm"
	"signalbox/edge/wire"
	"signalbox/engine/column"
	"signalbox/raftstore"
)

// BenchmarkApply is what one node spends per reading after the log: batches of 1000 typed readings, several
// agents in an entry, a windowed aggregate per key and one over all, dedup, outbox.
func BenchmarkApply(b *testing.B) {
	const agents, rows, perEntry = 8, 1000, 4
	s := &column.Schema{Name: "bus", Time: 0, Fields: []column.Field{{Name: "time", Type: column.Of(column.TimestampNS)},
		{Name: "bus", Type: column.Of(column.String)}, {Name: "route", Type: column.Of(column.String)}, {Name: "passengers", Type: column.Of(column.BigInt)}, {Name: "speed", Type: column.Of(column.Double)}}}
	m := machine(b)
	index := uint64(0)
	run := func(clock int64, items ...fsm.Item) {
		index++
		if _, ok := m.Apply(raftstore.Entry{Index: index, Data: fsm.EncodeEntry(nil, fsm.Header{Clock: clock}, items)}).([]fsm.Result); !ok {
			b.Fatal("no results")
		}
	}
	start := int64(1_700_000_000) * second // the term begins there: within a term no entry moves the clock by more than a minute
	run(start, fsm.LeaderReadyItem(fsm.LeaderReady{Term: 1, Sinks: []string{"a"}}))
	run(start, fsm.ScriptItem("p", `CREATE STREAM bus (time TIMESTAMP, bus STRING, route STRING, passengers BIGINT, speed DOUBLE);
		CREATE STREAMING TABLE q1 AS SELECT window.start AS start, bus, max(passengers) AS p, avg(speed) AS v, count(*) AS n FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS GROUP BY window(time, '1 minute'), bus;
		CREATE STREAMING TABLE q2 AS SELECT window.start AS start, route, sum(passengers) AS p FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS GROUP BY window(time, '5 minutes', '1 minute'), route;`))
	for a := range agents {
		run(start, fsm.GrantItem(&wire.Hello{Protocol: wire.Protocol, Agent: fmt.Sprint("a", a), Install: [16]byte{1}}))
	}
	var entries [][]fsm.Item
	clock := start
	seq := make([]uint64, agents)
	for e := range 100 {
		var items []fsm.Item
		for k := range perEntry {
			a := (e*perEntry + k) % agents
			batch := column.NewBatch(s, rows)
			for i := range rows {
				t := clock + int64(i)*50_000
				batch.AppendRow(column.I64(t*1000), column.Str(fmt.Sprint("bus", a*50+i%50)), column.Str(fmt.Sprint("r", i%20)), column.I64(int64(i%90)), column.F64(float64(i%500)/10))
			}
			frame, err := wire.EncodeFrame(nil, batch)
			if err != nil {
				b.Fatal(err)
			}
			last := (clock + (rows-1)*50_000) * 1000
			body, err := wire.AppendBatch(nil, &wire.Batch{Received: last, Frames: [][]byte{frame}, Frontiers: []wire.Frontier{{Stream: "bus", MaxTime: last, LowWater: last}}})
			if err != nil {
				b.Fatal(err)
			}
			seq[a]++
			items = append(items, fsm.BatchItem(wire.BatchID{Agent: fmt.Sprint("a", a), Epoch: 1, Seq: seq[a]}, wire.HashBody(body), body))
		}
		clock += 50 * second
		entries = append(entries, items)
	}
	encoded := make([][]byte, len(entries))
	for i, items := range entries {
		encoded[i] = fsm.EncodeEntry(nil, fsm.Header{Clock: start + int64(i+2)*50*second}, items)
	}
	b.ReportAllocs()
	b.ResetTimer()
	n := 0
	for n < b.N {
		began := snapshot(b, m)
		for _, e := range encoded {
			if n >= b.N {
				break
			}
			index++
			m.Apply(raftstore.Entry{Index: index, Data: e})
			n += perEntry * rows
		}
		b.StopTimer()
		if s := m.Status(); s.Counters.Rejected+s.Engine.Late+s.Engine.LatePartly > 0 {
			b.Fatalf("rows are refused or late, and refusing them is what would be measured: %+v, %d late, %d partly", s.Counters, s.Engine.Late, s.Engine.LatePartly)
		}
		m = machine(b)
		if err := m.Restore(bytes.NewReader(began)); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/reading")
}
