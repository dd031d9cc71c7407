package cassandra

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"signalbox/engine/column"
	"signalbox/sinks"
	"signalbox/sinks/row"
)

// Our own columns beside those of package row.
const (
	bucketColumn = "_bucket" // start of the time bucket of the partition
	keysColumn   = "_keys"   // JSON: key columns that are NULL or empty, where Cassandra allows neither
	microPrefix  = "_us_"    // _us_X: microseconds beyond the millisecond of timestamp X, absent when 0
	alertsTable  = "alerts"
	historyTable = "alerts_history"
)

// SchemaOptions decide what the tables look like. The zero value of each field takes its default.
type SchemaOptions struct {
	Keyspace    string        // default "signalbox"
	Replication string        // CQL map; default {'class': 'NetworkTopologyStrategy', 'replication_factor': 3}
	Bucket      time.Duration // how much time one partition of an entity holds; default 24 h
	TTL         time.Duration // how long rows with a time live; default 90 days, negative = for ever
}

func (o SchemaOptions) withDefaults() SchemaOptions {
	if o.Keyspace == "" {
		o.Keyspace = "signalbox"
	}
	if o.Replication == "" {
		o.Replication = "{'class': 'NetworkTopologyStrategy', 'replication_factor': 3}"
	}
	if o.Bucket <= 0 {
		o.Bucket = 24 * time.Hour
	}
	if o.TTL == 0 {
		o.TTL = 90 * 24 * time.Hour
	}
	return o
}

// Schema returns the CQL statements that create the keyspace and the tables for
// these result tables and for alerts, in the order in which to run them. They
// may be run again.
func Schema(tables []sinks.Table, o SchemaOptions) []string {
	o = o.withDefaults()
	out := []string{o.createKeyspace()}
	for i := range tables {
		if tables[i].Schema != nil {
			out = append(out, layoutOf(&tables[i]).create(o))
		}
	}
	for _, l := range alertLayouts() {
		out = append(out, l.create(o))
	}
	return out
}

func (o SchemaOptions) createKeyspace() string {
	return fmt.Sprintf("CREATE KEYSPACE IF NOT EXISTS %s WITH replication = %s AND durable_writes = true", quote(o.keyspace()), o.Replication)
}

func (o SchemaOptions) keyspace() string { return TableName(o.Keyspace) }

// cqlColumn is a column of a table in Cassandra.
type cqlColumn struct{ name, typ string }

// layout is a table in Cassandra and how a result row maps to it.
type layout struct {
	name       string
	columns    []cqlColumn // all, in declaration order
	partition  []string
	clustering []string
	descending string // clustering column that is newest first, or ""
	ages       bool   // rows have a time: TTL and time-window compaction
	comment    string

	names  []string // of the result's columns, by ordinal
	entity []int    // ordinals of the entity columns
	time   int      // ordinal of the time column in the key, or -1
	keep   bool     // rows of this table may be replaced after deletion: NULLs are always written
}

// layoutOf maps a result table. Rows that are ordered in time are partitioned
// by (entity, time bucket) and clustered newest first; tables of current state
// are partitioned by entity alone, or by row id where they have none.
func layoutOf(t *sinks.Table) *layout {
	l := &layout{name: TableName(t.Name), names: row.Names(t.Schema), time: -1, comment: t.Name}
	for _, name := range t.Entity {
		if i := t.Schema.Ordinal(name); i >= 0 && (len(t.Key) == 0 || slices.Contains(t.Key, name)) {
			l.entity = append(l.entity, i)
		}
	}
	// A time outside the key may change while the row stays the same: it cannot be part of the primary key.
	if i := t.Schema.Ordinal(t.Time); t.Time != "" && i >= 0 && t.Schema.Fields[i].Type.Kind == column.Timestamp &&
		(len(t.Key) == 0 || slices.Contains(t.Key, t.Time)) && !slices.Contains(l.entity, i) {
		l.time = i
	}
	l.addKey(t)
	for i, f := range t.Schema.Fields {
		if i != l.time && !slices.Contains(l.entity, i) {
			l.columns = append(l.columns, cqlColumn{l.names[i], cqlType(f.Type)})
		}
	}
	for i, f := range t.Schema.Fields {
		if hasMicros(f.Type) {
			l.columns = append(l.columns, cqlColumn{microPrefix + l.names[i], "smallint"})
		}
	}
	l.columns = append(l.columns, cqlColumn{row.Revision, "bigint"}, cqlColumn{row.Complete, "int"}, cqlColumn{row.Expected, "int"},
		cqlColumn{row.Index, "bigint"}, cqlColumn{keysColumn, "text"})
	return l
}

