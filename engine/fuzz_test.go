package engine_test

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"signalbox/engine"
	"signalbox/engine/batch"
	"signalbox/engine/column"
	"signalbox/engine/plan"
	"signalbox/engine/sql"
)

// maxFuzzAlloc bounds what one query over a few dozen rows may allocate in all.
const maxFuzzAlloc = 2 << 30

var (
	relationName = regexp.MustCompile(`(?i)(?:\bFROM|\bJOIN|,)\s+(?:STREAM\s+)?[\x60]?([a-z_]\w*)`)
	wordPattern  = regexp.MustCompile(`[A-Za-z_]\w*`)
	plainFrom    = regexp.MustCompile(`(?i)\b(FROM|JOIN)\s+([a-z_]\w*)`)
)

// fuzzWorld is a random schema made of the words of a query, with random rows.
type fuzzWorld struct {
	r       *rand.Rand
	hints   map[string]string // types of the columns of the conformance inputs, by name
	schemas []*column.Schema
}

func newFuzzWorld(text string, seed int64, hints map[string]string) *fuzzWorld {
	w := &fuzzWorld{r: rand.New(rand.NewSource(seed)), hints: hints}
	var names, words []string
	for _, m := range relationName.FindAllStringSubmatch(text, -1) {
		if n := strings.ToLower(m[1]); !slices.Contains(names, n) && len(names) < 4 && n != "stream" && n != "select" {
			names = append(names, n)
		}
	}
	for _, m := range wordPattern.FindAllString(text, -1) {
		if m = strings.ToLower(m); !slices.Contains(words, m) && !slices.Contains(names, m) && len(words) < 90 {
			words = append(words, m)
		}
	}
	for _, n := range names {
		s := &column.Schema{Name: n, Time: -1}
		for _, word := range words {
			if _, err := sql.ParseExpr(word); err == nil || w.r.Intn(4) == 0 {
				s.Fields = append(s.Fields, column.Field{Name: word, Type: w.columnType(word)})
			}
		}
		if len(s.Fields) > 0 {
			w.schemas = append(w.schemas, s)
		}
	}
	return w
}

var fuzzTypes = []string{"BIGINT", "DOUBLE", "STRING", "TIMESTAMP", "INT", "BOOLEAN", "DECIMAL(10,2)", "DATE", "DECIMAL(38,18)", "ARRAY<BIGINT>",
	"ARRAY<STRUCT<a: BIGINT, b: STRING>>", "MAP<STRING, BIGINT>", "STRUCT<x: DOUBLE, y: STRING>", "BINARY", "FLOAT", "TINYINT", "TIMESTAMP_NTZ", "INTERVAL DAY TO SECOND"}

// columnType is mostly what the word suggests, so that many queries get through analysis.
func (w *fuzzWorld) columnType(word string) column.Type {
	text := fuzzTypes[w.r.Intn(len(fuzzTypes))]
	switch {
	case w.r.Intn(15) == 0:
	case w.hints[word] != "":
		text = w.hints[word]
	case word == "ts" || strings.Contains(word, "time"):
		text = "TIMESTAMP"
	case strings.Contains(word, "route") || strings.Contains(word, "id") || word == "k" || word == "s":
		text = "STRING"
	default:
		text = fuzzTypes[w.r.Intn(2)]
	}
	t, err := sql.ParseType(text)
	if err != nil {
		panic(err)
	}
	return t.Type
}

func (w *fuzzWorld) rows(s *column.Schema, n int) *column.Batch {
	b := column.NewBatch(s, n)
	for range n {
		row := make([]column.Datum, len(s.Fields))
		for i, f := range s.Fields {
			row[i] = w.value(f.Type, 0)
		}
		b.AppendRow(row...)
	}
	return b
}

func pickOne[T any](r *rand.Rand, list ...T) T { return list[r.Intn(len(list))] }

