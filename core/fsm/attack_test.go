package fsm_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"runtime/debug"
	"testing"

	"signalbox/core/catalog"
	"signalbox/core/fsm"
	"signalbox/edge/wire"
	"signalbox/engine"
	"signalbox/engine/column"
)

// everything has one of each kind of state that a snapshot must carry.
const everything = `
CREATE STREAM bus (time TIMESTAMP, bus STRING, passengers BIGINT);
CREATE STREAM door (time TIMESTAMP, bus STRING, passengers BIGINT);
CREATE TABLE fleet (bus STRING, seats BIGINT);
CREATE STREAMING TABLE load OPTIONS (allowed_lateness '20 seconds') AS
  SELECT window.start AS start, bus, sum(passengers) AS passengers, avg(passengers) AS mean, count(*) AS n
  FROM STREAM bus WATERMARK time DELAY OF INTERVAL 1 SECOND GROUP BY window(time, '10 seconds'), bus;
CREATE STREAMING TABLE sliding AS
  SELECT window.start AS start, max(passengers) AS m FROM STREAM bus WATERMARK time DELAY OF INTERVAL 1 SECOND GROUP BY window(time, '20 seconds', '5 seconds');
CREATE STREAMING TABLE overlapping OPTIONS (allowed_lateness '40 seconds') AS
  SELECT window.start AS start, bus, max(passengers) AS m FROM STREAM bus WATERMARK time DELAY OF INTERVAL 1 SECOND GROUP BY window(time, '20 seconds', '5 seconds'), bus;
CREATE STREAMING TABLE trips AS
  SELECT session_window.start AS start, bus, count(*) AS n FROM STREAM bus WATERMARK time DELAY OF INTERVAL 1 SECOND GROUP BY session_window(time, '3 seconds'), bus;
CREATE STREAMING TABLE fleet_now OPTIONS (mode 'update', state_ttl '30 seconds') AS
  SELECT sum(p) AS passengers, count(*) AS buses FROM (SELECT bus, max_by(passengers, time) AS p FROM STREAM bus WATERMARK time DELAY OF INTERVAL 1 SECOND GROUP BY bus);
CREATE STREAMING TABLE joined AS
  SELECT a.bus, a.passengers, b.passengers AS doors FROM STREAM bus WATERMARK time DELAY OF INTERVAL 1 SECOND AS a
  JOIN STREAM door WATERMARK time DELAY OF INTERVAL 1 SECOND AS b ON a.bus = b.bus AND a.time >= b.time - INTERVAL 2 SECONDS AND a.time <= b.time + INTERVAL 2 SECONDS;
CREATE STREAMING TABLE named AS SELECT b.bus, b.passengers, f.seats FROM STREAM bus b LEFT JOIN fleet f ON b.bus = f.bus;
CREATE STREAMING TABLE jumps OPTIONS (state_ttl '30 seconds') AS SELECT time, bus, previous(passengers, bus) AS p, passengers FROM STREAM bus WHERE had_changed(passengers, bus);
CREATE STREAMING TABLE once AS SELECT bus, passengers FROM STREAM bus WATERMARK time DELAY OF INTERVAL 1 SECOND DEDUP BY (bus, passengers);
CREATE STREAMING TABLE failing AS SELECT bus, 10 / (passengers - 3) AS q FROM STREAM bus;
`

const everyRule = `groups:
  - name: g
    rules:
      - alert: Full
        from: bus
        expr: passengers >= 15
        resolve: passengers < 5
        by: [bus]
        for: 2s
        keep_firing_for: 3s
      - alert: Silent
        from: bus
        by: [bus]
        absent_for: 10s
      - alert: Busy
        from: fleet_now
        expr: passengers > 30
`

