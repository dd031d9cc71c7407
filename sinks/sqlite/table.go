package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"

	"signalbox/engine/column"
	"signalbox/sinks"
	"signalbox/sinks/row"
)

// metaTables are our own; user tables never have these names (see outside).
const metaTables = `
CREATE TABLE IF NOT EXISTS _signalbox_cursor (id INTEGER PRIMARY KEY CHECK (id = 1), up_to INTEGER NOT NULL, time INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS _signalbox_tables (name TEXT PRIMARY KEY, time_column TEXT NOT NULL, columns TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS alerts (
  id TEXT PRIMARY KEY, seq INTEGER NOT NULL, episode TEXT NOT NULL, rule_group TEXT NOT NULL, rule TEXT NOT NULL,
  state TEXT NOT NULL, since TEXT NOT NULL, value TEXT NOT NULL, labels TEXT NOT NULL, annotations TEXT NOT NULL,
  _index INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS alerts_history (
  id TEXT NOT NULL, seq INTEGER NOT NULL, historical INTEGER NOT NULL, at TEXT NOT NULL, episode TEXT NOT NULL,
  rule_group TEXT NOT NULL, rule TEXT NOT NULL, from_state TEXT NOT NULL, to_state TEXT NOT NULL, value TEXT NOT NULL,
  labels TEXT NOT NULL, annotations TEXT NOT NULL, _index INTEGER NOT NULL,
  PRIMARY KEY (id, seq, historical, _index)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS _alerts_history_at ON alerts_history (at);
CREATE INDEX IF NOT EXISTS _alerts_since ON alerts (since);
`

// table is what we know of a table in the database.
type table struct {
	name    string            // outside name
	time    string            // outside name of the column that retention looks at, "" = none
	columns map[string]string // outside column name -> engine type, as text
}

// outside returns the name of a result table in the database.
func outside(name string) string {
	switch lower := strings.ToLower(name); {
	case strings.HasPrefix(lower, "sqlite_"), lower == "alerts", lower == "alerts_history":
		return "_" + name
	}
	return row.Escape(name)
}

// quote makes a name safe inside SQL text.
func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// declared is the SQL type a person sees; it sets the affinity, not what can be stored.
func declared(t column.Type) string {
	switch t.Kind {
	case column.Boolean, column.TinyInt, column.SmallInt, column.Int, column.BigInt, column.IntervalDT, column.IntervalYM:
		return "INTEGER"
	case column.Float, column.Double:
		return "REAL"
	case column.Binary:
		return "BLOB"
	}
	return "TEXT"
}

// value converts a cell to what the driver stores.
func value(t column.Type, d column.Datum) any {
	if d.Null {
		return nil
	}
	switch t.Kind {
	case column.Boolean, column.TinyInt, column.SmallInt, column.Int, column.BigInt, column.IntervalDT, column.IntervalYM:
		return d.I
	case column.Float, column.Double:
		if math.IsNaN(d.F) {
			return "NaN"
		}
		return d.F
	case column.Binary:
		return []byte(d.S)
	case column.Void:
		return nil
	}
	return row.Text(t, d)
}

func (s *Sink) createMeta() error {
	if err := s.exec(metaTables); err != nil {
		return err
	}
	return s.loadTables()
}

// loadTables reads what earlier transactions created; it also undoes what a
// transaction that was rolled back had noted in memory.
func (s *Sink) loadTables() error {
	clear(s.tables)
	rows, err := s.conn.QueryContext(context.Background(), `SELECT name, time_column, columns FROM _signalbox_tables ORDER BY name`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		t := &table{}
		var columns string
		if err := rows.Scan(&t.name, &t.time, &columns); err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(columns), &t.columns); err != nil {
			return fmt.Errorf("columns of table %s in _signalbox_tables: %w", t.name, err)
		}
		s.tables[strings.ToLower(t.name)] = t
	}
	return rows.Err()
}

func (s *Sink) saveTable(t *table) error {
	columns, err := json.Marshal(t.columns)
	if err != nil {
		return err
	}
	s.tables[strings.ToLower(t.name)] = t
	return s.exec(`INSERT INTO _signalbox_tables (name, time_column, columns) VALUES (?, ?, ?)
ON CONFLICT (name) DO UPDATE SET time_column = excluded.time_column, columns = excluded.columns`, t.name, t.time, string(columns))
}

