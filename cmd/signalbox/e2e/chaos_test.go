package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	devservices "signalbox/deploy/dev"
	"signalbox/simulator/fleet"
	"signalbox/simulator/load"
)

// lateKept is how many late rows a node remembers; with more, windows that refuse them cannot be compared any more.
const lateKept = 10_000

// TestChaos kills and pauses cores and agents at random for as long as SIGNALBOX_CHAOS says, under load, and
// reconciles at the end like TestPipelineWithKills. SIGNALBOX_CHAOS_SEED repeats a run's choices.
func TestChaos(t *testing.T) {
	text := os.Getenv("SIGNALBOX_CHAOS")
	seed := uint64(time.Now().UnixNano())
	if text == "" && os.Getenv("CI") == "true" {
		text, seed = "20s", 1 // nothing is skipped there, and a change is judged by the same choices as the one before it
	}
	if text == "" {
		t.Skip("runs when SIGNALBOX_CHAOS is a duration: make chaos DURATION=20m")
	}
	length, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("SIGNALBOX_CHAOS: %v", err)
	}
	if s := os.Getenv("SIGNALBOX_CHAOS_SEED"); s != "" {
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("SIGNALBOX_CHAOS_SEED=%d", seed)
	p := startPipeline(t, coreNodes, devservices.Mosquitto(t), devservices.Cassandra(t))
	published := make(chan error, 1)
	go func() { published <- p.publishFor(t, seed, length) }()
	p.wreck(t, rand.New(rand.NewPCG(seed, 1)), length)
	if err := <-published; err != nil {
		t.Fatal(err)
	}
	if err := p.pub.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.reconcile(t)
	p.compare(t)
	if _, err := p.events.transitions(); err != nil {
		t.Errorf("alert topics: %v", err) // what fires depends on which readings came as backlog; each transition must still be told once
	}
	p.checkRejected(t)
}

// publishFor publishes a fleet with faults.
func (p *pipeline) publishFor(t *testing.T, seed uint64, length time.Duration) error {
	f := fleet.New(fleet.Config{Seed: seed, Buses: 40, Routes: 6, Start: time.Now(), Interval: 400 * time.Millisecond, Pace: 12, Crowding: 0.06})
	s := fleet.NewSender(f, fleet.Faults{Seed: seed, Duplicates: 0.02, Disorder: 0.01, MaxDelay: 1500 * time.Millisecond})
	n := 0
	return load.Run(t.Context(), p.pub, s, load.RunConfig{Speed: 1, Duration: length, Topic: busTopic, Sent: func(d fleet.Delivery) {
		p.sent(d)
		if n++; n%3000 == 0 {
			p.mischief()
		}
	}})
}

// wreck hurts one process after the other; each is well again before the next is hurt, though it need not have caught up.
func (p *pipeline) wreck(t *testing.T, rng *rand.Rand, length time.Duration) {
	t.Helper()
	end := time.Now().Add(length)
	victims := append(append([]*process(nil), p.cores...), p.agents...)
	for n := 1; time.Now().Before(end); n++ {
		v := victims[rng.IntN(len(victims))]
		away := time.Duration(200+rng.IntN(5000)) * time.Millisecond
		if rng.IntN(2) == 0 {
			t.Logf("%d: kill -9 %s, away for %s", n, v.name, away)
			v.kill()
			pass(t.Context(), away)
			v.start()
		} else {
			t.Logf("%d: %s stands still for %s", n, v.name, away)
			v.signal(syscall.SIGSTOP)
			pass(t.Context(), away)
			v.signal(syscall.SIGCONT)
		}
		pass(t.Context(), time.Duration(rng.IntN(4000))*time.Millisecond)
	}
	for i := range p.cores {
		eventually(t, time.Minute, fmt.Sprintf("core%d to be ready", i+1), func(ctx context.Context) error {
			_, err := get(ctx, p.url(i)+"/readyz")
			return err
		})
	}
}

// pass lets wall time pass: how long a process is away is part of what is tested.
func pass(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
