package fsm_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"signalbox/core/fsm"
	"signalbox/core/outbox"
	"signalbox/edge/wire"
	"signalbox/engine"
	"signalbox/engine/column"
	"signalbox/raftstore"
)

const second = int64(1_000_000)

const pipeline = `
CREATE STREAM bus (time TIMESTAMP, bus STRING, passengers BIGINT);
CREATE STREAMING TABLE load AS
  SELECT window.start AS start, bus, sum(passengers) AS passengers, count(*) AS n
  FROM STREAM bus WATERMARK time DELAY OF INTERVAL 1 SECOND GROUP BY window(time, '10 seconds'), bus;
CREATE STREAMING TABLE fleet_now OPTIONS (mode 'update', state_ttl '15 minutes') AS
  SELECT sum(p) AS passengers, count(*) AS buses FROM (SELECT bus, max_by(passengers, time) AS p FROM STREAM bus GROUP BY bus);
`

func machine(t testing.TB) *fsm.Machine {
	t.Helper()
	m, err := fsm.New(fsm.Options{Engine: fsm.RealEngine{Options: engine.DefaultOptions()}, Outbox: outbox.Options{SegmentBytes: 4 << 10, MaxBytes: 64 << 10}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// log writes entries with rising clock.
type log struct {
	clock int64
	data  [][]byte
}

func (l *log) add(items ...fsm.Item) []byte {
	e := fsm.EncodeEntry(nil, fsm.Header{Clock: l.clock}, items)
	l.data = append(l.data, e)
	return e
}

func apply(t testing.TB, m *fsm.Machine, index uint64, data []byte) []fsm.Result {
	t.Helper()
	res, ok := m.Apply(raftstore.Entry{Index: index, Term: 1, Data: data}).([]fsm.Result)
	if !ok {
		t.Fatalf("entry %d gave no results", index)
	}
	return res
}

func body(t testing.TB, stream, bus string, n int, from int64, lane wire.Lane) []byte {
	t.Helper()
	s := &column.Schema{Name: stream, Time: 0, Fields: []column.Field{{Name: "time", Type: column.Of(column.TimestampNS)},
		{Name: "bus", Type: column.Of(column.String)}, {Name: "passengers", Type: column.Of(column.BigInt)}}}
	b := column.NewBatch(s, n)
	for i := range n {
		b.AppendRow(column.I64((from+int64(i)*1000)*1000), column.Str(bus), column.I64(int64(i)))
	}
	frame, err := wire.EncodeFrame(nil, b)
	if err != nil {
		t.Fatal(err)
	}
	last := (from + int64(n-1)*1000) * 1000
	out, err := wire.AppendBatch(nil, &wire.Batch{Lane: lane, Received: from*1000 + 1, Frames: [][]byte{frame},
		Frontiers: []wire.Frontier{{Stream: stream, MaxTime: last, LowWater: last}}})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func batch(t testing.TB, agent string, epoch, seq uint64, b []byte) fsm.Item {
	t.Helper()
	return fsm.BatchItem(wire.BatchID{Agent: agent, Epoch: epoch, Seq: seq}, wire.HashBody(b), b)
}

// randomLog is a history with agents that repeat, skip, lag, go silent and come back.
func randomLog(t *testing.T, seed uint64, n int) *log {
	rng := rand.New(rand.NewPCG(seed, 7))
	l := &log{clock: 1_700_000_000 * second}
	l.add(fsm.LeaderReadyItem(fsm.LeaderReady{Term: 1, Node: "n0", Sinks: []string{"a", "b@n0"}}))
	l.add(fsm.ScriptItem("p.sql", pipeline))
	type sender struct {
		seq  uint64
		sent [][]byte
	}
	senders := make([]sender, 5)
	for i := range senders {
		l.add(fsm.GrantItem(&wire.Hello{Protocol: wire.Protocol, Agent: fmt.Sprint("bus", i), Install: [16]byte{byte(i)}}))
	}
	for len(l.data) < n {
		l.clock += rng.Int64N(3 * second)
		var items []fsm.Item
		for range 1 + rng.IntN(4) {
			i := rng.IntN(len(senders))
			s, name := &senders[i], fmt.Sprint("bus", i)
			switch rng.IntN(12) {
			case 0: // again
				if s.seq > 0 {
					k := rng.IntN(len(s.sent))
					items = append(items, batch(t, name, 1, uint64(k+1), s.sent[k]))
				}
			case 1: // a gap
				items = append(items, batch(t, name, 1, s.seq+2, body(t, "bus", name, 1, l.clock, wire.Live)))
			case 2:
				items = append(items, fsm.HeartbeatItem(name, &wire.Heartbeat{Epoch: 1, Sent: s.seq, Idle: true,
					Frontiers: []wire.Frontier{{Stream: "bus", MaxTime: l.clock * 1000, LowWater: (l.clock - second) * 1000}}}))
			case 3:
				items = append(items, fsm.TickItem())
			case 4:
				items = append(items, fsm.SinkAckItem(fsm.SinkAck{Cursors: []fsm.SinkCursor{{Name: "a", UpTo: uint64(rng.IntN(len(l.data)))}, {Name: "b@n0", UpTo: uint64(len(l.data) / 2)}},
					Refused: []fsm.SinkRefusal{{Sink: "a", Table: "load", Detail: "x", Row: "r"}}}))
			case 5:
				items = append(items, fsm.GrantItem(&wire.Hello{Protocol: wire.Protocol, Agent: name, Install: [16]byte{byte(i)}, Epoch: 1, NextSeq: s.seq + 1}))
			default:
				lane := wire.Live
				if rng.IntN(6) == 0 {
					lane = wire.Backlog
				}
				b := body(t, "bus", name, 1+rng.IntN(20), l.clock-rng.Int64N(5*second), lane)
				s.seq++
				s.sent = append(s.sent, b)
				items = append(items, batch(t, name, 1, s.seq, b))
			}
		}
		l.add(items...)
	}
	return l
}

func snapshot(t testing.TB, m *fsm.Machine) []byte {
	t.Helper()
	s, err := m.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Release()
	var buf bytes.Buffer
	if err := s.Write(&buf); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestReplicasAgreeWhereverTheyAreRestored(t *testing.T) {
	for seed := range uint64(6) {
		l := randomLog(t, seed, 300)
		rng := rand.New(rand.NewPCG(seed, 99))
		a, b := machine(t), machine(t)
		for i, data := range l.data {
			ra, rb := apply(t, a, uint64(i+1), data), apply(t, b, uint64(i+1), data)
			if !reflect.DeepEqual(ra, rb) {
				t.Fatalf("seed %d entry %d: %v and %v", seed, i+1, ra, rb)
			}
			if rng.IntN(25) == 0 {
				snap := snapshot(t, b)
				fresh := machine(t)
				if err := fresh.Restore(bytes.NewReader(snap)); err != nil {
					t.Fatal(err)
				}
				b = fresh
			}
			_, ca := a.Chain()
			if _, cb := b.Chain(); ca != cb {
				t.Fatalf("seed %d: replicas differ after entry %d", seed, i+1)
			}
		}
		if !bytes.Equal(snapshot(t, a), snapshot(t, b)) {
			t.Errorf("seed %d: equal histories, different snapshots", seed)
		}
		s := a.Status()
		if s.Counters.Received != s.Counters.Applied+s.Counters.Duplicate+s.Counters.Rejected || s.Counters.Applied == 0 || s.Counters.Duplicate == 0 || s.Counters.Gaps == 0 {
			t.Errorf("seed %d: accounts %+v", seed, s.Counters)
		}
		ba, _, ea := a.Outbox().Read(s.Outbox.Trimmed, 1<<30, 0)
		bb, _, eb := b.Outbox().Read(s.Outbox.Trimmed, 1<<30, 0)
		if ea != nil || eb != nil || len(ba) != len(bb) || len(ba) == 0 {
			t.Errorf("seed %d: outboxes hold %d and %d batches (%v, %v)", seed, len(ba), len(bb), ea, eb)
		}
	}
}

func TestTruncatedSnapshotIsRefusedAndStateKept(t *testing.T) {
	l := randomLog(t, 1, 60)
	m := machine(t)
	for i, data := range l.data {
		apply(t, m, uint64(i+1), data)
	}
	snap := snapshot(t, m)
	other := machine(t)
	apply(t, other, 1, l.data[0])
	_, before := other.Chain()
	for cut := 0; cut < len(snap); cut += 1 + len(snap)/200 {
		if err := other.Restore(bytes.NewReader(snap[:cut])); err == nil {
			t.Fatalf("a snapshot cut at %d of %d was taken", cut, len(snap))
		}
		if _, after := other.Chain(); after != before {
			t.Fatalf("a snapshot cut at %d changed the state", cut)
		}
	}
}

func TestVerdicts(t *testing.T) {
	m := machine(t)
	l := &log{clock: 1_700_000_000 * second}
	n := uint64(0)
	run := func(items ...fsm.Item) []fsm.Result {
		n++
		return apply(t, m, n, l.add(items...))
	}
	hello := func(install byte, epoch, next uint64, sealed ...wire.SeqHash) *wire.Welcome {
		return run(fsm.GrantItem(&wire.Hello{Protocol: wire.Protocol, Agent: "a", Install: [16]byte{install}, Epoch: epoch, NextSeq: next, Sealed: sealed}))[0].Welcome
	}
	b := func(i int64) []byte { return body(t, "bus", "a", 1, l.clock+i*1000, wire.Live) }
	if r := run(batch(t, "a", 1, 1, b(1)))[0]; r.Verdict != fsm.Fenced {
		t.Errorf("unknown agent: %v", r)
	}
	if w := hello(1, 0, 1); w.Epoch != 1 || w.Applied != 0 {
		t.Errorf("first welcome %+v", w)
	}
	if w := hello(1, 0, 1); w.Epoch != 1 {
		t.Errorf("the same hello again gave epoch %d", w.Epoch)
	}
	for i := int64(1); i <= 70; i++ {
		if r := run(batch(t, "a", 1, uint64(i), b(i)))[0]; r.Verdict != fsm.Applied || r.Seq != uint64(i) {
			t.Fatalf("batch %d: %v", i, r)
		}
	}
	for _, c := range []struct {
		what    string
		item    fsm.Item
		verdict fsm.Verdict
		seq     uint64
	}{
		{"known", batch(t, "a", 1, 70, b(70)), fsm.Duplicate, 70},
		{"oldest kept", batch(t, "a", 1, 7, b(7)), fsm.Duplicate, 70},
		{"older than the window", batch(t, "a", 1, 6, b(6)), fsm.Conflict, 70},
		{"other content", batch(t, "a", 1, 70, b(99)), fsm.Conflict, 70},
		{"gap", batch(t, "a", 1, 72, b(72)), fsm.Gap, 71},
		{"other epoch", batch(t, "a", 2, 71, b(71)), fsm.Fenced, 70},
	} {
		if r := run(c.item)[0]; r.Verdict != c.verdict || r.Seq != c.seq {
			t.Errorf("%s: %v %d, want %v %d", c.what, r.Verdict, r.Seq, c.verdict, c.seq)
		}
	}
	if w := hello(1, 1, 71); w.Epoch != 1 || w.Applied != 70 || w.PrevEpoch != 1 {
		t.Errorf("reconnect: %+v", w)
	}
	if w := hello(1, 1, 71, wire.SeqHash{Seq: 69, Hash: wire.Hash{1}}); w.Epoch != 2 {
		t.Errorf("a spool that contradicts what was applied kept epoch %d", w.Epoch)
	}
	w := hello(2, 2, 1)
	if w.Epoch != 3 || w.Applied != 0 || w.PrevEpoch != 2 {
		t.Errorf("new install: %+v", w)
	}
	if r := run(batch(t, "a", 2, 1, b(200)))[0]; r.Verdict != fsm.Fenced {
		t.Errorf("a batch of the fenced epoch: %v", r)
	}
}

// An engine that panics on demand.
type explosive struct {
	fsm.EngineFactory
	on uint64
}

type bomb struct {
	fsm.Engine
	on uint64
}

func (e explosive) New(system []engine.SystemTable) fsm.Engine {
	return bomb{e.EngineFactory.New(system), e.on}
}

func (b bomb) Apply(in *engine.Input) (*engine.Output, error) {
	if in.Index == b.on {
		panic("planted")
	}
	return b.Engine.Apply(in)
}

type strikes map[uint64]int

func (s strikes) Count(i uint64) int    { return s[i] }
func (s strikes) Record(i uint64) error { s[i]++; return nil }

func TestPoisonIsSetAsideOnTheThirdTry(t *testing.T) {
	l := randomLog(t, 3, 40)
	const poison = 20
	known := strikes{}
	for try := range 3 {
		m, err := fsm.New(fsm.Options{Strikes: known, Engine: explosive{fsm.RealEngine{Options: engine.DefaultOptions()}, poison}})
		if err != nil {
			t.Fatal(err)
		}
		for i, data := range l.data {
			res := m.Apply(raftstore.Entry{Index: uint64(i + 1), Term: 1, Data: data})
			if err, bad := res.(error); bad {
				if try == 2 || i+1 != poison || !errors.Is(err, raftstore.ErrStopped) {
					t.Fatalf("try %d entry %d: %v", try, i+1, err)
				}
				if _, err := m.Snapshot(); err == nil {
					t.Error("a machine in doubt made a snapshot")
				}
				break
			}
		}
		if _, index := m.Status(), known[poison]; try == 2 && (index != 2 || m.Status().Index != uint64(len(l.data))) {
			t.Errorf("poison was not set aside: %d strikes, index %d", index, m.Status().Index)
		}
	}
}

func FuzzApplyAnyBytes(f *testing.F) {
	f.Add(fsm.EncodeEntry(nil, fsm.Header{Clock: 5}, []fsm.Item{fsm.TickItem(), fsm.ScriptItem("x", "CREATE STREAM s (time TIMESTAMP)")}))
	f.Add(fsm.EncodeEntry(nil, fsm.Header{Clock: 5}, []fsm.Item{fsm.GrantItem(&wire.Hello{Agent: "a"}), batch(f, "a", 1, 1, body(f, "bus", "a", 3, second, wire.Live))}))
	f.Fuzz(func(t *testing.T, data []byte) {
		m := machine(t)
		if err, bad := m.Apply(raftstore.Entry{Index: 1, Term: 1, Data: data}).(error); bad {
			t.Fatal(err)
		}
	})
}
