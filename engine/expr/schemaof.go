package expr

import (
	"slices"
	"strconv"
	"strings"

	"signalbox/engine/column"
)

// bindSchemaOfJSON names the type of a constant JSON text as from_json takes it.
func bindSchemaOfJSON(name string, args []Expr) (Expr, error) {
	if len(args) != 1 && len(args) != 2 {
		return nil, errWrongNumArgs(name, "1 or 2", len(args))
	}
	d, ok := Constant(Fold(args[0]))
	if !ok || args[0].Type().Kind != column.String || d.Null {
		return nil, analysisErr("DATATYPE_MISMATCH.NON_FOLDABLE_INPUT", "42K09", "%s: the JSON must be a constant text", name)
	}
	n, ok := parseJSON(d.S)
	if !ok {
		return nil, analysisErr("INVALID_JSON_RECORD", "22023", "%s: %q is no JSON", name, clip(d.S))
	}
	return NewLiteral(column.Of(column.String), column.Str(ddlType(n.typeOf()))), nil
}

// typeOf is the type that Spark infers; NULL alone is a STRING.
func (n *jsonNode) typeOf() column.Type {
	switch n.kind {
	case jsonBool:
		return column.Of(column.Boolean)
	case jsonString:
		return column.Of(column.String)
	case jsonNumber:
		if !strings.ContainsAny(n.text, ".eE") {
			if _, err := strconv.ParseInt(n.text, 10, 64); err == nil {
				return column.Of(column.BigInt)
			}
			if digits := len(strings.TrimPrefix(n.text, "-")); digits <= 38 {
				return column.DecimalType(uint8(digits), 0)
			}
		}
		return column.Of(column.Double)
	case jsonArray:
		elem := column.Type{}
		for _, v := range n.vals {
			elem = jsonCommon(elem, v.typeOf())
		}
		return column.ArrayOf(elem)
	case jsonObject:
		t := column.Type{Kind: column.Struct}
		for i, k := range n.keys {
			t.Fields = append(t.Fields, column.Field{Name: k, Type: n.vals[i].typeOf()})
		}
		slices.SortStableFunc(t.Fields, func(a, b column.Field) int { return strings.Compare(a.Name, b.Name) })
		return t
	}
	return column.Type{}
}

// jsonCommon is the type of an array whose members differ; what does not go together is text.
func jsonCommon(a, b column.Type) column.Type {
	switch {
	case a.Kind == column.Struct && b.Kind == column.Struct:
		out := column.Type{Kind: column.Struct}
		for _, f := range append(slices.Clone(a.Fields), b.Fields...) {
			i := slices.IndexFunc(out.Fields, func(x column.Field) bool { return x.Name == f.Name })
			if i < 0 {
				out.Fields = append(out.Fields, f)
				continue
			}
			out.Fields[i].Type = jsonCommon(out.Fields[i].Type, f.Type)
		}
		slices.SortStableFunc(out.Fields, func(x, y column.Field) int { return strings.Compare(x.Name, y.Name) })
		return out
	case a.Kind == column.Array && b.Kind == column.Array:
		return column.ArrayOf(jsonCommon(*a.Elem, *b.Elem))
	}
	if t, ok := tightest(a, b); ok {
		return t
	}
	if t, ok := widerWithDecimal(a, b); ok {
		return t
	}
	return column.Of(column.String)
}

// ddlType writes a type as CREATE TABLE and from_json take it.
func ddlType(t column.Type) string {
	switch t.Kind {
	case column.Void:
		return "STRING"
	case column.Array:
		return "ARRAY<" + ddlType(*t.Elem) + ">"
	case column.Struct:
		parts := make([]string, len(t.Fields))
		for i, f := range t.Fields {
			parts[i] = ddlName(f.Name) + ": " + ddlType(f.Type)
		}
		return "STRUCT<" + strings.Join(parts, ", ") + ">"
	}
	return strings.ToUpper(t.String())
}

func ddlName(s string) string {
	for i, r := range s {
		if r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (i == 0 || r < '0' || r > '9') {
			return "`" + strings.ReplaceAll(s, "`", "``") + "`"
		}
	}
	return s
}
