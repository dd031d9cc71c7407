package wire

import (
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"signalbox/engine/column"
)

var update = flag.Bool("update", false, "rewrite testdata: only when a format got a new version beside the old one")

// busBatch is rows of one or several buses as the bench generator makes them: one reading a second, two digits of speed, five of position.
func busBatch(rows, buses int, seed uint64) *column.Batch {
	r := rand.New(rand.NewPCG(seed, 7))
	s := &column.Schema{Name: "bus", Time: 0, Fields: []column.Field{
		{Name: "time", Type: column.Of(column.TimestampNS)}, {Name: "bus_id", Type: column.Of(column.String)}, {Name: "route", Type: column.Of(column.String)},
		{Name: "passengers", Type: column.Of(column.BigInt)}, {Name: "capacity", Type: column.Of(column.BigInt)},
		{Name: "speed", Type: column.Of(column.Double)}, {Name: "lat", Type: column.Of(column.Double)}, {Name: "lon", Type: column.Of(column.Double)}}}
	type bus struct{ cap, pax, speed, lat, lon int }
	st := make([]bus, buses)
	for i := range st {
		c := []int{60, 80, 90, 100}[r.IntN(4)]
		st[i] = bus{c, r.IntN(c), r.IntN(2000), 6017000 + r.IntN(20000), 2494000 + r.IntN(20000)}
	}
	b := column.NewBatch(s, rows)
	for i := range rows {
		k := i % buses
		x := &st[k]
		if r.IntN(20) == 0 {
			x.pax = min(max(x.pax+r.IntN(13)-6, 0), x.cap+3)
		}
		x.speed = min(max(x.speed+r.IntN(201)-100, 0), 2500)
		x.lat += r.IntN(21) - 10
		x.lon += r.IntN(21) - 10
		ms := 1767247200000 + int64(i/buses)*1000 + int64(k*1000/buses)
		b.AppendRow(column.I64(ms*1e6), column.Str(fmt.Sprintf("B%04d", k+1)), column.Str(fmt.Sprintf("R%02d", k%100)), column.I64(int64(x.pax)), column.I64(int64(x.cap)),
			column.F64(float64(x.speed)/100), column.F64(float64(x.lat)/1e5), column.F64(float64(x.lon)/1e5))
	}
	return b
}

// lineProtocol is the text the same readings would be.
func lineProtocol(b *column.Batch) string {
	var s strings.Builder
	for i := range b.Len {
		fmt.Fprintf(&s, "bus,bus_id=%s,route=%s passengers=%di,capacity=%di,speed=%v,lat=%v,lon=%v %d\n", b.Cols[1].Str(i), b.Cols[2].Str(i),
			b.Cols[3].I64[i], b.Cols[4].I64[i], b.Cols[5].F64[i], b.Cols[6].F64[i], b.Cols[7].F64[i], b.Cols[0].I64[i])
	}
	return s.String()
}

func mustEncode(t testing.TB, b *column.Batch) []byte {
	t.Helper()
	f, err := EncodeFrame(nil, b)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFrameSizes(t *testing.T) {
	coder, err := NewCoder()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		buses, rows int
		bar         float64
		zstd        bool
	}{{1, 10, 11, false}, {1, 100, 5, false}, {1, 1000, 4, true}, {50, 1000, 11, true}} {
		worst := 0.0
		for seed := range uint64(20) {
			b := busBatch(c.rows, c.buses, seed)
			f := mustEncode(t, b)
			packed := coder.Pack(1, 1, HashBody(f), f)
			lp := lineProtocol(b)
			lz := coder.Pack(1, 1, Hash{}, []byte(lp))
			n := float64(c.rows)
			size := float64(len(f)) / n
			if c.zstd {
				size = float64(len(packed.Payload)) / n
			}
			worst = max(worst, size)
			if seed == 0 {
				t.Logf("%2d bus × %4d: frame %.2f, with zstd %.2f; line protocol %.1f, with zstd %.2f bytes a reading", c.buses, c.rows,
					float64(len(f))/n, float64(len(packed.Payload))/n, float64(len(lp))/n, float64(len(lz.Payload))/n)
			}
		}
		if worst > c.bar {
			t.Errorf("%d bus × %d: %.2f bytes a reading, the bar is %.2f", c.buses, c.rows, worst, c.bar)
		}
	}
}

