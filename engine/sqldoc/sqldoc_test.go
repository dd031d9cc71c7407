package sqldoc_test

import (
	"flag"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"signalbox/engine"
	"signalbox/engine/alert"
	"signalbox/engine/expr"
	"signalbox/engine/plan"
	"signalbox/engine/sql"
	"signalbox/engine/sqldoc"
)

var update = flag.Bool("update", false, "rewrite the generated part of docs/sql.md")

const page = "../../docs/sql.md"

func readPage(t *testing.T) (written, generated string) {
	t.Helper()
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	written, generated, found := strings.Cut(string(data), sqldoc.Marker+"\n")
	if !found {
		t.Fatalf("%s has no line %q", page, sqldoc.Marker)
	}
	return written, generated
}

// TestReference: the generated part is what the generator writes today. Run with
// -update after a function was added or changed, and read the difference.
func TestReference(t *testing.T) {
	want, err := sqldoc.Reference()
	if err != nil {
		t.Fatal(err)
	}
	written, got := readPage(t)
	if *update {
		if err := os.WriteFile(page, []byte(written+sqldoc.Marker+"\n"+want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got == want {
		return
	}
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(a), len(b)) {
		if i >= len(a) || i >= len(b) || a[i] != b[i] {
			t.Fatalf("%s differs from what is generated, from line %d of the generated part:\n%s\nrun go test ./engine/sqldoc -update", page, i+1, strings.Join(b[min(i, len(b)):min(i+3, len(b))], "\n"))
		}
	}
}

var block = regexp.MustCompile("(?ms)^```(sql|yaml)( refused)?[^\n]*\n(.*?)^```$")

// TestWrittenExamples runs the blocks of the page in their order on one engine:
// statements are executed, queries answered, rules loaded. A block marked
// "refused" must be refused, each statement of it, with the words of the comment -- before it.
func TestWrittenExamples(t *testing.T) {
	written, _ := readPage(t)
	opt := engine.DefaultOptions()
	opt.System = sqldoc.SystemTables()
	e := engine.New(opt)
	ran, refused := 0, 0
	for _, m := range block.FindAllStringSubmatch(written, -1) {
		switch {
		case m[1] == "yaml":
			rules, errs := alert.ParseRules([]byte(m[3]), page)
			if len(errs) > 0 {
				t.Errorf("rules: %v\n%s", errs, m[3])
				continue
			}
			if err := e.SetRules(rules); err != nil {
				t.Errorf("rules: %v\n%s", err, m[3])
			}
			ran++
		case m[2] != "":
			refused += refusedBlock(t, e, m[3])
		default:
			ran += runBlock(t, e, m[3])
		}
	}
	if ran < 30 || refused < 10 {
		t.Errorf("%d examples ran and %d were refused: are the blocks of %s still found?", ran, refused, page)
	}
}

func runBlock(t *testing.T, e *engine.Engine, text string) int {
	statements, errs := sql.ParseScript(text)
	for _, err := range errs {
		t.Errorf("%v\n%s", err, text)
	}
	for _, s := range statements {
		if err := runStatement(e, s); err != nil {
			t.Errorf("%v\n%s", err, s.SQL())
		}
	}
	return len(statements)
}

func runStatement(e *engine.Engine, s sql.Statement) error {
	if _, query := s.(*sql.SelectStatement); query {
		_, err := e.Query(s.SQL())
		return err
	}
	return e.Execute(s.SQL())
}

func refusedBlock(t *testing.T, e *engine.Engine, text string) int {
	n, want := 0, ""
	for _, part := range strings.Split(text, ";\n") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		if c, rest, ok := strings.Cut(part, "\n"); ok && strings.HasPrefix(c, "-- ") {
			want, part = strings.TrimPrefix(c, "-- "), rest
		}
		n++
		var err error
		if statements, errs := sql.ParseScript(part); len(errs) > 0 {
			err = errs[0]
		} else {
			err = runStatement(e, statements[0])
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\nis documented to be refused with %q, but: %v", part, want, err)
		}
	}
	return n
}

// TestEveryFunctionIsDocumented: what the analyser knows beside the registries is listed.
func TestEveryFunctionIsDocumented(t *testing.T) {
	e, err := sqldoc.Sample()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range plan.QueryFunctions() {
		if f.Example == "" && !strings.HasPrefix(f.Name, "grouping") {
			if _, err := e.Query("SELECT " + f.Name + "() AS v"); err != nil {
				t.Errorf("%s: %v", f.Name, err)
			}
		}
	}
	if _, err := e.Query("SELECT route, bus, grouping(bus) AS g, grouping_id() AS i, count(*) AS n FROM readings GROUP BY ROLLUP (route, bus)"); err != nil {
		t.Error(err)
	}
	if _, err := e.Query("SELECT id FROM range(1, 7, 2)"); err != nil {
		t.Error(err)
	}
}

// TestLimits: the table of limits says the numbers of the code.
func TestLimits(t *testing.T) {
	written, _ := readPage(t)
	o := engine.DefaultOptions()
	for name, value := range map[string]int64{
		"MaxQueryBytes": sql.MaxQueryBytes, "MaxDepth": sql.MaxDepth, "MaxTreeHeight": sql.MaxTreeHeight, "MaxErrors": sql.MaxErrors,
		"MaxOperators": plan.MaxOperators, "MaxExpression": plan.MaxExpression, "MaxWindowsPerRow": plan.MaxWindowsPerRow, "MaxRange": plan.MaxRange,
		"MaxQueryRows": engine.MaxQueryRows, "MaxQueryMemory": engine.MaxQueryMemory, "MaxStaticRows": engine.MaxStaticRows, "MaxKeys": int64(o.MaxKeys), "MaxBatchBytes": expr.MaxBatchBytes, "MaxStateBytes": o.MaxStateBytes, "MaxClosedBytes": o.MaxClosedBytes,
		"ReviseEvery": o.ReviseEvery, "ResultRows": int64(o.ResultRows), "RingRows": int64(o.RingRows), "FutureLimit": o.FutureLimit, "MaxAlertAge": o.MaxAlertAge,
	} {
		row := regexp.MustCompile("(?m)^\\| `" + name + "` \\| ([0-9,]+) ?(?:(MiB|GiB|s|minutes)\\b)?").FindStringSubmatch(written)
		if row == nil {
			t.Errorf("%s is not in the table of limits", name)
			continue
		}
		unit := map[string]int64{"": 1, "MiB": 1 << 20, "GiB": 1 << 30, "s": 1e6, "minutes": 60e6}[row[2]]
		n, err := strconv.ParseInt(strings.ReplaceAll(row[1], ",", ""), 10, 64)
		if err != nil || n*unit != value {
			t.Errorf("%s is %d, the table says %s", name, value, strings.TrimPrefix(row[0], "| "))
		}
	}
}
