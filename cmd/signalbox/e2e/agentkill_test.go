package e2e

import (
	"math/rand/v2"
	"testing"
	"time"

	devservices "signalbox/deploy/dev"
)

// TestChaosAgentsKilled kills agents again and again while messages come in: what was durable and not yet acknowledged to the
// broker comes again, and counts once.
func TestChaosAgentsKilled(t *testing.T) {
	seed := chaosOnly(t)
	rng := rand.New(rand.NewPCG(seed, 3))
	p := startPipeline(t, 1, devservices.Mosquitto(t), nil)
	end := p.begin(t, seed)
	for range 40 {
		v := p.agents[rng.IntN(len(p.agents))]
		v.kill()
		v.start()
		pass(t.Context(), time.Duration(200+rng.IntN(600))*time.Millisecond)
	}
	end()
	p.reconcile(t)
	p.compare(t)
}
