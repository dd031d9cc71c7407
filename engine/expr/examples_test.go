package expr_test

import (
	"testing"

	"signalbox/engine"
	"signalbox/engine/column"
	"signalbox/engine/expr"
)

// evalSQL computes one SQL expression and shows it as CAST(… AS STRING) does.
func evalSQL(e *engine.Engine, text string) (got, typ string, err error) {
	b, err := e.Query("SELECT " + text + " AS v")
	if err != nil {
		return "", "", err
	}
	return expr.Text(b.Cols[0].Type, b.Cols[0].Datum(0)), b.Cols[0].Type.String(), nil
}

func TestEveryExample(t *testing.T) {
	e := engine.New(engine.Options{})
	for _, f := range expr.Functions() {
		if f.Example == "" && f.Doc == "" {
			t.Errorf("%s: no documentation", f.Name)
		}
		if f.Example == "" {
			continue
		}
		got, _, err := evalSQL(e, f.Example)
		if err != nil {
			t.Errorf("%s: %s: %v", f.Name, f.Example, err)
			continue
		}
		if got != f.Result {
			t.Errorf("%s: %s = %s, documented %s", f.Name, f.Example, got, f.Result)
		}
	}
}

// TestAnswers holds values and types that Spark documents or that its conformance cases show.
func TestAnswers(t *testing.T) {
	e := engine.New(engine.Options{})
	for _, c := range answers {
		got, typ, err := evalSQL(e, c.sql)
		if err != nil {
			t.Errorf("%s: %v", c.sql, err)
			continue
		}
		if got != c.want || c.typ != "" && typ != c.typ {
			t.Errorf("%s = %s (%s), want %s (%s)", c.sql, got, typ, c.want, c.typ)
		}
	}
}

func TestFailures(t *testing.T) {
	e := engine.New(engine.Options{})
	for _, c := range failures {
		_, _, err := evalSQL(e, c.sql)
		x, ok := err.(*expr.Error)
		if !ok {
			t.Errorf("%s: want %s %s, got %v", c.sql, c.phase, c.cond, err)
			continue
		}
		if x.Phase != c.phase || x.Condition != c.cond || x.SQLState != c.state {
			t.Errorf("%s: got %s %s %s, want %s %s %s", c.sql, x.Phase, x.Condition, x.SQLState, c.phase, c.cond, c.state)
		}
	}
}

var _ = column.Of
