package deliver_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"signalbox/core/deliver"
	"signalbox/core/fsm"
	"signalbox/core/outbox"
	"signalbox/sinks"
)

// hasty says that rows are stored while they are still in memory: the cursor is committed before the write. A crash loses them.
type hasty struct {
	*sink
	memory []sinks.Batch
	lag    int
}

func (h *hasty) Write(ctx context.Context, batches []sinks.Batch, upTo uint64) error {
	h.memory = append(h.memory, batches...)
	for len(h.memory) > h.lag {
		if err := h.sink.Write(ctx, h.memory[:1], upTo); err != nil {
			return err
		}
		h.memory = h.memory[1:]
	}
	return nil
}

// replicated applies acknowledgements to the outbox, as the state machine does.
type replicated struct{ *world }

func (r replicated) Submit(_ context.Context, it fsm.Item) (fsm.Result, error) {
	r.ob.Ack("s", r.ob.Stats().End) // everything there is was written by now, or so the sink said
	return fsm.Result{Verdict: fsm.Applied}, nil
}

// believer is a node that never notices that it no longer leads.
type believer struct{ *world }

func (believer) Ready() bool { return true }

// crashes delivers to a leader's sink through two leaders: the first is killed. It returns what is wrong in the end.
func crashes(t *testing.T, wrap func(*sink) sinks.Sink, stale bool) (err error) {
	synctest.Test(t, func(t *testing.T) {
		s := newSink("s", sinks.Leader)
		ob, fail := outbox.New(outbox.Options{SegmentBytes: 1})
		if fail != nil {
			t.Fatal(fail)
		}
		ob.Register([]string{"s"})
		w := &world{ob: ob, changed: make(chan struct{}), ready: true}
		var leadership deliver.Leadership = w
		if stale {
			leadership = believer{w}
		}
		lead := func(k sinks.Sink, l deliver.Leadership) context.CancelFunc {
			d := deliver.New(deliver.Options{Node: "n0", Sinks: []sinks.Sink{k}, Source: w, Leadership: l, Submit: replicated{w}, Rand: rand.New(rand.NewPCG(1, 2))})
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { defer close(done); d.Run(ctx) }()
			return func() { cancel(); <-done }
		}
		stop := lead(wrap(s), leadership)
		w.append(10)
		time.Sleep(time.Minute)
		w.lead(false)
		synctest.Wait()
		before := s.calls
		w.append(5)
		time.Sleep(time.Minute)
		synctest.Wait()
		if s.calls != before {
			err = fmt.Errorf("%d writes by a node that no longer leads", s.calls-before)
		}
		stop()
		w.lead(true)
		stop = lead(s, w)
		time.Sleep(time.Minute)
		stop()
		if err == nil && len(s.rows) != 30 {
			err = fmt.Errorf("%d of 30 rows arrived", len(s.rows))
		}
	})
	return err
}

func TestBugMuseum(t *testing.T) {
	honest := func(s *sink) sinks.Sink { return s }
	if err := crashes(t, honest, false); err != nil {
		t.Errorf("without a bug: %v", err)
	}
	if err := crashes(t, func(s *sink) sinks.Sink { return &hasty{sink: s, lag: 2} }, false); err == nil {
		t.Error("a cursor before the write: nobody noticed")
	}
	if err := crashes(t, honest, true); err == nil {
		t.Error("a stale leader that writes: nobody noticed")
	}
}
