package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	devservices "signalbox/deploy/dev"
)

// TestChaosPartitions cuts the network between core nodes on machines of their own, with TLS: in one direction only, whole,
// and the leader from everybody. Agents of a node that is cut off find another; readings count once, alerts are told once.
func TestChaosPartitions(t *testing.T) {
	seed := chaosOnly(t)
	if !inOwnNetwork(t, seed) {
		return
	}
	ca := newAuthority(t, "test authority")
	ca.believe(t)
	net := newLAN(t, "core1", "core2", "core3")
	p := &pipeline{broker: devservices.Mosquitto(t)}
	p.cluster = newCluster(t, coreNodes)
	p.tls, p.lan = ca, net
	for i := range p.addrs {
		p.addrs[i] = fmt.Sprintf("%s%d:7400", lanPrefix, 11+i)
	}
	p.startOn(t, often)
	end := p.begin(t, seed)
	name := func(i int) string { return fmt.Sprintf("core%d", i%coreNodes+1) }
	for _, c := range []struct {
		what string
		cut  func(leader int)
	}{
		{"nothing reaches a follower from the leader", func(l int) { net.drop(name(l), name(l+1)) }},
		{"nothing reaches the leader from a follower", func(l int) { net.drop(name(l+1), name(l)) }},
		{"nothing reaches the followers from the leader", func(l int) { net.drop(name(l), name(l+1)); net.drop(name(l), name(l+2)) }},
		{"nothing reaches the leader from the followers", func(l int) { net.drop(name(l+1), name(l)); net.drop(name(l+2), name(l)) }},
		{"nothing reaches the leader from anybody", func(l int) { net.drop("", name(l)) }},
		{"the followers do not reach each other", func(l int) { net.drop(name(l+1), name(l+2)); net.drop(name(l+2), name(l+1)) }},
	} {
		p.untilApplied(200)
		leader, err := p.leader(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("core%d leads; %s", leader+1, c.what)
		c.cut(leader)
		from, begun := p.most(t.Context()), time.Now()
		eventually(t, 2*time.Minute, "readings to be applied all the same", func(ctx context.Context) error {
			if n := p.most(ctx); n < from+1500 { // more than a few seconds' worth
				return fmt.Errorf("%d more so far", n-from)
			}
			return nil
		})
		t.Logf("1,500 readings more after %s", time.Since(begun).Round(time.Millisecond))
		net.heal()
		p.everybodyReady(t)
	}
	end()
	p.reconcile(t)
	p.compare(t)
	p.checkAlerts(t)
	p.toldOnce(t)
}

// most is how many readings the node that has most has applied.
func (p *pipeline) most(ctx context.Context) (n uint64) {
	for i := range p.one {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		s, err := p.one[i].Status(ctx)
		cancel()
		if err == nil {
			n = max(n, s.Readings.Applied)
		}
	}
	return n
}