// Prepare creates missing tables and columns. A column whose type changed sets
// the old table aside under the name table$1, table$2 and so on, with all its rows.
func (s *Sink) Prepare(ctx context.Context, tables []sinks.Table) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ready(ctx); err != nil {
		return err
	}
	for i := range tables {
		if err := s.inTransaction(func() error { return s.prepareTable(&tables[i]) }); err != nil {
			return fmt.Errorf("sqlite: prepare table %s: %w", tables[i].Name, permanent(err))
		}
	}
	return nil
}

func (s *Sink) prepareTable(t *sinks.Table) error {
	have := s.tables[strings.ToLower(outside(t.Name))]
	if have != nil && have.conflicts(t) {
		if err := s.setAside(have); err != nil {
			return err
		}
	}
	_, err := s.ensureTable(t)
	return err
}

func (t *table) conflicts(want *sinks.Table) bool {
	for i, name := range row.Names(want.Schema) {
		if was, ok := t.columns[name]; ok && was != want.Schema.Fields[i].Type.String() {
			return true
		}
	}
	return false
}

// ensureTable returns the table, created or extended as far as it has to be.
func (s *Sink) ensureTable(t *sinks.Table) (*table, error) {
	if t.Schema == nil {
		return nil, fmt.Errorf("%w: table %s has no schema", sinks.ErrPermanent, t.Name)
	}
	have := s.tables[strings.ToLower(outside(t.Name))]
	if have == nil {
		return s.createTable(t)
	}
	return have, s.extendTable(have, t)
}

func (s *Sink) createTable(t *sinks.Table) (*table, error) {
	names := row.Names(t.Schema)
	n := &table{name: outside(t.Name), columns: make(map[string]string, len(names)), time: timeColumn(t, names)}
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE TABLE %s (%s BLOB PRIMARY KEY", quote(n.name), row.ID)
	for i, f := range t.Schema.Fields {
		n.columns[names[i]] = f.Type.String()
		fmt.Fprintf(&b, ", %s %s", quote(names[i]), declared(f.Type))
	}
	fmt.Fprintf(&b, ", %s INTEGER NOT NULL, %s INTEGER, %s INTEGER, %s INTEGER NOT NULL) WITHOUT ROWID", row.Revision, row.Complete, row.Expected, row.Index)
	if err := s.exec(b.String()); err != nil {
		return nil, err
	}
	if n.time != "" {
		if err := s.exec(fmt.Sprintf("CREATE INDEX IF NOT EXISTS %s ON %s (%s)", quote("_"+n.name+"_time"), quote(n.name), quote(n.time))); err != nil {
			return nil, err
		}
	}
	return n, s.saveTable(n)
}

// timeColumn is the outside name of the time column if retention can look at it.
func timeColumn(t *sinks.Table, names []string) string {
	i := t.Schema.Ordinal(t.Time)
	if t.Time == "" || i < 0 || t.Schema.Fields[i].Type.Kind != column.Timestamp {
		return ""
	}
	return names[i]
}

// extendTable adds the columns that are new; columns that went stay, and are NULL in new rows.
func (s *Sink) extendTable(have *table, t *sinks.Table) error {
	names := row.Names(t.Schema)
	changed := false
	for i, f := range t.Schema.Fields {
		if _, ok := have.columns[names[i]]; ok {
			continue
		}
		if err := s.exec(fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s %s", quote(have.name), quote(names[i]), declared(f.Type))); err != nil {
			return err
		}
		have.columns[names[i]] = f.Type.String()
		changed = true
	}
	if !changed {
		return nil
	}
	return s.saveTable(have)
}

// setAside renames a table; its rows stay and age out as before.
func (s *Sink) setAside(t *table) error {
	for n := 1; ; n++ {
		name := fmt.Sprintf("%s$%d", t.name, n)
		if s.tables[strings.ToLower(name)] != nil {
			continue
		}
		s.forgetStatements()
		if err := s.exec(fmt.Sprintf("DROP INDEX IF EXISTS %s", quote("_"+t.name+"_time"))); err != nil {
			return err
		}
		if err := s.exec(fmt.Sprintf("ALTER TABLE %s RENAME TO %s", quote(t.name), quote(name))); err != nil {
			return err
		}
		if err := s.exec(`DELETE FROM _signalbox_tables WHERE name = ?`, t.name); err != nil {
			return err
		}
		delete(s.tables, strings.ToLower(t.name))
		moved := &table{name: name, time: t.time, columns: t.columns}
		if moved.time != "" {
			if err := s.exec(fmt.Sprintf("CREATE INDEX IF NOT EXISTS %s ON %s (%s)", quote("_"+name+"_time"), quote(name), quote(moved.time))); err != nil {
				return err
			}
		}
		return s.saveTable(moved)
	}
}
