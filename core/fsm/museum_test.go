package fsm_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"testing"

	"signalbox/core/fsm"
	"signalbox/edge/wire"
	"signalbox/engine"
	"signalbox/raftstore"
)

// The bug museum: mistakes that this design invites, each planted, each of which the checks of this package must notice.

// restored compares a machine that is restored now and then, and planted with a bug each time, with one that never was:
// first what is answered and emitted, then the whole state.
func restored(t *testing.T, l *log, plant func(*fsm.Machine)) error {
	a, b := machine(t), machine(t)
	for i, data := range l.data {
		index := uint64(i + 1)
		if i%20 == 19 {
			fresh := machine(t)
			if err := fresh.Restore(bytes.NewReader(snapshot(t, b))); err != nil {
				t.Fatal(err)
			}
			b = fresh
			plant(b)
		}
		if ra, rb := apply(t, a, index, data), apply(t, b, index, data); !reflect.DeepEqual(ra, rb) {
			return fmt.Errorf("entry %d answers %v, restored %v", index, ra, rb)
		}
		_, ca := a.Chain()
		if _, cb := b.Chain(); ca != cb {
			return fmt.Errorf("entry %d emits something else when restored", index)
		}
	}
	if !bytes.Equal(snapshot(t, a), snapshot(t, b)) {
		return fmt.Errorf("equal answers, different state")
	}
	return nil
}

// impure is an engine with a planted impurity.
type impure struct {
	fsm.EngineFactory
	plant func(*engine.Input)
}

type impureEngine struct {
	fsm.Engine
	plant func(*engine.Input)
}

func (f impure) New(system []engine.SystemTable) fsm.Engine {
	return impureEngine{f.EngineFactory.New(system), f.plant}
}

func (f impure) Restore(r io.Reader, system []engine.SystemTable) (fsm.Engine, error) {
	e, err := f.EngineFactory.Restore(r, system)
	return impureEngine{e, f.plant}, err
}

func (e impureEngine) Apply(in *engine.Input) (*engine.Output, error) {
	e.plant(in)
	return e.Engine.Apply(in)
}

// replicas compares two machines whose engines carry a planted impurity.
func replicas(t *testing.T, l *log, plant func(*engine.Input)) error {
	open := func() *fsm.Machine {
		m, err := fsm.New(fsm.Options{Engine: impure{fsm.RealEngine{Options: engine.DefaultOptions()}, plant}})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	a, b := open(), open()
	for i, data := range l.data {
		apply(t, a, uint64(i+1), data)
		apply(t, b, uint64(i+1), data)
		_, ca := a.Chain()
		if _, cb := b.Chain(); ca != cb {
			return fmt.Errorf("replicas differ after entry %d", i+1)
		}
	}
	if !bytes.Equal(snapshot(t, a), snapshot(t, b)) {
		return fmt.Errorf("replicas differ in their state only")
	}
	return nil
}

// counted sends every batch twice and counts what was applied, and what was late though two agents certified honestly.
func counted(t *testing.T, plant func(*fsm.Machine)) error {
	m := machine(t)
	clock, index := 1_700_000_000*second, uint64(0)
	run := func(items ...fsm.Item) {
		index++
		clock += second
		if err, bad := m.Apply(raftstore.Entry{Index: index, Term: 1, Data: fsm.EncodeEntry(nil, fsm.Header{Clock: clock}, items)}).(error); bad {
			t.Fatal(err)
		}
		plant(m)
	}
	run(fsm.ScriptItem("p", pipeline))
	for _, a := range []string{"fast", "slow"} {
		run(fsm.GrantItem(&wire.Hello{Protocol: wire.Protocol, Agent: a, Install: [16]byte{1}}))
	}
	const batches, rows = 30, 4
	for i := range uint64(batches) {
		for _, a := range []struct {
			name string
			lag  int64
		}{{"slow", 12 * second}, {"fast", 0}} { // slow, but it keeps what it certified; first, because nobody waits for an agent that has not yet named its streams
			b := batch(t, a.name, 1, i+1, body(t, "bus", a.name, rows, clock-a.lag, wire.Live))
			run(b)
			run(b)
		}
	}
	s := m.Status()
	switch {
	case s.Counters.Applied != 2*batches*rows || s.Counters.Duplicate != 2*batches*rows:
		return fmt.Errorf("%d readings applied, %d duplicate, of %d sent twice", s.Counters.Applied, s.Counters.Duplicate, 2*batches*rows)
	case s.Engine.Late != 0:
		return fmt.Errorf("%d rows late before anybody certified past them", s.Engine.Late)
	}
	return nil
}

func TestBugMuseum(t *testing.T) {
	l := hardLog(t, 5, 200)
	rng := rand.New(rand.NewPCG(1, 1))
	onRestore := func(plant func(*fsm.Machine)) func() error {
		return func() error { return restored(t, l, plant) }
	}
	inApply := func(plant func(*engine.Input)) func() error {
		return func() error { return replicas(t, l, plant) }
	}
	always := func(plant func(*fsm.Machine)) func() error {
		return func() error { return counted(t, plant) }
	}
	for _, c := range []struct {
		bug   string
		check func() error
	}{
		{"", onRestore(func(*fsm.Machine) {})},
		{"", inApply(func(*engine.Input) {})},
		{"", always(func(*fsm.Machine) {})},
		{"snapshot without the agents' cursors", onRestore(fsm.PlantCursorsForgotten)},
		{"snapshot without the hashes of the last batches", onRestore(fsm.PlantHashesForgotten)},
		{"snapshot without what agents certified", onRestore(fsm.PlantCertificatesForgotten)},
		{"snapshot without half an upload", onRestore(fsm.PlantUploadsForgotten)},
		{"map order in Apply", inApply(func(in *engine.Input) {
			rng.Shuffle(len(in.Batches), func(i, j int) { in.Batches[i], in.Batches[j] = in.Batches[j], in.Batches[i] })
		})},
		{"the node's own clock in Apply", inApply(func(in *engine.Input) { in.Time += rng.Int64N(1000) })},
		{"an entry that one node skips", inApply(func(in *engine.Input) {
			if rng.IntN(100) == 0 {
				in.Batches = nil
			}
		})},
		{"a cursor that stays one behind", always(fsm.PlantOffByOne)},
		{"hashes that are not kept", always(fsm.PlantHashesForgotten)},
		{"a watermark that is the maximum", always(fsm.PlantMaximum)},
	} {
		err := c.check()
		switch {
		case c.bug == "" && err != nil:
			t.Errorf("without a bug: %v", err)
		case c.bug != "" && err == nil:
			t.Errorf("%s: nobody noticed", c.bug)
		case c.bug != "":
			t.Logf("%s: %.160v", c.bug, err)
		}
	}
}
