package agg

import "math/bits"

func mix(h, w uint64) uint64 {
	hi, lo := bits.Mul64(h^w, 0x9E3779B97F4A7C15)
	return hi ^ lo
}

const hashSeed = 0x2545F4914F6CDD1D

// probeOne looks up a single word without NULLs; a run of equal keys is found without probing.
func (t *GroupTable) probeOne(words []uint64, out []int32, add bool) {
	last, lastID := uint64(0), int32(-1)
	for i, w := range words {
		if lastID >= 0 && w == last {
			out[i] = lastID
			continue
		}
		id := t.findOne(w)
		if id < 0 && add {
			id = t.insert(mix(hashSeed, w), 0, func(int) uint64 { return w })
		}
		out[i], last, lastID = id, w, id
	}
}

func (t *GroupTable) findOne(w uint64) int32 {
	if id := t.findOneIn(t.slots, w); id >= 0 || t.old == nil {
		return id
	}
	return t.findOneIn(t.old, w)
}

func (t *GroupTable) findOneIn(slots []uint32, w uint64) int32 {
	if len(slots) == 0 {
		return -1
	}
	mask := uint32(len(slots) - 1)
	for p := uint32(mix(hashSeed, w)) & mask; ; p = (p + 1) & mask {
		v := slots[p]
		if v == 0 {
			return -1
		}
		if v != gone && t.words[v-1] == w && !t.isNull(int(v-1), 0) {
			return int32(v - 1)
		}
	}
}

// probeTwo looks up pairs of words in a table that has no NULL.
func (t *GroupTable) probeTwo(first, second []uint64, out []int32, add bool) {
	second = second[:len(first)]
	if len(t.slots) == 0 && add {
		t.room(t.live, t.hashOf)
	}
	for i, a := range first {
		b := second[i]
		h := mix(mix(hashSeed, a), b)
		slots, words := t.slots, t.words
		id := int32(-1)
		if len(slots) > 0 {
			mask := uint32(len(slots) - 1)
			for p := uint32(h) & mask; ; p = (p + 1) & mask {
				v := slots[p&uint32(len(slots)-1)]
				if v == 0 {
					break
				}
				if at := 2 * int(v-1); words[at] == a && words[at+1] == b {
					id = int32(v - 1)
					break
				}
			}
		}
		if id < 0 && t.old != nil {
			id = t.findTwoOld(h, a, b)
		}
		if id < 0 && add {
			id = t.insert(h, 0, func(c int) uint64 { return [2]uint64{a, b}[c] })
		}
		out[i] = id
	}
}

func (t *GroupTable) findTwoOld(h, a, b uint64) int32 {
	mask := uint32(len(t.old) - 1)
	for p := uint32(h) & mask; t.old[p] != 0; p = (p + 1) & mask {
		if v := t.old[p]; v != gone && t.words[2*(v-1)] == a && t.words[2*(v-1)+1] == b {
			return int32(v - 1)
		}
	}
	return -1
}

func (t *GroupTable) probeMany(out []int32, add bool) {
	k := len(t.types)
	for i := range out {
		if i > 0 && t.sameRow(i, i-1) {
			out[i] = out[i-1]
			continue
		}
		h := uint64(hashSeed)
		for c := 0; c < k; c++ {
			h = mix(h, t.scratch[c][i])
		}
		if t.masks[i] != 0 {
			h = mix(h, t.masks[i])
		}
		id := t.findMany(h, i)
		if id < 0 && add {
			id = t.insert(h, t.masks[i], func(c int) uint64 { return t.scratch[c][i] })
		}
		out[i] = id
	}
}

func (t *GroupTable) sameRow(a, b int) bool {
	if t.masks[a] != t.masks[b] {
		return false
	}
	for c := range t.types {
		if t.scratch[c][a] != t.scratch[c][b] {
			return false
		}
	}
	return true
}

func (t *GroupTable) findMany(h uint64, row int) int32 {
	if id := t.findManyIn(t.slots, h, row); id >= 0 || t.old == nil {
		return id
	}
	return t.findManyIn(t.old, h, row)
}

func (t *GroupTable) findManyIn(slots []uint32, h uint64, row int) int32 {
	if len(slots) == 0 {
		return -1
	}
	k := len(t.types)
	mask := uint32(len(slots) - 1)
next:
	for p := uint32(h) & mask; slots[p] != 0; p = (p + 1) & mask {
		if slots[p] == gone {
			continue
		}
		g := int(slots[p] - 1)
		stored := t.words[g*k : g*k+k]
		for c, w := range stored {
			if w != t.scratch[c][row] {
				continue next
			}
		}
		if t.mask(g) == t.masks[row] {
			return int32(g)
		}
	}
	return -1
}

func (t *GroupTable) isNull(g, c int) bool {
	i := g*len(t.types) + c
	return i>>6 < len(t.nulls) && t.nulls[i>>6]&(1<<(i&63)) != 0
}

func (t *GroupTable) mask(g int) uint64 {
	if len(t.nulls) == 0 {
		return 0
	}
	m := uint64(0)
	for c := range t.types {
		if t.isNull(g, c) {
			m |= 1 << (c & 63)
		}
	}
	return m
}

func (t *GroupTable) insert(h, mask uint64, word func(c int) uint64) int32 {
	t.room(t.live, t.hashOf)
	k := len(t.types)
	g := t.n
	if n := len(t.free); n > 0 {
		g, t.free = int(t.free[n-1]), t.free[:n-1]
	} else {
		t.n++
		t.words = growTo(t.words, t.n*k)
	}
	if t.alive != nil {
		t.alive = growTo(t.alive, t.n)
		t.alive[g] = true
	}
	t.live++
	for c := 0; c < k; c++ {
		t.words[g*k+c] = word(c)
		null := mask&(1<<(c&63)) != 0
		t.setNull(g*k+c, null)
		if in := t.interns[c]; in != nil && !null {
			in.hold(int32(t.words[g*k+c]))
		}
	}
	t.place(h, g)
	return int32(g)
}

func (t *GroupTable) setNull(bit int, null bool) {
	if null {
		t.nulls = growTo(t.nulls, bit>>6+1)
		t.nulls[bit>>6] |= 1 << (bit & 63)
	} else if bit>>6 < len(t.nulls) {
		t.nulls[bit>>6] &^= 1 << (bit & 63)
	}
}

// hashOf hashes a stored group the way probing does.
func (t *GroupTable) hashOf(g int) uint64 {
	k := len(t.types)
	h := uint64(hashSeed)
	for _, w := range t.words[g*k : g*k+k] {
		h = mix(h, w)
	}
	if m := t.mask(g); m != 0 {
		h = mix(h, m)
	}
	return h
}
