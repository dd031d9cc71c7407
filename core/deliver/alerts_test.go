package deliver_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"signalbox/core/deliver"
	"signalbox/core/outbox"
	"signalbox/engine/alert"
	"signalbox/sinks"
)

// teller takes everything.
type teller struct{ *sink }

func (teller) Write(context.Context, []sinks.Batch, uint64) error { return nil }

// What people were told is known to the next leader almost at once, or it would tell them again; rows may wait.
func TestADeliveredAlertIsReplicatedSoon(t *testing.T) {
	for what, c := range map[string]struct {
		scope   sinks.Scope
		alerts  []alert.Transition
		atLeast time.Duration
		atMost  time.Duration
	}{
		"an alert":                        {sinks.Leader, []alert.Transition{{ID: "a", Seq: 1, To: alert.Firing}}, 0, 100 * time.Millisecond},
		"a row":                           {sinks.Leader, nil, deliver.AckEvery, 2 * deliver.AckEvery},
		"an alert in a node's own tables": {sinks.EveryNode, []alert.Transition{{ID: "a", Seq: 1, To: alert.Firing}}, deliver.AckEvery, 2 * deliver.AckEvery},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := teller{newSink("s", c.scope)}
				ob, err := outbox.New(outbox.Options{})
				if err != nil {
					t.Fatal(err)
				}
				ob.Register([]string{deliver.CursorName(s, "n0")})
				w := &world{ob: ob, changed: make(chan struct{}), ready: true}
				d := deliver.New(deliver.Options{Node: "n0", Sinks: []sinks.Sink{s}, Source: w, Leadership: w, Submit: w, Rand: rand.New(rand.NewPCG(1, 2))})
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() { defer close(done); d.Run(ctx) }()
				time.Sleep(10 * time.Second) // virtual
				if c.alerts == nil {
					w.append(1)
				} else {
					ob.Append(1, 1, nil, c.alerts)
				}
				begun := time.Now()
				for {
					w.mu.Lock()
					n := len(w.acks)
					w.mu.Unlock()
					if n > 0 || time.Since(begun) > time.Minute {
						break
					}
					time.Sleep(time.Millisecond) // virtual
				}
				if d := time.Since(begun); d < c.atLeast || d > c.atMost {
					t.Errorf("replicated after %s, want %s to %s", d, c.atLeast, c.atMost)
				}
				cancel()
				<-done
			})
		})
	}
}