func sameBits(a, b column.Datum) bool {
	if a.Null || b.Null {
		return a.Null == b.Null
	}
	if a.I != b.I || math.Float64bits(a.F) != math.Float64bits(b.F) || a.S != b.S || a.Dec != b.Dec || len(a.L) != len(b.L) {
		return false
	}
	for i := range a.L {
		if !sameBits(a.L[i], b.L[i]) {
			return false
		}
	}
	return true
}

func diff(want, got *column.Batch) error {
	if want.Len != got.Len || len(want.Cols) != len(got.Cols) || want.Schema.Name != got.Schema.Name || want.Schema.Time != got.Schema.Time {
		return fmt.Errorf("shape: %d rows of %v, want %d of %v", got.Len, got.Schema, want.Len, want.Schema)
	}
	for c := range want.Cols {
		if want.Schema.Fields[c].Name != got.Schema.Fields[c].Name || !want.Cols[c].Type.Equal(got.Cols[c].Type) || got.Cols[c].Len() != want.Len {
			return fmt.Errorf("column %d: %v", c, got.Schema.Fields[c])
		}
		for i := range want.Len {
			if a, b := want.Cols[c].Datum(i), got.Cols[c].Datum(i); !sameBits(a, b) {
				return fmt.Errorf("column %s row %d: %+v, want %+v", want.Schema.Fields[c].Name, i, b, a)
			}
		}
	}
	return nil
}

// randomType and randomDatum cover every kind; shapes of values are chosen per column so that every mode is met.
func randomType(r *rand.Rand, depth int) column.Type {
	k := column.Kind(r.IntN(int(column.TimestampNS) + 1))
	if depth == 0 {
		for k.Storage() == column.StoreAny {
			k = column.Kind(r.IntN(int(column.TimestampNS) + 1))
		}
	}
	switch k {
	case column.Decimal:
		return column.DecimalType(38, uint8(r.IntN(10)))
	case column.Array:
		return column.ArrayOf(randomType(r, depth-1))
	case column.Map:
		key, elem := column.Of(column.String), randomType(r, depth-1)
		return column.Type{Kind: column.Map, Key: &key, Elem: &elem}
	case column.Struct:
		var f []column.Field
		for i := range r.IntN(4) {
			f = append(f, column.Field{Name: fmt.Sprint("m", i), Type: randomType(r, depth-1)})
		}
		return column.StructOf(f...)
	}
	return column.Of(k)
}

type shapeOf struct {
	nulls  int // in 8
	spread uint
	walk   int64
	digits int
	words  int
}

func randomShape(r *rand.Rand) *shapeOf {
	return &shapeOf{nulls: []int{0, 0, 0, 1, 4, 8}[r.IntN(6)], spread: uint(r.IntN(64)), walk: int64(r.Uint64()), digits: r.IntN(20), words: 1 + r.IntN(300)}
}

func (s *shapeOf) datum(r *rand.Rand, t column.Type) column.Datum {
	if t.Kind == column.Void || r.IntN(8) < s.nulls {
		return column.NullDatum
	}
	switch t.Kind {
	case column.Boolean:
		return column.Bool(r.IntN(2) == 0)
	case column.TinyInt:
		return column.I64(int64(int8(r.Uint64())))
	case column.SmallInt:
		return column.I64(int64(int16(r.Uint64())))
	case column.Int, column.Date, column.IntervalYM:
		return column.I64(int64(int32(r.Uint64())))
	case column.Float:
		return column.F64(float64(float32(s.real(r))))
	case column.Double:
		return column.F64(s.real(r))
	case column.Decimal:
		return column.Datum{Dec: column.Decimal128{Hi: int64(r.Uint64()) >> s.spread, Lo: r.Uint64() >> s.spread}}
	case column.String, column.Binary:
		return column.Str(fmt.Sprintf("värde-%d", r.IntN(s.words)))
	case column.Array:
		d := column.Datum{}
		for range r.IntN(4) {
			d.L = append(d.L, s.datum(r, *t.Elem))
		}
		return d
	case column.Map:
		return column.Datum{L: []column.Datum{column.Str("k"), s.datum(r, *t.Elem)}}
	case column.Struct:
		d := column.Datum{}
		for _, f := range t.Fields {
			d.L = append(d.L, s.datum(r, f.Type))
		}
		return d
	}
	if s.spread > 55 {
		return column.I64(s.walk) // constant
	}
	if r.IntN(4) > 0 {
		s.walk += int64(r.Uint64()>>(s.spread/2)>>(s.spread/2)) - int64(r.IntN(3))
	}
	if t.Kind == column.TimestampNS {
		return column.I64(s.walk / 1e6 * 1e6)
	}
	return column.I64(s.walk)
}

