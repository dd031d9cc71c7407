package stream

import (
	"slices"

	"signalbox/engine/column"
)

// rowStore holds the rows of one side of a join of two streams.
type rowStore struct {
	rows    *column.Batch // by slot
	ids     []RowID
	gids    []int32 // key of the row, -1 = a NULL that matches nothing
	seq     []uint64
	matched []bool
	alive   []bool
	next    []int32 // slot of the next row of the key + 1
	head    []int32 // per key: first slot + 1
	tail    []int32
	free    []int32
	count   uint64 // rows ever stored: gives seq
	live    int64
	text    int64 // bytes of texts and nested values
	wait    expiries
	caps    rowCaptures
}

func newRowStore(s *column.Schema) *rowStore { return &rowStore{rows: column.NewBatch(s, 0)} }

// add stores row r of b; at is when it can be forgotten (never = not).
func (s *rowStore) add(b *column.Batch, r int, id RowID, gid int32, matched bool, at int64) int32 {
	slot := s.slot()
	s.caps.before(slot)
	for i, c := range s.rows.Cols {
		d := column.NullDatum
		if b.Cols[i] != nil {
			d = b.Cols[i].Datum(r)
		}
		c.Set(int(slot), d)
		s.text += datumBytes(d)
	}
	s.count++
	s.ids[slot], s.gids[slot], s.seq[slot], s.matched[slot], s.alive[slot] = id, gid, s.count, matched, true
	s.live++
	s.link(slot, gid)
	if at != never {
		s.wait.push(expiry{at, slot})
	}
	return slot
}

func (s *rowStore) slot() int32 {
	if n := len(s.free); n > 0 {
		x := s.free[n-1]
		s.free = s.free[:n-1]
		return x
	}
	for _, c := range s.rows.Cols {
		c.AppendNull()
	}
	s.rows.Len++
	s.ids, s.gids, s.seq = append(s.ids, RowID{}), append(s.gids, -1), append(s.seq, 0)
	s.matched, s.alive, s.next = append(s.matched, false), append(s.alive, false), append(s.next, 0)
	return int32(s.rows.Len - 1)
}

// link appends a row to the chain of its key.
func (s *rowStore) link(slot, gid int32) {
	s.next[slot] = 0
	if gid < 0 {
		return
	}
	for len(s.head) <= int(gid) {
		s.head, s.tail = append(s.head, 0), append(s.tail, 0)
	}
	if s.tail[gid] == 0 {
		s.head[gid] = slot + 1
	} else {
		s.next[s.tail[gid]-1] = slot + 1
	}
	s.tail[gid] = slot + 1
}

// first returns the first row of a key + 1, 0 = none.
func (s *rowStore) first(gid int32) int32 {
	if gid < 0 || int(gid) >= len(s.head) {
		return 0
	}
	return s.head[gid]
}

// remove forgets a row.
func (s *rowStore) remove(slot int32) {
	if g := s.gids[slot]; g >= 0 {
		prev := int32(0)
		for x := s.head[g]; x != slot+1; x = s.next[x-1] {
			prev = x
		}
		if prev == 0 {
			s.head[g] = s.next[slot]
		} else {
			s.next[prev-1] = s.next[slot]
		}
		if s.tail[g] == slot+1 {
			s.tail[g] = prev
		}
	}
	s.caps.before(slot)
	s.alive[slot] = false
	s.live--
	for _, c := range s.rows.Cols {
		s.text -= datumBytes(c.Datum(int(slot)))
	}
	s.free = append(s.free, slot)
	s.shrink()
}

// shrink rebuilds dictionaries that hold mostly strings of forgotten rows.
func (s *rowStore) shrink() {
	for i, c := range s.rows.Cols {
		if c.Dict == nil || c.Dict.Len() <= 2*s.rows.Len+4096 {
			continue
		}
		fresh := column.New(c.Type, s.rows.Len)
		for r := range s.rows.Len {
			if s.alive[r] {
				fresh.Append(c.Datum(r))
			} else {
				fresh.AppendNull()
			}
		}
		s.rows.Cols[i] = fresh
	}
}

func (s *rowStore) bytes() int64 {
	return int64(s.rows.Len)*int64(48+12*len(s.rows.Cols)) + s.text
}

// match marks a row that found another one.
func (s *rowStore) match(slot int32) {
	if !s.matched[slot] {
		s.caps.before(slot)
		s.matched[slot] = true
	}
}

// capture returns what writes the rows as of now.
func (s *rowStore) capture(c *Capture) func(e *encoder) {
	count, free := s.count, slices.Clone(s.free)
	rows := c.rows(&s.caps, s.rows.Len, s.encode)
	return func(e *encoder) {
		e.uvarint(count)
		rows.write(e, c.lock)
		e.int(len(free))
		for _, f := range free {
			e.int(int(f))
		}
	}
}

func (s *rowStore) encode(e *encoder, from, to int) {
	for r := from; r < to; r++ {
		if e.bool(s.alive[r]); !s.alive[r] {
			continue
		}
		e.Write(s.ids[r][:])
		e.varint(int64(s.gids[r]))
		e.uvarint(s.seq[r])
		e.bool(s.matched[r])
		for _, c := range s.rows.Cols {
			e.datum(c.Type, c.Datum(r))
		}
	}
}

// load reads what save wrote; expire computes when a row can be forgotten.
func (s *rowStore) load(d *decoder, keys int, expire func(r int) int64) {
	s.count = d.uvarint()
	n := d.int()
	var order []int32
	for r := 0; r < n && d.err == nil; r++ {
		s.slot()
		if !d.bool() {
			continue
		}
		for i := range s.ids[r] {
			b, err := d.ReadByte()
			if err != nil {
				d.fail(err)
			}
			s.ids[r][i] = b
		}
		g := d.varint()
		if g < -1 || g >= int64(keys) {
			d.fail(errState)
			return
		}
		s.gids[r], s.seq[r], s.matched[r], s.alive[r] = int32(g), d.uvarint(), d.bool(), true
		for _, c := range s.rows.Cols {
			v := d.datum(c.Type)
			c.Set(r, v)
			s.text += datumBytes(v)
		}
		s.live++
		order = append(order, int32(r))
	}
	slices.SortFunc(order, func(a, b int32) int { return compare(int64(s.seq[a]), int64(s.seq[b])) })
	for _, r := range order {
		s.link(r, s.gids[r])
		if at := expire(int(r)); at != never {
			s.wait.push(expiry{at, r})
		}
	}
	for k := d.int(); k > 0 && d.err == nil; k-- {
		f := d.int()
		if f >= n || s.alive[f] {
			d.fail(errState)
			return
		}
		s.free = append(s.free, int32(f))
	}
}
