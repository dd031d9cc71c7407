package raftstore

import (
	"sync"

	"github.com/hashicorp/raft"
)

// Bounds of the cache of recent log entries that followers are fed from.
const (
	CacheEntries = 4096
	CacheBytes   = 16 << 20
)

// logCache keeps recently stored entries in memory, bounded by entries and by bytes (the library's own
// cache counts entries only, so large entries would pin memory without bound).
type logCache struct {
	raft.LogStore
	mu          sync.RWMutex
	ring        []*raft.Log
	first, last uint64 // cached range, first > last when empty
	bytes       int
}

func newLogCache(s raft.LogStore) *logCache {
	return &logCache{LogStore: s, ring: make([]*raft.Log, CacheEntries), first: 1}
}

// IsMonotonic passes on what the store below promises.
func (c *logCache) IsMonotonic() bool {
	m, ok := c.LogStore.(raft.MonotonicLogStore)
	return ok && m.IsMonotonic()
}

func (c *logCache) GetLog(i uint64, out *raft.Log) error {
	c.mu.RLock()
	if i >= c.first && i <= c.last {
		*out = *c.ring[i%CacheEntries]
		c.mu.RUnlock()
		return nil
	}
	c.mu.RUnlock()
	return c.LogStore.GetLog(i, out)
}

func (c *logCache) StoreLog(l *raft.Log) error { return c.StoreLogs([]*raft.Log{l}) }

func (c *logCache) StoreLogs(logs []*raft.Log) error {
	if err := c.LogStore.StoreLogs(logs); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range logs {
		c.add(l)
	}
	return nil
}

func (c *logCache) add(l *raft.Log) {
	if l.Index != c.last+1 {
		c.clear(l.Index)
	}
	c.last = l.Index
	c.ring[l.Index%CacheEntries] = l
	c.bytes += len(l.Data)
	for c.first < c.last && (c.last-c.first >= CacheEntries-1 || c.bytes > CacheBytes) {
		c.bytes -= len(c.ring[c.first%CacheEntries].Data)
		c.ring[c.first%CacheEntries] = nil
		c.first++
	}
}

func (c *logCache) clear(next uint64) {
	clear(c.ring)
	c.first, c.last, c.bytes = next, next-1, 0
}

func (c *logCache) DeleteRange(lo, hi uint64) error {
	c.mu.Lock()
	c.clear(1)
	c.mu.Unlock()
	return c.LogStore.DeleteRange(lo, hi)
}
