package e2e

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	devservices "signalbox/deploy/dev"
)

// TestChaosFrozenLeader stops the leader's process for half a minute, as a machine does that is moved or swaps, and lets it
// go on. It wakes with a lease, connections and a half done write to a sink, all of long ago: it must neither acknowledge,
// nor put an older state over a newer one, nor tell an alert a second time.
func TestChaosFrozenLeader(t *testing.T) {
	seed := chaosOnly(t)
	p := startPipeline(t, coreNodes, devservices.Mosquitto(t), nil, often)
	end := p.begin(t, seed)
	for _, away := range []time.Duration{2 * time.Second, 30 * time.Second} {
		p.untilApplied(300)
		leader, err := p.leader(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("core%d, the leader, stands still for %s", leader+1, away)
		p.cores[leader].signal(syscall.SIGSTOP)
		frozen := time.Now()
		eventually(t, time.Minute, "another leader", func(ctx context.Context) error {
			now, err := p.leaderBut(ctx, leader)
			if err == nil && now == leader {
				err = errors.New("still the frozen one")
			}
			return err
		})
		t.Logf("another node leads after %s", time.Since(frozen).Round(time.Millisecond))
		pass(t.Context(), away-time.Since(frozen))
		p.cores[leader].signal(syscall.SIGCONT)
		p.everybodyReady(t)
	}
	p.untilApplied(300)
	end()
	p.reconcile(t)
	p.compare(t)
	p.checkAlerts(t)
	p.toldOnce(t)
}

// toldOnce wants no transition of an alert twice on the event topics: a leader that was killed may repeat its last second, one
// that lives on may not.
func (p *pipeline) toldOnce(t *testing.T) {
	t.Helper()
	times := map[string]int{}
	for _, m := range p.events.all() {
		times[m.topic+" "+string(m.payload)]++
	}
	for k, n := range times {
		if n > 1 {
			t.Errorf("told %d times: %s", n, k)
		}
	}
}
