package agg

// index finds ids by hash: open addressing, linear probing. When it is full it
// goes on in one of twice the size and moves the ids over a few at a time, so
// that no entry waits for a million of them. Until all are moved, what is not
// in slots may be in old.
type index struct {
	slots []uint32 // id+1, 0 = empty; a power of two
	old   []uint32 // as slots was, and never added to; gone = removed since
	moved int      // places of old that were looked at
}

const (
	gone      = ^uint32(0)
	moveSmall = 1 << 13 // a table up to this size is moved at once
	moveEach  = 4       // places that an insertion moves: all are before the next growth
	moveMore  = 512     // places that a lookup of many rows moves
)

// room makes place for one more id. hash gives the hash of an id that is there.
func (x *index) room(live int, hash func(id int) uint64) {
	if (live+1)*4 > len(x.slots)*3 {
		x.move(len(x.old), hash)
		x.old, x.moved = x.slots, 0
		x.slots = make([]uint32, max(16, 2*len(x.old)))
		if len(x.old) <= moveSmall {
			x.move(len(x.old), hash)
		}
	}
	if x.old != nil {
		x.move(moveEach, hash)
	}
}

// move takes up to n places of old over.
func (x *index) move(n int, hash func(id int) uint64) {
	for ; n > 0 && x.moved < len(x.old); n-- {
		if v := x.old[x.moved]; v != 0 && v != gone {
			x.place(hash(int(v-1)), int(v-1))
		}
		x.moved++
	}
	if x.moved >= len(x.old) {
		x.old, x.moved = nil, 0
	}
}

func (x *index) place(h uint64, id int) {
	mask := uint32(len(x.slots) - 1)
	p := uint32(h) & mask
	for x.slots[p] != 0 {
		p = (p + 1) & mask
	}
	x.slots[p] = uint32(id) + 1
}

// remove takes out an id.
func (x *index) remove(h uint64, id int, hash func(id int) uint64) {
	if p, ok := seek(x.old, h, id); ok {
		x.old[p] = gone
	}
	if p, ok := seek(x.slots, h, id); ok {
		shiftBack(x.slots, p, func(v uint32) uint32 { return uint32(hash(int(v - 1))) })
	}
}

func seek(slots []uint32, h uint64, id int) (uint32, bool) {
	if len(slots) == 0 {
		return 0, false
	}
	mask := uint32(len(slots) - 1)
	for p := uint32(h) & mask; slots[p] != 0; p = (p + 1) & mask {
		if slots[p] == uint32(id)+1 {
			return p, true
		}
	}
	return 0, false
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