// hardLog is randomLog with every kind of item and every kind of state.
func hardLog(t *testing.T, seed uint64, n int) *log {
	rng := rand.New(rand.NewPCG(seed, 11))
	l := &log{clock: 1_700_000_000 * second}
	l.add(fsm.LeaderReadyItem(fsm.LeaderReady{Term: 1, Node: "n0", Sinks: []string{"a", "b@n0"}}))
	l.add(fsm.ScriptItem("p.sql", everything))
	l.add(fsm.RulesItem("r.yaml", everyRule))
	epoch, seq, install, sent := make([]uint64, 6), make([]uint64, 6), make([]byte, 6), make([][][]byte, 6)
	hello := func(i int) fsm.Item {
		return fsm.GrantItem(&wire.Hello{Protocol: wire.Protocol, Agent: fmt.Sprint("bus", i), Install: [16]byte{byte(i), install[i]}, Epoch: epoch[i], NextSeq: seq[i] + 1})
	}
	for i := range epoch {
		l.add(hello(i))
		epoch[i] = 1
	}
	fleet := &column.Schema{Name: "fleet", Time: -1, Fields: []column.Field{{Name: "bus", Type: column.Of(column.String)}, {Name: "seats", Type: column.Of(column.BigInt)}}}
	var parts [][]byte
	upload := fsm.Upload{Table: "fleet", ID: [16]byte{9}}
	for len(l.data) < n {
		l.clock += rng.Int64N(2 * second)
		var items []fsm.Item
		for range 1 + rng.IntN(3) {
			i := rng.IntN(len(seq))
			name := fmt.Sprint("bus", i)
			switch rng.IntN(17) {
			case 16: // an agent that will not come back, and does; one that nobody knows
				if rng.IntN(4) == 0 {
					items = append(items, fsm.RetireItem(name), fsm.RetireItem("nobody"))
				}
			case 0: // again
				if len(sent[i]) > 0 {
					k := rng.IntN(len(sent[i]))
					items = append(items, batch(t, name, epoch[i], uint64(k+1), sent[i][k]))
				}
			case 1: // a gap, a fenced epoch
				items = append(items, batch(t, name, epoch[i], seq[i]+2, body(t, "bus", name, 1, l.clock, wire.Live)), batch(t, name, epoch[i]+1, 1, body(t, "bus", name, 1, l.clock, wire.Live)))
			case 2:
				items = append(items, fsm.HeartbeatItem(name, &wire.Heartbeat{Epoch: epoch[i], Sent: seq[i] + uint64(rng.IntN(2)), Idle: true, Received: seq[i],
					Frontiers: []wire.Frontier{{Stream: "bus", MaxTime: l.clock * 1000, LowWater: (l.clock - second) * 1000}, {Stream: "door", MaxTime: l.clock * 1000, LowWater: (l.clock - second) * 1000}}}))
			case 3:
				items = append(items, fsm.SinkAckItem(fsm.SinkAck{Cursors: []fsm.SinkCursor{{Name: "a", UpTo: uint64(rng.IntN(len(l.data)))}, {Name: "b@n0", UpTo: uint64(len(l.data) / 2)}},
					Refused: []fsm.SinkRefusal{{Sink: "a", Table: "load", Detail: "x", Row: "r", Time: l.clock}}}))
			case 4:
				items = append(items, hello(i))
			case 5: // a frame of garbage under a good hash
				b, err := wire.AppendBatch(nil, &wire.Batch{Received: l.clock * 1000, Frames: [][]byte{{1, 2, 3}}})
				if err != nil {
					t.Fatal(err)
				}
				seq[i]++
				sent[i] = append(sent[i], b)
				items = append(items, batch(t, name, epoch[i], seq[i], b))
			case 6: // a piece of a static table, or its activation
				if len(parts) == 0 {
					rows := column.NewBatch(fleet, 60)
					for k := range 60 {
						rows.AppendRow(column.Str(fmt.Sprint("bus", k)), column.I64(rng.Int64N(80)))
					}
					parts = catalog.Chunks(rows, 100)
					upload.ID[1]++
					upload.Parts = len(parts)
				}
				k := upload.Parts - len(parts)
				items = append(items, fsm.ChunkItem(upload, k, parts[0]))
				if parts = parts[1:]; len(parts) == 0 {
					items = append(items, fsm.ActivateItem(upload))
				}
			case 7:
				if rng.IntN(8) == 0 { // rules that go and come back; a script that cannot run
					items = append(items, fsm.RulesItem("r.yaml", ""), fsm.ScriptItem("bad.sql", "CREATE STREAM x (time TIMESTAMP); CREATE STREAM bus (time TIMESTAMP)"), fsm.RulesItem("r.yaml", everyRule))
				}
			case 8: // a new install
				if rng.IntN(4) == 0 {
					install[i]++
					seq[i], sent[i] = 0, nil
					items = append(items, hello(i))
					epoch[i]++
				}
			default:
				lane := wire.Live
				if rng.IntN(8) == 0 {
					lane = wire.Backlog
				}
				stream := []string{"bus", "bus", "bus", "door", "ghost"}[rng.IntN(5)]
				b := body(t, stream, name, 1+rng.IntN(20), l.clock-rng.Int64N(4*second)-int64(rng.IntN(20)/19)*60*second+int64(rng.IntN(50)/49)*400*second, lane)
				seq[i]++
				sent[i] = append(sent[i], b)
				items = append(items, batch(t, name, epoch[i], seq[i], b))
			}
		}
		if len(items) > 0 {
			l.add(items...)
		}
	}
	return l
}

