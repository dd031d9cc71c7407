package expr

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"signalbox/engine/column"
)

// jsonOptions are those options of from_json and to_json that change an answer; nil = none.
type jsonOptions struct {
	read           map[column.Kind]func(string) (column.Datum, bool, *Error)
	write          map[column.Kind]func(column.Datum) (string, *Error)
	sorted, nulled bool
}

func jsonOptionsOf(name string, args []Expr, i int) (*jsonOptions, error) {
	opt, err := options(name, args, i)
	if err != nil || len(opt) == 0 {
		return nil, err
	}
	o := &jsonOptions{read: map[column.Kind]func(string) (column.Datum, bool, *Error){}, write: map[column.Kind]func(column.Datum) (string, *Error){}}
	kinds := map[string][]column.Kind{"timestampformat": {column.Timestamp}, "timestampntzformat": {column.TimestampNTZ}, "dateformat": {column.Date}}
	for _, k := range slices.Sorted(maps.Keys(opt)) { // unordered: they are sorted here
		v := opt[k]
		switch {
		case k == "sortkeys":
			o.sorted = strings.EqualFold(v, "true")
		case k == "ignorenullfields":
			o.nulled = strings.EqualFold(v, "false")
		case kinds[k] == nil:
			if !slices.Contains([]string{"mode", "locale", "encoding", "primitivesasstring", "allowunquotedcontrolchars"}, k) {
				return nil, analysisErr("UNSUPPORTED_FEATURE", "0A000", "%s: the option %s is not known; there are timestampFormat, dateFormat, sortKeys and ignoreNullFields", name, k)
			}
		}
		for _, kind := range kinds[k] {
			if i == 1 {
				o.write[kind], err = patternWriter(name, v, column.Of(kind))
			} else {
				o.read[kind], err = newTextPattern(name, v, kind)
			}
			if err != nil {
				return nil, err
			}
		}
	}
	return o, nil
}

func (o *jsonOptions) reader(k column.Kind) func(string) (column.Datum, bool, *Error) {
	if o == nil {
		return nil
	}
	return o.read[k]
}

func (o *jsonOptions) writer(k column.Kind) func(column.Datum) (string, *Error) {
	if o == nil {
		return nil
	}
	return o.write[k]
}

func (o *jsonOptions) keepsNulls() bool { return o != nil && o.nulled }

// order is the order in which the members of a struct are written.
func (o *jsonOptions) order(fields []column.Field) []int {
	out := make([]int, len(fields))
	for i := range out {
		out[i] = i
	}
	if o != nil && o.sorted {
		slices.SortStableFunc(out, func(a, b int) int { return strings.Compare(fields[a].Name, fields[b].Name) })
	}
	return out
}

// number writes a number as Spark does, which has read it as BIGINT or DOUBLE.
func (n *jsonNode) number() string {
	if !strings.ContainsAny(n.text, ".eE") {
		return n.text
	}
	if v, err := strconv.ParseFloat(n.text, 64); err == nil {
		return javaDouble(v, false)
	}
	return n.text
}
