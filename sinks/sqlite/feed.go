package sqlite

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"

	"signalbox/engine/column"
	"signalbox/sinks"
	"signalbox/sinks/row"
)

// feed is result rows as a table that SQLite reads: one INSERT … SELECT takes them all, each value straight from its
// column. A statement per row costs three times as much, and database/sql as much again.
//
// The feed lives on one connection. Texts and blobs are in memory of the C allocator, because SQLite looks at them
// where they are.
type feed struct {
	c     *conn
	names map[int]string // module by number of columns
	keep  []any          // what SQLite holds only the address of

	buf     []byte  // row ids and texts
	base    uintptr // the same for SQLite, and "NaN" after it; see load
	size    int     // of the memory at base
	modules []uintptr
	parts   []part
	order   []rowRef
	at      int // position of the one cursor

	revised   bool // some row may have been there before
	certified bool // some batch says what agents had certified
}

// part is one batch as columns of the feed: our own columns first.
type part struct {
	b       *sinks.Batch
	sources []source // of the result columns
	idAt    int      // where the row id of row 0 is, or would be, in feed.buf
}

// rowRef is one row, with what rows are sorted by.
type rowRef struct {
	time      int64 // µs, when the table is ordered by time
	hi, lo    uint64
	part, row int32
}

// source is where the values of a column are.
type source struct {
	col   *column.Column // nil = all NULL
	kind  sourceKind
	codes []uint32 // sourceText and sourceBlob by dictionary: index into spans; nil = spans by row
	spans []span   // in feed.buf
}

type sourceKind uint8

const (
	sourceInt sourceKind = iota
	sourceFloat
	sourceText
	sourceBlob
)

type span struct{ off, len int }

const (
	maxFeedBytes  = 16 << 20 // texts of one statement; what comes after goes with the next
	keepFeedBytes = 4 << 20  // kept for the next statement
)

// metaColumns are our own columns in a feed, in this order: see columnList.
const metaColumns = 5

func newFeed(c *conn) *feed { return &feed{c: c, names: map[int]string{}} }

// free lets go of the memory; the connection must be closed.
func (f *feed) free() {
	for _, p := range append(f.modules, f.base) {
		libc.Xfree(f.c.tls, p)
	}
}

func (f *feed) reset() {
	clear(f.parts)
	f.revised, f.certified = false, false
	f.parts, f.order, f.buf = f.parts[:0], f.order[:0], f.buf[:0]
	if cap(f.buf) > keepFeedBytes {
		f.buf = nil
	}
}

func (f *feed) len() int { return len(f.order) }

// full reports that the next batch should wait for the next statement.
func (f *feed) full() bool { return len(f.buf) >= maxFeedBytes }

// add takes the rows from <= i < to of a batch. timeAt is the ordinal of the column that the table is ordered by, or -1.
func (f *feed) add(b *sinks.Batch, from, to, timeAt int) {
	p := part{b: b, idAt: len(f.buf) - from*len(b.IDs[from])}
	for i := from; i < to; i++ {
		f.buf = append(f.buf, b.IDs[i][:]...)
	}
	for c, fd := range b.Rows.Schema.Fields {
		p.sources = append(p.sources, f.source(fd.Type, b.Rows.Cols[c], from, to))
	}
	var times []int64
	if timeAt >= 0 {
		times = b.Rows.Cols[timeAt].I64
	}
	f.certified = f.certified || b.Complete != nil || b.Expected != nil
	n := int32(len(f.parts))
	for i := from; i < to; i++ {
		f.revised = f.revised || b.Revisions[i] != 1
		r := rowRef{hi: binary.BigEndian.Uint64(b.IDs[i][:]), lo: binary.BigEndian.Uint64(b.IDs[i][8:]), part: n, row: int32(i)}
		if times != nil {
			r.time = times[i]
		}
		f.order = append(f.order, r)
	}
	f.parts = append(f.parts, p)
}

// sort puts the rows into the order of the table's key, so that neighbours are written together.
func (f *feed) sort() {
	compare := func(a, b rowRef) int {
		if c := cmp.Compare(a.time, b.time); c != 0 {
			return c
		}
		if c := cmp.Compare(a.hi, b.hi); c != 0 {
			return c
		}
		if c := cmp.Compare(a.lo, b.lo); c != 0 {
			return c
		}
		return cmp.Or(cmp.Compare(a.part, b.part), cmp.Compare(a.row, b.row)) // on all nodes the same row is the first
	}
	if !slices.IsSortedFunc(f.order, compare) {
		slices.SortFunc(f.order, compare)
	}
}

