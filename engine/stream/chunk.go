package stream

import (
	"encoding/binary"
	"math"
	"strings"

	"github.com/zeebo/xxh3"

	"signalbox/engine/column"
	"signalbox/engine/expr"
)

// chunk is rows on their way through the operators. Everything but sel is
// indexed by row of b; only the rows of sel count.
type chunk struct {
	b   *column.Batch
	sel []int32 // ascending; nil = all

	src  *Batch         // where the rows came from; nil when an operator made them
	scan int32          // which scan of the plan read them
	ord  []int32        // row in src.Rows, nil = the same row
	time *column.Column // event time, nil = unknown

	origTime *column.Column // the column that src.MinTime and MaxTime are about

	ids  []RowID  // nil = by origin and ordinal
	revs []uint32 // nil = 1
	del  []bool   // nil = none

	full fullness // of all its rows
}

// timeRange returns the known range of the times in column t.
func (c *chunk) timeRange(t *column.Column) (lo, hi int64, ok bool) {
	if c.src == nil || !c.src.Ranged || c.sel != nil || c.ord != nil || c.origTime != t {
		return 0, 0, false
	}
	return c.src.MinTime, c.src.MaxTime, true
}

func (c *chunk) rows() int {
	if c.sel != nil {
		return len(c.sel)
	}
	return c.b.Len
}

func (c *chunk) row(i int) int {
	if c.sel != nil {
		return int(c.sel[i])
	}
	return i
}

func (c *chunk) ordinal(row int) int {
	if c.ord != nil {
		return int(c.ord[row])
	}
	return row
}

func (c *chunk) eventTime(row int) int64 {
	if c.time == nil || row >= c.time.Len() || c.time.IsNull(row) {
		return 0
	}
	return c.time.I64[row]
}

func (c *chunk) deleted(row int) bool { return c.del != nil && c.del[row] }

// id returns the identity of a row.
func (c *chunk) id(p *Pipeline, row int) RowID {
	if c.ids != nil {
		return c.ids[row]
	}
	if c.src == nil {
		buf := append(p.idbuf[:0], p.seed[:]...)
		buf = binary.LittleEndian.AppendUint32(buf, uint32(c.scan))
		buf = binary.LittleEndian.AppendUint64(buf, uint64(c.ordinal(row)))
		p.idbuf = buf
		return hashID(buf)
	}
	o := c.src.Origin
	if o == (Origin{}) { // input without agents: the log position stands for the batch
		o = Origin{Epoch: p.index, Seq: uint64(c.src.no)}
	}
	n := uint64(c.src.First + c.ordinal(row))
	// Ids of one agent grow with its sequence: stores that sort by id append instead of writing everywhere.
	if o.Seq < 1<<(64-ordinalBits) && n < 1<<ordinalBits {
		var id RowID
		binary.BigEndian.PutUint64(id[:], p.originHash(c.scan, o))
		binary.BigEndian.PutUint64(id[8:], o.Seq<<ordinalBits|n)
		return id
	}
	buf := p.originBytes(c.scan, o)
	buf = binary.LittleEndian.AppendUint64(buf, o.Seq)
	buf = binary.LittleEndian.AppendUint64(buf, n)
	p.idbuf = buf
	return hashID(buf)
}

// ordinalBits of a row id hold the row's position in its batch: 256 frames of 65,536 rows.
const ordinalBits = 24

func (p *Pipeline) originBytes(scan int32, o Origin) []byte {
	buf := append(p.idbuf[:0], p.seed[:]...)
	buf = binary.LittleEndian.AppendUint32(buf, uint32(scan))
	buf = append(buf, o.Agent...)
	buf = append(buf, 0)
	return binary.LittleEndian.AppendUint64(buf, o.Epoch)
}

// idOrigin remembers the hash of the origin that the last row came from.
type idOrigin struct {
	agent string
	epoch uint64
	scan  int32
	known bool
	hash  uint64
}

// originHash tells query, scan, agent and epoch apart.
func (p *Pipeline) originHash(scan int32, o Origin) uint64 {
	if l := &p.idlast; l.known && l.scan == scan && l.epoch == o.Epoch && l.agent == o.Agent {
		return l.hash
	}
	p.idbuf = p.originBytes(scan, o)
	p.idlast = idOrigin{agent: strings.Clone(o.Agent), epoch: o.Epoch, scan: scan, known: true, hash: xxh3.Hash(p.idbuf)}
	return p.idlast.hash
}

// childID identifies the k-th row made from one row.
func childID(parent RowID, k int) RowID {
	var b [24]byte
	copy(b[:], parent[:])
	binary.LittleEndian.PutUint64(b[16:], uint64(k))
	return hashID(b[:])
}

// pairID identifies a row made from two.
func pairID(a, b RowID) RowID {
	var buf [32]byte
	copy(buf[:], a[:])
	copy(buf[16:], b[:])
	return hashID(buf[:])
}

func hashID(b []byte) RowID { return xxh3.Hash128(b).Bytes() }

