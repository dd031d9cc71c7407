package plan

import (
	"errors"
	"strings"

	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/sql"
)

// from plans a FROM clause.
func (a *analyzer) from(r sql.Relation, sc scope) (*rel, error) {
	switch r := r.(type) {
	case nil:
		n := &Values{Out: &column.Schema{Time: -1}, Rows: [][]column.Datum{{}}}
		return &rel{node: n}, nil
	case *sql.Table:
		return a.table(r, sc)
	case *sql.Subquery:
		return a.subqueryRelation(r, sc)
	case *sql.ParenRelation:
		in, err := a.from(r.Rel, sc)
		if err != nil {
			return nil, err
		}
		return a.decorate(in, sc, r.Watermark, r.Dedup, r.Alias)
	case *sql.Values:
		return a.values(r, sc)
	case *sql.Join:
		return a.join(r, sc)
	case *sql.LateralView:
		return a.lateralView(r, sc)
	case *sql.Pivot:
		return a.pivot(r, sc)
	case *sql.Unpivot:
		return a.unpivot(r, sc)
	case *sql.TableFunc:
		return a.tableFunc(r, sc)
	}
	return nil, fail(r.Position(), "INTERNAL_ERROR", "XX000", "the analyser does not know the relation %T", r)
}

// decorate applies WATERMARK, DEDUP and the alias, in the order they are written.
func (a *analyzer) decorate(r *rel, sc scope, w *sql.Watermark, d *sql.Dedup, alias *sql.TableAlias) (*rel, error) {
	var err error
	if w != nil {
		if r, err = a.watermark(r, sc, w); err != nil {
			return nil, err
		}
	}
	if d != nil {
		if r, err = a.dedup(r, d); err != nil {
			return nil, err
		}
	}
	return r.renamed(alias)
}

func (a *analyzer) table(t *sql.Table, sc scope) (*rel, error) {
	for i := len(sc.ctes) - 1; i >= 0; i-- {
		if c := sc.ctes[i]; strings.EqualFold(c.name, t.Name) && !(c.self != nil && t.Stream) {
			r, err := a.cte(c, t)
			if err != nil {
				return nil, err
			}
			return a.decorate(r, sc, t.Watermark, t.Dedup, t.Alias)
		}
	}
	found, ok := a.cat.Relation(t.Name)
	if !ok {
		return nil, a.unknownTable(t)
	}
	if found.Refuse != nil {
		return nil, at(t.Pos, found.Refuse)
	}
	if t.Stream && !found.Stream {
		return nil, fail(t.Pos, "NOT_STREAMING_TABLE", "42K0E", "%s is a table, not a stream: write FROM %s without STREAM", t.Name, t.Name)
	}
	n := &Scan{Out: found.Schema, Table: found.Schema.Name, Stream: t.Stream || found.Stream && a.opt.Streaming, Told: found.Told}
	if n.Table == "" {
		n.Table = t.Name
	}
	if err := a.mark(n, t.Pos); err != nil {
		return nil, err
	}
	return a.decorate(newRel(n, t.Name), sc, t.Watermark, t.Dedup, t.Alias)
}

func (a *analyzer) unknownTable(t *sql.Table) error {
	hint := "nothing is declared yet; write CREATE STREAM or CREATE TABLE first"
	if names := nearest(t.Name, a.cat.Names(), 5); len(names) > 0 {
		hint = "did you mean one of " + quoted(names) + "?"
	}
	return fail(t.Pos, "TABLE_OR_VIEW_NOT_FOUND", "42P01", "there is no stream or table `%s`; %s", t.Name, hint)
}

