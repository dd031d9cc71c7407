package expr_test

import (
	"fmt"
	"math"
	"math/big"
	"math/rand"
	"testing"

	"signalbox/engine/column"
	"signalbox/engine/expr"
)

// tree is a random expression, kept apart from the engine's own form.
type tree struct {
	op   string // "col", "lit" or an operator
	kind column.Kind
	col  int
	lit  any // nil, int64, float64, string, bool
	kids []*tree
}

var kinds = [4]column.Kind{column.BigInt, column.Double, column.String, column.Boolean}

func genTree(r *rand.Rand, k column.Kind, depth int) *tree {
	if depth == 0 || r.Intn(6) == 0 {
		if r.Intn(3) == 0 {
			return &tree{op: "lit", kind: k, lit: genValue(r, k)}
		}
		for i, x := range kinds {
			if x == k {
				return &tree{op: "col", kind: k, col: i + 4*r.Intn(2)}
			}
		}
	}
	sub := func(k column.Kind) *tree { return genTree(r, k, depth-1) }
	if r.Intn(4) == 0 {
		if r.Intn(2) == 0 {
			return &tree{op: "case", kind: k, kids: []*tree{sub(column.Boolean), sub(k), sub(column.Boolean), sub(k), sub(k)}}
		}
		return &tree{op: "coalesce", kind: k, kids: []*tree{sub(k), sub(k), sub(k)}}
	}
	switch k {
	case column.BigInt:
		op := []string{"+", "-", "*", "%", "div"}[r.Intn(5)]
		return &tree{op: op, kind: k, kids: []*tree{sub(k), sub(k)}}
	case column.Double:
		if r.Intn(4) == 0 {
			return &tree{op: "double", kind: k, kids: []*tree{sub(column.BigInt)}}
		}
		op := []string{"+", "-", "*", "/", "%"}[r.Intn(5)]
		return &tree{op: op, kind: k, kids: []*tree{sub(k), sub(k)}}
	case column.String:
		if r.Intn(2) == 0 {
			return &tree{op: "lower", kind: k, kids: []*tree{sub(k)}}
		}
		return &tree{op: "||", kind: k, kids: []*tree{sub(k), sub(k)}}
	}
	switch r.Intn(6) {
	case 0:
		return &tree{op: "not", kind: k, kids: []*tree{sub(k)}}
	case 1:
		return &tree{op: []string{"and", "or"}[r.Intn(2)], kind: k, kids: []*tree{sub(k), sub(k)}}
	case 2:
		return &tree{op: "isnull", kind: k, kids: []*tree{sub(kinds[r.Intn(4)])}}
	case 3:
		x := kinds[r.Intn(3)]
		t := &tree{op: "in", kind: k, kids: []*tree{sub(x)}}
		for range 1 + r.Intn(4) {
			t.kids = append(t.kids, &tree{op: "lit", kind: x, lit: genValue(r, x)})
		}
		return t
	}
	x := kinds[r.Intn(3)]
	return &tree{op: []string{"=", "<>", "<", "<=", ">", ">=", "<=>"}[r.Intn(7)], kind: k, kids: []*tree{sub(x), sub(x)}}
}

func genValue(r *rand.Rand, k column.Kind) any {
	if r.Intn(6) == 0 {
		return nil
	}
	switch k {
	case column.BigInt:
		return []int64{0, 1, -1, 2, 3, -7, 1 << 31, math.MaxInt64, math.MinInt64, int64(r.Intn(20)) - 10}[r.Intn(10)]
	case column.Double:
		return []float64{0, math.Copysign(0, -1), 1, -1.5, 2.5, math.NaN(), math.Inf(1), math.Inf(-1), 1e300, r.NormFloat64()}[r.Intn(10)]
	case column.String:
		return []string{"", "a", "B", "ab", "ä", "Ab", "z"}[r.Intn(7)]
	}
	return r.Intn(2) == 0
}

func datumOf(v any) column.Datum {
	switch v := v.(type) {
	case int64:
		return column.I64(v)
	case float64:
		return column.F64(v)
	case string:
		return column.Str(v)
	case bool:
		return column.Bool(v)
	}
	return column.NullDatum
}

