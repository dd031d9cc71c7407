package expr

import (
	"slices"
	"strings"
	"sync"

	"signalbox/engine/column"
)

// FuncInfo describes a function for the documentation.
type FuncInfo struct {
	Name        string
	Signature   string
	Doc         string
	Example     string // a SQL expression
	Result      string // its value as CAST(… AS STRING) shows it; NULL for NULL
	BeyondSpark bool   // ours, not Spark's
}

// function is an entry of the registry.
type function struct {
	name    string
	sig     string // argument classes, see classOf; "?" optional, "*" repeated
	ret     string // result type, "arg0" = that of the first argument
	eval    evalFunc
	nulls   bool
	safe    bool
	bind    func(name string, args []Expr) (Expr, error) // instead of sig, ret and eval
	params  string                                       // shown instead of sig
	doc     string
	example string
	result  string
	beyond  bool
	hidden  bool // an operator: not listed
}

// unlisted hides what only the analyser writes.
func (f function) unlisted() function {
	f.hidden = true
	return f
}

// registry is the table of functions, built from the literals on first use.
var registry = struct {
	once   sync.Once
	byName map[string]*function
	list   []*function
}{}

func tables() [][]function {
	return [][]function{operators(), conditionals(), floatFunctions(), mathFunctions(), stringFunctions(), regexFunctions(), datetimeFunctions(), datetimeConversions(), arrayFunctions(), structFunctions(), jsonFunctions(), digestFunctions(), byteFunctions(), csvFunctions(), formatFunctions(), castFunctions(), miscFunctions(), geoFunctions(), refusedFunctions()}
}

func functions() map[string]*function {
	registry.once.Do(func() { // filled once: a literal would be an initialisation cycle
		registry.byName = map[string]*function{}
		for _, table := range tables() {
			for i := range table {
				f := &table[i]
				for _, n := range strings.Fields(f.name) {
					if registry.byName[n] != nil {
						panic("expr: function " + n + " is listed twice")
					}
					registry.byName[n] = f
				}
				registry.list = append(registry.list, f)
			}
		}
	})
	return registry.byName
}

// Exists reports whether Call knows the function.
func Exists(name string) bool { return functions()[strings.ToLower(name)] != nil }

// Functions lists the functions by name.
func Functions() []FuncInfo {
	functions()
	var out []FuncInfo
	for _, f := range registry.list {
		if f.hidden {
			continue
		}
		for i, n := range strings.Fields(f.name) {
			params := f.params
			if params == "" {
				params = strings.ReplaceAll(f.sig, " ", ", ")
			}
			info := FuncInfo{Name: n, Signature: n + "(" + params + ")", Doc: f.doc, BeyondSpark: f.beyond}
			if i == 0 {
				info.Example, info.Result = f.example, f.result
			} else {
				info.Doc = "The same as " + strings.Fields(f.name)[0] + "."
			}
			out = append(out, info)
		}
	}
	slices.SortFunc(out, func(a, b FuncInfo) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Call applies a scalar function or operator to arguments, with Spark's implicit coercion.
func Call(name string, args ...Expr) (Expr, error) {
	lower := strings.ToLower(name)
	f := functions()[lower]
	if f == nil {
		return nil, analysisErr("UNRESOLVED_ROUTINE", "42883", "there is no function %s", name)
	}
	if f.bind != nil {
		return f.bind(lower, args)
	}
	bound, err := bindArgs(lower, f.sig, args)
	if err != nil {
		return nil, err
	}
	t := resultType(f.ret, bound)
	return &scalar{name: lower, args: bound, t: t, eval: f.eval, nulls: f.nulls, safe: f.safe}, nil
}

func resultType(ret string, args []Expr) column.Type {
	if ret == "arg0" {
		return args[0].Type()
	}
	if e, ok := strings.CutPrefix(ret, "arr:"); ok {
		return column.ArrayOf(resultType(e, args))
	}
	return classes[ret]
}

// classes are the argument classes with one concrete type.
var classes = map[string]column.Type{
	"str": column.Of(column.String), "bin": column.Of(column.Binary), "int": column.Of(column.Int),
	"bigint": column.Of(column.BigInt), "double": column.Of(column.Double), "bool": column.Of(column.Boolean),
	"date": column.Of(column.Date), "ts": column.Of(column.Timestamp), "ntz": column.Of(column.TimestampNTZ),
	"dt": column.Of(column.IntervalDT), "ym": column.Of(column.IntervalYM), "smallint": column.Of(column.SmallInt),
	"void": {},
}

// bindArgs checks the number of arguments and brings each to its class.
func bindArgs(name, sig string, args []Expr) ([]Expr, error) {
	params := strings.Fields(sig)
	need, most := 0, len(params)
	for _, p := range params {
		switch p[len(p)-1] {
		case '*':
			most = 1 << 30
		case '?':
		default:
			need++
		}
	}
	if len(args) < need || len(args) > most {
		return nil, errWrongNumArgs(name, "("+sig+")", len(args))
	}
	out := make([]Expr, len(args))
	for i, a := range args {
		p := params[min(i, len(params)-1)]
		var err error
		if out[i], err = toClass(name, i, a, strings.TrimRight(p, "?*")); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// toClass brings an argument to a class of types as Spark's implicit cast does.
func toClass(name string, i int, a Expr, class string) (Expr, error) {
	if t, ok := classes[class]; ok {
		if !implicitTo(a.Type(), t) {
			return nil, errInputType(name, i, t.String(), a)
		}
		return newCast(a, t, false), nil
	}
	k := a.Type().Kind
	switch class {
	case "any":
		return a, nil
	case "strbin":
		if k == column.Binary {
			return a, nil
		}
		return toClass(name, i, a, "str")
	case "num":
		if k.IsNumeric() {
			return a, nil
		}
		if k == column.String || k == column.Void {
			return newCast(a, column.Of(column.Double), false), nil
		}
	case "integral":
		if k.IsIntegral() {
			return a, nil
		}
		if k == column.String || k == column.Void {
			return newCast(a, column.Of(column.BigInt), false), nil
		}
	case "arr":
		if k == column.Array {
			return a, nil
		}
		if k == column.Void {
			return newCast(a, column.ArrayOf(column.Type{}), false), nil
		}
	case "map":
		if k == column.Map {
			return a, nil
		}
	}
	return nil, errInputType(name, i, class, a)
}
