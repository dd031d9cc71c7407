package lineproto

import (
	"encoding/binary"
	"math/bits"
)

// maxSeries bounds the series remembered; then they are learned anew.
const maxSeries = 1 << 18

// absent is the code of a tag that a series does not have.
const absent = ^uint32(0)

// series is a measurement with its tags as they stand in the text, and what they mean.
type series struct {
	hash   uint64
	stream *stream
	shape  *shape
	off    uint32 // text in the memo's arena
	len    uint32
	codes  uint32 // first of the stream's tag codes
}

// memo finds a series by the bytes of its measurement and tags.
type memo struct {
	slots []uint32 // index+1, 0 = empty; a power of two
	all   []series
	text  []byte
	codes []uint32
}

const spaces = 0x2020202020202020
const (
	lows  = 0x0101010101010101
	highs = 0x8080808080808080
)

func mixHash(h, w uint64) uint64 {
	hi, lo := bits.Mul64(h^w, 0x9E3779B97F4A7C15)
	return hi ^ lo
}

// prefix hashes the bytes up to the first space, eight at a time, and returns
// where it is; -1 when there is none in buf (which has slack behind its data).
func prefix(buf []byte, p int) (end int, h uint64) {
	h = 0x2545F4914F6CDD1D
	for {
		if p+8 > len(buf) {
			return -1, 0
		}
		w := binary.LittleEndian.Uint64(buf[p:])
		x := w ^ spaces
		if m := (x - lows) &^ x & highs; m != 0 {
			k := bits.TrailingZeros64(m) &^ 7
			return p + k>>3, mixHash(h, w&(1<<k-1)|uint64(k)<<56)
		}
		h = mixHash(h, w)
		p += 8
	}
}

func (m *memo) find(hash uint64, text []byte) *series {
	if len(m.slots) == 0 {
		return nil
	}
	mask := uint64(len(m.slots) - 1)
	for p := hash & mask; ; p = (p + 1) & mask {
		v := m.slots[p]
		if v == 0 {
			return nil
		}
		s := &m.all[v-1]
		if s.hash == hash && string(m.text[s.off:s.off+s.len]) == string(text) {
			return s
		}
	}
}

func (m *memo) add(hash uint64, text []byte) *series {
	if len(m.all) >= maxSeries || len(m.text) > 1<<30 {
		m.reset()
	}
	if len(m.all)*2 >= len(m.slots) {
		m.grow()
	}
	m.all = append(m.all, series{hash: hash, off: uint32(len(m.text)), len: uint32(len(text)), codes: uint32(len(m.codes))})
	m.text = append(m.text, text...)
	m.place(hash, uint32(len(m.all)))
	return &m.all[len(m.all)-1]
}

func (m *memo) place(hash uint64, v uint32) {
	mask := uint64(len(m.slots) - 1)
	p := hash & mask
	for m.slots[p] != 0 {
		p = (p + 1) & mask
	}
	m.slots[p] = v
}

func (m *memo) grow() {
	m.slots = make([]uint32, max(64, 2*len(m.slots)))
	for i := range m.all {
		m.place(m.all[i].hash, uint32(i+1))
	}
}

func (m *memo) reset() {
	clear(m.slots)
	m.all, m.text, m.codes = m.all[:0], m.text[:0], m.codes[:0]
}

// learn remembers what an accepted entry shows: line is its text. The text up
// to the first space counts only when it is what the tags would be written as,
// so that it has no escapes.
func (r *Reader) learn(st *stream, e *entry, line []byte) {
	r.plain = append(r.plain[:0], e.name...)
	for _, t := range e.tags {
		r.plain = append(append(append(append(r.plain, ','), t.key...), '='), t.value...)
	}
	if len(line) <= len(r.plain) || string(line[:len(r.plain)]) != string(r.plain) || line[len(r.plain)] != ' ' {
		return
	}
	for _, b := range r.plain {
		if b == ' ' || b == '\\' {
			return
		}
	}
	end, hash := prefix(append(r.plain, " \x00\x00\x00\x00\x00\x00\x00\x00"...), 0)
	text := r.plain[:end]
	s := r.memo.find(hash, text)
	if s == nil {
		s = r.memo.add(hash, text)
		s.stream = st
		for _, col := range st.strs {
			code := absent
			for _, t := range e.tags {
				if st.byName[string(t.key)] == col && string(t.key) == st.schema.Fields[col].Name {
					code = st.batch.Cols[col].Dict.CodeBytes(t.value)
				}
			}
			r.memo.codes = append(r.memo.codes, code)
		}
	}
	s.shape = st.learnShape(e)
}
