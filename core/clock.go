package core

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Clocks of the nodes are compared this often; an answer that took longer than clockWithin says too little. What a node
// said counts for clockFor: a node that has just died still outvotes one whose clock is wrong. Nodes that agree within
// clockAgree use their own clocks, as they are.
const (
	clockEvery  = 2 * time.Second
	clockWithin = 500 * time.Millisecond
	clockFor    = time.Hour
	clockAgree  = 2 * time.Second
	clockPath   = "/clock" // on the peer channel
)

// clocks is the cluster's time as this node sees it: its own clock while the others agree, else the median of all. One
// clock that is a day off must not close everybody's windows when its node comes to lead.
type clocks struct {
	own    func() time.Time
	passed atomic.Int64 // µs, replicated time: a clock behind it is known to be slow
	mu     sync.Mutex
	peers  map[string]clockSaid // by id
}

// clockSaid is what a node's clock showed at a moment of this process. Only the time since then is used, which
// does not jump when this node's own clock is set.
type clockSaid struct {
	at    time.Time
	clock time.Time
}

func newClocks(own func() time.Time) *clocks { return &clocks{own: own, peers: map[string]clockSaid{}} }

// now is the cluster's time.
func (c *clocks) now() time.Time {
	own := c.own()
	if off := c.off(own); off.Abs() > clockAgree {
		return own.Round(0).Add(-off)
	}
	return own
}

// off is how far this node's clock is ahead of the cluster's.
func (c *clocks) off(own time.Time) time.Duration {
	all := []time.Duration{0} // ahead of own
	c.mu.Lock()
	for _, p := range c.peers {
		if age := time.Since(p.at); age < clockFor {
			all = append(all, p.clock.Add(age).Sub(own.Round(0)))
		}
	}
	c.mu.Unlock()
	slices.Sort(all)
	at := (len(all) - 1) / 2
	// Two disagree and nobody knows which is right: the slower one delays, the faster one would close windows early. But a
	// clock that shows what was already passed is wrong.
	if len(all)%2 == 0 && own.Add(all[at]).UnixMicro() < c.passed.Load()-clockAgree.Microseconds() {
		at++
	}
	return -all[at]
}

func (c *clocks) heard(id string, clock time.Time, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.peers[id] = clockSaid{at: at, clock: clock.Round(0)}
}

// known counts the peers whose clocks are known.
func (c *clocks) known() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.peers)
}

// ahead is how far the clock of a node (this one: "") is ahead of the cluster's; ok is false when nothing is known of it.
func (c *clocks) ahead(id string) (d time.Duration, ok bool) {
	own := c.own()
	off := c.off(own)
	if id == "" {
		return off, true
	}
	c.mu.Lock()
	p, ok := c.peers[id]
	c.mu.Unlock()
	age := time.Since(p.at)
	return p.clock.Add(age).Sub(own.Round(0)) + off, ok && age < clockFor
}

// wrong describes a clock that is further off than clockAgree, "" when it is well.
func (c *clocks) wrong(id string) string {
	d, ok := c.ahead(id)
	switch {
	case !ok || d.Abs() <= clockAgree:
		return ""
	case d > 0:
		return d.Round(time.Second).String() + " ahead"
	}
	return (-d).Round(time.Second).String() + " behind"
}

// ask compares this node's clock with each peer's once.
func (n *Node) askClocks(ctx context.Context, p *parts) {
	var wg sync.WaitGroup
	for _, peer := range n.peers {
		if peer.ID == n.cfg.NodeID {
			continue
		}
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, clockWithin)
			defer cancel()
			begun := time.Now()
			clock, err := n.askClock(ctx, p, peer.Addr)
			if err == nil { // half of the way back is the best guess
				took := time.Since(begun)
				p.clocks.heard(peer.ID, clock, begun.Add(took/2))
			}
		})
	}
	wg.Wait()
}

func (n *Node) askClock(ctx context.Context, p *parts, addr string) (time.Time, error) {
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, a string) (net.Conn, error) { return p.mux.DialPeer(ctx, a) }}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+clockPath, nil)
	if err != nil {
		return time.Time{}, err
	}
	res, err := tr.RoundTrip(req)
	if err != nil {
		return time.Time{}, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 64))
	if err != nil || res.StatusCode != http.StatusOK {
		return time.Time{}, fmt.Errorf("core: clock of %s: %s %w", addr, res.Status, err)
	}
	us, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return time.UnixMicro(us), err
}

func (n *Node) serveClock(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintln(w, n.opts.Clock().UnixMicro())
}

// watchClocks compares the clocks until ctx ends, and complains about this node's own.
func (n *Node) watchClocks(ctx context.Context, p *parts) {
	t := time.NewTicker(clockEvery)
	defer t.Stop()
	told := ""
	for {
		n.askClocks(ctx, p)
		if wrong := p.clocks.wrong(""); wrong != told {
			if told = wrong; wrong != "" {
				fmt.Fprintf(n.opts.LogOutput, "core: the clock of %s is %s of the other nodes': the cluster goes by theirs; set it right (NTP)\n", n.cfg.NodeID, wrong)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}
