package engine

import (
	"bytes"
	"fmt"
	"io"
	"math/rand"
	"sync"
	"testing"

	"signalbox/engine/column"
)

const manyKeysScript = `CREATE STREAM bus (time TIMESTAMP, bus STRING, route STRING, passengers BIGINT, speed DOUBLE);
CREATE STREAM door (time TIMESTAMP, bus STRING, v BIGINT);
CREATE STREAMING TABLE a AS SELECT window.start AS start, bus, sum(passengers) AS s, count(*) AS n, max(passengers) AS m, avg(speed) AS v FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS GROUP BY window(time, '1 minute'), bus;
CREATE STREAMING TABLE b AS SELECT window.start AS start, bus, route, max_by(route, time) AS r, percentile_approx(passengers, 0.5) AS p FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS GROUP BY window(time, '50 seconds', '10 seconds'), bus, route;
CREATE STREAMING TABLE c OPTIONS (allowed_lateness '3 minutes') AS SELECT window.start AS start, bus, sum(passengers) AS s, count(*) AS n FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS GROUP BY window(time, '20 seconds'), bus;
CREATE STREAMING TABLE d OPTIONS (mode 'update') AS SELECT window.start AS start, bus, min(speed) AS n FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS GROUP BY window(time, '30 seconds'), bus;
CREATE STREAMING TABLE f AS SELECT session_window.start AS s, bus, count(*) AS n, collect_list(passengers) AS p FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS GROUP BY session_window(time, '20 seconds'), bus;
CREATE STREAMING TABLE g OPTIONS (mode 'update', state_ttl '50 seconds') AS SELECT sum(p) AS passengers, max(v) AS v FROM (SELECT bus, max_by(passengers, time) AS p, min(speed) AS v FROM STREAM bus GROUP BY bus);
CREATE STREAMING TABLE h OPTIONS (mode 'update', state_ttl '50 seconds') AS SELECT bus, count(*) AS n, last(route) AS r FROM STREAM bus GROUP BY bus;
CREATE STREAMING TABLE i AS SELECT time, bus FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS DEDUP BY (bus) WITHIN WATERMARK;
CREATE STREAMING TABLE j AS SELECT a.bus AS bus, a.passengers AS p, b.v AS v FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS AS a LEFT JOIN STREAM door WATERMARK time DELAY OF INTERVAL 10 SECONDS AS b ON a.bus = b.bus AND b.time >= a.time AND b.time <= a.time + INTERVAL 20 SECONDS;
CREATE STREAMING TABLE k OPTIONS (mode 'complete') AS SELECT route, count(*) AS n FROM STREAM bus GROUP BY route;
CREATE STREAMING TABLE l OPTIONS (mode 'complete') AS SELECT window.start AS start, bus, count(*) AS n FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS WHERE route = 'r1' GROUP BY window(time, '1 hour'), bus;`

// manyKeys makes entry i: a few, or a few hundred, rows over some thousand keys, some late.
func manyKeys(i int) *Input {
	r := rand.New(rand.NewSource(int64(i)))
	second := int64(1_000_000)
	base := 1_700_000_000*second + int64(i)*7*second
	field := func(n string, k column.Kind) column.Field { return column.Field{Name: n, Type: column.Of(k)} }
	bus := column.NewBatch(&column.Schema{Name: "bus", Fields: []column.Field{field("time", column.Timestamp), field("bus", column.String), field("route", column.String), field("passengers", column.BigInt), field("speed", column.Double)}}, 0)
	door := column.NewBatch(&column.Schema{Name: "door", Fields: []column.Field{field("time", column.Timestamp), field("bus", column.String), field("v", column.BigInt)}}, 0)
	rows := 300
	if i%2 == 0 { // so few that blocks around other groups are not saved by chance
		rows = 5
	}
	for range rows {
		at := base - r.Int63n(9*second)
		if r.Intn(20) == 0 {
			at -= r.Int63n(100 * second)
		}
		name := column.Str(fmt.Sprintf("bus-%d", r.Intn(1+i*100)%2500))
		if r.Intn(50) == 0 {
			name = column.NullDatum
		}
		bus.AppendRow(column.I64(at), name, column.Str(fmt.Sprintf("r%d", r.Intn(4))), column.I64(r.Int63n(60)), column.F64(float64(r.Intn(100))/4))
		if r.Intn(3) == 0 {
			door.AppendRow(column.I64(at), name, column.I64(r.Int63n(5)))
		}
	}
	return &Input{Index: uint64(i), Time: base, Batches: []StreamBatch{{Stream: "bus", Rows: bus}, {Stream: "door", Rows: door}}}
}

func manyKeysEngine(t testing.TB) *Engine {
	e := New(DefaultOptions())
	if err := e.Execute(manyKeysScript); err != nil {
		t.Fatal(err)
	}
	return e
}

