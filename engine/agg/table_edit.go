package agg

import (
	"encoding/binary"
	"fmt"
	"io"

	"signalbox/engine/column"
)

// Remove forgets a group. Its id is used again by a later new group, so its
// accumulators must be cleared.
func (t *GroupTable) Remove(group int32) {
	if len(t.types) == 0 || !t.Alive(group) {
		return
	}
	t.beforeChange(group)
	if t.alive == nil {
		t.alive = make([]bool, t.n)
		for i := range t.alive {
			t.alive[i] = true
		}
	}
	t.alive[group] = false
	t.live--
	switch {
	case t.single && group == t.nullID:
		t.interns[0].free = append(t.interns[0].free, group)
		t.nullID = -1
	case t.single:
		t.interns[0].remove(group)
	default:
		t.unlink(group)
		t.free = append(t.free, group)
		for c, in := range t.interns {
			if in != nil && !t.isNull(int(group), c) {
				in.drop(int32(t.words[int(group)*len(t.types)+c]))
			}
		}
		t.sweep()
	}
}

func (t *GroupTable) unlink(group int32) {
	t.index.remove(t.hashOf(int(group)), int(group), t.hashOf)
}

// sweep drops interned strings that no group of a composite key refers to any
// more, once they may be the majority.
func (t *GroupTable) sweep() {
	for c, in := range t.interns {
		if in == nil || in.live < 1024 || in.live < 2*t.live {
			continue
		}
		used := make([]bool, in.store.len())
		for g := 0; g < t.n; g++ {
			if t.Alive(int32(g)) && !t.isNull(g, c) {
				used[t.words[g*len(t.types)+c]] = true
			}
		}
		for _, id := range in.free {
			used[id] = true
		}
		for id, u := range used {
			if !u {
				in.remove(int32(id))
			}
		}
	}
}

// Reset forgets every group and keeps the memory.
func (t *GroupTable) Reset() {
	for _, c := range t.captures {
		for g := 0; g < c.n; g += BlockGroups {
			c.save(int32(g))
		}
	}
	t.n, t.live, t.nullID, t.alive = 0, 0, -1, nil
	t.words, t.nulls, t.free = t.words[:0], t.nulls[:0], t.free[:0]
	clear(t.slots)
	t.old, t.moved = nil, 0
	for i, in := range t.interns {
		if in != nil {
			clear(in.slots)
			t.interns[i] = &interner{index: index{slots: in.slots}, store: blobs{refs: in.store.refs[:0], buf: in.store.buf[:0]}}
		}
	}
}

// AppendKeys appends the key values of groups (nil = all that are alive, in id
// order) to cols, which have the table's types.
func (t *GroupTable) AppendKeys(groups []int32, cols []*column.Column) {
	for c, col := range cols {
		if groups != nil {
			for _, g := range groups {
				t.appendKey(int(g), c, col)
			}
			continue
		}
		for g := 0; g < t.n; g++ {
			if t.Alive(int32(g)) {
				t.appendKey(g, c, col)
			}
		}
	}
}

// Key boxes one key value of a group.
func (t *GroupTable) Key(group int32, c int) column.Datum {
	col := column.New(t.types[c], 1)
	t.appendKey(int(group), c, col)
	return col.Datum(0)
}

func (t *GroupTable) appendKey(g, c int, out *column.Column) {
	if t.wide {
		out.Append(t.wideKey(g, c))
		return
	}
	id := g
	if t.single {
		if int32(g) == t.nullID {
			out.AppendNull()
			return
		}
	} else {
		if t.isNull(g, c) {
			out.AppendNull()
			return
		}
		id = int(t.words[g*len(t.types)+c])
	}
	switch t.types[c].Kind.Storage() {
	case column.StoreNone:
		out.AppendNull()
	case column.StoreI64:
		out.AppendI64(int64(t.words[g*len(t.types)+c]))
	case column.StoreF64:
		out.AppendF64(wordFloat(t.words[g*len(t.types)+c]))
	case column.StoreDict:
		out.AppendBytes(t.interns[c].store.get(id))
	default:
		d, _, err := readDatum(t.types[c], t.interns[c].store.get(id))
		if err != nil { // the arena holds only what appendCell wrote
			panic("agg: corrupt key: " + err.Error())
		}
		out.Append(d)
	}
}