func (s *shapeOf) real(r *rand.Rand) float64 {
	switch {
	case s.digits < 14:
		return float64(r.Int64N(1e9)-5e8) / math.Pow10(s.digits)
	case s.digits < 16:
		return []float64{0, math.Copysign(0, -1), math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, 5e-324, 1 << 53, 0.1, math.Float64frombits(0x7ff8000000000123)}[r.IntN(10)]
	}
	return math.Float64frombits(r.Uint64() &^ (1<<s.spread - 1))
}

func randomBatch(r *rand.Rand) *column.Batch {
	s := &column.Schema{Name: []string{"bus", "änderung", strings.Repeat("x", 200)}[r.IntN(3)], Time: -1}
	var shapes []*shapeOf
	for i := range r.IntN(8) {
		s.Fields = append(s.Fields, column.Field{Name: fmt.Sprint("c", i), Type: randomType(r, 2)})
		shapes = append(shapes, randomShape(r))
		if isTime(s.Fields[i].Type.Kind) {
			s.Time = i
		}
	}
	b := column.NewBatch(s, 0)
	for range []int{0, 1, 2, 3, 9, 64, 65, 300}[r.IntN(8)] {
		row := make([]column.Datum, len(s.Fields))
		for j := range row {
			row[j] = shapes[j].datum(r, s.Fields[j].Type)
		}
		b.AppendRow(row...)
	}
	return b
}

func TestFrameRoundTrip(t *testing.T) {
	var d Decoder
	shared := Decoder{SharedDict: 1000}
	var reuse *column.Batch
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 1))
		b := randomBatch(r)
		f := mustEncode(t, b)
		fresh, err := DecodeFrame(f, DecodeOptions{})
		if err == nil {
			err = diff(b, fresh)
		}
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if again := mustEncode(t, fresh); string(again) != string(f) {
			t.Fatalf("seed %d: encoding of what was decoded differs: not canonical", seed)
		}
		for _, dec := range []*Decoder{&d, &shared} {
			if reuse, err = dec.Decode(f, DecodeOptions{Reuse: reuse}); err == nil {
				err = diff(b, reuse)
			}
			if err != nil {
				t.Fatalf("seed %d, reused: %v", seed, err)
			}
		}
		if info, err := Info(f); err != nil || info.Rows != b.Len || info.Stream != b.Schema.Name || info.Cols != len(b.Cols) {
			t.Fatalf("seed %d: info %+v, %v", seed, info, err)
		}
	}
}

func TestFrameIsCanonical(t *testing.T) {
	s := &column.Schema{Name: "s", Time: -1, Fields: []column.Field{{Name: "a", Type: column.Of(column.String)}, {Name: "b", Type: column.Of(column.BigInt)}}}
	a, b := column.NewBatch(s, 2), column.NewBatch(s, 2)
	a.AppendRow(column.Str("x"), column.I64(1))
	a.AppendRow(column.Str("y"), column.NullDatum)
	b.Cols[0].Dict.Code("unused")
	b.Cols[0].Dict.Code("y")
	b.AppendRow(column.Str("x"), column.I64(1))
	b.AppendRow(column.Str("y"), column.NullDatum)
	b.Cols[1].I64[1] = 99 // under a NULL
	b.Cols[0].Nulls = make([]uint64, 1)
	if fa, fb := mustEncode(t, a), mustEncode(t, b); string(fa) != string(fb) {
		t.Errorf("the same rows give\n%x\n%x", fa, fb)
	}
}

func TestProjection(t *testing.T) {
	for _, rows := range []int{10, 1000} {
		b := busBatch(rows, 3, 1)
		f := mustEncode(t, b)
		got, err := DecodeFrame(f, DecodeOptions{Columns: []string{"lat", "route", "nowhere"}})
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range got.Cols {
			name := got.Schema.Fields[i].Name
			if (c != nil) != (name == "lat" || name == "route") {
				t.Fatalf("%d rows: column %s: %v", rows, name, c)
			}
			for row := 0; c != nil && row < rows; row++ {
				if !sameBits(b.Cols[i].Datum(row), c.Datum(row)) {
					t.Fatalf("%d rows: column %s row %d", rows, name, row)
				}
			}
		}
	}
}

