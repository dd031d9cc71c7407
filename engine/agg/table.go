package agg

import (
	"math"

	"signalbox/engine/column"
)

// GroupTable gives each distinct combination of key values a dense id, in
// order of first use. NULL is a value like others, NaN equals NaN and -0.0
// equals 0.0. A removed group's id is given to the next new group.
//
// A key of one string column costs one array lookup per row once its
// dictionary is known; other keys are kept as one 64-bit word per column
// (numbers as they are, strings and nested values by interned id) in an open
// addressing table. Nothing in it is a pointer per group.
type GroupTable struct {
	types   []column.Type
	single  bool        // one string-like key: the interner's ids are the groups
	interns []*interner // per key column, nil for columns whose word is the value
	wide    bool        // more than maxWords keys: single, and a key is all values encoded one after the other
	nullID  int32       // single only: group of NULL, -1 = none yet

	words []uint64 // k per group
	nulls []uint64 // bit group*k+col
	index
	alive []bool // nil while nothing was ever removed
	free  []int32
	n     int // ids handed out, removed ones included
	live  int

	scratch [][]uint64
	masks   []uint64
	enc     []byte

	captures []*TableCapture // what must see keys before they change
}

// maxWords is the number of key columns up to which each has a word and a NULL bit of its own.
const maxWords = 64

// NewGroupTable returns an empty table for keys of these types (none: one group for all rows).
func NewGroupTable(types []column.Type) *GroupTable {
	t := &GroupTable{types: types, nullID: -1, interns: make([]*interner, len(types))}
	for i, ty := range types {
		if !wordKind(ty) {
			t.interns[i] = &interner{}
		}
	}
	t.single = len(types) == 1 && t.interns[0] != nil
	if len(types) > maxWords {
		t.single, t.wide, t.interns = true, true, []*interner{{}}
	}
	return t
}

func wordKind(t column.Type) bool {
	s := t.Kind.Storage()
	return s == column.StoreI64 || s == column.StoreF64 || s == column.StoreNone
}

// Len returns the number of ids handed out, including removed ones: groups are 0..Len()-1.
func (t *GroupTable) Len() int { return t.n }

// Live returns the number of groups that are not removed.
func (t *GroupTable) Live() int { return t.live }

// Alive reports whether a group is not removed.
func (t *GroupTable) Alive(group int32) bool { return t.alive == nil || t.alive[group] }

// Groups finds or adds the group of each row: row sel[i], or i when sel is nil.
// It returns out resized to one id per row; keys must have the table's types.
func (t *GroupTable) Groups(keys []*column.Column, sel []int32, out []int32) []int32 {
	return t.lookup(keys, sel, out, true)
}

// Find is Groups without adding: an unknown combination gives -1.
func (t *GroupTable) Find(keys []*column.Column, sel []int32, out []int32) []int32 {
	return t.lookup(keys, sel, out, false)
}

// GroupRows is Groups for a table without keys, which needs to be told the number of rows.
func (t *GroupTable) GroupRows(rows int, out []int32) []int32 {
	if rows > 0 && t.n == 0 {
		t.n, t.live = 1, 1
	}
	out = resize32(out, rows)
	clear(out)
	return out
}

func (t *GroupTable) lookup(keys []*column.Column, sel []int32, out []int32, add bool) []int32 {
	if len(t.types) == 0 {
		return t.GroupRows(len(sel), out)
	}
	n := len(sel)
	if sel == nil {
		n = keys[0].Len()
	}
	out = resize32(out, n)
	t.moveSome(n)
	switch {
	case t.wide:
		t.wideRows(keys, sel, out, add)
	case t.single && add && keys[0].Type.Kind.Storage() == column.StoreDict:
		t.singleDict(keys[0], sel, out)
	case t.single:
		t.singleAny(keys[0], sel, out, add)
	case len(t.types) == 1 && !keys[0].HasNulls():
		t.wordColumn(0, keys[0], sel, n, add)
		t.probeOne(t.scratch[0], out, add)
	case len(t.types) == 2 && len(t.nulls) == 0 && !anyNulls(keys):
		t.wordColumn(0, keys[0], sel, n, add)
		t.wordColumn(1, keys[1], sel, n, add)
		t.probeTwo(t.scratch[0], t.scratch[1], out, add)
	default:
		for c, k := range keys {
			t.wordColumn(c, k, sel, n, add)
		}
		t.nullMasks(keys, sel, n)
		t.probeMany(out, add)
	}
	return out
}

// moveSome goes on with what a growth began, also where no key is new.
func (t *GroupTable) moveSome(rows int) {
	if t.old != nil {
		t.move(min(rows, moveMore), t.hashOf)
	}
	for _, in := range t.interns {
		if in != nil && in.old != nil {
			in.move(min(rows, moveMore), in.hash)
		}
	}
}

func resize32(s []int32, n int) []int32 {
	if cap(s) < n {
		return make([]int32, n)
	}
	return s[:n]
}

// singleDict is the hot path: a string key by its dictionary code.
func (t *GroupTable) singleDict(key *column.Column, sel []int32, out []int32) {
	in := t.interns[0]
	c := in.cache(key.Dict)
	ids, codes := c.ids, key.Codes
	nulls := key.HasNulls()
	if sel == nil && !nulls {
		codes = codes[:len(out)]
		for i, code := range codes {
			id := ids[code]
			if id < 0 {
				id = t.addSingle(in.code(c, code))
			}
			out[i] = id
		}
		return
	}
	for i := range out {
		row := i
		if sel != nil {
			row = int(sel[i])
		}
		if nulls && key.IsNull(row) {
			out[i] = t.nullGroup()
			continue
		}
		id := ids[codes[row]]
		if id < 0 {
			id = t.addSingle(in.code(c, codes[row]))
		}
		out[i] = id
	}
}