// source copies the texts of a column; numbers stay where they are.
func (f *feed) source(t column.Type, c *column.Column, from, to int) source {
	s := source{col: c}
	if c == nil || t.Kind == column.Void {
		s.col = nil
		return s
	}
	switch t.Kind {
	case column.Boolean, column.TinyInt, column.SmallInt, column.Int, column.BigInt, column.IntervalDT, column.IntervalYM:
		return s
	case column.Float, column.Double:
		s.kind = sourceFloat
		return s
	case column.String, column.Binary:
		if s.kind = sourceText; t.Kind == column.Binary {
			s.kind = sourceBlob
		}
		f.strings(&s, c, from, to)
		return s
	}
	s.kind, s.spans = sourceText, make([]span, to)
	for i := from; i < to; i++ {
		if c.IsNull(i) {
			continue
		}
		begin := len(f.buf)
		if t.Kind == column.Timestamp {
			f.buf = row.AppendTimestamp(f.buf, c.I64[i])
		} else {
			f.buf = append(f.buf, row.Text(t, c.Datum(i))...)
		}
		s.spans[i] = span{begin, len(f.buf) - begin}
	}
	return s
}

// strings copies a dictionary once, or the rows when they are fewer.
func (f *feed) strings(s *source, c *column.Column, from, to int) {
	if c.Dict.Len() <= to-from {
		s.codes, s.spans = c.Codes, make([]span, c.Dict.Len())
		for i, v := range c.Dict.Values {
			s.spans[i] = f.text(v)
		}
		return
	}
	s.spans = make([]span, to)
	for i := from; i < to; i++ {
		if !c.IsNull(i) {
			s.spans[i] = f.text(c.Dict.Values[c.Codes[i]])
		}
	}
}

func (f *feed) text(s string) span {
	f.buf = append(f.buf, s...)
	return span{len(f.buf) - len(s), len(s)}
}

// value hands SQLite the value of a column in the row the cursor is at.
func (f *feed) value(tls *libc.TLS, ctx uintptr, col int) {
	ref := &f.order[f.at]
	p := &f.parts[ref.part]
	b, i := p.b, int(ref.row)
	switch col {
	case 0:
		sqlite3.Xsqlite3_result_blob(tls, ctx, f.base+uintptr(p.idAt+i*len(b.IDs[i])), int32(len(b.IDs[i])), sqlite3.SQLITE_STATIC)
	case 1:
		sqlite3.Xsqlite3_result_int64(tls, ctx, int64(b.Revisions[i]))
	case 2:
		sqlite3.Xsqlite3_result_int64(tls, ctx, int64(b.Index))
	case 3:
		agents(tls, ctx, b.Complete, i)
	case 4:
		agents(tls, ctx, b.Expected, i)
	default:
		f.cell(tls, ctx, &p.sources[col-metaColumns], i)
	}
}

func agents(tls *libc.TLS, ctx uintptr, counts []int32, i int) {
	if counts != nil {
		sqlite3.Xsqlite3_result_int64(tls, ctx, int64(counts[i]))
	}
}

// cell leaves NULL alone: it is what a value is before it is set.
func (f *feed) cell(tls *libc.TLS, ctx uintptr, s *source, i int) {
	if s.col == nil || s.col.IsNull(i) {
		return
	}
	at := i
	switch s.kind {
	case sourceInt:
		sqlite3.Xsqlite3_result_int64(tls, ctx, s.col.I64[i])
		return
	case sourceFloat:
		if v := s.col.F64[i]; !math.IsNaN(v) {
			sqlite3.Xsqlite3_result_double(tls, ctx, v)
		} else {
			sqlite3.Xsqlite3_result_text(tls, ctx, f.base+uintptr(len(f.buf)), int32(len(nan)), sqlite3.SQLITE_STATIC)
		}
		return
	}
	if s.codes != nil {
		at = int(s.codes[i])
	}
	text := s.spans[at]
	z := f.base + uintptr(text.off)
	if s.kind == sourceBlob {
		sqlite3.Xsqlite3_result_blob(tls, ctx, z, int32(text.len), sqlite3.SQLITE_STATIC)
		return
	}
	sqlite3.Xsqlite3_result_text(tls, ctx, z, int32(text.len), sqlite3.SQLITE_STATIC)
}

// nan is what SQLite, which would make it NULL, stores of a double that is none.
const nan = "NaN"

