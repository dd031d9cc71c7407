package plan

import (
	"slices"
	"testing"

	"signalbox/engine/expr"
	"signalbox/engine/sql"
)

// TestFunctionListsAreComplete: what is documented is known to the analyser, and the other way round.
func TestFunctionListsAreComplete(t *testing.T) {
	documented := func(list []expr.FuncInfo, name string) bool {
		return slices.ContainsFunc(list, func(f expr.FuncInfo) bool { return f.Name == name })
	}
	for _, f := range AnalyticFunctions() {
		if !isAnalyticOnly(f.Name) {
			t.Errorf("%s does not need OVER", f.Name)
		}
	}
	for _, n := range []string{"row_number", "rank", "dense_rank", "percent_rank", "cume_dist", "ntile", "lag", "lead", "nth_value"} {
		if !documented(AnalyticFunctions(), n) {
			t.Errorf("%s is not documented", n)
		}
	}
	for _, f := range TableFunctions() {
		if f.Name != "range" && !isGenerator(&sql.Call{Name: f.Name}) {
			t.Errorf("%s makes no rows", f.Name)
		}
	}
	for _, f := range StateFunctions() {
		if stateArgs(f.Name) == 0 || expr.Exists(f.Name) {
			t.Errorf("%s is no function with state, or a scalar one too", f.Name)
		}
	}
}
