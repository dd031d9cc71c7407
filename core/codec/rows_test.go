package codec_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"signalbox/core/codec"
	"signalbox/engine/column"
)

func schema() *column.Schema {
	elem := column.StructOf(column.Field{Name: "door", Type: column.Of(column.Int)}, column.Field{Name: "in", Type: column.Of(column.String)})
	return &column.Schema{Name: "t", Time: 0, Fields: []column.Field{
		{Name: "time", Type: column.Of(column.Timestamp)}, {Name: "s", Type: column.Of(column.String)},
		{Name: "d", Type: column.Of(column.Double)}, {Name: "dec", Type: column.DecimalType(20, 3)},
		{Name: "doors", Type: column.ArrayOf(elem)}, {Name: "v", Type: column.Of(column.Void)},
	}}
}

func random(seed uint64, n int) *column.Batch {
	rng := rand.New(rand.NewPCG(seed, 1))
	b := column.NewBatch(schema(), n)
	maybe := func(d column.Datum) column.Datum {
		if rng.IntN(5) == 0 {
			return column.NullDatum
		}
		return d
	}
	for range n {
		doors := column.Datum{}
		for range rng.IntN(3) {
			doors.L = append(doors.L, column.Datum{L: []column.Datum{maybe(column.I64(rng.Int64N(9))), maybe(column.Str("x"))}})
		}
		b.AppendRow(maybe(column.I64(rng.Int64())), maybe(column.Str(fmt.Sprint("bus", rng.IntN(7)))), maybe(column.F64(rng.NormFloat64())),
			maybe(column.Datum{Dec: column.Decimal128{Hi: -1, Lo: rng.Uint64()}}), maybe(doors), column.NullDatum)
	}
	return b
}

func TestRowsComeBackAsTheyWere(t *testing.T) {
	var enc codec.RowEncoder
	for seed := range uint64(50) {
		in := random(seed, int(seed)*7)
		dst := enc.AppendRows(codec.AppendSchema(nil, in.Schema), in)
		r := codec.NewReader(dst, "rows")
		out := r.Rows(r.Schema())
		if err := r.End(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if out.Len != in.Len {
			t.Fatalf("seed %d: %d rows of %d", seed, out.Len, in.Len)
		}
		for i := range in.Len {
			if got, want := fmt.Sprint(out.Row(i)), fmt.Sprint(in.Row(i)); got != want {
				t.Fatalf("seed %d row %d: %s, want %s", seed, i, got, want)
			}
		}
		if again := enc.AppendRows(codec.AppendSchema(nil, out.Schema), out); !bytes.Equal(again, dst) {
			t.Fatalf("seed %d: decoded rows encode differently", seed)
		}
	}
}

func FuzzRows(f *testing.F) {
	var enc codec.RowEncoder
	in := random(3, 20)
	f.Add(enc.AppendRows(codec.AppendSchema(nil, in.Schema), in))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := codec.NewReader(b, "rows")
		out := r.Rows(r.Schema())
		if err := r.End(); err != nil {
			if !errors.Is(err, codec.ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		for i := range out.Len {
			_ = out.Row(i)
		}
	})
}
