package output

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"signalbox/engine/column"
	"signalbox/sinks/row"
)

func sampleBatch() *column.Batch {
	s := &column.Schema{Fields: []column.Field{{Name: "t", Type: column.Of(column.Timestamp)}, {Name: "bus, id", Type: column.Of(column.String)},
		{Name: "n", Type: column.Of(column.BigInt)}, {Name: "x", Type: column.Of(column.Double)}}}
	b := column.NewBatch(s, 4)
	b.AppendRow(column.I64(1_711_843_227_255_439), column.Str(`a "quoted", 線`), column.I64(9_223_372_036_854_775_807), column.F64(0.1))
	b.AppendRow(column.I64(-1), column.Str(""), column.NullDatum, column.F64(-0.5))
	return b
}

func render(t *testing.T, format string, b *column.Batch) string {
	t.Helper()
	var out bytes.Buffer
	w, err := New(format, &out, b.Schema)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(b, nil); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestCSVReadsBack(t *testing.T) {
	rows, err := csv.NewReader(strings.NewReader(render(t, "csv", sampleBatch()))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{{"t", "bus, id", "n", "x"}, {"2024-03-31T00:00:27.255439Z", `a "quoted", 線`, "9223372036854775807", "0.1"}, {"1969-12-31T23:59:59.999999Z", "", "", "-0.5"}}
	for i := range want {
		if strings.Join(rows[i], "|") != strings.Join(want[i], "|") {
			t.Errorf("row %d: got %q want %q", i, rows[i], want[i])
		}
	}
}

func TestJSONLinesKeepEveryDigit(t *testing.T) {
	lines := strings.Split(strings.TrimSpace(render(t, "jsonl", sampleBatch())), "\n")
	var first map[string]any
	d := json.NewDecoder(strings.NewReader(lines[0]))
	d.UseNumber()
	if err := d.Decode(&first); err != nil {
		t.Fatal(err)
	}
	if first["n"] != json.Number("9223372036854775807") || first["t"] != "2024-03-31T00:00:27.255439Z" {
		t.Fatalf("got %v", first)
	}
	if !strings.Contains(lines[1], `"n":null`) {
		t.Fatalf("NULL lost: %s", lines[1])
	}
}

func TestTableAligns(t *testing.T) {
	got := strings.Split(render(t, "table", sampleBatch()), "\n")
	if len(got) != 5 || !strings.HasPrefix(got[0], "t   ") || !strings.Contains(got[3], "NULL") {
		t.Fatalf("%s", strings.Join(got, "\n"))
	}
}

func TestTimestampMatchesTheSlowWay(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		us := rng.Int64N(1<<58) - 1<<57
		if got, want := string(AppendTimestamp(nil, us)), row.Timestamp(us); got != want {
			t.Fatalf("%d: got %s want %s", us, got, want)
		}
	}
}

func TestFloatsReadBackAndLookLikeFloats(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	values := []float64{0, math.Copysign(0, -1), 25, -1e15, 1e16, 1e-5, 1e-6, 5e-324, math.MaxFloat64, 0.1}
	for range 10000 {
		if v := math.Float64frombits(rng.Uint64()); v == v && !math.IsInf(v, 0) {
			values = append(values, v)
		}
	}
	for _, v := range values {
		text := string(AppendFloat(nil, v, column.Double))
		back, err := strconv.ParseFloat(text, 64)
		if err != nil || math.Float64bits(back) != math.Float64bits(v) || !strings.ContainsAny(text, ".e") {
			t.Fatalf("%v written as %q reads back as %v, %v", v, text, back, err)
		}
	}
}