func (a *analyzer) cte(c cte, t *sql.Table) (*rel, error) {
	if c.self != nil {
		if c.self.used++; c.self.rows == nil {
			return nil, fail(t.Pos, "INVALID_RECURSIVE_CTE", "42836", "`%s` is read where it does not exist yet", c.name)
		}
		return newRel(c.self.rows, c.name), nil
	}
	if c.recursive {
		r, err := a.recursive(c, t)
		if err != nil {
			return nil, err
		}
		return r.visible().renamed(&sql.TableAlias{Pos: t.Pos, Name: c.name, Columns: c.columns})
	}
	r, err := a.query(c.query, c.scope)
	if err != nil {
		return nil, err
	}
	return r.visible().renamed(&sql.TableAlias{Pos: t.Pos, Name: c.name, Columns: c.columns})
}

func (a *analyzer) subqueryRelation(s *sql.Subquery, sc scope) (*rel, error) {
	r, err := a.query(s.Query, scope{ctes: sc.ctes, outer: sc.outer, row: sc.row})
	if err != nil {
		return nil, err
	}
	alias := s.Alias
	if alias == nil {
		alias = &sql.TableAlias{Pos: s.Pos}
	}
	return a.decorate(r.visible(), sc, s.Watermark, s.Dedup, alias)
}

// watermarkDelay is a delay in µs; a month of it is 31 days, as in Spark.
func watermarkDelay(d *sql.Interval) (int64, error) {
	const month, most = 31 * 24 * 3600 * 1_000_000, 12_000
	us := d.Micros
	if d.YearMonth {
		if d.Months > most {
			return 0, fail(d.Pos, "INVALID_DELAY", "42K0E", "the delay of a watermark is at most %d months", most)
		}
		us = d.Months * month
	}
	if us < 0 {
		err := fail(d.Pos, "INVALID_DELAY", "", "the delay of a watermark may not be negative")
		err.(*expr.Error).Phase = expr.Runtime // Spark's class for it
		return 0, err
	}
	return us, nil
}

// watermark declares the event time of a relation.
func (a *analyzer) watermark(r *rel, sc scope, w *sql.Watermark) (*rel, error) {
	delay, err := watermarkDelay(w.Delay)
	if err != nil {
		return nil, err
	}
	b := &binder{a: a, scope: sc, rel: r, clause: "WATERMARK"}
	x, err := b.bind(w.Expr)
	if err != nil {
		return nil, err
	}
	if !eventTimeType(x.Type()) {
		return nil, fail(w.Expr.Position(), "EVENT_TIME_IS_NOT_ON_TIMESTAMP_TYPE", "42K09", "the event time must be a TIMESTAMP (or a window), not %s; write CAST(… AS TIMESTAMP)", x.Type())
	}
	out := &rel{attrs: append([]attr(nil), r.attrs...), delay: delay}
	n := &Watermark{Input: r.node, Delay: delay}
	i, plain := columnOrdinal(x)
	if plain && w.Alias == "" {
		n.Time = i
	} else {
		if w.Alias == "" {
			return nil, fail(w.Expr.Position(), "REQUIRES_EXPLICIT_NAME_IN_WATERMARK_CLAUSE", "42000", "the event time is computed: name it with AS, for example WATERMARK timestamp_seconds(v) AS time DELAY OF INTERVAL 10 SECONDS")
		}
		n.Expr, n.Time = x, r.width()
		table := ""
		if len(r.attrs) > 0 {
			table = r.attrs[0].table
		}
		out.attrs = append(out.attrs, attr{table: table, name: w.Alias, typ: x.Type()})
	}
	for i := range out.attrs {
		out.attrs[i].event = i == n.Time
	}
	n.Out = out.schema(n.Time)
	n.Out.Name = r.node.Schema().Name
	out.node = n
	return out, a.mark(n, w.Pos)
}

func eventTimeType(t column.Type) bool { return t.Kind == column.Timestamp || isWindowType(t) }

