package replay

import (
	"bytes"
	"compress/gzip"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"signalbox/simulator/w1"
)

func small() w1.Config {
	c := w1.Default()
	c.Seconds, c.Buses, c.Routes, c.Seed = 90, 40, 7, 11
	return c
}

func file(t *testing.T, name string, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func workload(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := w1.Write(&b, small()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func options(query string, inputs ...string) Options {
	return Options{Schema: []File{{"schema.sql", w1.Schema + "CREATE TABLE caps (bus STRING, seats BIGINT);"}}, Query: File{"q.sql", query},
		Inputs: inputs, Format: "csv", BatchRows: 500}
}

func replay(t *testing.T, opt Options) (rows []string, stderr string) {
	t.Helper()
	var out, diagnostics bytes.Buffer
	if err := Run(context.Background(), opt, &out, &diagnostics); err != nil {
		t.Fatalf("%v\n%s", err, diagnostics.String())
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	slices.Sort(lines[1:])
	return lines[1:], diagnostics.String()
}

// Every query of W1 equals the slow answers, from text, compressed text and frames.
func TestAnswersEqualTheOracle(t *testing.T) {
	text := workload(t)
	var zipped, zstded, frames bytes.Buffer
	gz := gzip.NewWriter(&zipped)
	gz.Write(text)
	gz.Close()
	zs, err := zstd.NewWriter(&zstded)
	if err != nil {
		t.Fatal(err)
	}
	zs.Write(text)
	zs.Close()
	if _, err := w1.WriteRecording(&frames, small()); err != nil {
		t.Fatal(err)
	}
	inputs := map[string]string{"text": file(t, "a.lp", text), "gzip": file(t, "b", zipped.Bytes()), "zstd": file(t, "c", zstded.Bytes()), "frames": file(t, "d", frames.Bytes())}
	answers := w1.Answers(small())
	for _, q := range w1.Queries() {
		for kind, input := range inputs {
			rows, diagnostics := replay(t, options(q.SQL, input))
			if q.Name == "Q3" {
				for i, r := range rows { // start, bus, avg, max: the oracle leaves the average out
					f := strings.Split(r, ",")
					rows[i] = strings.Join([]string{f[0], f[1], f[3]}, ",")
				}
			}
			if !slices.Equal(rows, answers[q.Name]) {
				t.Errorf("%s from %s: %d rows, want %d\n%s", q.Name, kind, len(rows), len(answers[q.Name]), diagnostics)
			}
		}
	}
}

// The same question asked continuously and over the whole input has the same answer while no row is late.
func TestContinuousEqualsBounded(t *testing.T) {
	input := file(t, "a.lp", workload(t))
	const tail = " WATERMARK time DELAY OF INTERVAL 10 SECONDS GROUP BY window(time, '20 seconds', '10 seconds'), route"
	const head = "SELECT window.start AS start, route, min(speed) AS slowest, count(*) AS n FROM "
	live, _ := replay(t, options(head+"STREAM bus"+tail, input))
	bounded, _ := replay(t, options(head+"bus"+tail, input))
	if len(live) == 0 || !slices.Equal(live, bounded) {
		t.Errorf("continuous %d rows, bounded %d rows, or others", len(live), len(bounded))
	}
}

func TestStandardInputAndStaticTable(t *testing.T) {
	opt := options("SELECT DISTINCT b.bus, c.seats FROM bus b JOIN caps c ON b.bus = c.bus", "-")
	opt.Stdin = bytes.NewReader(workload(t))
	opt.Tables = map[string]string{"caps": file(t, "caps.csv", []byte("bus,seats\nB0001,9223372036854775807\nB0999,1\n"))}
	rows, _ := replay(t, opt)
	if !slices.Equal(rows, []string{"B0001,9223372036854775807"}) {
		t.Errorf("got %q", rows)
	}
}

func TestBadLinesAreToldAndTheRestGoesOn(t *testing.T) {
	input := file(t, "bad.lp", []byte("bus,bus=A passengers=1i 1000\nbus passengers=x 1000\nother,a=b c=1i 1000\nbus,bus=B passengers=2.5 1000\nbus,bus=C passengers=3i 1000\n"))
	rows, diagnostics := replay(t, options("SELECT bus, passengers FROM STREAM bus", input))
	if !slices.Equal(rows, []string{"A,1", "C,3"}) {
		t.Errorf("rows %q", rows)
	}
	for _, want := range []string{"bad.lp:2: refused (malformed)", "bad.lp:3: refused (unknown_stream)", "bad.lp:4: refused (type)", "3 of 5 lines were refused"} {
		if !strings.Contains(diagnostics, want) {
			t.Errorf("%q is not in the diagnostics:\n%s", want, diagnostics)
		}
	}
}

func TestFailingRowsAreRejectedOrStrictlyFail(t *testing.T) {
	opt := options("SELECT bus, 10 / passengers AS x FROM STREAM bus", file(t, "z.lp", []byte("bus,bus=A passengers=0i 1000\nbus,bus=B passengers=4i 1000\n")))
	rows, diagnostics := replay(t, opt)
	if !slices.Equal(rows, []string{"B,2.5"}) || !strings.Contains(diagnostics, "1 rows were rejected: expression") {
		t.Errorf("rows %q, diagnostics %s", rows, diagnostics)
	}
	opt.Strict = true
	if err := Run(context.Background(), opt, &bytes.Buffer{}, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "DIVIDE_BY_ZERO") {
		t.Errorf("strict: got %v", err)
	}
}

func TestErrorsNameTheFileAndPlace(t *testing.T) {
	input := file(t, "a.lp", []byte("bus,bus=A passengers=1i 1000\n"))
	for query, want := range map[string]string{
		"SELECT\n  nope FROM STREAM bus":          "q.sql:2:3: error: [UNRESOLVED_COLUMN",
		"SELEC 1":                                 "q.sql:1:1",
		"SELECT bus FROM STREAM bus ORDER BY bus": "q.sql:1:",
		"":                                 "holds no statement",
		"SELECT 1; SELECT 2":               "must be the last statement",
		"CREATE STREAM x (time TIMESTAMP)": "nothing to show",
	} {
		err := Run(context.Background(), options(query, input), &bytes.Buffer{}, &bytes.Buffer{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want …%s…", query, err, want)
		}
	}
	if err := Run(context.Background(), options("SELECT bus FROM bus", filepath.Join(t.TempDir(), "none")), &bytes.Buffer{}, &bytes.Buffer{}); err == nil {
		t.Error("a missing input is no error")
	}
}

// A query may read a streaming table of the schema; the others of the schema do not run.
func TestPipelineInTheSchema(t *testing.T) {
	opt := options("SELECT count(*) AS windows FROM STREAM per_route", file(t, "a.lp", workload(t)))
	opt.Schema = append(opt.Schema, File{"more.sql", `CREATE STREAMING TABLE per_route AS SELECT window.start AS start, route, count(*) AS n FROM STREAM bus
WATERMARK time DELAY OF INTERVAL 10 SECONDS GROUP BY window(time, '1 minute'), route;
CREATE STREAMING TABLE unused AS SELECT 1 / 0 AS boom FROM STREAM bus;`})
	rows, diagnostics := replay(t, opt)
	if !slices.Equal(rows, []string{"14"}) || diagnostics != "" {
		t.Errorf("got %q, %s", rows, diagnostics)
	}
}