// addSingle brings the counters in line after the interner may have added a string.
func (t *GroupTable) addSingle(id int32) int32 {
	t.n = t.interns[0].store.len()
	if t.alive != nil {
		t.alive = growTo(t.alive, t.n)
		t.alive[id] = true
	}
	t.live = t.interns[0].live
	if t.nullID >= 0 {
		t.live++
	}
	return id
}

func (t *GroupTable) nullGroup() int32 {
	if t.nullID < 0 {
		t.nullID = t.interns[0].reserve()
		t.addSingle(t.nullID)
	}
	return t.nullID
}

// wideRows looks up keys of very many columns.
func (t *GroupTable) wideRows(keys []*column.Column, sel []int32, out []int32, add bool) {
	in := t.interns[0]
	for i := range out {
		t.enc = t.enc[:0]
		for _, k := range keys {
			t.enc = appendCell(t.enc, k, rowAt(sel, i))
		}
		switch id, ok := in.find(t.enc); {
		case ok:
			out[i] = id
		case add:
			out[i] = t.addSingle(in.id(t.enc))
		default:
			out[i] = -1
		}
	}
}

// wideKey decodes one value of a wide key.
func (t *GroupTable) wideKey(g, c int) column.Datum {
	b := t.interns[0].store.get(g)
	for i := 0; ; i++ {
		d, rest, err := readDatum(t.types[i], b)
		if err != nil { // the arena holds only what appendCell wrote
			panic("agg: corrupt key: " + err.Error())
		}
		if i == c {
			return d
		}
		b = rest
	}
}

// singleAny is a single key without a dictionary, or a lookup that must not add.
func (t *GroupTable) singleAny(key *column.Column, sel []int32, out []int32, add bool) {
	for i := range out {
		row := i
		if sel != nil {
			row = int(sel[i])
		}
		switch {
		case key.IsNull(row) && add:
			out[i] = t.nullGroup()
		case key.IsNull(row):
			out[i] = t.nullID
		default:
			out[i] = t.intern(0, key, row, add)
			if add {
				t.addSingle(out[i])
			}
		}
	}
}

// intern returns the id of the value of a row, -1 when it is unknown and add is false.
func (t *GroupTable) intern(c int, key *column.Column, row int, add bool) int32 {
	var b []byte
	if key.Type.Kind.Storage() == column.StoreDict {
		b = stringBytes(key.Str(row))
	} else {
		t.enc = appendCell(t.enc[:0], key, row)
		b = t.enc
	}
	if add {
		return t.interns[c].id(b)
	}
	if id, ok := t.interns[c].find(b); ok {
		return id
	}
	return -1
}

// wordColumn writes one word per row of a key column into the scratch.
func (t *GroupTable) wordColumn(c int, key *column.Column, sel []int32, n int, add bool) {
	for len(t.scratch) <= c {
		t.scratch = append(t.scratch, nil)
	}
	w := t.scratch[c]
	if cap(w) < n {
		w = make([]uint64, n)
	}
	w = w[:n]
	t.scratch[c] = w
	switch key.Type.Kind.Storage() {
	case column.StoreI64:
		gatherI64(w, key.I64, sel)
	case column.StoreF64:
		gatherF64(w, key.F64, sel)
	case column.StoreDict:
		t.gatherDict(c, w, key, sel, add)
	case column.StoreNone:
		clear(w)
	default:
		for i := range w {
			row := rowAt(sel, i)
			if w[i] = 0; !key.IsNull(row) {
				w[i] = uint64(int64(t.intern(c, key, row, add)))
			}
		}
	}
}

func rowAt(sel []int32, i int) int {
	if sel == nil {
		return i
	}
	return int(sel[i])
}

func gatherI64(w []uint64, v []int64, sel []int32) {
	if sel == nil {
		for i := range w {
			w[i] = uint64(v[i])
		}
		return
	}
	for i, r := range sel {
		w[i] = uint64(v[r])
	}
}

func gatherF64(w []uint64, v []float64, sel []int32) {
	for i := range w {
		w[i] = floatWord(v[rowAt(sel, i)])
	}
}

// floatWord is the bits of f with one zero and one NaN.
func floatWord(f float64) uint64 {
	if f == 0 {
		return 0
	}
	if f != f {
		return 0x7ff8000000000000
	}
	return math.Float64bits(f)
}

func (t *GroupTable) gatherDict(c int, w []uint64, key *column.Column, sel []int32, add bool) {
	if !add {
		for i := range w {
			row := rowAt(sel, i)
			if w[i] = 0; !key.IsNull(row) {
				w[i] = uint64(int64(t.intern(c, key, row, false)))
			}
		}
		return
	}
	in := t.interns[c]
	cache := in.cache(key.Dict)
	nulls := key.HasNulls()
	for i := range w {
		row := rowAt(sel, i)
		if nulls && key.IsNull(row) {
			w[i] = 0
			continue
		}
		code := key.Codes[row]
		id := cache.ids[code]
		if id < 0 {
			id = in.code(cache, code)
		}
		w[i] = uint64(id)
	}
}

// nullMasks sets one mask per row, bit c = key c is NULL, and zeroes the word of NULLs.
func (t *GroupTable) nullMasks(keys []*column.Column, sel []int32, n int) {
	if cap(t.masks) < n {
		t.masks = make([]uint64, n)
	}
	t.masks = t.masks[:n]
	clear(t.masks)
	for c, k := range keys {
		if !k.HasNulls() {
			continue
		}
		for i := range t.masks {
			if k.IsNull(rowAt(sel, i)) {
				t.masks[i] |= 1 << (c & 63)
				t.scratch[c][i] = 0
			}
		}
	}
}