func mustApply(t testing.TB, e *Engine, i int) {
	if _, err := e.Apply(manyKeys(i)); err != nil {
		t.Fatal(err)
	}
}

func body(t testing.TB, s *Snapshot) []byte {
	var b bytes.Buffer
	if err := s.encode(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// applyBetween is a lock that lets the engine go on whenever the writer lets go of the state.
type applyBetween struct {
	t     *testing.T
	e     *Engine
	every int
	n     int
	at    *int // last entry applied
	stop  int
}

func (l *applyBetween) Lock() {
	if l.n++; l.n%l.every == 0 && *l.at < l.stop {
		*l.at++
		mustApply(l.t, l.e, *l.at)
	}
}

func (l *applyBetween) Unlock() {}

// TestSnapshotIsOfItsMoment: what is written is the state at the call of
// Snapshot, wherever between two slices entries are applied, and the engine
// goes on as if no snapshot had been taken.
func TestSnapshotIsOfItsMoment(t *testing.T) {
	const entries = 40
	for _, every := range []int{1, 7, 1 << 30} {
		e, twin := manyKeysEngine(t), manyKeysEngine(t)
		for at := 0; at < entries; {
			step := 1 + at%5
			for range step {
				at++
				mustApply(t, e, at)
				mustApply(t, twin, at)
			}
			s := &Snapshot{held: &heldState{lock: &applyBetween{t: t, e: e, every: every, at: &at, stop: min(entries, at+3)}}}
			if err := e.capture(s); err != nil {
				t.Fatal(err)
			}
			before := at
			for every == 1<<30 && at < min(entries, before+2) { // all of it before the first byte is written
				at++
				mustApply(t, e, at)
			}
			w, err := twin.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			want := body(t, w)
			if got := body(t, s); !bytes.Equal(got, want) {
				t.Fatalf("every %d: the snapshot of entry %d has %d bytes, want %d; they differ at %d", every, before, len(got), len(want), differAt(got, want))
			}
			for before < at {
				before++
				mustApply(t, twin, before)
			}
			back := New(DefaultOptions())
			if err := back.decode(want, snapshotVersion); err != nil {
				t.Fatal(err)
			}
			again, err := back.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			if got := body(t, again); !bytes.Equal(got, want) {
				t.Fatalf("a restored engine encodes differently, from byte %d of %d", differAt(got, want), len(want))
			}
			if at%3 == 0 {
				twin = back
				for i := int(back.last); i < at; i++ {
					mustApply(t, twin, i+1)
				}
			}
		}
		a, err1 := e.StateHash()
		b, err2 := twin.StateHash()
		if a != b || err1 != nil || err2 != nil {
			t.Fatalf("every %d: the engine did not go on as its twin: %v %v", every, err1, err2)
		}
	}
}

func differAt(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// TestSnapshotsWriteBesideApply is for the race detector: several snapshots are
// written by goroutines while entries are applied.
func TestSnapshotsWriteBesideApply(t *testing.T) {
	e, twin := manyKeysEngine(t), manyKeysEngine(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := map[int]uint64{}
	for i := 1; i <= 40; i++ {
		mustApply(t, e, i)
		if i%4 != 0 {
			continue
		}
		s, err := e.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			if err := s.Write(io.Discard); err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			got[i] = s.Hash()
		})
	}
	wg.Wait()
	for i := 1; i <= 40; i++ {
		mustApply(t, twin, i)
		if h, err := twin.StateHash(); i%4 == 0 && (err != nil || h != got[i]) {
			t.Fatalf("the snapshot of entry %d is not the state of entry %d: %v", i, i, err)
		}
	}
	mustApply(t, e, 41)
	if len(e.open) > 0 {
		t.Fatalf("%d snapshots are still held after they were written", len(e.open))
	}
}

// TestSnapshotLifecycle: written once, released, and never more than the bound.
func TestSnapshotLifecycle(t *testing.T) {
	e := manyKeysEngine(t)
	mustApply(t, e, 1)
	s, err := e.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Write(io.Discard); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(io.Discard); err == nil {
		t.Fatal("a snapshot was written twice")
	}
	s, err = e.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	s.Release()
	if err := s.Write(io.Discard); err == nil {
		t.Fatal("a released snapshot was written")
	}
	var held []*Snapshot
	for range MaxOpenSnapshots {
		if s, err = e.Snapshot(); err != nil {
			t.Fatal(err)
		}
		held = append(held, s)
	}
	if _, err := e.Snapshot(); err == nil {
		t.Fatal("there is no bound on open snapshots")
	}
	held[0].Release()
	if _, err := e.Snapshot(); err != nil {
		t.Fatal(err)
	}
	for _, s := range held {
		s.Release()
	}
}