// Whatever entry the snapshot is taken after, the history goes on exactly as without it: same answers, same state, same outbox, byte by byte.
func TestSnapshotBetweenAnyTwoEntries(t *testing.T) {
	l := hardLog(t, 1, 200)
	whole := machine(t)
	snaps := [][]byte{snapshot(t, whole)}
	var answers [][]fsm.Result
	for i, data := range l.data {
		answers = append(answers, apply(t, whole, uint64(i+1), data))
		snaps = append(snaps, snapshot(t, whole))
	}
	s := whole.Status()
	if s.Counters.Rejected == 0 || s.Counters.Duplicate == 0 || s.Engine.Late == 0 || s.Counters.SinkRefused == 0 || len(whole.Tables()) != 13 || s.Engine.Finals == 0 || s.Engine.LatePartly == 0 {
		t.Errorf("the history is too tame: %+v, %d tables, late %d, %d partly, %d became final", s.Counters, len(whole.Tables()), s.Engine.Late, s.Engine.LatePartly, s.Engine.Finals)
	}
	for _, table := range whole.Tables() {
		if table.Kind == "streaming" && table.Rows == 0 {
			t.Errorf("the history is too tame: no rows in %s", table.Name)
		}
	}
	for at := range len(l.data) {
		m := machine(t)
		if err := m.Restore(bytes.NewReader(snaps[at])); err != nil {
			t.Fatalf("after entry %d: %v", at, err)
		}
		if !bytes.Equal(snapshot(t, m), snaps[at]) {
			t.Fatalf("a snapshot after entry %d, restored, is another snapshot", at)
		}
		for i := at; i < min(at+12, len(l.data)); i++ {
			if got := apply(t, m, uint64(i+1), l.data[i]); !reflect.DeepEqual(got, answers[i]) {
				t.Fatalf("restored after entry %d, entry %d answers %+v, not %+v", at, i+1, got, answers[i])
			}
			if i%6 == 5 && !bytes.Equal(snapshot(t, m), snaps[i+1]) {
				t.Fatalf("restored after entry %d, the state differs after entry %d", at, i+1)
			}
		}
	}
}

// Neither processors nor the garbage collector show in the state.
func TestProcessorsAndCollectorDoNotShow(t *testing.T) {
	l := hardLog(t, 2, 400)
	run := func(disturb func(i int)) []byte {
		m := machine(t)
		for i, data := range l.data {
			disturb(i)
			apply(t, m, uint64(i+1), bytes.Clone(data))
		}
		return snapshot(t, m)
	}
	calm := run(func(int) {})
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	defer debug.SetGCPercent(debug.SetGCPercent(5))
	harsh := run(func(i int) {
		if i%10 == 0 {
			runtime.GC()
		}
	})
	if !bytes.Equal(calm, harsh) {
		t.Error("equal histories, different state")
	}
}

// outcomes runs a machine with an engine that tells what it was certified.
type watcher struct {
	fsm.EngineFactory
	told map[string]int64
	on   uint64
}

type watched struct {
	fsm.Engine
	w watcher
}

func (w watcher) New(system []engine.SystemTable) fsm.Engine {
	return watched{w.EngineFactory.New(system), w}
}

func (e watched) Apply(in *engine.Input) (*engine.Output, error) {
	if in.Index == e.w.on {
		panic("planted")
	}
	for _, c := range in.Certified {
		e.w.told[c.Stream] = c.LowWater
	}
	return e.Engine.Apply(in)
}