func (l *layout) addKey(t *sinks.Table) {
	for _, i := range l.entity {
		l.partition = append(l.partition, l.names[i])
		l.columns = append(l.columns, cqlColumn{l.names[i], cqlType(t.Schema.Fields[i].Type)})
	}
	switch {
	case l.time >= 0:
		l.ages, l.descending = true, l.names[l.time]
		l.partition = append(l.partition, bucketColumn)
		l.clustering = []string{l.names[l.time], row.ID}
		l.columns = append(l.columns, cqlColumn{bucketColumn, "timestamp"}, cqlColumn{l.names[l.time], "timestamp"}, cqlColumn{row.ID, "blob"})
	case len(l.entity) > 0:
		l.keep = true
		l.clustering = []string{row.ID}
		l.columns = append(l.columns, cqlColumn{row.ID, "blob"})
	default:
		l.keep = true
		l.partition = []string{row.ID}
		l.columns = append(l.columns, cqlColumn{row.ID, "blob"})
	}
}

// alertLayouts are the current state per alert and the history of transitions.
func alertLayouts() []*layout {
	common := []cqlColumn{{"episode", "timestamp"}, {"value", "text"}, {"labels", "frozen<map<text, text>>"},
		{"annotations", "frozen<map<text, text>>"}, {"episode_us", "bigint"}, {row.Index, "bigint"}}
	current := &layout{name: alertsTable, comment: "newest state of each alert", partition: []string{"rule_group", "rule"}, clustering: []string{"id"},
		columns: append([]cqlColumn{{"rule_group", "text"}, {"rule", "text"}, {"id", "text"}, {"seq", "bigint"}, {"state", "text"},
			{"since", "timestamp"}, {"since_us", "bigint"}}, common...)}
	history := &layout{name: historyTable, comment: "transitions of alerts", ages: true, descending: "at",
		partition: []string{"rule_group", "rule", bucketColumn}, clustering: []string{"at", "id", "seq", "historical"},
		columns: append([]cqlColumn{{"rule_group", "text"}, {"rule", "text"}, {bucketColumn, "timestamp"}, {"at", "timestamp"}, {"id", "text"}, {"seq", "bigint"},
			{"historical", "boolean"}, {"from_state", "text"}, {"to_state", "text"}, {"at_us", "bigint"}}, common...)}
	return []*layout{current, history}
}

// create writes the CREATE TABLE statement.
func (l *layout) create(o SchemaOptions) string {
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE TABLE IF NOT EXISTS %s.%s (\n", quote(o.keyspace()), quote(l.name))
	for _, c := range l.columns {
		fmt.Fprintf(&b, "  %s %s,\n", quote(c.name), c.typ)
	}
	fmt.Fprintf(&b, "  PRIMARY KEY ((%s)", quoteAll(l.partition))
	if len(l.clustering) > 0 {
		fmt.Fprintf(&b, ", %s", quoteAll(l.clustering))
	}
	b.WriteString(")\n) WITH ")
	if l.descending != "" {
		var order []string
		for _, c := range l.clustering {
			direction := " ASC"
			if c == l.descending {
				direction = " DESC"
			}
			order = append(order, quote(c)+direction)
		}
		fmt.Fprintf(&b, "CLUSTERING ORDER BY (%s)\n  AND ", strings.Join(order, ", "))
	}
	if l.ages && o.TTL > 0 {
		size, unit := compactionWindow(o.TTL)
		fmt.Fprintf(&b, "default_time_to_live = %d\n  AND compaction = {'class': 'TimeWindowCompactionStrategy', 'compaction_window_unit': '%s', 'compaction_window_size': %d}\n  AND ",
			int64(o.TTL.Seconds()), unit, size)
	}
	fmt.Fprintf(&b, "comment = %s", text("signalbox: "+l.comment))
	return b.String()
}

// compactionWindow cuts the time to live into at most about 30 windows: each
// window ends as one file that is dropped whole when it is too old.
func compactionWindow(ttl time.Duration) (size int64, unit string) {
	const windows = 30
	hours := int64((ttl + windows*time.Hour - 1) / (windows * time.Hour))
	if hours < 24 {
		return max(hours, 1), "HOURS"
	}
	return (hours + 23) / 24, "DAYS"
}

// cqlType is the Cassandra type of a column.
func cqlType(t column.Type) string {
	switch t.Kind {
	case column.Boolean:
		return "boolean"
	case column.TinyInt:
		return "tinyint"
	case column.SmallInt:
		return "smallint"
	case column.Int:
		return "int"
	case column.BigInt, column.IntervalDT, column.IntervalYM:
		return "bigint"
	case column.Float:
		return "float"
	case column.Double:
		return "double"
	case column.Decimal:
		return "decimal"
	case column.Binary:
		return "blob"
	case column.Date:
		return "date"
	case column.Timestamp, column.TimestampNTZ:
		return "timestamp"
	}
	return "text" // strings as they are, nested values as JSON, nanosecond times as RFC 3339
}

func hasMicros(t column.Type) bool {
	return t.Kind == column.Timestamp || t.Kind == column.TimestampNTZ
}