// module returns the name of the table that shows the feed with so many columns, c0, c1 and so on.
func (f *feed) module(columns int) (string, error) {
	if name := f.names[columns]; name != "" {
		return name, nil
	}
	name := fmt.Sprintf("_signalbox_feed_%d", columns)
	m := sqlite3.Tsqlite3_module{FiVersion: 1}
	connect := func(tls *libc.TLS, db, _ uintptr, _ int32, _, out, _ uintptr) int32 {
		return f.connect(tls, db, out, columns)
	}
	bestIndex := func(*libc.TLS, uintptr, uintptr) int32 { return sqlite3.SQLITE_OK }
	drop := func(tls *libc.TLS, p uintptr) int32 { libc.Xfree(tls, p); return sqlite3.SQLITE_OK }
	open := func(tls *libc.TLS, _, out uintptr) int32 { return allocate(tls, out) }
	filter := func(*libc.TLS, uintptr, int32, uintptr, int32, uintptr) int32 { f.at = 0; return sqlite3.SQLITE_OK }
	next := func(*libc.TLS, uintptr) int32 { f.at++; return sqlite3.SQLITE_OK }
	eof := func(*libc.TLS, uintptr) int32 {
		if f.at < len(f.order) {
			return 0
		}
		return 1
	}
	value := func(tls *libc.TLS, _, ctx uintptr, col int32) int32 {
		f.value(tls, ctx, int(col))
		return sqlite3.SQLITE_OK
	}
	rowid := func(_ *libc.TLS, _, out uintptr) int32 { *(*int64)(at(out)) = int64(f.at); return sqlite3.SQLITE_OK }
	m.FxConnect, m.FxBestIndex, m.FxDisconnect, m.FxDestroy = function(connect), function(bestIndex), function(drop), function(drop)
	m.FxOpen, m.FxClose, m.FxFilter, m.FxNext, m.FxEof = function(open), function(drop), function(filter), function(next), function(eof)
	m.FxColumn, m.FxRowid = function(value), function(rowid)
	f.keep = append(f.keep, connect, bestIndex, drop, open, filter, next, eof, value, rowid)
	place := libc.Xmalloc(f.c.tls, libc.Tsize_t(unsafe.Sizeof(m)))
	if place == 0 {
		return "", errMemory
	}
	*(*sqlite3.Tsqlite3_module)(at(place)) = m
	f.modules = append(f.modules, place)
	err := f.c.withText(name, func(z uintptr) error {
		return f.c.check(sqlite3.Xsqlite3_create_module_v2(f.c.tls, f.c.db, z, place, 0, 0))
	})
	if err != nil {
		return "", err
	}
	f.names[columns] = name
	return name, nil
}

// connect declares the columns. There is no create: the table exists by itself, in no schema, and nobody else sees it.
func (f *feed) connect(tls *libc.TLS, db, out uintptr, columns int) int32 {
	var b strings.Builder
	b.WriteString("CREATE TABLE x (")
	for i := range columns {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "c%d", i)
	}
	b.WriteString(")")
	rc := int32(sqlite3.SQLITE_NOMEM)
	_ = f.c.withText(b.String(), func(z uintptr) error {
		rc = sqlite3.Xsqlite3_declare_vtab(tls, db, z)
		return nil
	})
	if rc != sqlite3.SQLITE_OK {
		return rc
	}
	return allocate(tls, out)
}

// allocate makes a table or cursor object: SQLite keeps its own fields in it, we none.
func allocate(tls *libc.TLS, out uintptr) int32 {
	const size = 64 // sqlite3_vtab and sqlite3_vtab_cursor are smaller
	p := libc.Xcalloc(tls, 1, size)
	if *(*uintptr)(at(out)) = p; p == 0 {
		return sqlite3.SQLITE_NOMEM
	}
	return sqlite3.SQLITE_OK
}

// load copies the texts to where SQLite may look at them.
func (f *feed) load() error {
	n := len(f.buf) + len(nan)
	if n > math.MaxInt32 {
		return fmt.Errorf("%w: %d bytes of text in one batch", sinks.ErrPermanent, len(f.buf))
	}
	if n > f.size {
		p := libc.Xrealloc(f.c.tls, f.base, libc.Tsize_t(n))
		if p == 0 {
			return errMemory
		}
		f.base, f.size = p, n
	}
	dst := bytesAt(f.base, n)
	copy(dst[copy(dst, f.buf):], nan)
	return nil
}
