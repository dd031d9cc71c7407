package agg

import (
	"bytes"

	"github.com/zeebo/xxh3"

	"signalbox/engine/column"
)

// maxCaches bounds the dictionaries an interner remembers codes for.
const maxCaches = 8

// bigDict is the size from which a remembered dictionary is worth repairing
// when a value is removed; smaller ones are forgotten and learned again.
const bigDict = 4096

// interner maps byte strings to dense ids in order of first use. All bytes are
// in one arena, so a million strings are a handful of objects to the collector.
type interner struct {
	store blobs
	index
	live   int
	free   []int32 // ids of removed strings, last in first out
	caches []*dictCache
	next   int // cache to replace

	refs []int32 // of a composite key: how many groups have the string
	held int     // strings and bytes that groups have, as memory
}

// hold notes that one more group has a string; drop that one less has it.
func (t *interner) hold(id int32) {
	t.refs = growTo(t.refs, int(id)+1)
	if t.refs[id]++; t.refs[id] == 1 {
		t.held += textBytes + len(t.store.get(int(id)))
	}
}

func (t *interner) drop(id int32) {
	if t.refs[id]--; t.refs[id] == 0 {
		t.held -= textBytes + len(t.store.get(int(id)))
	}
}

// textBytes is the memory of an interned string beside its bytes: the reference and about two slots.
const textBytes = 16

// dictCache remembers the id of each code of a dictionary, -1 = not asked yet.
type dictCache struct {
	dict *column.Dict
	ids  []int32
}

// id returns the id of s, adding it when it is new.
func (t *interner) id(s []byte) int32 {
	s = s[:min(len(s), maxBlob)]
	if id, ok := t.find(s); ok {
		return id
	}
	t.room(t.live, t.hash)
	var id int32
	if n := len(t.free); n > 0 {
		id, t.free = t.free[n-1], t.free[:n-1]
	} else {
		id = int32(t.store.len())
		t.store.grow(int(id) + 1)
	}
	t.store.set(int(id), s)
	t.place(xxh3.Hash(s), int(id))
	t.live++
	return id
}

// reserve takes an id that belongs to no string, for NULL.
func (t *interner) reserve() int32 {
	if n := len(t.free); n > 0 {
		id := t.free[n-1]
		t.free = t.free[:n-1]
		return id
	}
	id := int32(t.store.len())
	t.store.grow(int(id) + 1)
	return id
}

func (t *interner) find(s []byte) (int32, bool) {
	s = s[:min(len(s), maxBlob)]
	h := xxh3.Hash(s)
	if id, ok := t.findIn(t.slots, h, s); ok || t.old == nil {
		return id, ok
	}
	return t.findIn(t.old, h, s)
}

func (t *interner) findIn(slots []uint32, h uint64, s []byte) (int32, bool) {
	if len(slots) == 0 {
		return 0, false
	}
	mask := uint32(len(slots) - 1)
	for p := uint32(h) & mask; ; p = (p + 1) & mask {
		v := slots[p]
		if v == 0 {
			return 0, false
		}
		if v != gone && bytes.Equal(t.store.get(int(v-1)), s) {
			return int32(v - 1), true
		}
	}
}

func (t *interner) hash(id int) uint64 { return xxh3.Hash(t.store.get(id)) }

// remove forgets a string; its id will be given to another one.
func (t *interner) remove(id int32) {
	s := t.store.get(int(id))
	t.forget(s)
	t.index.remove(xxh3.Hash(s), int(id), t.hash)
	t.store.clear(int(id))
	t.free = append(t.free, id)
	t.live--
}

// forget drops a string from the dictionary caches.
func (t *interner) forget(s []byte) {
	kept := t.caches[:0]
	for _, c := range t.caches {
		if c.dict.Len() < bigDict {
			continue
		}
		if code, ok := c.dict.Find(string(s)); ok && int(code) < len(c.ids) {
			c.ids[code] = -1
		}
		kept = append(kept, c)
	}
	clear(t.caches[len(kept):])
	t.caches = kept
}

// cache returns the remembered ids of a dictionary, one for each of its codes.
func (t *interner) cache(d *column.Dict) *dictCache {
	var c *dictCache
	for _, k := range t.caches {
		if k.dict == d {
			c = k
			break
		}
	}
	if c == nil {
		c = &dictCache{dict: d}
		if len(t.caches) < maxCaches {
			t.caches = append(t.caches, c)
		} else {
			c.ids = t.caches[t.next].ids[:0]
			t.caches[t.next] = c
			t.next = (t.next + 1) % maxCaches
		}
	}
	for len(c.ids) < d.Len() {
		c.ids = append(c.ids, -1)
	}
	return c
}

// code returns the id of a code of a remembered dictionary.
func (t *interner) code(c *dictCache, code uint32) int32 {
	if id := c.ids[code]; id >= 0 {
		return id
	}
	id := t.id(stringBytes(c.dict.Values[code]))
	c.ids[code] = id
	return id
}
