package plan

import (
	"slices"
	"strings"

	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/sql"
)

// Check reads a script of declarations and queries and returns all its errors,
// each a *sql.Error or *expr.Error with line and column, in the order of the
// text. Names of base (may be nil) are known beside those the script declares.
func Check(text string, base Catalog) []error {
	return new(Checker).Check(text, base)
}

// Checker reads scripts one after another: a later one knows what an earlier one
// declares, and that what it failed to declare is no second mistake.
type Checker struct{ s script }

// Check is the function Check for the next script.
func (k *Checker) Check(text string, base Catalog) []error {
	stmts, errs := sql.ParseScript(text)
	c := &k.s
	if c.rels == nil {
		c.rels, c.dropped = map[string]Relation{}, map[string]bool{}
	}
	c.base = base
	for _, err := range errs {
		if e, ok := err.(*sql.Error); ok && e.Declares != "" {
			c.rels[strings.ToLower(e.Declares)] = Relation{}
		}
	}
	for _, st := range stmts {
		errs = append(errs, c.statement(st)...)
	}
	slices.SortStableFunc(errs, func(a, b error) int {
		al, ac := Position(a)
		bl, bc := Position(b)
		if al != bl {
			return al - bl
		}
		return ac - bc
	})
	return errs
}

// Position returns line and column of an error of Check, 0 when it has none.
func Position(err error) (line, col int) {
	switch e := err.(type) {
	case *sql.Error:
		return e.Pos.Line, e.Pos.Col
	case *expr.Error:
		return e.Line, e.Col
	}
	return 0, 0
}

// script is the catalog as a script builds it.
type script struct {
	base    Catalog
	rels    map[string]Relation // without a schema: dropped, or its query has errors
	dropped map[string]bool
	names   []string
}

// Relation implements Catalog.
func (s *script) Relation(name string) (Relation, bool) {
	if r, ok := s.rels[strings.ToLower(name)]; ok {
		return r, r.Schema != nil
	}
	if s.base == nil {
		return Relation{}, false
	}
	return s.base.Relation(name)
}

// Names implements Catalog.
func (s *script) Names() []string {
	out := append([]string(nil), s.names...)
	if s.base != nil {
		out = append(out, s.base.Names()...)
	}
	return out
}

func (s *script) declare(pos sql.Pos, r Relation) []error {
	name := r.Schema.Name
	if have, ok := s.rels[strings.ToLower(name)]; ok && have.Schema != nil {
		return []error{fail(pos, "TABLE_OR_VIEW_ALREADY_EXISTS", "42P07", "`%s` is declared twice; drop the first or choose another name", name)}
	}
	s.rels[strings.ToLower(name)], s.dropped[strings.ToLower(name)] = r, false
	s.names = append(s.names, name)
	return nil
}

func (s *script) statement(st sql.Statement) []error {
	switch st := st.(type) {
	case *sql.CreateStream:
		sc, errs := DeclaredSchema(st.Name, st.Columns, st.Options)
		return append(errs, s.declare(st.Pos, Relation{Schema: sc, Stream: true})...)
	case *sql.CreateTable:
		sc, errs := DeclaredSchema(st.Name, st.Columns, nil)
		sc.Time = -1
		return append(errs, s.declare(st.Pos, Relation{Schema: sc})...)
	case *sql.CreateStreamingTable:
		if s.readsBroken(st.Query) {
			s.rels[strings.ToLower(st.Name)] = Relation{}
			return nil
		}
		opt := AnalyzeOptions{Streaming: true}
		for _, o := range st.Options {
			if o.Key == "mode" {
				opt.Mode = Mode(strings.ToLower(o.Value))
			}
		}
		q, errs := AnalyzeAll(st.Query, s, opt)
		if len(errs) > 0 {
			s.rels[strings.ToLower(st.Name)] = Relation{} // known, so that no second error says it is missing
			return errs
		}
		if !q.Streaming {
			errs = append(errs, fail(st.Query.Pos, "NOT_A_STREAMING_QUERY", "42K0E", "the query reads no stream; write FROM STREAM name"))
		}
		sc := *q.Root.Schema()
		sc.Name = st.Name
		return append(errs, s.declare(st.Pos, Relation{Schema: &sc, Stream: true, Told: TellsAgain(q, 0)})...)
	case *sql.Drop:
		if _, ok := s.Relation(st.Name); !ok {
			return []error{fail(st.Pos, "TABLE_OR_VIEW_NOT_FOUND", "42P01", "there is no `%s` to drop", st.Name)}
		}
		s.rels[strings.ToLower(st.Name)] = Relation{}
		s.dropped[strings.ToLower(st.Name)] = true
	case *sql.SelectStatement:
		if s.readsBroken(st.Query) {
			return nil
		}
		_, errs := AnalyzeAll(st.Query, s, AnalyzeOptions{})
		return errs
	}
	return nil
}

// readsBroken reports whether a query reads a table whose own query has errors:
// one mistake is reported once.
func (s *script) readsBroken(q *sql.Query) bool {
	broken := false
	sql.Walk(q, func(n sql.Node) bool {
		if t, ok := n.(*sql.Table); ok {
			r, known := s.rels[strings.ToLower(t.Name)]
			broken = broken || known && r.Schema == nil && !s.dropped[strings.ToLower(t.Name)]
		}
		return !broken
	})
	return broken
}

// DeclaredSchema makes the schema of CREATE STREAM or CREATE TABLE. The event
// time is the column named by the option time, else the first TIMESTAMP.
func DeclaredSchema(name string, cols []sql.ColumnDef, opts []sql.Option) (*column.Schema, []error) {
	s := &column.Schema{Name: name, Time: -1}
	var errs []error
	for _, c := range cols {
		for _, f := range s.Fields {
			if strings.EqualFold(f.Name, c.Name) {
				errs = append(errs, fail(c.Pos, "COLUMN_ALREADY_EXISTS", "42711", "the column `%s` is declared twice", c.Name))
			}
		}
		if c.Type.Type.Kind == column.Timestamp && s.Time < 0 {
			s.Time = len(s.Fields)
		}
		s.Fields = append(s.Fields, column.Field{Name: c.Name, Type: c.Type.Type})
	}
	for _, o := range opts {
		if o.Key != "time" {
			continue
		}
		i := slices.IndexFunc(s.Fields, func(f column.Field) bool { return strings.EqualFold(f.Name, o.Value) })
		if i < 0 || s.Fields[i].Type.Kind != column.Timestamp {
			errs = append(errs, fail(o.ValuePos, "EVENT_TIME_IS_NOT_ON_TIMESTAMP_TYPE", "42K09", "the option time names `%s`, which is no TIMESTAMP column of %s", o.Value, name))
			continue
		}
		s.Time = i
	}
	return s, errs
}