func (t *tree) expr(tb testing.TB) expr.Expr {
	switch t.op {
	case "col":
		return expr.NewColumn(t.col, fmt.Sprint("c", t.col), column.Of(t.kind))
	case "lit":
		return expr.NewLiteral(column.Of(t.kind), datumOf(t.lit))
	}
	args := make([]expr.Expr, len(t.kids))
	for i, k := range t.kids {
		args[i] = k.expr(tb)
	}
	e, err := expr.Call(t.op, args...)
	if err != nil {
		tb.Fatalf("%s: %v", t.op, err)
	}
	return e
}

// eval is the oracle: one row at a time, on Go values, in the order in which Spark evaluates. The string names a failure.
func (t *tree) eval(row []any) (any, string) {
	switch t.op {
	case "col":
		return row[t.col], ""
	case "lit":
		return t.lit, ""
	case "case":
		for i := 0; i+1 < len(t.kids); i += 2 {
			c, bad := t.kids[i].eval(row)
			if bad != "" {
				return nil, bad
			}
			if c == true {
				return t.kids[i+1].eval(row)
			}
		}
		return t.kids[len(t.kids)-1].eval(row)
	case "coalesce":
		for _, k := range t.kids {
			if v, bad := k.eval(row); bad != "" || v != nil {
				return v, bad
			}
		}
		return nil, ""
	case "and", "or":
		return t.logic(row)
	case "in":
		return t.in(row)
	}
	first, second := 0, 1
	if t.op == "/" || t.op == "%" || t.op == "div" {
		first, second = 1, 0
	}
	if len(t.kids) == 1 {
		v, bad := t.kids[0].eval(row)
		if bad != "" {
			return nil, bad
		}
		return unary(t.op, v), ""
	}
	x, bad := t.kids[first].eval(row)
	if bad != "" || x == nil && t.op != "<=>" {
		return nil, bad
	}
	y, bad := t.kids[second].eval(row)
	if bad != "" {
		return nil, bad
	}
	if t.op == "<=>" && (x == nil || y == nil) {
		return x == nil && y == nil, ""
	}
	if y == nil {
		return nil, ""
	}
	if first == 1 {
		x, y = y, x
	}
	return binary(t.op, x, y)
}

func unary(op string, v any) any {
	switch {
	case op == "isnull":
		return v == nil
	case v == nil:
		return nil
	case op == "not":
		return !v.(bool)
	case op == "double":
		return float64(v.(int64))
	}
	out := []rune(v.(string))
	for i, c := range out {
		if c >= 'A' && c <= 'Z' {
			out[i] = c + 32
		}
	}
	return string(out)
}

func (t *tree) logic(row []any) (any, string) {
	decides := t.op == "or"
	x, bad := t.kids[0].eval(row)
	if bad != "" || x == decides {
		return x, bad
	}
	y, bad := t.kids[1].eval(row)
	switch {
	case bad != "":
		return nil, bad
	case y == decides:
		return y, ""
	case x == nil || y == nil:
		return nil, ""
	}
	return !decides, ""
}

func (t *tree) in(row []any) (any, string) {
	v, bad := t.kids[0].eval(row)
	if bad != "" || v == nil {
		return nil, bad
	}
	var out any = false
	for _, k := range t.kids[1:] {
		if k.lit == nil {
			out = nil
		} else if order(v, k.lit) == 0 {
			return true, ""
		}
	}
	return out, ""
}

// order compares by Spark's rules, written with big numbers and not as the engine does.
func order(x, y any) int {
	switch a := x.(type) {
	case int64:
		return big.NewInt(a).Cmp(big.NewInt(y.(int64)))
	case float64:
		b := y.(float64)
		an, bn := math.IsNaN(a), math.IsNaN(b)
		if an || bn {
			return map[bool]int{true: 1}[an] - map[bool]int{true: 1}[bn]
		}
		if a == b {
			return 0
		}
		if a < b {
			return -1
		}
		return 1
	}
	a, b := []byte(x.(string)), []byte(y.(string))
	for i := range a {
		if i >= len(b) || a[i] > b[i] {
			return 1
		}
		if a[i] < b[i] {
			return -1
		}
	}
	if len(a) < len(b) {
		return -1
	}
	return 0
}

