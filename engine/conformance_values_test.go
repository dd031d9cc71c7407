package engine_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"

	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/sql"
)

// columnDef is a column of an input or of an expected result.
type columnDef struct {
	Name, Type string
	Role       string
}

// schemaOf reads the types of a case.
func schemaOf(name string, cols []columnDef) (*column.Schema, error) {
	s := &column.Schema{Name: name, Time: -1}
	for i, c := range cols {
		t, err := sql.ParseType(c.Type)
		if err != nil {
			return nil, fmt.Errorf("column %s: type %s: %w", c.Name, c.Type, err)
		}
		if c.Role == "time" {
			s.Time = i
		}
		s.Fields = append(s.Fields, column.Field{Name: c.Name, Type: t.Type})
	}
	return s, nil
}

// shown renders a value as the cases write it: nil, bool, string or list.
func shown(t column.Type, d column.Datum) any {
	if d.Null || t.Kind == column.Void {
		return nil
	}
	switch t.Kind {
	case column.Boolean:
		return d.I != 0
	case column.Double:
		return doubleText(d.F, 64)
	case column.Float:
		return doubleText(d.F, 32)
	case column.Decimal:
		return decimalText(d.Dec, int(t.Scale))
	case column.String:
		return d.S
	case column.Binary:
		return "hex:" + hex.EncodeToString([]byte(d.S))
	case column.Date:
		return dateText(d.I)
	case column.Timestamp:
		return timeText(d.I) + "Z"
	case column.TimestampNTZ:
		return timeText(d.I)
	case column.IntervalYM: // the driver of Spark has no value for it: cases show its text
		return expr.Text(t, d)
	case column.Array:
		return list(d.L, func(int) column.Type { return *t.Elem })
	case column.Struct:
		return list(d.L, func(i int) column.Type { return t.Fields[i].Type })
	case column.Map:
		return list(d.L, func(i int) column.Type {
			if i%2 == 0 {
				return *t.Key
			}
			return *t.Elem
		})
	}
	return strconv.FormatInt(d.I, 10)
}

func list(ds []column.Datum, typ func(int) column.Type) []any {
	out := make([]any, len(ds))
	for i, d := range ds {
		out[i] = shown(typ(i), d)
	}
	return out
}

func doubleText(f float64, bits int) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	return strconv.FormatFloat(f, 'g', -1, bits)
}

func decimalText(d column.Decimal128, scale int) string {
	v := new(big.Int).Lsh(big.NewInt(d.Hi), 64)
	v.Or(v, new(big.Int).SetUint64(d.Lo))
	s := new(big.Int).Abs(v).String()
	if len(s) <= scale {
		s = strings.Repeat("0", scale-len(s)+1) + s
	}
	if scale > 0 {
		s = s[:len(s)-scale] + "." + s[len(s)-scale:]
	}
	if v.Sign() < 0 {
		return "-" + s
	}
	return s
}

func dateText(days int64) string {
	return yearText(time.Unix(days*86400, 0).UTC(), "-01-02")
}

func timeText(us int64) string {
	s, f := us/1_000_000, us%1_000_000
	if f < 0 {
		s, f = s-1, f+1_000_000
	}
	return yearText(time.Unix(s, 0).UTC(), "-01-02T15:04:05") + fmt.Sprintf(".%06d", f)
}

// yearText writes years beyond four digits with a sign, as Java does.
func yearText(t time.Time, rest string) string {
	year := fmt.Sprintf("%04d", t.Year())
	switch {
	case t.Year() > 9999:
		year = "+" + year
	case t.Year() < 0:
		year = fmt.Sprintf("-%04d", -t.Year())
	}
	return year + t.Format(rest)
}