// An entry that is set aside, or that nobody can read, must not swallow a watermark that other agents' words moved.
func TestAWatermarkIsNotLostWithAPoisonousEntry(t *testing.T) {
	told := map[string]int64{}
	m, err := fsm.New(fsm.Options{Strikes: strikes{6: 2}, Engine: watcher{fsm.RealEngine{Options: engine.DefaultOptions()}, told, 6}})
	if err != nil {
		t.Fatal(err)
	}
	clock := 1_700_000_000 * second
	entry := func(items ...fsm.Item) []byte { return fsm.EncodeEntry(nil, fsm.Header{Clock: clock}, items) }
	hello := func(a string) fsm.Item {
		return fsm.GrantItem(&wire.Hello{Protocol: wire.Protocol, Agent: a, Install: [16]byte{1}})
	}
	slow, fast := body(t, "bus", "slow", 1, clock-20*second, wire.Live), body(t, "bus", "fast", 1, clock-second, wire.Live)
	apply(t, m, 1, entry(fsm.ScriptItem("p", pipeline)))
	apply(t, m, 2, entry(hello("slow"), hello("fast")))
	apply(t, m, 3, entry(batch(t, "slow", 1, 1, slow)))
	apply(t, m, 4, entry(batch(t, "fast", 1, 1, fast)))
	if told["bus"] != clock-20*second {
		t.Fatalf("certified %d before", told["bus"]-clock)
	}
	clock += 31 * second // slow is offline from here on: fast alone holds the watermark
	apply(t, m, 6, entry(batch(t, "fast", 1, 2, body(t, "bus", "fast", 1, clock, wire.Live))))
	if r := apply(t, m, 7, []byte{99}); r[0].Verdict != fsm.Refused {
		t.Fatalf("garbage: %v", r)
	}
	apply(t, m, 8, entry(fsm.TickItem()))
	if told["bus"] <= clock-40*second || m.Status().Streams[0].LowWater != told["bus"] {
		t.Errorf("the engine was told %d µs, the machine says %d µs (both relative to the clock)", told["bus"]-clock, m.Status().Streams[0].LowWater-clock)
	}
}

// A device whose clock is a year ahead is refused by the cluster's time, not by its own, and when its clock is right
// again it holds the watermark like any other.
func TestAClockAYearAheadPoisonsNothing(t *testing.T) {
	m := machine(t)
	clock, year := 1_700_000_000*second, 365*24*3600*second
	index := uint64(0)
	run := func(items ...fsm.Item) {
		t.Helper()
		index++
		for _, r := range apply(t, m, index, fsm.EncodeEntry(nil, fsm.Header{Clock: clock}, items)) {
			if r.Verdict != fsm.Applied {
				t.Fatalf("entry %d: %+v", index, r)
			}
		}
	}
	run(fsm.ScriptItem("p", pipeline), fsm.GrantItem(&wire.Hello{Protocol: wire.Protocol, Agent: "a", Install: [16]byte{1}}))
	run(batch(t, "a", 1, 1, body(t, "bus", "a", 3, clock, wire.Live)))
	run(batch(t, "a", 1, 2, body(t, "bus", "a", 3, clock+year, wire.Live))) // its Received is a year ahead, too
	run(fsm.HeartbeatItem("a", &wire.Heartbeat{Epoch: 1, Sent: 2, Idle: true, Frontiers: []wire.Frontier{{Stream: "bus", MaxTime: (clock + year) * 1000, LowWater: (clock + year) * 1000}}}))
	s := m.Status()
	if s.Engine.Rejected["future"] != 3 {
		t.Errorf("rejected %v", s.Engine.Rejected)
	}
	if s.Counters.Received != 6 || s.Counters.Applied != 3 || s.Counters.Rejected != 3 {
		t.Errorf("accounts %+v", s.Counters)
	}
	if low := s.Streams[0].LowWater; low > clock+3*second {
		t.Errorf("the watermark is %d s ahead of the clock", (low-clock)/second)
	}
	for i := range int64(20) { // corrected: nothing of what it sends is late
		clock += second
		run(batch(t, "a", 1, uint64(3+i), body(t, "bus", "a", 3, clock, wire.Live)))
	}
	if s = m.Status(); s.Engine.Late != 0 || s.Counters.Rejected != 3 {
		t.Errorf("after its clock was right: %d late, %d rejected", s.Engine.Late, s.Counters.Rejected)
	}
}
