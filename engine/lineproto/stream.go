package lineproto

import (
	"fmt"
	"math"

	lp "github.com/influxdata/line-protocol/v2/lineprotocol"

	"signalbox/engine/column"
)

// stream is a declared stream while it is being read.
type stream struct {
	schema  *column.Schema
	wanted  []bool
	byName  map[string]int // columns a tag or field may fill
	strs    []int          // wanted STRING columns, in the order of a series' codes
	batch   *column.Batch
	started bool
	n       int // rows in batch
	micros  bool
	shapes  []*shape
	set     []bool
}

func newStream(s Stream) (*stream, error) {
	sc := s.Schema
	if sc == nil || sc.Time < 0 || sc.Time >= len(sc.Fields) {
		return nil, fmt.Errorf("lineproto: stream needs a schema with an event-time column")
	}
	k := sc.Fields[sc.Time].Type.Kind
	if k != column.Timestamp && k != column.TimestampNS {
		return nil, fmt.Errorf("lineproto: stream %s: time column %s is %s, not a timestamp", sc.Name, sc.Fields[sc.Time].Name, k)
	}
	st := &stream{schema: sc, byName: map[string]int{}, micros: k == column.Timestamp,
		wanted: make([]bool, len(sc.Fields)), set: make([]bool, len(sc.Fields))}
	for i := range sc.Fields {
		st.wanted[i] = s.Columns == nil
		if i != sc.Time {
			st.byName[sc.Fields[i].Name] = i
		}
	}
	for _, c := range s.Columns {
		if c < 0 || c >= len(sc.Fields) {
			return nil, fmt.Errorf("lineproto: stream %s has no column %d", sc.Name, c)
		}
		st.wanted[c] = true
	}
	st.batch = &column.Batch{Schema: sc, Cols: make([]*column.Column, len(sc.Fields))}
	for i, w := range st.wanted {
		if w && sc.Fields[i].Type.Kind == column.String {
			st.strs = append(st.strs, i)
		}
	}
	return st, nil
}

// start makes the batch ready for up to rows rows.
func (st *stream) start(rows int) (newDicts bool) {
	for i, w := range st.wanted {
		if !w {
			continue
		}
		if st.batch.Cols[i] == nil {
			st.batch.Cols[i] = column.New(st.schema.Fields[i].Type, rows)
		}
		c := st.batch.Cols[i]
		if c.Dict != nil && c.Dict.Len() > MaxDict {
			c.Dict, newDicts = column.NewDict(), true
		}
		c.Resize(rows)
	}
	st.n, st.batch.Len, st.started = 0, 0, true
	return newDicts
}

// finish cuts the columns to the rows that were written.
func (st *stream) finish() *column.Batch {
	for _, c := range st.batch.Cols {
		if c != nil {
			nulls := c.Nulls
			c.Resize(st.n)
			c.Nulls = nulls
		}
	}
	st.batch.Len, st.started = st.n, false
	return st.batch
}

// null makes a column of the current row NULL.
func (st *stream) null(col int) {
	c := st.batch.Cols[col]
	switch c.Type.Kind.Storage() {
	case column.StoreI64:
		c.I64[st.n] = 0
	case column.StoreF64:
		c.F64[st.n] = 0
	case column.StoreDict:
		if c.Dict.Len() == 0 {
			c.Dict.Code("")
		}
		c.Codes[st.n] = 0
	case column.StoreDec:
		c.Dec[st.n] = column.Decimal128{}
	case column.StoreAny:
		c.Any[st.n] = column.NullDatum
	}
	c.SetNull(st.n)
}

// put writes a decoded entry as the next row, or says why it does not fit.
func (st *stream) put(e *entry) (Reason, string) {
	clear(st.set)
	for _, t := range e.tags {
		if col, ok := st.byName[string(t.key)]; ok {
			if k := st.schema.Fields[col].Type.Kind; k != column.String {
				return WrongType, fmt.Sprintf("tag %s is a STRING, but the column is %s", t.key, k)
			}
			if st.set[col] = true; st.wanted[col] {
				c := st.batch.Cols[col]
				c.Codes[st.n] = c.Dict.CodeBytes(t.value)
			}
		}
	}
	for i := range e.fields {
		f := &e.fields[i]
		col, ok := st.byName[string(f.key)]
		if f.kind == lp.Uint && f.value.UintV() > math.MaxInt64 {
			return OutOfRange, fmt.Sprintf("field %s: %d does not fit BIGINT", f.key, f.value.UintV())
		}
		if !ok {
			continue
		}
		if why := st.putField(col, f); why != "" {
			return WrongType, why
		}
		st.set[col] = true
	}
	st.putTime(e.time)
	for col, w := range st.wanted {
		if w && !st.set[col] && col != st.schema.Time {
			st.null(col)
		}
	}
	st.n++
	return "", ""
}

func (st *stream) putTime(ns int64) {
	if c := st.batch.Cols[st.schema.Time]; c != nil {
		if st.micros {
			ns = column.FloorMicros(ns)
		}
		c.I64[st.n] = ns
	}
}

// putField stores a value in a column of the current row; it returns why it does not fit.
func (st *stream) putField(col int, f *field) string {
	kind := st.schema.Fields[col].Type.Kind
	op := opFor(f.kind, kind)
	if op == opNone {
		return fmt.Sprintf("field %s is %s, but the column is %s", f.key, kindName(f.kind), st.schema.Fields[col].Type)
	}
	c := st.batch.Cols[col]
	switch f.kind {
	case lp.Int, lp.Uint:
		v := intOf(f)
		if !fitsInt(kind, v) {
			return fmt.Sprintf("field %s: %d does not fit %s", f.key, v, kind)
		}
		switch {
		case c == nil:
		case kind == column.Double:
			c.F64[st.n] = float64(v)
		case kind == column.Float:
			c.F64[st.n] = float64(float32(v))
		default:
			c.I64[st.n] = v
		}
	case lp.Float:
		v := f.value.FloatV()
		if kind == column.Float {
			v = float64(float32(v))
		}
		if c != nil {
			c.F64[st.n] = v
		}
	case lp.Bool:
		if c != nil {
			c.I64[st.n] = column.Bool(f.value.BoolV()).I
		}
	case lp.String:
		if c != nil {
			c.Codes[st.n] = c.Dict.CodeBytes(f.str)
		}
	}
	return ""
}

func intOf(f *field) int64 {
	if f.kind == lp.Uint {
		return int64(f.value.UintV())
	}
	return f.value.IntV()
}

func fitsInt(k column.Kind, v int64) bool {
	switch k {
	case column.TinyInt:
		return v == int64(int8(v))
	case column.SmallInt:
		return v == int64(int16(v))
	case column.Int:
		return v == int64(int32(v))
	}
	return true
}

func kindName(k lp.ValueKind) string {
	switch k {
	case lp.Int, lp.Uint:
		return "an integer"
	case lp.Float:
		return "a float"
	case lp.Bool:
		return "a boolean"
	}
	return "a string"
}