// boxed reads a value as the cases write it.
func boxed(t column.Type, v any) (column.Datum, error) {
	if v == nil {
		return column.NullDatum, nil
	}
	if b, ok := v.(bool); ok {
		return column.Bool(b), nil
	}
	if l, ok := v.([]any); ok {
		return boxedList(t, l)
	}
	s, ok := v.(string)
	if !ok {
		return column.Datum{}, fmt.Errorf("cannot read %v as %s", v, t)
	}
	switch t.Kind {
	case column.Binary:
		b, err := hex.DecodeString(strings.TrimPrefix(s, "hex:"))
		return column.Str(string(b)), err
	case column.String:
		return column.Str(s), nil
	case column.Double, column.Float:
		f, err := strconv.ParseFloat(s, 64)
		return column.F64(f), err
	case column.Timestamp, column.TimestampNTZ:
		tm, err := time.Parse("2006-01-02T15:04:05.999999", strings.TrimSuffix(s, "Z"))
		return column.I64(tm.UnixMicro()), err
	case column.Date:
		tm, err := time.Parse("2006-01-02", s)
		return column.I64(tm.Unix() / 86400), err
	case column.Decimal:
		return boxedDecimal(t, s)
	}
	i, err := strconv.ParseInt(s, 10, 64)
	return column.I64(i), err
}

func boxedList(t column.Type, l []any) (column.Datum, error) {
	out := column.Datum{L: make([]column.Datum, len(l))}
	for i, v := range l {
		var elem column.Type
		switch {
		case t.Kind == column.Array:
			elem = *t.Elem
		case t.Kind == column.Struct && i < len(t.Fields):
			elem = t.Fields[i].Type
		default:
			return out, fmt.Errorf("cannot read a list as %s", t)
		}
		d, err := boxed(elem, v)
		if err != nil {
			return out, err
		}
		out.L[i] = d
	}
	return out, nil
}

// boxedDecimal reads a plain decimal with the scale of its type.
func boxedDecimal(t column.Type, s string) (column.Datum, error) {
	whole, frac, _ := strings.Cut(s, ".")
	if len(frac) > int(t.Scale) {
		return column.Datum{}, fmt.Errorf("%s has more digits than %s", s, t)
	}
	v, ok := new(big.Int).SetString(whole+frac+strings.Repeat("0", int(t.Scale)-len(frac)), 10)
	if !ok {
		return column.Datum{}, fmt.Errorf("%s is no decimal", s)
	}
	if v.Sign() < 0 {
		v.Add(v, new(big.Int).Lsh(big.NewInt(1), 128))
	}
	lo := new(big.Int).And(v, new(big.Int).SetUint64(math.MaxUint64))
	return column.Datum{Dec: column.Decimal128{Hi: int64(new(big.Int).Rsh(v, 64).Uint64()), Lo: lo.Uint64()}}, nil
}

// rowsOf boxes the rows of a batch as the cases write them.
func rowsOf(b *column.Batch) [][]any {
	out := make([][]any, b.Len)
	for i := range out {
		row := make([]any, len(b.Cols))
		for j, c := range b.Cols {
			row[j] = shown(b.Schema.Fields[j].Type, c.Datum(i))
		}
		out[i] = row
	}
	return out
}

// givenNames lists the names that a query gives to its columns; the others are informative only.
func givenNames(text string) map[string]bool {
	out := map[string]bool{}
	q, err := sql.ParseSelect(text)
	if err != nil {
		return out
	}
	if sel, ok := q.Body.(*sql.Select); ok {
		for _, it := range sel.Items {
			if id, ok := it.Expr.(*sql.Ident); ok && it.Alias == "" {
				out[id.Parts[len(id.Parts)-1]] = true
			}
			out[it.Alias] = true
		}
	}
	return out
}

// compareSchema compares number, types and (where they were given) names of the columns.
func compareSchema(want []columnDef, got *column.Schema, names map[string]bool) error {
	if len(want) != len(got.Fields) {
		return fmt.Errorf("expected %d columns, got %d", len(want), len(got.Fields))
	}
	for i, w := range want {
		g := got.Fields[i]
		if w.Type != g.Type.String() && !(strings.HasPrefix(w.Type, "interval") && strings.HasPrefix(g.Type.String(), "interval")) {
			return fmt.Errorf("column %d (%s): expected type %s, got %s", i+1, w.Name, w.Type, g.Type)
		}
		if names[w.Name] && w.Name != g.Name {
			return fmt.Errorf("column %d: expected name %s, got %s", i+1, w.Name, g.Name)
		}
	}
	return nil
}

// comparison says how values are compared.
type comparison struct {
	cols    []columnDef
	rel     float64
	ordered bool
	approx  []bool // columns that are estimates: 5 % is near enough
}