func (w *fuzzWorld) value(t column.Type, depth int) column.Datum {
	if w.r.Intn(8) == 0 {
		return column.NullDatum
	}
	r := w.r
	switch t.Kind {
	case column.Boolean:
		return column.Bool(r.Intn(2) == 0)
	case column.TinyInt:
		return column.I64(pickOne(r, int64(0), 1, -128, 127))
	case column.Int:
		return column.I64(pickOne(r, int64(0), 1, -1, math.MaxInt32, math.MinInt32, int64(r.Intn(9))))
	case column.Date:
		return column.I64(pickOne(r, int64(0), -1, 19_800, -719_162, 2_932_896))
	case column.Timestamp, column.TimestampNTZ:
		return column.I64(pickOne(r, int64(0), -1, 1_711_843_200_000_000+r.Int63n(90_000_000), 1_711_843_200_000_000, -9_000_000_000_000_000, 253_402_300_800_000_000, math.MaxInt64, math.MinInt64))
	case column.Double, column.Float:
		return column.F64(pickOne(r, 0, math.Copysign(0, -1), math.NaN(), math.Inf(1), math.Inf(-1), 1.5, -2, 1e30))
	case column.String, column.Binary:
		return column.Str(pickOne(r, "", "a", "12", "1 day", "2024-02-29", "ß,x", "\x00\xff", `{"a":[{"b":1}]}`, "INTERVAL 1 SECOND", "POLYGON((0 0, 1 0, 1 1, 0 0))"))
	case column.Decimal:
		return column.Datum{Dec: pickOne(r, column.Decimal128{}, column.Decimal128{Lo: 100}, column.Decimal128{Hi: -1, Lo: math.MaxUint64 - 149})}
	case column.Array:
		return w.nested(r.Intn(4), depth, func(int) column.Type { return *t.Elem })
	case column.Struct:
		return w.nested(len(t.Fields), depth, func(i int) column.Type { return t.Fields[i].Type })
	case column.Map:
		return column.Datum{L: []column.Datum{column.Str("a"), w.value(*t.Elem, depth+1)}}
	}
	return column.I64(pickOne(r, int64(0), 1, -1, math.MaxInt64, math.MinInt64, int64(r.Intn(60))))
}

func (w *fuzzWorld) nested(n, depth int, typ func(int) column.Type) column.Datum {
	d := column.Datum{L: []column.Datum{}}
	for i := range n {
		d.L = append(d.L, w.value(typ(i), depth+1))
	}
	return d
}

// declare makes the relations streams, but the last one a table when there are several.
func (w *fuzzWorld) declare(t *testing.T, e *engine.Engine) {
	for i, s := range w.schemas {
		var cols []string
		for _, f := range s.Fields {
			cols = append(cols, sql.QuoteName(f.Name)+" "+f.Type.String())
		}
		kind := "STREAM"
		if i > 0 && i == len(w.schemas)-1 && w.r.Intn(2) == 0 {
			kind = "TABLE"
		}
		if err := e.Execute("CREATE " + kind + " " + sql.QuoteName(s.Name) + " (" + strings.Join(cols, ", ") + ")"); err != nil {
			continue // a word that is no name
		}
		if kind == "TABLE" {
			if err := e.LoadTable(s.Name, 1, w.rows(s, 6)); err != nil {
				t.Fatalf("load %s: %v", s.Name, err)
			}
		}
	}
}

func (w *fuzzWorld) stream(t *testing.T, text string) {
	opt := engine.DefaultOptions()
	opt.MaxKeys, opt.MaxStateBytes, opt.ResultRows, opt.RingRows, opt.MaxClosedBytes = 500, 1<<20, 200, 50, 1<<16
	e := engine.New(opt)
	w.declare(t, e)
	if e.Execute(text) != nil && e.Execute("CREATE STREAMING TABLE q AS "+text) != nil {
		return
	}
	for i := range uint64(4) {
		in := &engine.Input{Index: i + 1, Time: int64(i+1) * second, End: i == 3}
		for _, s := range w.schemas {
			if w.r.Intn(4) > 0 {
				in.Batches = append(in.Batches, engine.StreamBatch{Stream: s.Name, Rows: w.rows(s, w.r.Intn(12))})
			}
		}
		if _, err := e.Apply(in); err != nil {
			t.Fatalf("Apply without Strict: %v\n%s", err, text)
		}
		if i == 1 {
			e = fuzzRestore(t, e, opt, text)
		}
	}
	for _, tab := range e.Tables() {
		if tab.Kind == engine.KindStreaming {
			if _, err := e.Query("SELECT * FROM " + sql.QuoteName(tab.Name)); err != nil {
				t.Fatalf("query the result: %v\n%s", err, text)
			}
		}
	}
}

