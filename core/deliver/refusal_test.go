package deliver_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"signalbox/core/deliver"
	"signalbox/core/fsm"
	"signalbox/core/ingest"
	"signalbox/core/outbox"
	"signalbox/sinks"
)

// forgetful loses the outcome of the first proposals, as a change of leader does.
type forgetful struct {
	*world
	lose int
}

func (f *forgetful) Submit(ctx context.Context, it fsm.Item) (fsm.Result, error) {
	f.mu.Lock()
	lose := f.lose > 0
	f.lose--
	f.mu.Unlock()
	if lose {
		return fsm.Result{}, fmt.Errorf("planted: %w", ingest.ErrIndeterminate)
	}
	return f.world.Submit(ctx, it)
}

// A row that a sink refused does not disappear because the report of it fell into a change of leader.
func TestARefusalIsReportedThoughTheLeaderChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		picky := newSink("picky", sinks.EveryNode)
		picky.poison = 20
		ob, err := outbox.New(outbox.Options{})
		if err != nil {
			t.Fatal(err)
		}
		ob.Register([]string{"picky@n0"})
		w := &world{ob: ob, changed: make(chan struct{})}
		d := deliver.New(deliver.Options{Node: "n0", Sinks: []sinks.Sink{picky}, Source: w, Leadership: w, Submit: &forgetful{w, 2}, Rand: rand.New(rand.NewPCG(1, 2))})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); d.Run(ctx) }()
		defer func() { cancel(); <-done }()
		w.append(5)
		time.Sleep(time.Minute)
		synctest.Wait()
		w.mu.Lock()
		defer w.mu.Unlock()
		reported := 0
		for _, it := range w.acks {
			if bytes.Contains(it.Data, []byte("n=20")) {
				reported++
			}
		}
		if reported != 1 || len(w.acks) == 0 {
			t.Errorf("the refused row was reported %d times in %d acknowledgements", reported, len(w.acks))
		}
	})
}
