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
	store  blobs
	slots  []uint32 // open addressing, id+1, 0 = empty; a power of two
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
	if (t.live+1)*4 > len(t.slots)*3 {
		t.rehash()
	}
	var id int32
	if n := len(t.free); n > 0 {
		id, t.free = t.free[n-1], t.free[:n-1]
	} else {
		id = int32(t.store.len())
		t.store.grow(int(id) + 1)
	}
	t.store.set(int(id), s)
	t.place(id)
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
	if len(t.slots) == 0 {
		return 0, false
	}
	mask := uint32(len(t.slots) - 1)
	for p := uint32(xxh3.Hash(s)) & mask; ; p = (p + 1) & mask {
		v := t.slots[p]
		if v == 0 {
			return 0, false
		}
		if bytes.Equal(t.store.get(int(v-1)), s) {
			return int32(v - 1), true
		}
	}
}

func (t *interner) place(id int32) {
	mask := uint32(len(t.slots) - 1)
	p := uint32(xxh3.Hash(t.store.get(int(id)))) & mask
	for t.slots[p] != 0 {
		p = (p + 1) & mask
	}
	t.slots[p] = uint32(id) + 1
}

func (t *interner) rehash() {
	old := t.slots
	t.slots = make([]uint32, max(16, 2*len(old)))
	for _, v := range old {
		if v != 0 {
			t.place(int32(v - 1))
		}
	}
}

// remove forgets a string; its id will be given to another one.
func (t *interner) remove(id int32) {
	s := t.store.get(int(id))
	t.forget(s)
	mask := uint32(len(t.slots) - 1)
	p := uint32(xxh3.Hash(s)) & mask
	for t.slots[p] != uint32(id)+1 {
		p = (p + 1) & mask
	}
	shiftBack(t.slots, p, func(v uint32) uint32 { return uint32(xxh3.Hash(t.store.get(int(v - 1)))) })
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

// shiftBack empties slot p of a linear-probing table and moves later entries of the run up.
func shiftBack(slots []uint32, p uint32, hash func(uint32) uint32) {
	mask := uint32(len(slots) - 1)
	for q := (p + 1) & mask; slots[q] != 0; q = (q + 1) & mask {
		home := hash(slots[q]) & mask
		if (q-home)&mask >= (q-p)&mask {
			slots[p] = slots[q]
			p = q
		}
	}
	slots[p] = 0
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
