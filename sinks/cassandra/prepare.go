package cassandra

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gocql/gocql"

	"signalbox/sinks"
)

// Prepare makes sure that the tables exist with the columns they need. Without
// AutoSchema it only looks.
func (s *Sink) Prepare(ctx context.Context, tables []sinks.Table) error {
	s.work.Lock()
	defer s.work.Unlock()
	if s.isClosed() {
		return errClosed
	}
	if err := s.connect(ctx); err != nil {
		return fmt.Errorf("cassandra: prepare: %w", err)
	}
	layouts := alertLayouts()
	for i := range tables {
		if tables[i].Schema == nil {
			return fmt.Errorf("cassandra: prepare: %w: table %s has no schema", sinks.ErrPermanent, tables[i].Name)
		}
		layouts = append(layouts, layoutOf(&tables[i]))
	}
	for _, l := range layouts {
		if err := s.ensure(ctx, l); err != nil {
			return fmt.Errorf("cassandra: prepare: %w", err)
		}
	}
	s.succeeded()
	return nil
}

// existing is a column as Cassandra has it.
type existing struct {
	typ, kind string
	position  int
}

// ensure brings one table to what the layout needs.
func (s *Sink) ensure(ctx context.Context, l *layout) error {
	if known := s.ensured[l.name]; known != nil && !slices.ContainsFunc(l.columns, func(c cqlColumn) bool { return !known[c.name+" "+c.typ] }) {
		return nil
	}
	have, err := s.describe(ctx, l.name)
	if err != nil {
		return fmt.Errorf("look at table %s: %w", l.name, err)
	}
	missing, err := l.compare(have)
	if err != nil {
		return err
	}
	if len(have) == 0 || len(missing) > 0 {
		if err := s.extend(ctx, l, len(have) == 0, missing); err != nil {
			return err
		}
	}
	known := map[string]bool{}
	for _, c := range l.columns {
		known[c.name+" "+c.typ] = true
	}
	s.ensured[l.name] = known
	return nil
}

func (s *Sink) extend(ctx context.Context, l *layout, create bool, missing []cqlColumn) error {
	table := s.opt.keyspace() + "." + l.name
	if !s.opt.AutoSchema {
		what := "is missing"
		if !create {
			what = fmt.Sprintf("lacks the column %s", missing[0].name)
		}
		return fmt.Errorf("table %s %s: create it with the output of 'signalbox schema cassandra', or allow auto_schema", table, what)
	}
	if create {
		if err := s.ddl(ctx, s.session, l.create(s.opt.SchemaOptions)); err != nil {
			return fmt.Errorf("create table %s: %w", table, err)
		}
		return nil
	}
	for _, c := range missing {
		alter := fmt.Sprintf("ALTER TABLE %s.%s ADD IF NOT EXISTS %s %s", quote(s.opt.keyspace()), quote(l.name), quote(c.name), c.typ)
		if err := s.ddl(ctx, s.session, alter); err != nil {
			return fmt.Errorf("add column %s to table %s: %w", c.name, table, err)
		}
	}
	return nil
}

// describe reads the columns of a table; none = there is no such table.
func (s *Sink) describe(ctx context.Context, table string) (map[string]existing, error) {
	rows := s.session.Query(`SELECT column_name, type, kind, position FROM system_schema.columns WHERE keyspace_name = ? AND table_name = ?`,
		s.opt.keyspace(), table).WithContext(ctx).Consistency(gocql.One).Iter()
	out := map[string]existing{}
	var name string
	var e existing
	for rows.Scan(&name, &e.typ, &e.kind, &e.position) {
		out[name] = e
	}
	return out, rows.Close()
}

// compare finds the columns to add. A table of the same name that cannot be
// made to fit is refused for good: dropping somebody's data is not ours to do.
func (l *layout) compare(have map[string]existing) ([]cqlColumn, error) {
	if len(have) == 0 {
		return nil, nil
	}
	refuse := func(why string, args ...any) error {
		return fmt.Errorf("%w: table %s in Cassandra %s; give the streaming table another name, or drop the one in Cassandra",
			sinks.ErrPermanent, l.name, fmt.Sprintf(why, args...))
	}
	var missing []cqlColumn
	for _, c := range l.columns {
		kind, position := l.role(c.name)
		e, ok := have[c.name]
		switch {
		case !ok && kind != "regular":
			return nil, refuse("has no key column %s", c.name)
		case !ok:
			missing = append(missing, c)
		case e.typ != c.typ:
			return nil, refuse("has column %s as %s, the result is %s", c.name, e.typ, c.typ)
		case e.kind != kind || kind != "regular" && e.position != position:
			return nil, refuse("has column %s as %s %d, needed is %s %d", c.name, e.kind, e.position, kind, position)
		}
	}
	for name, e := range have {
		if kind, _ := l.role(name); e.kind != "regular" && e.kind != "static" && kind == "regular" {
			return nil, refuse("has the key column %s, the result has not", name)
		}
	}
	return missing, nil
}

// role is what system_schema.columns says of a column.
func (l *layout) role(name string) (kind string, position int) {
	if i := slices.Index(l.partition, name); i >= 0 {
		return "partition_key", i
	}
	if i := slices.Index(l.clustering, name); i >= 0 {
		return "clustering", i
	}
	return "regular", -1
}

// ddl runs a statement that changes the schema; such statements are slow.
func (s *Sink) ddl(ctx context.Context, session *gocql.Session, statement string) error {
	ctx, cancel := context.WithTimeout(ctx, s.opt.DDLTimeout)
	defer cancel()
	for {
		err := session.Query(statement).WithContext(ctx).Consistency(gocql.Quorum).Exec()
		var exists *gocql.RequestErrAlreadyExists
		switch {
		case err == nil || errors.As(err, &exists):
			return session.AwaitSchemaAgreement(ctx)
		case !strings.Contains(err.Error(), "timeout") || ctx.Err() != nil:
			return err
		}
	}
}