// estimates finds the columns that are computed by approx_count_distinct.
func estimates(text string) []bool {
	q, err := sql.ParseSelect(text)
	if err != nil {
		return nil
	}
	sel, ok := q.Body.(*sql.Select)
	if !ok {
		return nil
	}
	out := make([]bool, len(sel.Items))
	for i, it := range sel.Items {
		sql.Walk(it.Expr, func(n sql.Node) bool {
			c, ok := n.(*sql.Call)
			out[i] = out[i] || ok && c.Name == "approx_count_distinct"
			return true
		})
	}
	return out
}

// near compares an estimate.
func near(want, got any) bool {
	a, aok := want.(string)
	b, bok := got.(string)
	x, err1 := strconv.ParseFloat(a, 64)
	y, err2 := strconv.ParseFloat(b, 64)
	return aok && bok && err1 == nil && err2 == nil && math.Abs(x-y) <= 0.05*math.Abs(x)
}

// compare compares rows, in order or as multisets.
func (c comparison) compare(want, got [][]any) error {
	if c.ordered {
		for i := range want {
			if i < len(got) && !c.row(want[i], got[i]) {
				return fmt.Errorf("row %d: expected %s, got %s", i+1, text(want[i]), text(got[i]))
			}
		}
		if len(want) != len(got) {
			return fmt.Errorf("expected %d rows, got %d", len(want), len(got))
		}
		return nil
	}
	left := append([][]any(nil), got...)
	var missing [][]any
	for _, w := range want {
		at := -1
		for i, g := range left {
			if c.row(w, g) {
				at = i
				break
			}
		}
		if at < 0 {
			missing = append(missing, w)
			continue
		}
		left = append(left[:at], left[at+1:]...)
	}
	if len(missing)+len(left) == 0 {
		return nil
	}
	return fmt.Errorf("expected %d rows, got %d; %s", len(want), len(got), differences(missing, left))
}

func differences(missing, extra [][]any) string {
	const shownRows = 3
	var b strings.Builder
	for i := 0; i < len(missing) && i < shownRows; i++ {
		fmt.Fprintf(&b, "\n    expected %s", text(missing[i]))
	}
	for i := 0; i < len(extra) && i < shownRows; i++ {
		fmt.Fprintf(&b, "\n    got      %s", text(extra[i]))
	}
	return b.String()
}

func text(row []any) string {
	b, err := json.Marshal(row)
	if err != nil {
		return fmt.Sprint(row)
	}
	return string(b)
}

func (c comparison) row(want, got []any) bool {
	if len(want) != len(got) {
		return false
	}
	for i := range want {
		if i < len(c.approx) && c.approx[i] && near(want[i], got[i]) {
			continue
		}
		if !c.value(c.cols[i].Type, want[i], got[i]) {
			return false
		}
	}
	return true
}

// value compares one value of a type; approximate counts may be 5 % off.
func (c comparison) value(typ string, want, got any) bool {
	switch w := want.(type) {
	case nil:
		return got == nil
	case bool:
		return w == got
	case []any:
		g, ok := got.([]any)
		if ok && len(g) == 2*len(w) {
			w = flat(w)
		}
		if !ok || len(w) != len(g) {
			return false
		}
		for i := range w {
			if !c.value("", w[i], g[i]) {
				return false
			}
		}
		return true
	case string:
		g, ok := got.(string)
		if !ok {
			return false
		}
		if strings.HasPrefix(w, "hex:") {
			return strings.EqualFold(w, g)
		}
		return w == g || (typ == "double" || typ == "float" || typ == "") && c.double(w, g)
	}
	return false
}

// flat makes key, value, key, value of the (key, value) pairs of a map.
func flat(pairs []any) []any {
	var out []any
	for _, p := range pairs {
		if kv, ok := p.([]any); ok && len(kv) == 2 {
			out = append(out, kv...)
		}
	}
	return out
}

func (c comparison) double(want, got string) bool {
	a, err := strconv.ParseFloat(want, 64)
	if err != nil {
		return false
	}
	b, err := strconv.ParseFloat(got, 64)
	if err != nil {
		return false
	}
	if c.rel == 0 {
		return math.Float64bits(a) == math.Float64bits(b)
	}
	if a == b || math.IsNaN(a) && math.IsNaN(b) {
		return true
	}
	d := math.Abs(a - b)
	return d <= c.rel*math.Max(math.Abs(a), math.Abs(b)) || math.Abs(a) < 1e-9 && math.Abs(b) < 1e-9
}
