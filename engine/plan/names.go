package plan

import (
	"strconv"

	"signalbox/engine/sql"
)

func ordinalName(i int) string { return "col" + strconv.Itoa(i+1) }

// fieldName names a field of a struct made from expressions.
func fieldName(e sql.Expr, i int) string {
	switch e := e.(type) {
	case *sql.Alias:
		return e.Name
	case *sql.Ident:
		return e.Parts[len(e.Parts)-1]
	case *sql.Field:
		return e.Name
	}
	return ordinalName(i)
}

// outputName names an output column without AS.
func outputName(e sql.Expr) string {
	switch e := e.(type) {
	case *ordinalRef:
		return e.Parts[len(e.Parts)-1]
	case *sql.Ident:
		return e.Parts[len(e.Parts)-1]
	case *sql.Field:
		return e.Name
	case *sql.Call:
		if isTimeWindow(e) {
			return e.Name
		}
	}
	return sql.Format(e)
}
