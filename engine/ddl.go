package engine

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/plan"
	"signalbox/engine/sql"
	"signalbox/engine/stream"
)

// Execute runs CREATE and DROP statements, all or none. The error joins every
// problem found, each with line and column. Creating what is there in the same
// words changes nothing. A streaming table in other words keeps its state when
// only its stateless parts changed, and starts anew with a higher version
// otherwise: Verdicts tells beforehand.
func (e *Engine) Execute(sqlText string) error {
	statements, errs := sql.ParseScript(sqlText)
	e.mu.Lock() // a table that keeps its state hands it over: what reads a snapshot or a view beside this must wait
	defer e.mu.Unlock()
	next := e.cat.clone()
	for _, st := range statements {
		if err := e.execute(next, st); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	old := e.cat
	e.cat = next
	if err := e.alerts.rebind(); err != nil {
		e.cat = old
		if again := e.alerts.rebind(); again != nil {
			err = errors.Join(err, again)
		}
		return err
	}
	return nil
}

func statementError(pos sql.Pos, condition, format string, args ...any) error {
	return &expr.Error{Phase: expr.Analysis, Condition: condition, Message: fmt.Sprintf(format, args...), Line: pos.Line, Col: pos.Col}
}

func (e *Engine) execute(c *catalog, st sql.Statement) error {
	switch s := st.(type) {
	case *sql.CreateStream:
		return e.createStream(c, s)
	case *sql.CreateTable:
		return e.createTable(c, s)
	case *sql.CreateStreamingTable:
		return e.createStreaming(c, s, e.tick, 0, undecided)
	case *sql.Drop:
		return e.drop(c, s)
	}
	return statementError(st.Position(), "UNSUPPORTED_STATEMENT", "only CREATE and DROP change the catalog; run a SELECT with signalbox query, or name its result: CREATE STREAMING TABLE name AS SELECT …")
}

// checkName refuses names that are taken or reserved; same reports that the
// same statement made the relation that is there.
func checkName(c *catalog, pos sql.Pos, name, text string, kind Kind) (old *relation, same bool, err error) {
	if strings.Contains(name, "$") {
		return nil, false, statementError(pos, "RESERVED_NAME", "names with $ belong to system tables; choose another name than %s", name)
	}
	old = c.find(name)
	if old == nil {
		return nil, false, nil
	}
	if old.kind != kind {
		return nil, false, statementError(pos, "TABLE_OR_VIEW_ALREADY_EXISTS", "%s is already a %s table; drop it first or choose another name", name, old.kind)
	}
	return old, strings.Join(strings.Fields(old.text), " ") == strings.Join(strings.Fields(text), " "), nil
}

func declared(name string, cols []sql.ColumnDef) (*column.Schema, error) {
	s := &column.Schema{Name: name, Time: -1}
	for _, c := range cols {
		if ordinalFold(s, c.Name) >= 0 {
			return nil, statementError(c.Pos, "COLUMN_ALREADY_EXISTS", "the column %s is declared twice", c.Name)
		}
		s.Fields = append(s.Fields, column.Field{Name: c.Name, Type: c.Type.Type})
	}
	return s, nil
}

func (e *Engine) createStream(c *catalog, st *sql.CreateStream) error {
	old, same, err := checkName(c, st.Pos, st.Name, st.Text, KindStream)
	if err != nil || same {
		return err
	}
	s, err := declared(st.Name, st.Columns)
	if err != nil {
		return err
	}
	if s.Time, err = timeColumn(s, st); err != nil {
		return err
	}
	if old != nil {
		if reader := readerOf(c, old.name); reader != nil {
			return statementError(st.Pos, "TABLE_OR_VIEW_ALREADY_EXISTS", "%s exists with other columns and %s reads it; drop that first", st.Name, reader.name)
		}
		c.remove(old)
	}
	c.add(&relation{name: st.Name, kind: KindStream, schema: s, text: st.Text, late: newRing(rejectedSchema, e.opt.RingRows), rejected: newRing(rejectedSchema, e.opt.RingRows)})
	return nil
}

// timeColumn finds the event time: OPTIONS (time 'col'), else the first TIMESTAMP.
func timeColumn(s *column.Schema, st *sql.CreateStream) (int, error) {
	at := slices.IndexFunc(s.Fields, func(f column.Field) bool { return f.Type.Kind == column.Timestamp })
	for _, o := range st.Options {
		if o.Key != "time" {
			return 0, unknownOption(o, "time")
		}
		if at = ordinalFold(s, o.Value); at < 0 || s.Fields[at].Type.Kind != column.Timestamp {
			return 0, statementError(o.ValuePos, "INVALID_OPTION", "the event time must be a declared TIMESTAMP column, %s is none", o.Value)
		}
	}
	return at, nil
}

func (e *Engine) createTable(c *catalog, st *sql.CreateTable) error {
	old, same, err := checkName(c, st.Pos, st.Name, st.Text, KindStatic)
	if err != nil || same {
		return err
	}
	if len(st.Options) > 0 {
		return unknownOption(st.Options[0])
	}
	s, err := declared(st.Name, st.Columns)
	if err != nil {
		return err
	}
	if old != nil {
		if reader := readerOf(c, old.name); reader != nil {
			return statementError(st.Pos, "TABLE_OR_VIEW_ALREADY_EXISTS", "%s exists with other columns and %s reads it; drop that first", st.Name, reader.name)
		}
		c.remove(old)
	}
	c.add(&relation{name: st.Name, kind: KindStatic, schema: s, text: st.Text, rows: column.NewBatch(s, 0)})
	return nil
}

// undecided leaves the lateness of a table to its options and the engine's default.
const undecided = -1

func (e *Engine) createStreaming(c *catalog, st *sql.CreateStreamingTable, now int64, version uint64, lateness int64) error {
	old, same, err := checkName(c, st.Pos, st.Name, st.Text, KindStreaming)
	if err != nil || same {
		return err
	}
	opts, err := tableOptions(st.Options)
	if err != nil {
		return err
	}
	var known plan.Catalog = continuous{c}
	if version > 0 {
		known = asRestored{continuous{c}}
	}
	q, err := plan.Analyze(st.Query, known, plan.AnalyzeOptions{Mode: opts.Mode, Live: true, Now: now, Text: st.QueryText})
	if err != nil {
		return err
	}
	if !q.Streaming {
		return statementError(st.Query.Pos, "NOT_A_STREAMING_QUERY", "the query reads no stream; write FROM STREAM name")
	}
	opts.AllowedLateness = e.lateness(st, q, opts, lateness)
	r := &relation{name: st.Name, kind: KindStreaming, text: st.Text, query: q, opts: opts, now: now, version: max(version, 1), told: plan.TellsAgain(q, opts.AllowedLateness)}
	if old != nil {
		if reader := readerOf(c, old.name); reader != nil && !sameSchema(old.schema, q.Root.Schema()) {
			return statementError(st.Pos, "TABLE_OR_VIEW_ALREADY_EXISTS", "%s reads %s, whose columns would change; drop it first", reader.name, st.Name)
		}
		if by := countedBy(c, old.name); by != nil && r.told == plan.Updated && old.told != plan.Updated {
			return statementError(st.Pos, "UPDATED_ROWS_COUNT_AGAIN", "%s counts the rows of %s, which would tell them again with every change; drop it first, or keep mode append", by.name, st.Name)
		}
		r.version = old.version + 1
	}
	root := q.Root.Schema()
	for i, f := range root.Fields {
		if j := ordinalFold(root, f.Name); j != i {
			return statementError(st.Query.Pos, "COLUMN_ALREADY_EXISTS", "the result has two columns %s; name one of them with AS", f.Name)
		}
	}
	r.schema = &column.Schema{Name: st.Name, Fields: root.Fields, Time: root.Time}
	r.keys = keysOf(q.Root)
	if r.schema.Time < 0 && r.keys.time != "" {
		r.schema.Time = ordinalFold(root, r.keys.time)
	}
	if r.schema.Time >= 0 && r.schema.Fields[r.schema.Time].Type.Kind != column.Timestamp {
		r.schema.Time = -1
	}
	var added stream.Added
	if old != nil {
		more := false
		if added, more = stream.AddsColumns(old.query, q, old.opts, opts); more || stream.SameState(old.query, q, old.opts, opts) {
			r.version, r.now = old.version, old.now
		}
	}
	if r.pipe, err = e.compile(r); err != nil {
		return positioned(err, st.Pos)
	}
	if old != nil && r.version == old.version {
		if len(added.Names) > 0 {
			r.pipe.Adopt(added)
		}
		if err := moveState(old.pipe, r.pipe); err != nil {
			return positioned(err, st.Pos)
		}
	}
	r.results, r.late = newResults(r.schema, e.opt.ResultRows), e.lateRing(c, r, old)
	r.results.once = filters(c, q.Root)
	if old == nil {
		c.add(r)
		return nil
	}
	if r.version == old.version && sameSchema(old.schema, r.schema) {
		r.results = old.results
	}
	if readerOf(c, old.name) == nil {
		c.remove(old)
		c.add(r)
		return nil
	}
	for _, later := range c.list[slices.Index(c.list, old):] {
		if reads(q.Root, later.name) {
			return statementError(st.Pos, "DEPENDENT_OBJECTS", "%s would read %s, which is newer than tables that read %s; drop those first", st.Name, later.name, st.Name)
		}
	}
	c.replace(old, r)
	return nil
}

// lateness is the second horizon of a table: what a snapshot says, what its
// options say, or the engine's default where the query allows one.
func (e *Engine) lateness(st *sql.CreateStreamingTable, q *plan.Query, opts plan.Options, stored int64) int64 {
	said := slices.ContainsFunc(st.Options, func(o sql.Option) bool { return o.Key == "allowed_lateness" })
	switch {
	case stored != undecided:
		return stored
	case said || q.Mode != plan.Append || !stream.MayBeLate(q):
		return opts.AllowedLateness
	}
	return e.opt.DefaultLateness
}

func sameSchema(a, b *column.Schema) bool {
	return slices.EqualFunc(a.Fields, b.Fields, func(x, y column.Field) bool { return x.Name == y.Name && x.Type.Equal(y.Type) })
}

func positioned(err error, pos sql.Pos) error {
	var x *expr.Error
	if errors.As(err, &x) && x.Line == 0 {
		y := *x
		y.Line, y.Col = pos.Line, pos.Col
		return &y
	}
	return err
}

func (e *Engine) compile(r *relation) (*stream.Pipeline, error) {
	opt := e.streamOptions(r)
	opt.Static, opt.StaticVersion = e.static, e.staticVersion
	return stream.Compile(r.query, opt)
}

func (e *Engine) streamOptions(r *relation) stream.Options {
	return stream.Options{
		ID: strings.ToLower(r.name), Version: r.version, Table: r.opts, Strict: e.opt.Strict,
		MaxKeys: e.opt.MaxKeys, MaxStateBytes: e.opt.MaxStateBytes, MaxClosedBytes: e.opt.MaxClosedBytes, ReviseEvery: e.opt.ReviseEvery,
		FinalRows: e.opt.FinalRows, WindowRows: e.opt.WindowRows, ListPartly: e.opt.RingRows > 0,
	}
}

// tableOptions reads OPTIONS of a streaming table.
func tableOptions(list []sql.Option) (plan.Options, error) {
	var o plan.Options
	for _, x := range list {
		var err error
		switch x.Key {
		case "mode":
			o.Mode = plan.Mode(strings.ToLower(x.Value))
			if o.Mode != plan.Append && o.Mode != plan.Update && o.Mode != plan.Complete {
				err = statementError(x.ValuePos, "INVALID_OPTION", "mode is append, update or complete, not %s", x.Value)
			}
		case "state_ttl":
			o.StateTTL, err = duration(x)
		case "allowed_lateness":
			o.AllowedLateness, err = duration(x)
		case "watermark_policy":
			o.WatermarkMax = strings.EqualFold(x.Value, "max")
			if !o.WatermarkMax && !strings.EqualFold(x.Value, "min") {
				err = statementError(x.ValuePos, "INVALID_OPTION", "watermark_policy is min or max, not %s", x.Value)
			}
		default:
			err = unknownOption(x, "mode", "state_ttl", "allowed_lateness", "watermark_policy")
		}
		if err != nil {
			return o, err
		}
	}
	return o, nil
}

func duration(x sql.Option) (int64, error) {
	months, days, micros, err := expr.ParseInterval(x.Value)
	if err != nil || months != 0 || days < 0 || micros < 0 || days > 100_000 {
		return 0, statementError(x.ValuePos, "INVALID_OPTION", "%s is a length of time like '15 minutes' or '24 hours', not %s", x.Key, x.Value)
	}
	return int64(days)*24*3600*1_000_000 + int64(micros), nil
}

func unknownOption(x sql.Option, known ...string) error {
	hint := "there are no options here"
	if len(known) > 0 {
		hint = "the options are " + strings.Join(known, ", ")
	}
	return statementError(x.Pos, "INVALID_OPTION", "unknown option %s; %s", x.Key, hint)
}

func readerOf(c *catalog, name string) *relation {
	for _, r := range c.list {
		if r.kind == KindStreaming && reads(r.query.Root, name) {
			return r
		}
	}
	return nil
}

// countedBy finds a table that adds up or remembers the rows of another one, also when tables between them pass the rows on.
func countedBy(c *catalog, name string) (by *relation) {
	for _, r := range c.list {
		if by != nil || r.kind != KindStreaming || !reads(r.query.Root, name) {
			continue
		}
		plan.Counted(r.query.Root, func(s *plan.Scan, _ plan.Node) {
			if strings.EqualFold(s.Table, name) {
				by = r
			}
		})
		if by == nil {
			by = countedBy(c, r.name)
		}
	}
	return by
}

// lateRing lists late rows and revisions of other tables that a table reads; nil when it reads none.
func (e *Engine) lateRing(c *catalog, r, old *relation) *ring {
	for _, name := range r.pipe.Sources() {
		if s := c.find(name); s != nil && s.kind == KindStreaming {
			if old != nil && old.late != nil {
				return old.late
			}
			return newRing(rejectedSchema, e.opt.RingRows)
		}
	}
	return nil
}

func reads(n plan.Node, name string) bool {
	if s, ok := n.(*plan.Scan); ok {
		return strings.EqualFold(s.Table, name)
	}
	return slices.ContainsFunc(n.Inputs(), func(in plan.Node) bool { return reads(in, name) })
}

func (e *Engine) drop(c *catalog, st *sql.Drop) error {
	r := c.find(st.Name)
	want := map[sql.DropKind]Kind{sql.DropStream: KindStream, sql.DropTable: KindStatic, sql.DropStreamingTable: KindStreaming}[st.Kind]
	if r == nil || r.kind != want {
		return statementError(st.Pos, "TABLE_OR_VIEW_NOT_FOUND", "there is no %s named %s", strings.ToLower(string(st.Kind)), st.Name)
	}
	if reader := readerOf(c, r.name); reader != nil {
		return statementError(st.Pos, "DEPENDENT_OBJECTS", "%s reads %s; drop it first", reader.name, r.name)
	}
	c.remove(r)
	return nil
}

// filters reports a query that passes rows of one stream on: each is a new row of the result, and never changes.
func filters(c *catalog, n plan.Node) bool {
	switch x := n.(type) {
	case *plan.Project:
		return filters(c, x.Input)
	case *plan.Filter:
		return filters(c, x.Input)
	case *plan.Watermark:
		return filters(c, x.Input)
	case *plan.Scan:
		s := c.find(x.Table)
		return x.Stream && s != nil && s.kind == KindStream
	}
	return false
}