func fuzzRestore(t *testing.T, e *engine.Engine, opt engine.Options, text string) *engine.Engine {
	var buf bytes.Buffer
	s, err := e.Snapshot()
	if err == nil {
		err = s.Write(&buf)
	}
	if err != nil {
		t.Fatalf("snapshot: %v\n%s", err, text)
	}
	before := s.Hash()
	out, err := engine.Restore(&buf, opt)
	if err != nil {
		t.Fatalf("restore: %v\n%s", err, text)
	}
	if after, err := out.StateHash(); err != nil || after != before {
		t.Fatalf("the restored state differs (%v)\n%s", err, text)
	}
	return out
}

func (w *fuzzWorld) bounded(t *testing.T, text string) {
	data := tables{}
	for _, s := range w.schemas {
		data[s.Name] = w.rows(s, 12)
	}
	q, err := sql.ParseSelect(text)
	if err != nil {
		return
	}
	p, err := plan.Analyze(q, data, plan.AnalyzeOptions{Text: text})
	if err != nil {
		return
	}
	if b, err := batch.Run(p, data.source, batch.Options{MaxRows: 20_000}); err == nil {
		for i := range b.Len {
			b.Row(i)
		}
	}
}

// FuzzEngineSQL: no query over any schema and data may panic, allocate without
// bound, fail an Apply that is not strict, or not survive a snapshot.
func FuzzEngineSQL(f *testing.F) {
	for i, text := range fuzzSeeds(f) {
		f.Add(text, int64(i))
		f.Add(text, int64(-i-1))
	}
	hints := columnHints(f)
	f.Fuzz(func(t *testing.T, text string, seed int64) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		w := newFuzzWorld(text, seed, hints)
		w.stream(t, text)
		w.bounded(t, text)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > maxFuzzAlloc {
			t.Fatalf("%d bytes were allocated for\n%s", n, text)
		}
	})
}

// fuzzSeeds are the queries of every conformance case, those over tables also as continuous ones.
func fuzzSeeds(f *testing.F) []string {
	var out []string
	err := filepath.WalkDir(filepath.Join(defaultCases, "cases"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var c streamingCase
		if err := json.Unmarshal(data, &c); err != nil {
			return err
		}
		if len(c.Streams) > 0 {
			text, err := c.statement()
			out = append(out, text)
			return err
		}
		out = append(out, c.SQL, plainFrom.ReplaceAllString(c.SQL, "$1 STREAM $2 WATERMARK ts DELAY OF INTERVAL 1 SECOND"))
		return nil
	})
	if err != nil {
		f.Fatal(err)
	}
	out = append(out, allQueries...)
	return append(out, stateQuery, `SELECT time, bus, transform(from_json(doors, 'ARRAY<STRUCT<a: INT>>'), x -> x.a) AS d FROM STREAM bus LATERAL VIEW explode(from_json(doors, 'ARRAY<STRUCT<a: INT>>')) t AS door`)
}

func columnHints(f *testing.F) map[string]string {
	out := map[string]string{}
	files, err := filepath.Glob(filepath.Join(defaultCases, "inputs", "*.schema.json"))
	if err != nil || len(files) == 0 {
		f.Fatalf("no schemas in testdata: %v", err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		var s struct{ Columns []columnDef }
		if err := json.Unmarshal(data, &s); err != nil {
			f.Fatal(err)
		}
		for _, c := range s.Columns {
			out[strings.ToLower(c.Name)] = c.Type
		}
	}
	return out
}