func TestSharedDictKeepsCodes(t *testing.T) {
	d := Decoder{SharedDict: 100}
	first, err := d.Decode(mustEncode(t, busBatch(10, 5, 1)), DecodeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	second, err := d.Decode(mustEncode(t, busBatch(100, 10, 2)), DecodeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if first.Cols[1].Dict != second.Cols[1].Dict || first.Schema != second.Schema {
		t.Fatal("dictionary or schema is not shared")
	}
	if first.Cols[1].Str(4) != "B0005" || first.Cols[1].Codes[4] != second.Cols[1].Codes[4] {
		t.Fatal("codes moved")
	}
	if many, err := d.Decode(mustEncode(t, busBatch(200, 95, 2)), DecodeOptions{}); err != nil || many.Cols[1].Dict == first.Cols[1].Dict {
		t.Fatalf("the dictionary grew beyond its bound: %v", err)
	}
}

func TestDecodeAllocatesNothingPerRow(t *testing.T) {
	f := mustEncode(t, busBatch(1000, 50, 1))
	d := Decoder{SharedDict: 1000}
	var b *column.Batch
	n := testing.AllocsPerRun(20, func() { b, _ = d.Decode(f, DecodeOptions{Reuse: b}) })
	if n > 2 {
		t.Errorf("%v allocations for 1000 rows", n)
	}
}

func goldenBatches() map[string]*column.Batch {
	mixed := column.NewBatch(&column.Schema{Name: "mixed", Time: -1, Fields: []column.Field{
		{Name: "b", Type: column.Of(column.Boolean)}, {Name: "f", Type: column.Of(column.Double)}, {Name: "x", Type: column.Of(column.Double)},
		{Name: "dec", Type: column.DecimalType(20, 2)}, {Name: "list", Type: column.ArrayOf(column.Of(column.BigInt))}, {Name: "nothing", Type: column.Of(column.Void)}}}, 0)
	for i := range 70 {
		row := []column.Datum{column.Bool(i%3 == 0), column.F64(float64(i) / 4), column.F64(math.Sqrt(float64(i))), {Dec: column.Decimal128{Lo: uint64(i * i)}},
			{L: []column.Datum{column.I64(int64(i)), column.NullDatum}}, column.NullDatum}
		if i%7 == 0 {
			row[1], row[4] = column.NullDatum, column.NullDatum
		}
		mixed.AppendRow(row...)
	}
	return map[string]*column.Batch{"bus10": busBatch(10, 1, 1), "gateway100": busBatch(100, 7, 1), "mixed": mixed, "empty": column.NewBatch(busBatch(1, 1, 1).Schema, 0)}
}

// The bytes of a frame live in spools and logs: they may never change for a version.
func TestGoldenFrames(t *testing.T) {
	for name, b := range goldenBatches() {
		path := filepath.Join("testdata", name+".frame")
		f := mustEncode(t, b)
		if *update {
			if err := os.WriteFile(path, []byte(hex.EncodeToString(f)+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		want, err := hex.DecodeString(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		if string(want) != string(f) {
			t.Errorf("%s: encodes to\n%x\nwant\n%x", name, f, want)
		}
		got, err := DecodeFrame(want, DecodeOptions{})
		if err == nil {
			err = diff(b, got)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEveryDamagedByteIsFound(t *testing.T) {
	f := mustEncode(t, busBatch(10, 2, 1))
	for i := range f {
		g := append([]byte(nil), f...)
		g[i] ^= 1 << (i % 8)
		if _, err := DecodeFrame(g, DecodeOptions{}); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("byte %d flipped: %v", i, err)
		}
		if _, err := DecodeFrame(f[:i], DecodeOptions{}); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
}

// A few bytes must not become gigabytes.
func TestConstantColumnsAreNotABomb(t *testing.T) {
	s := &column.Schema{Name: "bomb", Time: -1}
	for i := range 100 {
		s.Fields = append(s.Fields, column.Field{Name: fmt.Sprint("c", i), Type: column.Of(column.BigInt)})
	}
	b := column.NewBatch(s, MaxFrameRows)
	b.Len = MaxFrameRows
	for _, c := range b.Cols {
		c.Resize(MaxFrameRows)
	}
	if _, err := EncodeFrame(nil, b); err == nil {
		t.Error("encoded more cells than a frame may have")
	}
	head, err := appendSchema([]byte{frameVersion, 0x80, 0x80, 4}, nameCodes(), s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := DecodeFrame(seal(head), DecodeOptions{}); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "values are allowed") {
		t.Errorf("decoded: %v", err)
	}
}
