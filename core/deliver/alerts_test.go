package deliver_test

import (
	"context"
	"math/rand/v2"
	"slices"
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

// reminded is a place that is shown what is true now.
type reminded struct {
	*sink
	shown []int // rows that were stored when it was reminded
}

func (f *reminded) Write(ctx context.Context, batches []sinks.Batch, upTo uint64) error {
	return f.sink.Write(ctx, batches, upTo)
}

func (f *reminded) Remind(_ context.Context, states []alert.Active) error {
	f.set(func() { f.shown = append(f.shown, len(f.rows)*100+len(states)) })
	return nil
}

// A sink is reminded at the start of each term and then every minute, but never before it has all that happened until then.
func TestASinkIsRemindedWhenItHasEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &reminded{sink: newSink("s", sinks.Leader)}
		f.down = true
		ob, err := outbox.New(outbox.Options{})
		if err != nil {
			t.Fatal(err)
		}
		ob.Register([]string{"s"})
		w := &world{ob: ob, changed: make(chan struct{}), ready: true}
		d := deliver.New(deliver.Options{Node: "n0", Sinks: []sinks.Sink{f}, Source: w, Leadership: w, Submit: w, Rand: rand.New(rand.NewPCG(1, 2)),
			Alerts: func(int) (active, over []alert.Active, index uint64) {
				return make([]alert.Active, 2), make([]alert.Active, 1), 0
			}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); d.Run(ctx) }()
		w.append(3)
		check := func(what string, want ...int) {
			t.Helper()
			synctest.Wait()
			f.set(func() {
				if !slices.Equal(f.shown, want) {
					t.Errorf("%s: reminded with %v (rows stored, alerts), want %v", what, f.shown, want)
				}
			})
		}
		time.Sleep(10 * time.Minute) // virtual, as all below
		check("while it is away")
		f.set(func() { f.down = false })
		time.Sleep(deliver.RetryMax + time.Second)
		check("once it has everything", 603)
		time.Sleep(deliver.RemindEvery + 2*time.Second)
		check("a minute later", 603, 603)
		w.lead(false)
		time.Sleep(5 * time.Second)
		check("while another node leads", 603, 603)
		w.lead(true)
		time.Sleep(2 * time.Second)
		check("when it leads again", 603, 603, 603)
		cancel()
		<-done
	})
}
