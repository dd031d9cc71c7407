package core

import (
	"context"
	"sync"
	"time"
)

// A node that asks for the status wants to know at a glance who is away: an answer is good for
// reachFor, and a peer that does not take a connection within reachWithin is not reachable from here.
const (
	reachFor    = time.Second
	reachWithin = 300 * time.Millisecond
)

// reach remembers which peers took a connection of this node.
type reach struct {
	mu sync.Mutex
	at time.Time
	up map[string]bool // by id
}

// peersUp tells for each other node whether it takes connections of this one.
func (n *Node) peersUp(p *parts) map[string]bool {
	n.reach.mu.Lock()
	defer n.reach.mu.Unlock()
	if n.reach.up != nil && time.Since(n.reach.at) < reachFor {
		return n.reach.up
	}
	ctx, cancel := context.WithTimeout(context.Background(), reachWithin)
	defer cancel()
	up := make([]bool, len(n.peers))
	var wg sync.WaitGroup
	for i, peer := range n.peers {
		if peer.ID == n.cfg.NodeID {
			continue
		}
		wg.Go(func() {
			c, err := p.mux.DialPeer(ctx, peer.Addr)
			if err == nil {
				_ = c.Close() // it was only to see whether it opens
			}
			up[i] = err == nil
		})
	}
	wg.Wait()
	n.reach.up, n.reach.at = map[string]bool{}, time.Now()
	for i, peer := range n.peers {
		if peer.ID != n.cfg.NodeID {
			n.reach.up[peer.ID] = up[i]
		}
	}
	return n.reach.up
}
