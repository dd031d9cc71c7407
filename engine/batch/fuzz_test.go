package batch_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"signalbox/engine/batch"
	"signalbox/engine/column"
	"signalbox/engine/sql"
)

// hard values, each once in every column of its kind.
var (
	hardInts    = []int64{0, 1, -1, math.MaxInt64, math.MinInt64, 7}
	hardFloats  = []float64{0, math.Copysign(0, -1), math.NaN(), math.Inf(1), 1.5, -1e308}
	hardStrings = []string{"", "a", "12", "2024-02-29", "ß,x", "\x00"}
	hardTimes   = []int64{0, -1, 1_711_843_200_000_000, -9_000_000_000_000_000, 1, 253_402_300_800_000_000}
)

// hardTables makes a small table of difficult values for every schema of the conformance inputs.
func hardTables(tb testing.TB) tables {
	tb.Helper()
	out := tables{}
	for _, pattern := range []string{"*.schema.json", "static/*.schema.json"} {
		files, err := filepath.Glob(filepath.Join("..", "testdata", "conformance", "inputs", pattern))
		if err != nil || len(files) == 0 {
			tb.Fatalf("no schemas in testdata: %v", err)
		}
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				tb.Fatal(err)
			}
			var meta struct {
				Table   string
				Columns []struct{ Name, Type string }
			}
			if err := json.Unmarshal(data, &meta); err != nil {
				tb.Fatal(err)
			}
			s := &column.Schema{Name: meta.Table, Time: -1}
			for _, c := range meta.Columns {
				t, err := sql.ParseType(c.Type)
				if err != nil {
					tb.Fatal(err)
				}
				s.Fields = append(s.Fields, column.Field{Name: c.Name, Type: t.Type})
			}
			out[strings.ToLower(meta.Table)] = hardRows(s)
		}
	}
	return out
}

func hardRows(s *column.Schema) *column.Batch {
	b := column.NewBatch(s, 0)
	for i := range len(hardInts) + 1 {
		row := make([]column.Datum, len(s.Fields))
		for j, f := range s.Fields {
			k := (i + j) % (len(hardInts) + 1)
			if k == len(hardInts) {
				row[j] = column.NullDatum
				continue
			}
			switch f.Type.Kind {
			case column.Double:
				row[j] = column.F64(hardFloats[k])
			case column.String:
				row[j] = column.Str(hardStrings[k])
			case column.Timestamp:
				row[j] = column.I64(hardTimes[k])
			case column.Boolean:
				row[j] = column.Bool(k%2 == 0)
			default:
				row[j] = column.I64(hardInts[k])
			}
		}
		b.AppendRow(row...)
	}
	return b
}

// FuzzRun: no query over no data may panic or grow without bound; not strict
// means that a row which fails does not end the query.
func FuzzRun(f *testing.F) {
	t := hardTables(f)
	seed := func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var c struct{ SQL string }
		if err := json.Unmarshal(data, &c); err != nil {
			return err
		}
		f.Add(c.SQL)
		return nil
	}
	for _, folder := range []string{"conformance", "conformance-more"} {
		if err := filepath.WalkDir(filepath.Join("..", "testdata", folder, "cases", "batch"), seed); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(tt *testing.T, text string) {
		for _, strict := range []bool{true, false} {
			if b, err := t.run(text, batch.Options{Strict: strict, MaxRows: 20_000}); err == nil {
				for i := range b.Len {
					b.Row(i)
				}
			}
		}
	})
}
