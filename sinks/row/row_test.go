package row

import (
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"signalbox/engine/column"
	"signalbox/sinks"
)

func TestNamesNeverMeet(t *testing.T) {
	s := &column.Schema{Fields: []column.Field{{Name: "a"}, {Name: "A"}, {Name: "_id"}, {Name: "a_2"}, {Name: ""}, {Name: "__id"}}}
	want := []string{"a", "A_2", "__id", "a_2_2", "_empty", "___id"}
	for i, got := range Names(s) {
		if got != want[i] {
			t.Errorf("column %q is called %q, want %q", s.Fields[i].Name, got, want[i])
		}
	}
}

func TestTextKeepsEveryDigit(t *testing.T) {
	ts, bin := column.Of(column.Timestamp), column.Of(column.Binary)
	nested := column.StructOf(column.Field{Name: "at", Type: ts}, column.Field{Name: "xs", Type: column.ArrayOf(column.Of(column.BigInt))})
	key, val := column.Of(column.Int), column.Of(column.Double)
	cases := []struct {
		t    column.Type
		d    column.Datum
		text string
		json string
	}{
		{column.Of(column.BigInt), column.I64(math.MinInt64), "-9223372036854775808", "-9223372036854775808"},
		{column.Of(column.Double), column.F64(0.1), "0.1", "0.1"},
		{column.Of(column.Float), column.F64(float64(float32(0.1))), "0.1", "0.1"},
		{column.Of(column.Double), column.F64(math.NaN()), "NaN", `"NaN"`},
		{column.Of(column.Double), column.F64(math.Inf(-1)), "-Infinity", `"-Infinity"`},
		{column.DecimalType(10, 2), column.Datum{Dec: column.Decimal128{Hi: -1, Lo: math.MaxUint64 - 4}}, "-0.05", "-0.05"},
		{column.DecimalType(38, 0), column.Datum{Dec: column.Decimal128{Hi: 1, Lo: 0}}, "18446744073709551616", "18446744073709551616"},
		{ts, column.I64(-1), "1969-12-31T23:59:59.999999Z", `"1969-12-31T23:59:59.999999Z"`},
		{column.Of(column.TimestampNTZ), column.I64(1), "1970-01-01T00:00:00.000001", `"1970-01-01T00:00:00.000001"`},
		{column.Of(column.Date), column.I64(-1), "1969-12-31", `"1969-12-31"`},
		{bin, column.Str("\x00\xff"), "AP8=", `"AP8="`},
		{column.Of(column.String), column.Str("a\"\n\x01\xff€"), "a\"\n\x01\xff€", `"a\"\n\u0001�€"`},
		{column.Of(column.Boolean), column.Bool(true), "true", "true"},
		{nested, column.Datum{L: []column.Datum{column.I64(0), {L: []column.Datum{column.I64(1), column.NullDatum}}}},
			`{"at":"1970-01-01T00:00:00.000000Z","xs":[1,null]}`, `{"at":"1970-01-01T00:00:00.000000Z","xs":[1,null]}`},
		{column.Type{Kind: column.Map, Key: &key, Elem: &val}, column.Datum{L: []column.Datum{column.I64(1), column.F64(2.5)}}, `{"1":2.5}`, `{"1":2.5}`},
	}
	for _, c := range cases {
		if got := Text(c.t, c.d); got != c.text {
			t.Errorf("text of %s: %q, want %q", c.t, got, c.text)
		}
		got := AppendJSON(nil, c.t, c.d)
		if string(got) != c.json || !json.Valid(got) {
			t.Errorf("JSON of %s: %s, want %s", c.t, got, c.json)
		}
	}
}

func TestCheckRefusesWhatDoesNotFit(t *testing.T) {
	s := &column.Schema{Name: "t", Fields: []column.Field{{Name: "a", Type: column.Of(column.BigInt)}}}
	rows := column.NewBatch(s, 1)
	rows.AppendRow(column.I64(1))
	good := sinks.Batch{Rows: rows, IDs: make([][16]byte, 1), Revisions: []uint32{1}}
	if err := Check(&good); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*sinks.Batch){
		"ids":       func(b *sinks.Batch) { b.IDs = nil },
		"revisions": func(b *sinks.Batch) { b.Revisions = nil },
		"deleted":   func(b *sinks.Batch) { b.Deleted = make([]bool, 2) },
		"complete":  func(b *sinks.Batch) { b.Complete = make([]int32, 2) },
		"columns":   func(b *sinks.Batch) { b.Rows = &column.Batch{Schema: s, Len: 1} },
	} {
		b := good
		spoil(&b)
		if err := Check(&b); !errors.Is(err, sinks.ErrPermanent) {
			t.Errorf("%s: %v, want a permanent error", name, err)
		}
	}
}

// TestTimestampAsPackageTime compares every day of ten thousand years, and random moments.
func TestTimestampAsPackageTime(t *testing.T) {
	check := func(us int64) {
		if got, want := Timestamp(us), time.UnixMicro(us).UTC().Format("2006-01-02T15:04:05.000000Z"); got != want {
			t.Fatalf("%d µs: %s, want %s", us, got, want)
		}
	}
	for day := int64(-800_000); day < 2_950_000; day += 3 {
		check(day * dayUS)
		check((day+1)*dayUS - 1)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 100_000 {
		check(rng.Int64N(endPlainUS) + rng.Int64N(2*dayUS) - dayUS)
	}
}

func BenchmarkTimestamp(b *testing.B) {
	dst := make([]byte, 0, 64)
	for us := int64(1_700_000_000_000_000); b.Loop(); us += 1_234_567 {
		dst = AppendTimestamp(dst[:0], us)
	}
}
