package sqlite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"signalbox/engine/column"
	"signalbox/sinks"
	"signalbox/sinks/row"
)

// metaTables are our own; user tables never have these names (see outside).
const metaTables = `
CREATE TABLE IF NOT EXISTS _signalbox_cursor (id INTEGER PRIMARY KEY CHECK (id = 1), up_to INTEGER NOT NULL, time INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS _signalbox_tables (name TEXT PRIMARY KEY, time_column TEXT NOT NULL, columns TEXT NOT NULL, layout TEXT NOT NULL DEFAULT 'id') WITHOUT ROWID;
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

// layout is how a table lies on disk.
type layout string

const (
	// byTime: the primary key is (time column, _id). One B-tree, and new rows come to its end. It needs rows that keep
	// their time for ever, and have one.
	byTime layout = "time"
	// byID: the primary key is _id, and the time column has an index. It holds for everything, and for all tables of
	// databases that were made before there was another.
	byID layout = "id"
)

// table is what we know of a table in the database.
type table struct {
	name    string // outside name
	time    string // outside name of the column that retention looks at, "" = none
	layout  layout
	columns map[string]string // outside column name -> engine type, as text
}

// column returns the type of a column. SQLite takes the letters A to Z in either case for the same name.
func (t *table) column(name string) (string, bool) {
	if was, ok := t.columns[name]; ok {
		return was, true
	}
	lower := asciiLower(name)
	for n, was := range t.columns {
		if len(n) == len(name) && asciiLower(n) == lower { // at most one: they are columns of one table
			return was, true
		}
	}
	return "", false
}

func asciiLower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// key is the primary key as SQL.
func (t *table) key() string {
	if t.layout == byTime {
		return quote(t.time) + ", " + row.ID
	}
	return row.ID
}

// outside returns the name of a result table in the database.
func outside(name string) string {
	switch lower := strings.ToLower(name); {
	case strings.HasPrefix(lower, "sqlite_"), lower == "alerts", lower == "alerts_history":
		return "_" + row.Escape(name)
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

func (s *Sink) createMeta() error {
	if err := s.conn.exec(metaTables); err != nil {
		return err
	}
	n, err := s.conn.number(`SELECT count(*) FROM pragma_table_info('_signalbox_tables') WHERE name = 'layout'`)
	if err == nil && n == 0 {
		err = s.conn.exec(`ALTER TABLE _signalbox_tables ADD COLUMN layout TEXT NOT NULL DEFAULT 'id'`)
	}
	if err != nil {
		return err
	}
	return s.loadTables()
}

// loadTables reads what earlier transactions created; it also undoes what a
// transaction that was rolled back had noted in memory.
func (s *Sink) loadTables() error {
	clear(s.tables)
	s.forgetPlans()
	return s.conn.query(`SELECT name, time_column, columns, layout FROM _signalbox_tables ORDER BY name`, nil, func(r *stmt) error {
		t := &table{name: s.conn.text(r, 0), time: s.conn.text(r, 1), layout: layout(s.conn.text(r, 3))}
		if err := json.Unmarshal([]byte(s.conn.text(r, 2)), &t.columns); err != nil {
			return fmt.Errorf("columns of table %s in _signalbox_tables: %w", t.name, err)
		}
		s.tables[strings.ToLower(t.name)] = t
		return nil
	})
}

func (s *Sink) saveTable(t *table) error {
	columns, err := json.Marshal(t.columns)
	if err != nil {
		return err
	}
	s.tables[strings.ToLower(t.name)] = t
	return s.conn.exec(`INSERT INTO _signalbox_tables (name, time_column, columns, layout) VALUES (?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET time_column = excluded.time_column, columns = excluded.columns, layout = excluded.layout`,
		t.name, t.time, string(columns), string(t.layout))
}

// Prepare creates missing tables and columns. A column whose type changed, or another time column, sets
// the old table aside under the name table$1, table$2 and so on, with all its rows. A table that
// cannot be made does not keep the others waiting: Write refuses its rows.
func (s *Sink) Prepare(_ context.Context, tables []sinks.Table) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ready(); err != nil {
		return err
	}
	for i := range tables {
		if err := s.inTransaction(func() error { return s.prepareTable(&tables[i]) }); errors.Is(err, errTooWide) {
			continue
		} else if err != nil {
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
	if want.Schema == nil {
		return false // said elsewhere
	}
	names := row.Names(want.Schema)
	if now := timeColumn(want, names); t.time != "" && now != "" && asciiLower(now) != asciiLower(t.time) {
		return true // retention looks at one column
	}
	all := len(t.columns)
	for i, name := range names {
		was, ok := t.column(name)
		if !ok {
			all++
		}
		if ok && was != want.Schema.Fields[i].Type.String() {
			return true
		}
	}
	return all > maxColumns && len(names) <= maxColumns // of columns that came and went
}

// maxColumns of a result: SQLite takes 2000 with ours.
const maxColumns = 2000 - metaColumns

var errTooWide = fmt.Errorf("%w: SQLite takes at most %d columns", sinks.ErrPermanent, maxColumns)

// ensureTable returns the table, created or extended as far as it has to be.
func (s *Sink) ensureTable(t *sinks.Table) (*table, error) {
	if t.Schema == nil {
		return nil, fmt.Errorf("%w: table %s has no schema", sinks.ErrPermanent, t.Name)
	}
	if len(t.Schema.Fields) > maxColumns {
		return nil, fmt.Errorf("%w, and %s has %d", errTooWide, t.Name, len(t.Schema.Fields))
	}
	have := s.tables[strings.ToLower(outside(t.Name))]
	if have == nil {
		return s.createTable(t)
	}
	if have.layout == byTime && layoutOf(t, row.Names(t.Schema), have.time) != byTime {
		if err := s.orderByID(have); err != nil { // it was made anew with another key
			return nil, err
		}
	}
	return have, s.extendTable(have, t)
}

// layoutOf says how a table may lie: in the order of timeName when its rows keep that time. They do when it is part of
// their key; without a key (the query has no aggregate) they do as far as one can know beforehand, see stays.
func layoutOf(t *sinks.Table, names []string, timeName string) layout {
	if timeName == "" || timeName != timeColumn(t, names) || len(t.Key) > 0 && !slices.Contains(t.Key, t.Time) {
		return byID
	}
	return byTime
}

func (s *Sink) createTable(t *sinks.Table) (*table, error) {
	names := row.Names(t.Schema)
	n := &table{name: outside(t.Name), columns: make(map[string]string, len(names)), time: timeColumn(t, names)}
	n.layout = layoutOf(t, names, n.time)
	var columns []string
	for i, f := range t.Schema.Fields {
		n.columns[names[i]] = f.Type.String()
		columns = append(columns, quote(names[i])+" "+declared(f.Type))
	}
	if err := s.conn.exec(createSQL(n, n.name, columns)); err != nil {
		return nil, err
	}
	if err := s.createTimeIndex(n); err != nil {
		return nil, err
	}
	return n, s.saveTable(n)
}

// createSQL makes t under a name; columns are the result's, with their types.
func createSQL(t *table, name string, columns []string) string {
	all := slices.Concat([]string{row.ID + " BLOB NOT NULL"}, columns, []string{row.Revision + " INTEGER NOT NULL", row.Complete + " INTEGER",
		row.Expected + " INTEGER", row.Index + " INTEGER NOT NULL"})
	return fmt.Sprintf("CREATE TABLE %s (%s, PRIMARY KEY (%s)) WITHOUT ROWID", quote(name), strings.Join(all, ", "), t.key())
}

// createTimeIndex is for retention, where the table itself does not lie in order of time.
func (s *Sink) createTimeIndex(t *table) error {
	if t.time == "" || t.layout == byTime {
		return nil
	}
	return s.conn.exec(fmt.Sprintf("CREATE INDEX IF NOT EXISTS %s ON %s (%s)", quote("_"+t.name+"_time"), quote(t.name), quote(t.time)))
}

// orderByID copies a table into the layout that holds for everything.
func (s *Sink) orderByID(t *table) error {
	var names, columns []string
	err := s.conn.query(`SELECT name, type FROM pragma_table_info(?)`, []any{t.name}, func(r *stmt) error {
		if name := s.conn.text(r, 0); t.columns[name] != "" {
			names = append(names, quote(name))
			columns = append(columns, quote(name)+" "+s.conn.text(r, 1))
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.forgetPlans()
	s.relaid = true
	list := strings.Join(append([]string{row.ID, row.Revision, row.Index, row.Complete, row.Expected}, names...), ", ")
	t.layout = byID
	const copyName = "_signalbox_copy"
	// The later revision is the last to be written, should there be two of a row.
	text := createSQL(t, copyName, columns) + fmt.Sprintf("; INSERT OR REPLACE INTO %s (%s) SELECT %s FROM %s ORDER BY %s, %s, %s; DROP TABLE %s; ALTER TABLE %s RENAME TO %s",
		copyName, list, list, quote(t.name), row.ID, row.Index, row.Revision, quote(t.name), copyName, quote(t.name))
	if err := s.conn.exec(text); err != nil {
		return fmt.Errorf("order by row id: %w", err)
	}
	if err := s.createTimeIndex(t); err != nil {
		return err
	}
	return s.saveTable(t)
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
		if _, ok := have.column(names[i]); ok {
			continue
		}
		if err := s.conn.exec(fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s %s", quote(have.name), quote(names[i]), declared(f.Type))); err != nil {
			return err
		}
		have.columns[names[i]] = f.Type.String()
		changed = true
	}
	if now := timeColumn(t, names); have.time == "" && now != "" {
		have.time, changed = now, true
		if err := s.createTimeIndex(have); err != nil {
			return err
		}
	}
	if !changed {
		return nil
	}
	s.forgetPlans()
	return s.saveTable(have)
}

// setAside renames a table; its rows stay and age out as before.
func (s *Sink) setAside(t *table) error {
	for n := 1; ; n++ {
		name := fmt.Sprintf("%s$%d", t.name, n)
		if s.tables[strings.ToLower(name)] != nil {
			continue
		}
		s.forgetPlans()
		if err := s.conn.exec(fmt.Sprintf("DROP INDEX IF EXISTS %s", quote("_"+t.name+"_time"))); err != nil {
			return err
		}
		if err := s.conn.exec(fmt.Sprintf("ALTER TABLE %s RENAME TO %s", quote(t.name), quote(name))); err != nil {
			return err
		}
		if err := s.conn.exec(`DELETE FROM _signalbox_tables WHERE name = ?`, t.name); err != nil {
			return err
		}
		delete(s.tables, strings.ToLower(t.name))
		moved := &table{name: name, time: t.time, layout: t.layout, columns: t.columns}
		if err := s.createTimeIndex(moved); err != nil {
			return err
		}
		return s.saveTable(moved)
	}
}
