package core

// Snapshot takes a snapshot now and truncates the log, as the node does from time to time.
func (n *Node) Snapshot() error {
	n.mu.Lock()
	p := n.p
	n.mu.Unlock()
	return p.store.Snapshot()
}

// EntriesApplied counts the entries that this process applied one by one: not those that a snapshot brought.
func (n *Node) EntriesApplied() uint64 {
	n.mu.Lock()
	p := n.p
	n.mu.Unlock()
	return p.store.Status().Entries
}
