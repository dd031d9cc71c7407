package lineproto

import (
	"encoding/binary"
	"math"
	"math/bits"
	"strconv"
	"unicode/utf8"
	"unsafe"
)

const zeros = 0x3030303030303030

// pow10 are the powers of ten that are exact in a DOUBLE.
var pow10 = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

var int10 = [...]uint64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8}

// digits counts the leading ASCII digits of eight bytes and returns their value.
func digits(w uint64) (n int, v uint64) {
	x := w ^ zeros
	m := ((x + 0x7676767676767676) | x) & highs
	n = bits.TrailingZeros64(m) >> 3
	x <<= uint(8-n) * 8
	x = x*10 + x>>8
	return n, ((x&0x000000FF000000FF)*(100+1000000<<32) + (x>>16&0x000000FF000000FF)*(1+10000<<32)) >> 32
}

// digitsValue is the value of the first n of eight bytes, which are digits.
func digitsValue(w uint64, n int) uint64 {
	x := (w ^ zeros) << (uint(8-n) * 8 & 63)
	x = x*10 + x>>8
	return ((x&0x000000FF000000FF)*(100+1000000<<32) + (x>>16&0x000000FF000000FF)*(1+10000<<32)) >> 32
}

// countDigits counts the leading ASCII digits of eight bytes.
func countDigits(w uint64) int {
	x := w ^ zeros
	return bits.TrailingZeros64(((x+0x7676767676767676)|x)&highs) >> 3
}

// scan takes ordinary lines of series and shapes seen before, until a line is
// anything else, the batch is full or the window ends. It consumes whole lines
// only: the line it stops at is untouched.
func (r *Reader) scan() {
	w := r.win
	buf := w.buf[:w.end+slack]
	for r.total < r.opt.Rows {
		q, hash := prefix(buf, w.pos)
		if q < 0 {
			return
		}
		s := r.memo.find(hash, buf[w.pos:q])
		if s == nil || s.shape == nil {
			return
		}
		st := s.stream
		if !st.started {
			r.begin(st)
			if len(r.memo.all) == 0 {
				break // a dictionary was started anew: s is gone
			}
		}
		p := s.shape.scan(buf, q+1, st.n)
		if p < 0 {
			break
		}
		p, time := scanTime(buf, p)
		if p < 0 || p > w.end || p-w.pos > MaxLine {
			break
		}
		st.commit(s, r.memo.codes, time)
		r.total++
		w.pos = p
		w.line++
	}
	if n := len(r.order); n > 0 && r.order[n-1].n == 0 {
		r.abandon(r.order[n-1])
	}
}

// scanTime reads a timestamp of up to 18 digits, or 19 that fit, and the end of the line.
func scanTime(buf []byte, p int) (int, int64) {
	if p+32 > len(buf) {
		return -1, 0
	}
	n, v := digits(binary.LittleEndian.Uint64(buf[p:]))
	if n == 0 {
		return -1, 0
	}
	if n == 8 {
		n2, v2 := digits(binary.LittleEndian.Uint64(buf[p+8:]))
		v = v*int10[n2] + v2
		if n = 8 + n2; n2 == 8 {
			n3, v3 := digits(binary.LittleEndian.Uint64(buf[p+16:]))
			if n3 > 3 || n3 == 3 && v > 9_223_372_036_854_774 {
				return -1, 0
			}
			v = v*int10[n3] + v3
			n = 16 + n3
		}
	}
	p += n
	if buf[p] == '\r' {
		p++
	}
	if buf[p] != '\n' {
		return -1, 0
	}
	return p + 1, int64(v)
}

// commit makes the values that scan has written a row.
func (st *stream) commit(s *series, codes []uint32, time int64) {
	st.putTime(time)
	for _, col := range s.shape.missing {
		code := absent
		for i, c := range st.strs {
			if c == col {
				code = codes[int(s.codes)+i]
			}
		}
		if code == absent {
			st.null(col)
		} else {
			st.batch.Cols[col].Codes[st.n] = code
		}
	}
	st.n++
}

// scan reads the fields of a line from p on and writes the wanted ones at a
// row. It returns where the timestamp starts, or -1 when the line is anything
// but this shape in its plainest form.
func (s *shape) scan(buf []byte, p, row int) int {
	last := len(s.fields) - 1
	for i := range s.fields {
		f := &s.fields[i]
		if p+f.klen+40 > len(buf) {
			return -1
		}
		if (binary.LittleEndian.Uint64(buf[p:])^f.key8)&f.mask8 != 0 {
			return -1
		}
		if f.rest != "" && string(buf[p+8:p+f.klen]) != f.rest {
			return -1
		}
		p += f.klen
		switch f.op {
		case opFloat, opFloat32:
			p = f.float(buf, p, row)
		case opInt, opIntSmall, opIntWide:
			p = f.int(buf, p, row)
		case opBool:
			p = f.bool(buf, p, row)
		default:
			p = f.string(buf, p, row)
		}
		if p < 0 {
			return -1
		}
		want := byte(',')
		if i == last {
			want = ' '
		}
		if buf[p] != want {
			return -1
		}
		p++
	}
	return p
}

