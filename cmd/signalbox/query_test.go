package main

import (
	"bytes"
	"context"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"signalbox/cmd/signalbox/client"
	"signalbox/cmd/signalbox/output"
	"signalbox/core/api"
	"signalbox/engine"
	"signalbox/engine/alert"
	"signalbox/engine/column"
)

// still is a node that answers every query with the same rows, or the same error.
type still struct {
	rows *column.Batch
	err  error
}

func (s still) Query(context.Context, string, engine.QueryLimits) (*column.Batch, uint64, error) {
	return s.rows, 7, s.err
}
func (still) Alerts(int) (active, over []alert.Active, index uint64) { return nil, nil, 7 }

func node(t *testing.T, s still) string {
	h := (&api.Server{State: s, Queries: api.NewQueries(s, api.QueryLimits{}), Events: &api.Events{}, Agents: http.NotFoundHandler(), Metrics: http.NotFoundHandler()}).Handler()
	web := httptest.NewServer(h)
	t.Cleanup(web.Close)
	return web.URL
}

func everyType() *column.Batch {
	of := column.Of
	text, double := of(column.String), of(column.Double)
	s := &column.Schema{Name: "x"}
	add := func(name string, t column.Type) { s.Fields = append(s.Fields, column.Field{Name: name, Type: t}) }
	add("tiny", of(column.TinyInt))
	add("big", of(column.BigInt))
	add("d", double)
	add("f", of(column.Float))
	add("dec", column.DecimalType(20, 3))
	add("yes", of(column.Boolean))
	add(`a "<b>" & 線`, text)
	add("bin", of(column.Binary))
	add("day", of(column.Date))
	add("at", of(column.Timestamp))
	add("local", of(column.TimestampNTZ))
	add("list", column.ArrayOf(double))
	add("pairs", column.Type{Kind: column.Map, Key: &text, Elem: &double})
	add("of", column.StructOf(column.Field{Name: "<x>", Type: text}, column.Field{Name: "y", Type: of(column.Timestamp)}))
	b := column.NewBatch(s, 0)
	null := make([]column.Datum, len(s.Fields))
	for i := range null {
		null[i] = column.NullDatum
	}
	b.AppendRow(null...)
	texts := []string{"", "a", "NULL", "null", "a,b", `"q"`, "<&>", "line\nbreak\ttab\x01", " ", "線", "25"}
	doubles := []float64{0, math.Copysign(0, -1), 25, 0.1, -1.5e300, 1e16, 1e-7, 123456789.25, math.NaN(), math.Inf(1), math.Inf(-1)}
	for i, v := range doubles {
		f, x := column.F64(float64(float32(v))), column.Str(texts[i%len(texts)])
		b.AppendRow(column.I64(int64(i-5)), column.I64(math.MinInt64+int64(i)), column.F64(v), f, column.Datum{Dec: column.Decimal128{Hi: int64(-i % 2), Lo: uint64(i) * 1000}},
			column.Bool(i%2 == 0), x, x, column.I64(int64(i)*-400), column.I64(int64(i)*1_234_567_890_123), column.I64(-1),
			column.Datum{L: []column.Datum{column.F64(v), column.NullDatum}}, column.Datum{L: []column.Datum{x, column.F64(v)}}, column.Datum{L: []column.Datum{x, column.I64(int64(i))}})
	}
	return b
}

// TestQueryPrintsAsReplay: the same rows look the same in every format, whether they come from the cluster or from a recording.
func TestQueryPrintsAsReplay(t *testing.T) {
	rows := everyType()
	url := node(t, still{rows: rows})
	for _, format := range strings.Split(output.Formats, ", ") {
		var want bytes.Buffer
		w, err := output.New(format, &want, rows.Schema)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(rows, nil); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := client.New(url).Query(t.Context(), "SELECT * FROM x")
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := printRows(&out, format, got); err != nil {
			t.Fatal(err)
		}
		a, b := strings.Split(out.String(), "\n"), strings.Split(want.String(), "\n")
		for i := range max(len(a), len(b)) {
			if i >= len(a) || i >= len(b) || a[i] != b[i] {
				t.Errorf("%s, line %d: query\n%s\nreplay\n%s", format, i+1, at(a, i), at(b, i))
				break
			}
		}
	}
	out, failure := command(t, "query", "SELECT 1", "--core", url, "--format", "csv")
	if !strings.HasSuffix(out, "\n12 rows as of log index 7\n") || failure != "" { // on standard error; command gathers both
		t.Errorf("%q, %q", out, failure)
	}
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "(no line)"
}

// TestQueryErrorsReachTheOperator as the engine wrote them: where, what, what to do.
func TestQueryErrorsReachTheOperator(t *testing.T) {
	e := engine.New(engine.DefaultOptions())
	if err := e.Execute("CREATE TABLE buses (bus STRING, seats BIGINT)"); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]string{
		"SELECT * FROM busses":    "1:15: [TABLE_OR_VIEW_NOT_FOUND] there is no stream or table `busses`; did you mean one of `buses`",
		"SELECT seat FROM buses":  "1:8: [UNRESOLVED_COLUMN.WITH_SUGGESTION] there is no column `seat` here; did you mean one of `buses.seats`",
		"SELECT seats FRM buses":  "1:",
		"DROP TABLE buses":        "1:1",
		"SELECT 1 / 0":            "try_divide",
		"SELECT sum(seats FROM b": "1:",
	} {
		_, err := e.Query(query)
		if err == nil {
			t.Fatalf("%s: no error", query)
		}
		_, failure := command(t, "query", query, "--core", node(t, still{err: err}))
		if !strings.Contains(failure, err.Error()) || !strings.Contains(failure, want) {
			t.Errorf("%s: %q, want %q", query, failure, want)
		}
	}
}
