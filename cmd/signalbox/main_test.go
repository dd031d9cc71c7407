package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"signalbox/cmd/signalbox/client"
	"signalbox/cmd/signalbox/replay"
)

// put writes a file into a new folder and returns its path.
func put(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// command runs signalbox and returns what it wrote and what it would say of its error.
func command(t *testing.T, args ...string) (out, failure string) {
	t.Helper()
	var text bytes.Buffer
	root := rootCommand()
	root.SetArgs(args)
	root.SetOut(&text)
	root.SetErr(&text)
	if c, err := root.ExecuteContextC(t.Context()); err != nil {
		failure = explained(c, err)
	}
	return text.String(), failure
}

func gzipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const readings = "bus,route=R1 passengers=3i 1767250800000000000\nbus,route=R2 passengers=4i,speed=2.5 1767250801000000000\n"

// Every wrong use says what is wrong, where, and what to do.
func TestWhatIsSaidOfMistakes(t *testing.T) {
	stream := put(t, "s.sql", "CREATE STREAM bus (time TIMESTAMP, route STRING, passengers BIGINT);")
	query := put(t, "q.sql", "SELECT route, passengers FROM bus")
	rules := put(t, "rules.yaml", "groups:\n  - name: g\n    rules:\n      - alert: A\n        from: bos\n        expr: passengers > 1\n        by: [route]\n"+
		"      - alert: B\n        from: bis\n        expr: passengers > 1\n        by: [route]\n")
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"query"}, []string{"accepts 1 arg", "Usage: signalbox query SQL", "signalbox query --help"}},
		{[]string{"statsu"}, []string{"unknown command", "status"}},
		{[]string{"schema"}, []string{"schema infer FILE", "schema cassandra"}},
		{[]string{"schema", "infre"}, []string{"unknown command"}},
		{[]string{"check"}, []string{"requires at least 1", "Usage: signalbox check"}},
		{[]string{"query", "SELECT 1", "--format", "xml"}, []string{`unknown format "xml"`, "table, jsonl, csv"}},
		{[]string{"status", "--core", "127.0.0.1:1"}, []string{"127.0.0.1:1", "no core node listens there", "--core"}},
		{[]string{"explain", rules}, []string{rules, "signalbox check"}},
		{[]string{"check", stream, rules}, []string{"2 errors"}},
		{[]string{"replay", "--schema", stream, "--query", query}, []string{`required flag(s) "input"`}},
		{[]string{"replay", "--schema", stream, "--query", query, "--input", put(t, "wrong.csv", "a,b\n1,2\n")}, []string{"no line of the input fits"}},
		{[]string{"schema", "infer", put(t, "wrong.csv", "a,b\n1,2\n")}, []string{"wrong.csv", "is it line protocol?"}},
	} {
		out, failure := command(t, c.args...)
		for _, want := range c.want {
			if !strings.Contains(failure, want) {
				t.Errorf("signalbox %s: got %q (and %q), want …%s…", strings.Join(c.args, " "), failure, out, want)
			}
		}
	}
}

func TestCheckNamesTheFileOfEveryError(t *testing.T) {
	rules := put(t, "rules.yaml", "groups:\n  - name: g\n    rules:\n      - {alert: A, from: bos, expr: x > 1, by: [x]}\n      - {alert: B, from: bis, expr: x > 1, by: [x]}\n")
	out, failure := command(t, "check", rules)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 2 || !strings.HasPrefix(lines[0], rules+": ") || !strings.HasPrefix(lines[1], rules+": ") || !strings.Contains(lines[0], `rule "A": [TABLE_OR_VIEW_NOT_FOUND]`) || failure != "2 errors" {
		t.Errorf("got %q, %q", out, failure)
	}
}

// One mistake is reported once, whoever reads what it was to declare.
func TestCheckReportsAMistakeOnce(t *testing.T) {
	broken := put(t, "broken.sql", "CREATE STREAM bus (time TIMESTAMP, route STRIN, passengers BIGINT);\nCREATE STREAMING TABLE a AS SELECT route, passengers FROM STREAM bus;")
	later := put(t, "later.sql", "CREATE STREAMING TABLE b AS SELECT route FROM STREAM bus WHERE passengers > 3;")
	rules := put(t, "rules.yaml", "groups:\n  - name: g\n    rules:\n      - {alert: A, from: bus, expr: passengers > 1, by: [route]}\n")
	out, failure := command(t, "check", broken, later, rules)
	if failure != "1 error" || strings.Count(out, "broken.sql:1:") != 1 || strings.Contains(out, "TABLE_OR_VIEW_NOT_FOUND") {
		t.Errorf("got %q, %q", out, failure)
	}
}