// floatEnd finds where the digits of a float have their point (or end) and
// where it ends, both from the same two words, so that the next field does not
// wait for two searches. end is 0 when the text is anything but up to seven
// digits, maybe followed by a point and digits, sixteen bytes in all.
func floatEnd(buf []byte, p int) (dot, end int) {
	w := binary.LittleEndian.Uint64(buf[p:])
	x := w ^ zeros
	m := ((x + 0x7676767676767676) | x) & highs
	k := bits.TrailingZeros64(m) &^ 7
	if k == 0 || k == 64 {
		return 0, 0
	}
	dot = k >> 3
	if byte(w>>k) != '.' {
		return dot, dot
	}
	if m &= m - 1; m != 0 {
		end = bits.TrailingZeros64(m) >> 3
	} else {
		n := countDigits(binary.LittleEndian.Uint64(buf[p+8:]))
		if n == 8 {
			return 0, 0
		}
		end = 8 + n
	}
	if end == dot+1 {
		return 0, 0
	}
	return dot, end
}

// int reads an integer of up to 16 digits.
func (f *shapeField) int(buf []byte, p, row int) int {
	neg := buf[p] == '-'
	if neg {
		p++
	}
	w := binary.LittleEndian.Uint64(buf[p:])
	if f.col < 0 && f.op == opInt {
		if n := countDigits(w); n > 0 && n < 8 && buf[p+n] == 'i' {
			return p + n + 1
		}
	}
	n, u := digits(w)
	if n == 0 {
		return -1
	}
	p += n
	if n == 8 {
		n2, u2 := digits(binary.LittleEndian.Uint64(buf[p:]))
		if n2 == 8 {
			return -1
		}
		u = u*int10[n2] + u2
		p += n2
	}
	if buf[p] != 'i' {
		return -1
	}
	v := int64(u)
	if neg {
		v = -v
	}
	switch f.op {
	case opIntSmall:
		if v < f.lo || v > f.hi {
			return -1
		}
		fallthrough
	case opInt:
		if f.i64 != nil {
			f.i64[row] = v
		}
	default:
		if f.f64 != nil {
			f.f64[row] = float64(v)
		}
	}
	return p + 1
}

// float reads digits with at most one point among them.
func (f *shapeField) float(buf []byte, p, row int) int {
	start := p
	if buf[p] == '-' {
		p++
	}
	dot, end := floatEnd(buf, p)
	if end == 0 {
		return f.longFloat(buf, start, p, row)
	}
	if f.f64 == nil {
		return p + end
	}
	u := digitsValue(binary.LittleEndian.Uint64(buf[p:]), dot)
	frac := 0
	if end > dot {
		frac = end - dot - 1
		n := min(frac, 8)
		u = u*int10[n] + digitsValue(binary.LittleEndian.Uint64(buf[p+dot+1:]), n)
		if frac > 8 {
			u = u*int10[frac-8] + digitsValue(binary.LittleEndian.Uint64(buf[p+dot+9:]), frac-8)
		}
	}
	x := float64(u) / pow10[frac] // at most 15 digits: exact
	if p > start {
		x = -x
	}
	if f.op == opFloat32 {
		x = float64(float32(x))
	}
	f.f64[row] = x
	return p + end
}

// longFloat reads up to 32 bytes of digits with at most one point inside them, by strconv.
func (f *shapeField) longFloat(buf []byte, start, p, row int) int {
	points := 0
	for ; p-start < 32 && (buf[p]-'0' <= 9 || buf[p] == '.' && points == 0 && p > start); p++ {
		if buf[p] == '.' {
			points++
		}
	}
	if p == start || buf[p-1]-'0' > 9 || buf[start+1] == '.' && buf[start] == '-' {
		return -1
	}
	if f.f64 == nil {
		return p
	}
	x, err := strconv.ParseFloat(unsafe.String(&buf[start], p-start), 64)
	if err != nil {
		return -1
	}
	if f.op == opFloat32 {
		x = float64(float32(x))
	}
	f.f64[row] = x
	return p
}

// bool reads true, false, t or f.
func (f *shapeField) bool(buf []byte, p, row int) int {
	v := int64(0)
	switch w := binary.LittleEndian.Uint64(buf[p:]); {
	case uint32(w) == 0x65757274: // "true"
		v, p = 1, p+4
	case w&0xffffffffff == 0x65736c6166: // "false"
		p += 5
	case byte(w) == 't':
		v, p = 1, p+1
	case byte(w) == 'f':
		p++
	default:
		return -1
	}
	if f.i64 != nil {
		f.i64[row] = v
	}
	return p
}

// string reads a quoted string without escapes and newlines.
func (f *shapeField) string(buf []byte, p, row int) int {
	if buf[p] != '"' {
		return -1
	}
	p++
	start, ascii := p, byte(0)
	for ; p < len(buf)-slack/2 && buf[p] != '"'; p++ {
		c := buf[p]
		if c == '\\' || c == '\n' || p-start > math.MaxInt16 {
			return -1
		}
		ascii |= c
	}
	if buf[p] != '"' || ascii >= utf8.RuneSelf && !utf8.Valid(buf[start:p]) {
		return -1
	}
	if f.codes != nil {
		f.codes[row] = f.dict.CodeBytes(buf[start:p])
	}
	return p + 1
}
