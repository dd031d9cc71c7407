package session

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"signalbox/edge/wire"
)

// ledger is what TestEachBatchOnceUnderFaults checks, over a link that carries a planted bug of the core: change may
// replace a message on its way to the agent.
func ledger(t *testing.T, seed uint64, restore bool, change func(*world, wire.Message) wire.Message) error {
	w := &world{r: rand.New(rand.NewPCG(seed, 3)), d: &disk{next: 1}}
	w.start()
	var image *disk
	var seen wire.Message
	for i := range 6000 {
		if restore && i == 800 {
			image = w.d.clone()
		}
		if restore && i == 1000 {
			w.d = image
			w.start()
		}
		if len(w.toEdge) > 0 && w.toEdge[0] != seen {
			w.toEdge[0] = change(w, w.toEdge[0])
			seen = w.toEdge[0]
			if e, ok := seen.(*wire.Expect); ok && e.Epoch == w.s.epoch && w.s.up && (e.Seq <= w.s.applied || e.Seq > w.s.nextSeq) {
				return fmt.Errorf("seed %d: the session would not believe %+v", seed, e)
			}
		}
		w.step(t, i < 2000)
	}
	count := map[wire.Hash]int{}
	for _, h := range w.c.history {
		count[h]++
	}
	waiting := map[wire.Hash]bool{}
	for _, it := range w.d.queue {
		waiting[it.Hash] = true
	}
	for i, h := range w.d.made {
		if n := count[h]; n > 1 || n == 0 && !waiting[h] {
			return fmt.Errorf("seed %d: batch %d applied %d times", seed, i+1, n)
		}
	}
	return nil
}

// The bug museum of the agent link.
func TestBugMuseum(t *testing.T) {
	for _, c := range []struct {
		bug     string
		restore bool
		change  func(*world, wire.Message) wire.Message
	}{
		{"", true, func(_ *world, m wire.Message) wire.Message { return m }},
		{"acknowledged before it is applied", false, func(w *world, m wire.Message) wire.Message {
			if a, ok := m.(*wire.Ack); ok && a.Epoch == w.s.epoch && a.Applied+1 < w.s.nextSeq {
				return &wire.Ack{Epoch: a.Epoch, Applied: a.Applied + 1, Credit: a.Credit}
			}
			return m
		}},
		{"Expect is one too high", false, func(w *world, m wire.Message) wire.Message {
			if e, ok := m.(*wire.Expect); ok && e.Epoch == w.s.epoch && e.Seq < w.s.nextSeq {
				return &wire.Expect{Epoch: e.Epoch, Seq: e.Seq + 1, Credit: e.Credit}
			}
			return m
		}},
		{"a new epoch without the hashes of the old one", true, func(_ *world, m wire.Message) wire.Message {
			if v, ok := m.(*wire.Welcome); ok {
				return &wire.Welcome{Epoch: v.Epoch, Applied: v.Applied, Credit: v.Credit}
			}
			return m
		}},
	} {
		caught := error(nil)
		for seed := uint64(0); seed < 30 && caught == nil; seed++ {
			caught = ledger(t, seed, c.restore, c.change)
		}
		switch {
		case c.bug == "" && caught != nil:
			t.Errorf("without a bug: %v", caught)
		case c.bug != "" && caught == nil:
			t.Errorf("%s: nobody noticed", c.bug)
		}
	}
}
