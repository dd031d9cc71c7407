package fsm_test

import (
	"bytes"
	"strings"
	"testing"

	"signalbox/core/fsm"
	"signalbox/engine"
	"signalbox/engine/column"
)

// liar is an engine that once changes one value of one result, and nothing else.
type liar struct {
	fsm.EngineFactory
	after uint64
}

type lyingEngine struct {
	fsm.Engine
	after uint64
	lied  *bool
}

func (f liar) New(system []engine.SystemTable) fsm.Engine {
	return lyingEngine{f.EngineFactory.New(system), f.after, new(bool)}
}

func (e lyingEngine) Apply(in *engine.Input) (*engine.Output, error) {
	out, err := e.Engine.Apply(in)
	if err == nil && !*e.lied && in.Index > e.after && len(out.Changes) > 0 {
		for _, c := range out.Changes[0].Rows.Cols {
			if c != nil && c.Type.Kind == column.BigInt && !c.IsNull(0) {
				c.I64[0]++
				*e.lied = true
				break
			}
		}
	}
	return out, err
}

// A node whose state went another way than the leader's finds out, and only it.
func TestAReplicaThatDivergedSaysSo(t *testing.T) {
	l := hardLog(t, 3, 150)
	told := ""
	open := func(f fsm.EngineFactory, diverged func(string)) *fsm.Machine {
		m, err := fsm.New(fsm.Options{Engine: f, Diverged: diverged})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	honest := fsm.RealEngine{Options: engine.DefaultOptions()}
	lead, follower, wrong := open(honest, nil), open(honest, nil), open(liar{honest, 60}, func(s string) { told = s })
	var late *fsm.Machine
	for i, data := range l.data {
		for _, m := range []*fsm.Machine{lead, follower, wrong} {
			apply(t, m, uint64(i+1), data)
		}
	}
	late = open(honest, nil)
	if err := late.Restore(bytes.NewReader(snapshot(t, lead))); err != nil {
		t.Fatal(err)
	}
	n := uint64(len(l.data))
	check := fsm.EncodeEntry(nil, fsm.Header{Clock: l.clock}, []fsm.Item{fsm.CheckItem(lead.Chain()), fsm.CheckItem(1<<40, 5)})
	for _, m := range []*fsm.Machine{lead, follower, wrong, late} {
		apply(t, m, n+1, check)
	}
	if wrong.Diverged() == "" || told != wrong.Diverged() || !strings.Contains(told, "after entry 150") {
		t.Errorf("a replica with another value in one row says %q, told %q", wrong.Diverged(), told)
	}
	for what, m := range map[string]*fsm.Machine{"leader": lead, "follower": follower, "restored": late} {
		if m.Diverged() != "" {
			t.Errorf("%s: %s", what, m.Diverged())
		}
	}
	if !bytes.Equal(snapshot(t, lead), snapshot(t, follower)) {
		t.Error("a check changed the state")
	}
	if err := wrong.Restore(bytes.NewReader(snapshot(t, lead))); err != nil || wrong.Diverged() != "" {
		t.Errorf("healed by a snapshot: %v %q", err, wrong.Diverged())
	}
}
