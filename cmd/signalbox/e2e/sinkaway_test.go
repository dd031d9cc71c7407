package e2e

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	devservices "signalbox/deploy/dev"
	"signalbox/simulator/fleet"
	"signalbox/simulator/load"
)

// TestSinkAway: Cassandra is away when the core starts and once more later. Only its sink waits, and in the
// end every row is there.
func TestSinkAway(t *testing.T) {
	cassandra := devservices.Cassandra(t)
	cassandra.Kill()
	p := startPipeline(t, 1, devservices.Mosquitto(t), cassandra)
	for _, when := range []string{"away at the start", "away again"} {
		p.drive(t, 5*time.Second)
		p.reconcile(t)
		waiting := p.othersAtZero(t)
		t.Logf("%s: Cassandra is %d entries behind, SQLite and MQTT none", when, waiting)
		cassandra.Start()
		eventually(t, 2*time.Minute, "the Cassandra sink to catch up", p.settled)
		if when == "away at the start" {
			p.drive(t, 2*time.Second) // what is written while it is there
			eventually(t, time.Minute, "the Cassandra sink to follow", p.settled)
			cassandra.Kill()
		}
	}
	if err := p.pub.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.reconcile(t)
	p.compare(t)
}

// drive publishes a small fleet for a while.
func (p *pipeline) drive(t *testing.T, d time.Duration) {
	t.Helper()
	f := fleet.New(fleet.Config{Seed: 11, Buses: 30, Routes: 4, Start: time.Now(), Interval: 200 * time.Millisecond, Pace: 12, Crowding: 0.06})
	err := load.Run(t.Context(), p.pub, fleet.NewSender(f, fleet.Faults{}), load.RunConfig{Speed: 1, Duration: d, Topic: busTopic, Sent: p.sent})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.pub.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// othersAtZero waits until every sink but Cassandra's has everything, and returns how far that one is behind.
func (p *pipeline) othersAtZero(t *testing.T) (behind uint64) {
	t.Helper()
	eventually(t, time.Minute, "the other sinks to go on", func(ctx context.Context) error {
		s, err := p.all.Status(ctx)
		if err != nil {
			return err
		}
		behind = 0
		for _, k := range s.Sinks {
			switch {
			case k.Name == "cassandra":
				behind = k.Lag
			case k.Lag > 0:
				return fmt.Errorf("sink %s is %d entries behind", k.Name, k.Lag)
			}
		}
		if behind == 0 {
			return errors.New("the Cassandra sink is not behind, although there is no Cassandra")
		}
		return nil
	})
	return behind
}