// What a change does to the state of a table is known before it is applied.
func TestCheckAgainstTheRunningVersion(t *testing.T) {
	stream := "CREATE STREAM bus (time TIMESTAMP, route STRING, passengers BIGINT);\n"
	counted := "CREATE STREAMING TABLE load AS SELECT route, sum(passengers) AS p FROM STREAM bus GROUP BY route"
	old := put(t, "old.sql", stream+counted+";")
	for query, want := range map[string]string{
		counted:                                 "load: unchanged\n",
		counted + " HAVING sum(passengers) > 5": "load: keeps state: ",
		strings.Replace(counted, "AS p", "AS p, max(passengers) AS m", 1): "load: adds a column: from now on: max(",
		counted + ", passengers % 2":                                      "load: starts anew: ",
	} {
		out, failure := command(t, "check", "--running", old, put(t, "new.sql", stream+query+";"))
		if !strings.Contains(out, want) || failure != "" {
			t.Errorf("%s: got %q, %q, want %s", query, out, failure, want)
		}
	}
	out, failure := command(t, "explain", put(t, "new.sql", stream+counted+" HAVING sum(passengers) > 5;"), "--running", old)
	if !strings.Contains(out, "load: keeps state") || failure != "" {
		t.Errorf("got %q, %q", out, failure)
	}
}

func TestInferReadsCompressedFiles(t *testing.T) {
	want := "CREATE STREAM bus (\n  time TIMESTAMP,\n  route STRING,\n  passengers BIGINT,\n  speed DOUBLE\n);\n"
	for _, file := range []string{put(t, "a.lp", readings), put(t, "a.lp.gz", gzipped(t, readings))} {
		if out, failure := command(t, "schema", "infer", file); out != want || failure != "" {
			t.Errorf("%s: got %q, %s", file, out, failure)
		}
	}
}

// Numbers to the right, nothing after the last column, NULL told from the empty string.
func TestRowsOfAQuery(t *testing.T) {
	rows := &client.Rows{Index: 7, Columns: []client.Column{{Name: "n", Type: "bigint"}, {Name: "price", Type: "decimal(9,2)"}, {Name: "text", Type: "string"}}}
	rows.Rows = append(rows.Rows, raw("9223372036854775807", "1.50", `"a,b"`), raw("1", "null", `""`), raw("2", "-3.00", "null"))
	for format, want := range map[string]string{
		"table": "                  n  price  text\n-------------------  -----  ----\n9223372036854775807   1.50  a,b\n" +
			"                  1   NULL  \n                  2  -3.00  NULL\n",
		"csv":   "n,price,text\n9223372036854775807,1.50,\"a,b\"\n1,,\"\"\n2,-3.00,\n",
		"jsonl": `{"n":9223372036854775807,"price":1.50,"text":"a,b"}` + "\n" + `{"n":1,"price":null,"text":""}` + "\n" + `{"n":2,"price":-3.00,"text":null}` + "\n",
	} {
		var out bytes.Buffer
		if err := printRows(&out, format, rows); err != nil || out.String() != want {
			t.Errorf("%s: got %q want %q (%v)", format, out.String(), want, err)
		}
	}
}

func raw(values ...string) []json.RawMessage {
	out := make([]json.RawMessage, len(values))
	for i, v := range values {
		out[i] = json.RawMessage(v)
	}
	return out
}

// The progress of several inputs never goes back.
func TestProgressGoesOn(t *testing.T) {
	stream := put(t, "s.sql", "CREATE STREAM bus (time TIMESTAMP, route STRING, passengers BIGINT);")
	input := put(t, "a.lp", strings.Repeat(readings, 500))
	total := int64(0)
	opt := replay.Options{Inputs: []string{input, input}, Format: "csv", BatchRows: 100}
	if err := readTexts(&opt, []string{stream}, put(t, "q.sql", "SELECT count(*) AS n FROM bus")); err != nil {
		t.Fatal(err)
	}
	opt.Progress = func(bytes, _ int64) {
		if bytes < total {
			t.Errorf("progress went back from %d to %d", total, bytes)
		}
		total = bytes
	}
	var out, diagnostics bytes.Buffer
	if err := replay.Run(t.Context(), opt, &out, &diagnostics); err != nil {
		t.Fatal(err, diagnostics.String())
	}
	if want := int64(2 * 500 * len(readings)); total != want {
		t.Errorf("progress ends at %d bytes, the inputs have %d", total, want)
	}
}
