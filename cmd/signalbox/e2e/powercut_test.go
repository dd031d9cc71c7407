package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	devservices "signalbox/deploy/dev"
	"signalbox/simulator/fleet"
	"signalbox/simulator/load"
)

// chaosOnly skips a test that takes too long for every try, and returns the seed of its choices: in CI always
// the same, so that a change is judged by the same choices as the one before it.
func chaosOnly(t *testing.T) uint64 {
	t.Helper()
	if os.Getenv("SIGNALBOX_CHAOS") != "" {
		return chaosSeed(t)
	}
	if os.Getenv("CI") != "true" {
		t.Skip("runs with make chaos, and with CI=true")
	}
	return 1
}

// notTested skips a test that this machine cannot run; in CI it fails.
func notTested(t *testing.T, why string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(why, args...)
	}
	t.Skipf("NOT TESTED: "+why, args...)
}

func chaosSeed(t *testing.T) uint64 {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("SIGNALBOX_CHAOS_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("SIGNALBOX_CHAOS_SEED=%d", seed)
	return seed
}

// often makes a node take a snapshot about every second, and keep so little log that a node which was away needs one.
const often = "snapshot_every: 300ms\nsnapshot_entries: 30\ntrailing_entries: 20\n"

// begin publishes a fleet until the returned function is called.
func (p *pipeline) begin(t *testing.T, seed uint64) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	f := fleet.New(fleet.Config{Seed: seed, Buses: 40, Routes: 6, Start: time.Now(), Interval: 200 * time.Millisecond, Pace: 12, Crowding: 0.06})
	s := fleet.NewSender(f, fleet.Faults{Seed: seed, Duplicates: 0.02, Disorder: 0.01, MaxDelay: 1500 * time.Millisecond})
	published := make(chan error, 1)
	go func() {
		published <- load.Run(ctx, p.pub, s, load.RunConfig{Speed: 1, Duration: time.Hour, Topic: busTopic, Sent: p.sent})
	}()
	return func() {
		t.Helper()
		cancel()
		if err := <-published; err != nil && ctx.Err() == nil {
			t.Fatal(err)
		}
		if err := p.pub.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// everybodyReady waits until each node knows a leader and says it is well.
func (c *cluster) everybodyReady(t *testing.T) {
	t.Helper()
	for i := range c.cores {
		eventually(t, time.Minute, fmt.Sprintf("core%d to be ready", i+1), func(ctx context.Context) error {
			if !c.cores[i].running() {
				t.Fatalf("core%d ended by itself", i+1)
			}
			_, err := get(ctx, c.url(i)+"/readyz")
			return err
		})
	}
}

// TestChaosPowerCuts takes the power from every node at once under load, again and again; and from one node that has lost
// its disk, while it is filled again.
func TestChaosPowerCuts(t *testing.T) {
	seed := chaosOnly(t)
	rng := rand.New(rand.NewPCG(seed, 2))
	p := startPipeline(t, coreNodes, devservices.Mosquitto(t), nil, often)
	end := p.begin(t, seed)
	for n := range 8 {
		p.untilApplied(200 + uint64(rng.IntN(400)))
		t.Logf("%d: power cut", n)
		for _, v := range p.cores {
			v.signal(syscall.SIGSTOP) // so that they go together
		}
		for _, v := range p.cores {
			v.kill()
		}
		for _, v := range p.cores {
			v.start()
		}
		p.everybodyReady(t)
	}
	for n := range 3 {
		leader, err := p.leader(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		i := (leader + 1 + rng.IntN(2)) % coreNodes
		t.Logf("core%d loses its disk", i+1)
		p.cores[i].kill()
		p.untilApplied(300) // the log it would need is gone
		if err := os.RemoveAll(filepath.Join(p.dir, fmt.Sprintf("core%d", i+1))); err != nil {
			t.Fatal(err)
		}
		for range n {
			p.cores[i].start()
			pass(t.Context(), time.Duration(rng.IntN(1500))*time.Millisecond)
			p.cores[i].kill()
		}
		p.cores[i].start()
		p.everybodyReady(t)
	}
	end()
	p.reconcile(t)
	p.compare(t)
	if _, err := p.events.transitions(); err != nil {
		t.Errorf("alert topics: %v", err)
	}
}
