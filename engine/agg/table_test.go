package agg

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"signalbox/engine/column"
)

var keyTypes = [][]column.Type{
	{column.Of(column.String)},
	{column.Of(column.BigInt)},
	{column.Of(column.Double)},
	{column.DecimalType(20, 2)},
	{column.Of(column.Timestamp), column.Of(column.String)},
	{column.Of(column.String), column.Of(column.String), column.Of(column.Double)},
	{column.StructOf(column.Field{Name: "start", Type: column.Of(column.Timestamp)}, column.Field{Name: "x", Type: column.Of(column.Double)})},
	{column.StructOf(column.Field{Name: "s", Type: column.Of(column.String)}), column.Of(column.Int)},
	wideKeys(),
}

// wideKeys are more key columns than have a word of their own.
func wideKeys() []column.Type {
	wide := make([]column.Type, maxWords+6)
	for i := range wide {
		wide[i] = []column.Type{column.Of(column.Boolean), column.Of(column.Boolean), column.Of(column.String)}[i%3]
	}
	return wide
}

// randomDatum draws from few values, NULL, NaN and both zeros among them.
func randomDatum(r *rand.Rand, t column.Type) column.Datum {
	if r.IntN(12) == 0 {
		return column.NullDatum
	}
	switch t.Kind.Storage() {
	case column.StoreI64:
		if t.Kind == column.Boolean {
			return column.I64(r.Int64N(2))
		}
		return column.I64(r.Int64N(20) - 10)
	case column.StoreF64:
		return column.F64([]float64{0, math.Copysign(0, -1), math.NaN(), 1.5, -2.25, 1e100, math.Inf(1)}[r.IntN(7)])
	case column.StoreDict:
		return column.Str([]string{"", "a", "bus", "ß", "线", "a longer string than others"}[r.IntN(6)] + fmt.Sprint(r.IntN(5)))
	case column.StoreDec:
		return column.Datum{Dec: column.Decimal128{Hi: -r.Int64N(2), Lo: r.Uint64N(4)}}
	}
	if t.Kind == column.Array {
		d := column.Datum{}
		for range r.IntN(3) {
			d.L = append(d.L, randomDatum(r, *t.Elem))
		}
		return d
	}
	d := column.Datum{}
	for _, f := range t.Fields {
		d.L = append(d.L, randomDatum(r, f.Type))
	}
	return d
}

func randomColumn(r *rand.Rand, t column.Type, n int, dict *column.Dict) *column.Column {
	c := column.New(t, n)
	if dict != nil && c.Dict != nil {
		c.Dict = dict
	}
	for range n {
		c.Append(randomDatum(r, t))
	}
	return c
}

// keyText is the oracle's idea of equal keys.
func keyText(cols []*column.Column, row int) string {
	s := ""
	for _, c := range cols {
		s += "|" + datumText(c.Type, c.Datum(row), true)
	}
	return s
}

func datumText(t column.Type, d column.Datum, canon bool) string {
	if d.Null {
		return "NULL"
	}
	switch t.Kind.Storage() {
	case column.StoreI64:
		return fmt.Sprint(d.I)
	case column.StoreF64:
		if canon && d.F == 0 {
			return "0"
		}
		return fmt.Sprint(d.F)
	case column.StoreDict:
		return fmt.Sprintf("%q", d.S)
	case column.StoreDec:
		return bigDec(d.Dec).String()
	}
	s := "("
	for i, m := range d.L {
		s += datumText(memberType(t, i), m, canon) + ","
	}
	return s + ")"
}

// The table against a Go map, with removal, snapshots and dictionaries that change.
func TestGroupTableAgainstMap(t *testing.T) {
	for k, types := range keyTypes {
		t.Run(fmt.Sprint(k), func(t *testing.T) {
			for seed := range uint64(20) {
				checkTable(t, types, rand.New(rand.NewPCG(seed, uint64(k))))
			}
		})
	}
}

func checkTable(t *testing.T, types []column.Type, r *rand.Rand) {
	t.Helper()
	table, want, text := NewGroupTable(types), map[string]int32{}, map[int32]string{}
	dicts := make([]*column.Dict, len(types))
	for step := range 30 {
		if r.IntN(3) == 0 {
			for i := range dicts {
				dicts[i] = column.NewDict()
			}
		}
		n := r.IntN(40)
		cols := make([]*column.Column, len(types))
		for i, ty := range types {
			cols[i] = randomColumn(r, ty, n, dicts[i])
		}
		var sel []int32
		if r.IntN(2) == 0 {
			sel = []int32{}
			for i := range n {
				if r.IntN(2) == 0 {
					sel = append(sel, int32(i))
				}
			}
		}
		before := table.Find(cols, sel, nil)
		ids := table.Groups(cols, sel, nil)
		for i, id := range ids {
			key := keyText(cols, rowAt(sel, i))
			w, known := want[key]
			if known && w != id {
				t.Fatalf("step %d: key %s has group %d, want %d", step, key, id, w)
			}
			if other, taken := text[id]; !known && taken {
				t.Fatalf("step %d: group %d of new key %s belongs to %s", step, id, key, other)
			}
			if b := before[i]; b >= 0 && b != id {
				t.Fatalf("step %d: Find gave %d, Groups %d", step, b, id)
			}
			want[key], text[id] = id, key
		}
		if table.Live() != len(want) {
			t.Fatalf("step %d: %d live groups, want %d", step, table.Live(), len(want))
		}
		for id := range int32(table.Len()) {
			if key, ok := text[id]; ok && r.IntN(4) == 0 {
				table.Remove(id)
				delete(want, key)
				delete(text, id)
			}
		}
		checkKeys(t, table, types, text)
		if r.IntN(4) == 0 {
			table = reloaded(t, table, types)
		}
	}
}

func checkKeys(t *testing.T, table *GroupTable, types []column.Type, text map[int32]string) {
	t.Helper()
	for id := range int32(table.Len()) {
		key, ok := text[id]
		if ok != table.Alive(id) {
			t.Fatalf("group %d alive = %v, want %v", id, table.Alive(id), ok)
		}
		if !ok {
			continue
		}
		cols := make([]*column.Column, len(types))
		for i, ty := range types {
			cols[i] = column.New(ty, 1)
		}
		table.AppendKeys([]int32{id}, cols)
		if got := keyText(cols, 0); got != key {
			t.Fatalf("key of group %d reads %s, want %s", id, got, key)
		}
	}
}

func reloaded(t *testing.T, table *GroupTable, types []column.Type) *GroupTable {
	t.Helper()
	var a, b bytes.Buffer
	if err := table.Encode(&a); err != nil {
		t.Fatal(err)
	}
	out := NewGroupTable(types)
	in := bytes.NewReader(a.Bytes())
	if err := out.Decode(in); err != nil {
		t.Fatal(err)
	}
	if in.Len() > 0 {
		t.Fatalf("Decode left %d bytes", in.Len())
	}
	if err := out.Encode(&b); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Fatal("encoding a decoded table gives other bytes")
	}
	for cut := 0; cut < a.Len(); cut += 1 + a.Len()/20 {
		if err := NewGroupTable(types).Decode(bytes.NewReader(a.Bytes()[:cut])); err == nil {
			t.Fatalf("a table cut off at byte %d of %d was read without an error", cut, a.Len())
		}
	}
	return out
}