// dedup plans DEDUP BY.
func (a *analyzer) dedup(r *rel, d *sql.Dedup) (*rel, error) {
	n := &Dedup{Input: r.node, Within: d.Within, EventKey: -1, Delay: r.delay}
	if len(d.Keys) == 0 {
		for i, at := range r.attrs {
			if !at.hidden {
				n.Keys = append(n.Keys, i)
			}
		}
	}
	for _, k := range d.Keys {
		found, used := r.lookup(strings.Split(k, "."))
		if len(found) == 0 {
			found, used = r.lookup([]string{k})
		}
		if len(found) == 0 {
			return nil, unresolvedColumn(d.Pos, k, r.candidates())
		}
		if len(found) > 1 || used == 0 {
			return nil, fail(d.Pos, "AMBIGUOUS_REFERENCE", "42704", "the key `%s` may be more than one column", k)
		}
		n.Keys = append(n.Keys, found[0])
	}
	event := r.eventColumn()
	if d.Within && event < 0 {
		return nil, fail(d.Pos, "_LEGACY_ERROR_TEMP_3102", "42KDE", "DEDUP … WITHIN WATERMARK needs a watermark: write WATERMARK time DELAY OF INTERVAL 10 SECONDS before it")
	}
	for _, k := range n.Keys {
		if r.attrs[k].event {
			n.EventKey = k
		}
	}
	if d.Within {
		n.EventKey = event
	}
	return &rel{node: n, attrs: r.attrs, delay: r.delay}, a.mark(n, d.Pos)
}

// values plans VALUES (1, 'a'), …: the type of a column is the common type of its values.
func (a *analyzer) values(v *sql.Values, sc scope) (*rel, error) {
	b := &binder{a: a, scope: sc, clause: "VALUES"}
	var rows [][]expr.Expr
	for i, row := range v.Rows {
		if len(row) != len(v.Rows[0]) {
			err := fail(row[0].Position(), "INVALID_INLINE_TABLE.NUM_COLUMNS_MISMATCH", "42000", "row %d of VALUES has %d values, the first has %d", i+1, len(row), len(v.Rows[0]))
			err.(*expr.Error).Phase = "parse"
			return nil, err
		}
		es, err := b.bindAll(row)
		if err != nil {
			return nil, err
		}
		rows = append(rows, es)
	}
	n := &Values{Out: &column.Schema{Time: -1}}
	for c := range rows[0] {
		types := make([]column.Type, len(rows))
		for i := range rows {
			types[i] = rows[i][c].Type()
		}
		t, ok := expr.CommonType(types...)
		if !ok || mixesStrings(types) {
			err := fail(v.Rows[0][c].Position(), "INVALID_INLINE_TABLE.INCOMPATIBLE_TYPES_IN_INLINE_TABLE", "42000", "the values of column %d have no common type", c+1)
			err.(*expr.Error).Phase = "parse" // Spark's class for it
			return nil, err
		}
		n.Out.Fields = append(n.Out.Fields, column.Field{Name: ordinalName(c), Type: t})
	}
	for i, row := range rows {
		data := make([]column.Datum, len(row))
		for c, e := range row {
			e, err := expr.ImplicitCast(e, n.Out.Fields[c].Type)
			if err != nil {
				return nil, at(v.Rows[i][c].Position(), err)
			}
			if data[c], err = constant(e); err != nil {
				return nil, inlineError(at(v.Rows[i][c].Position(), err))
			}
		}
		n.Rows = append(n.Rows, data)
	}
	if err := a.mark(n, v.Pos); err != nil {
		return nil, err
	}
	out, err := newRel(n, "").renamed(v.Alias)
	if err != nil {
		err = fail(v.Pos, "INVALID_INLINE_TABLE.NUM_COLUMNS_MISMATCH", "42000", "%s names %d columns, but VALUES has %d", v.Alias.Name, len(v.Alias.Columns), len(n.Out.Fields))
		err.(*expr.Error).Phase = "parse" // Spark's class for it
	}
	return out, err
}

