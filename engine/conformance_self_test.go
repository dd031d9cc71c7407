package engine_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"signalbox/engine/batch"
	"signalbox/engine/plan"
	"signalbox/engine/sql"
)

// TestPushDownChangesNothing answers every bounded case with filters and
// constants where they were written; only errors may come from other rows.
func TestPushDownChangesNothing(t *testing.T) {
	for _, e := range readIndex(t, defaultCases) {
		if e.Kind != "batch" {
			continue
		}
		data, err := os.ReadFile(filepath.Join(defaultCases, e.File))
		if err != nil {
			t.Fatal(err)
		}
		var c batchCase
		if err := json.Unmarshal(data, &c); err != nil {
			t.Fatal(err)
		}
		if c.ExpectError != nil {
			continue
		}
		in := tables{}
		for _, i := range c.Inputs {
			if in[strings.ToLower(i.Table)], err = loadInput(filepath.Join(defaultCases, i.File), i.Table); err != nil {
				t.Fatal(err)
			}
		}
		q, err := sql.ParseSelect(c.SQL)
		if err != nil {
			t.Fatal(err)
		}
		p, err := plan.Analyze(q, in, plan.AnalyzeOptions{Plain: true, Now: startOfCase})
		if err != nil {
			t.Fatal(err)
		}
		out, err := batch.Run(p, in.source, batch.Options{Strict: true})
		if err != nil {
			t.Errorf("%s: %v", e.Name, err)
			continue
		}
		if err := (comparison{cols: c.Schema, rel: c.FloatRelTol, ordered: c.Ordered}).compare(c.Rows, rowsOf(out)); err != nil {
			t.Errorf("%s: %v", e.Name, err)
		}
	}
}

// TestComparison plants differences that the comparison must see, and some it must not.
func TestComparison(t *testing.T) {
	cols := []columnDef{{Name: "a", Type: "double"}, {Name: "b", Type: "string"}}
	for _, c := range []struct {
		what      string
		cmp       comparison
		want, got [][]any
		same      bool
	}{
		{"equal", comparison{cols: cols}, [][]any{{"1.0", "x"}}, [][]any{{"1", "x"}}, true},
		{"sign of zero, exact", comparison{cols: cols}, [][]any{{"-0.0", "x"}}, [][]any{{"0", "x"}}, false},
		{"sign of zero, tolerant", comparison{cols: cols, rel: 1e-9}, [][]any{{"-0.0", "x"}}, [][]any{{"0", "x"}}, true},
		{"last digit, exact", comparison{cols: cols}, [][]any{{"0.1", "x"}}, [][]any{{"0.10000000000000002", "x"}}, false},
		{"last digit, tolerant", comparison{cols: cols, rel: 1e-9}, [][]any{{"0.1", "x"}}, [][]any{{"0.10000000000000002", "x"}}, true},
		{"too far, tolerant", comparison{cols: cols, rel: 1e-9}, [][]any{{"0.1", "x"}}, [][]any{{"0.10001", "x"}}, false},
		{"numbers as text stay text", comparison{cols: cols, rel: 1e-9}, [][]any{{"1", "1.0"}}, [][]any{{"1", "1"}}, false},
		{"NULL is no empty string", comparison{cols: cols}, [][]any{{"1", nil}}, [][]any{{"1", ""}}, false},
		{"order, multiset", comparison{cols: cols}, [][]any{{"1", "x"}, {"2", "y"}}, [][]any{{"2", "y"}, {"1", "x"}}, true},
		{"order, ordered", comparison{cols: cols, ordered: true}, [][]any{{"1", "x"}, {"2", "y"}}, [][]any{{"2", "y"}, {"1", "x"}}, false},
		{"how often", comparison{cols: cols}, [][]any{{"1", "x"}, {"1", "x"}, {"2", "y"}}, [][]any{{"1", "x"}, {"2", "y"}, {"2", "y"}}, false},
		{"a row too many", comparison{cols: cols}, [][]any{{"1", "x"}}, [][]any{{"1", "x"}, {"1", "x"}}, false},
		{"NaN", comparison{cols: cols, rel: 1e-9}, [][]any{{"NaN", "x"}}, [][]any{{"NaN", "x"}}, true},
	} {
		err := c.cmp.compare(c.want, c.got)
		if (err == nil) != c.same {
			t.Errorf("%s: got %v, want same = %v", c.what, err, c.same)
		}
	}
	want := expectedError{Phase: "runtime", Condition: "DIVIDE_BY_ZERO", SQLState: "22012"}
	if want.check(nil) == nil {
		t.Error("a missing error was not noticed")
	}
}

// TestEstimates: only columns computed by approx_count_distinct may be 5 % off.
func TestEstimates(t *testing.T) {
	got := estimates("SELECT k, approx_count_distinct(x) + 1 AS d, count(*) FROM t GROUP BY k")
	if len(got) != 3 || got[0] || !got[1] || got[2] {
		t.Errorf("got %v", got)
	}
	if !near("100", "104") || near("100", "106") {
		t.Error("5 % are not 5 %")
	}
}
