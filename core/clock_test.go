package core_test

import (
	"testing"
	"time"

	"signalbox/core"
)

// A node whose clock is a day off comes to lead. It must not take the cluster's time with it: a day ahead, every live
// reading would be too old to alert for a day, and windows would close before their readings come; a day behind, time
// would stand still.
func TestALeaderWithAWrongClockGoesByTheOthers(t *testing.T) {
	for name, wrong := range map[string]time.Duration{"ahead": 24 * time.Hour, "behind": -24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 3, func(cfg *core.Config) { cfg.TickEvery = 20 * time.Millisecond })
			odd := c.leader()
			time0 := c.time(odd)
			if d := time.Since(time0).Abs(); d > time.Minute {
				t.Fatalf("the cluster's time is %s from the right one before anything is wrong", d)
			}
			c.stop(odd)
			odd.clock = func() time.Time { return time.Now().Add(wrong) }
			c.start(odd)
			c.lead(odd)
			begun := c.time(odd)
			c.poll("time to pass", func() bool { return c.time(odd).Sub(begun) > 2*time.Second })
			if d := time.Since(c.time(odd)); d.Abs() > time.Minute {
				t.Errorf("led by a node whose clock is %s %s, the cluster's time is %s behind the right one", wrong.Abs(), name, d)
			}
			c.poll("the status to name it", func() bool {
				s, err := c.status(odd)
				for _, n := range s.Nodes {
					if n.ID == odd.cfg.NodeID && n.Clock == "24h0m0s "+name {
						return err == nil
					}
				}
				return false
			})
			// And when it ends, nothing has to be waited for.
			c.stop(odd)
			next := c.leader()
			begun = c.time(next)
			c.poll("time to pass again", func() bool { return c.time(next).Sub(begun) > time.Second })
		})
	}
}

// time is the cluster's, as a node knows it.
func (c *cluster) time(m *member) (at time.Time) {
	c.t.Helper()
	c.poll("the time", func() bool {
		s, err := c.status(m)
		if err == nil {
			at, err = time.Parse(time.RFC3339Nano, s.Time)
		}
		return err == nil
	})
	return at
}

// lead makes m the leader: whoever else leads is stopped and started again.
func (c *cluster) lead(m *member) {
	c.t.Helper()
	for range 50 {
		now := c.leader()
		if now == m {
			return
		}
		c.poll("the node to have caught up", func() bool {
			a, err1 := c.status(m)
			b, err2 := c.status(now)
			return err1 == nil && err2 == nil && a.Index+20 > b.Index
		})
		c.stop(now)
		c.leader()
		c.start(now)
	}
	c.t.Fatal("it does not come to lead")
}