// inlineError is the error of a value that cannot be computed: Spark computes VALUES while it parses.
func inlineError(err error) error {
	var e *expr.Error
	if errors.As(err, &e) && e.Phase == expr.Runtime {
		c := *e
		c.Phase, c.Condition, c.SQLState = "parse", "INVALID_INLINE_TABLE.FAILED_SQL_EXPRESSION_EVALUATION", "42000"
		return &c
	}
	return err
}

// mixesStrings reports whether a column of VALUES has both strings and others: Spark casts none of them.
func mixesStrings(types []column.Type) bool {
	text, other := false, false
	for _, t := range types {
		text = text || t.Kind == column.String
		other = other || t.Kind != column.String && t.Kind != column.Void
	}
	return text && other
}

// lateralView plans LATERAL VIEW explode(…) t AS a, b.
func (a *analyzer) lateralView(v *sql.LateralView, sc scope) (*rel, error) {
	in, err := a.from(v.Input, sc)
	if err != nil {
		return nil, err
	}
	b := &binder{a: a, scope: sc, rel: in, clause: "LATERAL VIEW"}
	return b.explode(v.Call, v.Outer, v.Table, v.Columns)
}

// tableFunc plans a function in FROM: range, or a generator over constants.
func (a *analyzer) tableFunc(f *sql.TableFunc, sc scope) (*rel, error) {
	var r *rel
	var err error
	one, _ := a.from(nil, sc)
	b := &binder{a: a, scope: sc, rel: one, clause: "FROM"}
	switch {
	case f.Call.Name == "range":
		r, err = b.rangeTable(f.Call)
	case isGenerator(f.Call):
		r, err = b.explode(f.Call, false, "", nil)
	default:
		return nil, fail(f.Pos, "UNRESOLVABLE_TABLE_VALUED_FUNCTION", "42883", "there is no table function %s; there are range, explode, posexplode, inline and stack", f.Call.Name)
	}
	if err != nil {
		return nil, err
	}
	return a.decorate(r, sc, f.Watermark, nil, f.Alias)
}

// MaxRange bounds the rows of range(…).
const MaxRange = 100_000

// rangeTable plans range(end), range(start, end[, step]).
func (b *binder) rangeTable(c *sql.Call) (*rel, error) {
	nums := []int64{0, 0, 1}
	if len(c.Args) < 1 || len(c.Args) > 4 {
		return nil, fail(c.Pos, "WRONG_NUM_ARGS.WITHOUT_SUGGESTION", "42605", "range takes (end) or (start, end[, step])")
	}
	for i, arg := range c.Args[:min(len(c.Args), 3)] {
		x, err := b.bind(arg)
		if err != nil {
			return nil, err
		}
		x, err = expr.ImplicitCast(x, column.Of(column.BigInt))
		if err != nil || !isConstant(x) {
			return nil, fail(arg.Position(), "DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE", "42K09", "range needs constant whole numbers")
		}
		d, err := constant(x)
		if err != nil {
			return nil, at(arg.Position(), err)
		}
		nums[i] = d.I
	}
	if len(c.Args) == 1 {
		nums[0], nums[1] = 0, nums[0]
	}
	n := &Values{Out: &column.Schema{Time: -1, Fields: []column.Field{{Name: "id", Type: column.Of(column.BigInt)}}}}
	start, end, step := nums[0], nums[1], nums[2]
	if step == 0 {
		return nil, fail(c.Pos, "DATATYPE_MISMATCH.VALUE_OUT_OF_RANGE", "42K09", "the step of range may not be 0")
	}
	for v := start; step > 0 && v < end || step < 0 && v > end; v += step {
		if len(n.Rows) >= MaxRange {
			return nil, fail(c.Pos, "QUERY_TOO_LARGE", "54000", "range gives more than %d rows", MaxRange)
		}
		n.Rows = append(n.Rows, []column.Datum{column.I64(v)})
	}
	return newRel(n, "range"), b.a.mark(n, c.Pos)
}