func binary(op string, x, y any) (any, string) {
	switch op {
	case "=", "<=>":
		return order(x, y) == 0, ""
	case "<>":
		return order(x, y) != 0, ""
	case "<":
		return order(x, y) < 0, ""
	case "<=":
		return order(x, y) <= 0, ""
	case ">":
		return order(x, y) > 0, ""
	case ">=":
		return order(x, y) >= 0, ""
	case "||":
		return x.(string) + y.(string), ""
	}
	if a, ok := x.(float64); ok {
		return floatOp(op, a, y.(float64))
	}
	a, b := big.NewInt(x.(int64)), big.NewInt(y.(int64))
	r := new(big.Int)
	switch op {
	case "+":
		r.Add(a, b)
	case "-":
		r.Sub(a, b)
	case "*":
		r.Mul(a, b)
	case "%":
		if b.Sign() == 0 {
			return nil, "REMAINDER_BY_ZERO"
		}
		r.Rem(a, b)
	default:
		if b.Sign() == 0 {
			return nil, "DIVIDE_BY_ZERO"
		}
		r.Quo(a, b)
	}
	if !r.IsInt64() {
		return nil, "ARITHMETIC_OVERFLOW"
	}
	return r.Int64(), ""
}

func floatOp(op string, a, b float64) (any, string) {
	switch op {
	case "+":
		return a + b, ""
	case "-":
		return a - b, ""
	case "*":
		return a * b, ""
	}
	if b == 0 {
		return nil, map[string]string{"/": "DIVIDE_BY_ZERO", "%": "REMAINDER_BY_ZERO"}[op]
	}
	if op == "/" {
		return a / b, ""
	}
	return math.Mod(a, b), ""
}

func same(got column.Datum, k column.Kind, want any) bool {
	if want == nil || got.Null {
		return want == nil && got.Null
	}
	w := datumOf(want)
	if k == column.Double {
		return math.Float64bits(got.F) == math.Float64bits(w.F) || math.IsNaN(got.F) && math.IsNaN(w.F)
	}
	return got.I == w.I && got.S == w.S
}

// TestKernelsAgainstOracle compares random expressions over random batches, with and without a selection.
func TestKernelsAgainstOracle(t *testing.T) {
	seed := int64(20240519)
	r := rand.New(rand.NewSource(seed))
	schema := &column.Schema{Time: -1}
	for i := range 8 {
		schema.Fields = append(schema.Fields, column.Field{Name: fmt.Sprint("c", i), Type: column.Of(kinds[i%4])})
	}
	ctx := expr.NewContext()
	for round := range 3000 {
		tr := genTree(r, kinds[r.Intn(4)], 1+r.Intn(4))
		e := tr.expr(t)
		if r.Intn(2) == 0 {
			e = expr.Fold(e)
		}
		for range 2 {
			n := 1 + r.Intn(90)
			b := column.NewBatch(schema, n)
			rows := make([][]any, n)
			for i := range rows {
				rows[i] = make([]any, 8)
				d := make([]column.Datum, 8)
				for j := range d {
					rows[i][j] = genValue(r, kinds[j%4])
					d[j] = datumOf(rows[i][j])
				}
				b.AppendRow(d...)
			}
			checkTree(t, ctx, tr, e, b, rows, r, fmt.Sprintf("seed %d round %d", seed, round))
		}
		if t.Failed() {
			return
		}
	}
}

func checkTree(t *testing.T, ctx *expr.Context, tr *tree, e expr.Expr, b *column.Batch, rows [][]any, r *rand.Rand, where string) {
	t.Helper()
	var sel []int32
	if r.Intn(2) == 0 {
		sel = []int32{}
		for i := range rows {
			if r.Intn(3) > 0 {
				sel = append(sel, int32(i))
			}
		}
	}
	ctx.Reset()
	out := e.Eval(ctx, b, sel)
	failed := map[int32]string{}
	for _, x := range ctx.Errors {
		failed[x.Row] = x.Err.Condition
	}
	if sel == nil {
		for i := range rows {
			sel = append(sel, int32(i))
		}
	}
	for _, i := range sel {
		want, bad := tr.eval(rows[i])
		if failed[i] != bad || bad == "" && !same(out.Datum(int(i)), tr.kind, want) || bad != "" && !out.IsNull(int(i)) {
			t.Errorf("%s row %d %v: %s = %v (failed %q), want %v (failed %q)", where, i, rows[i], e, out.Datum(int(i)), failed[i], want, bad)
			return
		}
		delete(failed, i)
	}
	if len(failed) > 0 {
		t.Errorf("%s: %s failed on rows that were not asked for: %v", where, e, failed)
	}
}