// keyID appends the value of a key cell to buf so that equal keys give equal bytes.
func appendCell(buf []byte, c *column.Column, row int) []byte {
	if c == nil || c.IsNull(row) {
		return append(buf, 0)
	}
	return appendDatum(append(buf, 1), c.Type, c.Datum(row))
}

func appendDatum(buf []byte, t column.Type, d column.Datum) []byte {
	if d.Null {
		return append(buf, 0)
	}
	switch t.Kind.Storage() {
	case column.StoreI64:
		return binary.LittleEndian.AppendUint64(buf, uint64(d.I))
	case column.StoreF64:
		f := d.F
		if f == 0 {
			f = 0 // one zero
		}
		if f != f {
			f = math.NaN()
		}
		return binary.LittleEndian.AppendUint64(buf, math.Float64bits(f))
	case column.StoreDict:
		buf = binary.AppendUvarint(buf, uint64(len(d.S)))
		return append(buf, d.S...)
	case column.StoreDec:
		buf = binary.LittleEndian.AppendUint64(buf, uint64(d.Dec.Hi))
		return binary.LittleEndian.AppendUint64(buf, d.Dec.Lo)
	case column.StoreAny:
		buf = binary.AppendUvarint(buf, uint64(len(d.L)))
		for i, x := range d.L {
			buf = appendDatum(append(buf, 1), elemType(t, i), x)
		}
	}
	return buf
}

func elemType(t column.Type, i int) column.Type {
	switch t.Kind {
	case column.Struct:
		return t.Fields[i].Type
	case column.Map:
		if i%2 == 0 {
			return *t.Key
		}
	}
	return *t.Elem
}

// take appends the rows of src to dst, which may be empty or share its dictionary.
func take(dst, src *column.Column, sel []int32, n int) {
	if sel == nil {
		sel = identity(n)
	}
	if src == nil {
		for range sel {
			dst.AppendNull()
		}
		return
	}
	if src.HasNulls() || dst.Type.Kind.Storage() == column.StoreNone {
		dst.Take(src, sel)
		return
	}
	switch dst.Type.Kind.Storage() {
	case column.StoreI64:
		for _, r := range sel {
			dst.I64 = append(dst.I64, src.I64[r])
		}
		dst.SetLen(len(dst.I64))
	case column.StoreF64:
		for _, r := range sel {
			dst.F64 = append(dst.F64, src.F64[r])
		}
		dst.SetLen(len(dst.F64))
	case column.StoreDict:
		if dst.Len() == 0 {
			dst.Dict = src.Dict
		}
		if dst.Dict != src.Dict {
			dst.Take(src, sel)
			return
		}
		for _, r := range sel {
			dst.Codes = append(dst.Codes, src.Codes[r])
		}
		dst.SetLen(len(dst.Codes))
	default:
		dst.Take(src, sel)
	}
}

// none empties a list of rows. It is never nil, because a nil list means all rows.
func none(buf []int32) []int32 {
	if buf == nil {
		return make([]int32, 0, 64)
	}
	return buf[:0]
}

// identity returns 0..n-1.
func identity(n int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(i)
	}
	return out
}

// takeBatch appends rows to dst; columns that are nil in src become NULL.
func takeBatch(dst, src *column.Batch, sel []int32) {
	n := len(sel)
	if sel == nil {
		n = src.Len
		sel = identity(n)
	}
	for i, c := range dst.Cols {
		take(c, src.Cols[i], sel, n)
	}
	dst.Len += n
}

// truths returns the rows of sel where cond is true.
func truths(cond *column.Column, sel []int32, n int, out []int32) []int32 {
	out = none(out)
	nulls := cond.HasNulls()
	if cond.Type.Kind == column.Void {
		return out
	}
	if sel == nil {
		for i, v := range cond.I64[:n] {
			if v != 0 && !(nulls && cond.IsNull(i)) {
				out = append(out, int32(i))
			}
		}
		return out
	}
	for _, r := range sel {
		if cond.I64[r] != 0 && !(nulls && cond.IsNull(int(r))) {
			out = append(out, r)
		}
	}
	return out
}

// dropFailed reports the rows that failed in ctx and returns sel without them;
// buf is memory to build the new list in.
func (p *Pipeline) dropFailed(ctx *expr.Context, c *chunk, sel []int32, buf *[]int32) []int32 {
	if len(ctx.Errors) == 0 {
		return sel
	}
	for _, e := range ctx.Errors {
		p.refuse(c, int(e.Row), "expression", e.Err)
	}
	out := none(*buf)
	for i, n := 0, lenOf(sel, c.b.Len); i < n; i++ {
		if r := at(sel, i); !ctx.Failed(r) {
			out = append(out, r)
		}
	}
	*buf = out
	return out
}

func lenOf(sel []int32, n int) int {
	if sel != nil {
		return len(sel)
	}
	return n
}

func at(sel []int32, i int) int32 {
	if sel != nil {
		return sel[i]
	}
	return int32(i)
}