// Bytes is the memory that the keys take. It depends on them alone, not on what
// the table has grown to on the way.
func (t *GroupTable) Bytes() int {
	if t.single {
		return t.live*textBytes + t.interns[0].store.live()
	}
	n := t.live * (8*len(t.types) + 8)
	for _, in := range t.interns {
		if in != nil {
			n += in.held
		}
	}
	return n
}

// Encode writes the table: ids, keys and the order in which free ids will be reused.
func (t *GroupTable) Encode(w io.Writer) error {
	e := newEncoder(w)
	e.uvarint(uint64(t.n))
	free := t.free
	if t.single {
		free = t.interns[0].free
	}
	e.uvarint(uint64(len(free)))
	for _, f := range free {
		e.uvarint(uint64(f))
	}
	for c := range t.types {
		for g := 0; g < t.n; g++ {
			if t.Alive(int32(g)) {
				t.encodeKey(e, g, c)
			}
		}
	}
	return e.flush()
}

// encodeKey writes a key value as a byte string that readDatum understands.
func (t *GroupTable) encodeKey(e *encoder, g, c int) {
	storage := t.types[c].Kind.Storage()
	if t.wide {
		e.blob(appendDatum(nil, t.types[c], t.wideKey(g, c), true))
		return
	}
	if t.single && int32(g) == t.nullID || !t.single && t.isNull(g, c) || storage == column.StoreNone {
		e.blob([]byte{0})
		return
	}
	id := g
	if !t.single {
		id = int(t.words[g*len(t.types)+c])
	}
	switch storage {
	case column.StoreI64:
		t.enc = binary.AppendVarint(append(t.enc[:0], 1), int64(t.words[g*len(t.types)+c]))
	case column.StoreF64:
		t.enc = binary.LittleEndian.AppendUint64(append(t.enc[:0], 1), t.words[g*len(t.types)+c])
	case column.StoreDict:
		s := t.interns[c].store.get(id)
		t.enc = append(binary.AppendUvarint(append(t.enc[:0], 1), uint64(len(s))), s...)
	default:
		t.enc = append(t.enc[:0], t.interns[c].store.get(id)...)
	}
	e.blob(t.enc)
}

// Decode replaces the table by what Encode wrote for the same types.
func (t *GroupTable) Decode(r io.Reader) error {
	*t = *NewGroupTable(t.types)
	d := newDecoder(r)
	n, free, dead := d.ids()
	nfree := len(free)
	cols := make([]*column.Column, len(t.types))
	for c := range t.types {
		cols[c] = column.New(t.types[c], 0)
		for g := 0; g < n-nfree && d.err == nil; g++ {
			cols[c].Append(d.datum(t.types[c]))
		}
	}
	if d.err != nil {
		return fmt.Errorf("group table: %w", d.err)
	}
	return t.rebuild(n, free, dead, cols)
}

// rebuild adds the keys again so that every group gets its old id.
func (t *GroupTable) rebuild(n int, free []int32, dead map[int32]bool, cols []*column.Column) error {
	if len(t.types) == 0 {
		if n > 1 {
			return fmt.Errorf("group table: %d groups without keys", n)
		}
		t.n, t.live = n, n
		return nil
	}
	order := make([]int32, 0, n) // reused last in first out, so the ids in descending order come out ascending
	for g := n - 1; g >= 0; g-- {
		if !dead[int32(g)] {
			order = append(order, int32(g))
		}
	}
	if len(dead) > 0 {
		t.alive = make([]bool, n)
	}
	if t.single {
		t.interns[0].store.grow(n)
		t.interns[0].free = order
	} else {
		t.n, t.words, t.free = n, growTo(t.words, n*len(t.types)), order
	}
	ids := t.Groups(cols, nil, nil)
	for i, id := range ids {
		if i > 0 && id <= ids[i-1] {
			return fmt.Errorf("group table: the key of group %d is there twice", id)
		}
	}
	if t.single {
		t.interns[0].free, t.n = free, n
		t.interns[0].caches = nil
	} else {
		t.free = free
	}
	return nil
}
