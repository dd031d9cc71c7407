package cassandra

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gocql/gocql"
	"github.com/google/go-cmp/cmp"

	devservices "signalbox/deploy/dev"
	"signalbox/engine/alert"
	"signalbox/engine/column"
	"signalbox/sinks"
	"signalbox/sinks/sinktest"
)

func busTable(name string) sinks.Table {
	return sinks.Table{Name: name, Key: []string{"start", "route"}, Entity: []string{"route"}, Time: "start",
		Schema: &column.Schema{Name: name, Fields: []column.Field{
			{Name: "start", Type: column.Of(column.Timestamp)}, {Name: "end", Type: column.Of(column.Timestamp)},
			{Name: "route", Type: column.Of(column.String)}, {Name: "passengers", Type: column.Of(column.BigInt)}, {Name: "peak", Type: column.Of(column.Double)}}}}
}

func stateTable(name string) sinks.Table {
	return sinks.Table{Name: name, Key: []string{"bus_id"}, Entity: []string{"bus_id"},
		Schema: &column.Schema{Name: name, Fields: []column.Field{{Name: "bus_id", Type: column.Of(column.String)}, {Name: "n", Type: column.Of(column.BigInt)}}}}
}

// TestSchemaIsThePublishedOne holds the generated CQL to a file; run with
// UPDATE=1 to write it, after reading the difference: existing tables do not change with it.
func TestSchemaIsThePublishedOne(t *testing.T) {
	total := sinks.Table{Name: "fleet_now", Schema: &column.Schema{Fields: []column.Field{{Name: "passengers", Type: column.Of(column.BigInt)}}}}
	got := strings.Join(Schema([]sinks.Table{busTable("route_load"), stateTable("bus$late"), total}, SchemaOptions{}), ";\n\n") + ";\n"
	path := filepath.Join("testdata", "schema.cql")
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Error(diff)
	}
}

func TestTableNamesNeverMeet(t *testing.T) {
	names := []string{"a", "A", "a$b", "a__b", "a_b", "a$_b", "a_$b", "a$$b", "$a", "a$", "_a", "", "1", "ä", "ö", "alerts", "alerts_history", "x_h0123abcd",
		strings.Repeat("x", 48), strings.Repeat("x", 49), strings.Repeat("x", 50), "a b", "a-b", `a"b`, "a$b$c"}
	seen := map[string]string{alertsTable: "our own", historyTable: "our own"}
	for _, n := range names {
		got := TableName(n)
		if !plainName.MatchString(got) || len(got) > maxName {
			t.Errorf("%q becomes %q, which Cassandra does not take", n, got)
		}
		if other, ok := seen[got]; ok {
			t.Errorf("%q and %q both become %q", n, other, got)
		}
		seen[got] = n
	}
	for name, want := range map[string]string{"route_load": "route_load", "bus$late": "bus__late", "Route": "Route"} {
		if got := TableName(name); got != want {
			t.Errorf("%q becomes %q, want %q", name, got, want)
		}
	}
}

func TestCompactionWindows(t *testing.T) {
	for ttl, want := range map[time.Duration]string{time.Hour: "1 HOURS", 48 * time.Hour: "2 HOURS", 30 * 24 * time.Hour: "1 DAYS", 90 * 24 * time.Hour: "3 DAYS", 365 * 24 * time.Hour: "13 DAYS"} {
		if n, unit := compactionWindow(ttl); fmt.Sprint(n, " ", unit) != want {
			t.Errorf("%s: %d %s, want %s", ttl, n, unit, want)
		}
	}
}

func TestBucketsAndMicroseconds(t *testing.T) {
	day := 24 * time.Hour
	for us, want := range map[int64]int64{0: 0, -1: -86_400_000, 86_400_000_000: 86_400_000, 86_399_999_999: 0, -86_400_000_000: -86_400_000} {
		if got := bucketOf(us, day); got != want {
			t.Errorf("bucket of %d is %d, want %d", us, got, want)
		}
	}
	if millis(-1) != -1 || micros(-1) != 999 || micros(1_000_001) != 1 {
		t.Errorf("-1 µs is %d ms and %d µs", millis(-1), micros(-1))
	}
}

func busBatch(t sinks.Table, index uint64, revision uint32, id byte, passengers column.Datum) sinks.Batch {
	b := sinks.Batch{Index: index, Time: 1_767_225_600_000_000 + int64(index), Table: t, Rows: column.NewBatch(t.Schema, 1),
		IDs: [][16]byte{{id}}, Revisions: []uint32{revision}}
	b.Rows.AppendRow(column.I64(int64(id)*60_000_000), column.I64(int64(id)*60_000_000+60_000_000), column.Str("10"), passengers, column.NullDatum)
	return b
}

// TestNullsAreUnsetOnlyWhereNothingIsStored looks at what is bound.
func TestNullsAreUnsetOnlyWhereNothingIsStored(t *testing.T) {
	s, err := Open(Options{Hosts: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	table := busTable("t")
	unset := func(batches ...sinks.Batch) int {
		t.Helper()
		list, _, err := s.plan(batches)
		if err != nil || len(list) != 1 {
			t.Fatalf("%d statements, %v", len(list), err)
		}
		n := 0
		for _, a := range list[0].args {
			if a == gocql.UnsetValue {
				n++
			}
		}
		return n
	}
	first, second := busBatch(table, 1, 1, 1, column.NullDatum), busBatch(table, 2, 2, 1, column.NullDatum)
	if n := unset(first); n != 2+2+2+1 { // two NULLs, no microseconds in start and end, no completeness, key unaltered
		t.Errorf("a first revision leaves %d columns unset, want 7", n)
	}
	if n := unset(second); n != 4 { // no completeness, key unaltered, microseconds of the key column
		t.Errorf("a second revision leaves %d columns unset, want 4: its NULLs must replace values", n)
	}
	gone := busBatch(table, 1, 3, 1, column.NullDatum)
	gone.Deleted = []bool{true}
	anew := busBatch(table, 2, 1, 1, column.NullDatum)
	if n := unset(gone, anew); n != 4 {
		t.Errorf("a row made anew in the same write leaves %d columns unset, want 4", n)
	}
	now := stateTable("now")
	b := sinks.Batch{Index: 1, Table: now, Rows: column.NewBatch(now.Schema, 1), IDs: make([][16]byte, 1), Revisions: []uint32{1}}
	b.Rows.AppendRow(column.NullDatum, column.NullDatum)
	if n := unset(b); n != 2 {
		t.Errorf("a row of current state leaves %d columns unset, want the completeness only: it may have been deleted and made anew", n)
	}
}

func TestErrorsAreClassified(t *testing.T) {
	if !errors.Is(classify(fmt.Errorf("x: %w", gocql.MarshalError("no"))), sinks.ErrPermanent) {
		t.Error("a value that does not fit its column is retried for ever")
	}
	for _, err := range []error{gocql.ErrNoConnections, gocql.ErrTimeoutNoResponse, context.DeadlineExceeded} {
		if errors.Is(classify(err), sinks.ErrPermanent) {
			t.Errorf("%v is refused for good", err)
		}
	}
}

func TestAbsentClusterGivesAnErrorThatCanBeRetried(t *testing.T) {
	s, err := Open(Options{Hosts: []string{"127.0.0.1"}, Port: devservices.FreePort(t), MaxTry: time.Millisecond, ConnectTimeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	table := busTable("t")
	if err := s.Prepare(t.Context(), []sinks.Table{table}); err == nil || errors.Is(err, sinks.ErrPermanent) {
		t.Errorf("prepare gives %v", err)
	}
	if err := s.Write(t.Context(), []sinks.Batch{busBatch(table, 1, 1, 1, column.I64(1))}, 1); err == nil || errors.Is(err, sinks.ErrPermanent) {
		t.Errorf("write gives %v", err)
	}
}

// TestRealCassandra shares one node among everything that needs a real one.
func TestRealCassandra(t *testing.T) {
	node := devservices.Cassandra(t)
	reader := connectReader(t, node.Host)
	n := 0
	keyspace := func() string { n++; return fmt.Sprintf("test_%d", n) }
	options := func(keyspace string) Options {
		return Options{Hosts: []string{node.Host}, AutoSchema: true, SchemaOptions: SchemaOptions{Keyspace: keyspace,
			Replication: "{'class': 'SimpleStrategy', 'replication_factor': 1}"}, Consistency: "QUORUM", BackoffMax: 500 * time.Millisecond, MaxTry: 3 * time.Minute}
	}
	t.Run("Contract", func(t *testing.T) {
		sinktest.Run(t, func(t *testing.T) sinktest.Target {
			ks := keyspace()
			return sinktest.Target{
				Open:   func() (sinks.Sink, error) { return Open(options(ks)) },
				Rows:   func(table sinks.Table) (map[[16]byte]sinktest.Row, error) { return readRows(reader, ks, table) },
				Alerts: func() (map[string]sinktest.Alert, error) { return readAlerts(reader, ks) },
			}
		})
	})
	t.Run("SchemaByHand", func(t *testing.T) { schemaByHand(t, options(keyspace()), reader) })
	t.Run("NullKeys", func(t *testing.T) { nullKeys(t, options(keyspace()), reader) })
	t.Run("Refusals", func(t *testing.T) { refusals(t, options(keyspace()), reader) })
	t.Run("DroppedTableComesBack", func(t *testing.T) { droppedTable(t, options(keyspace()), reader) })
	t.Run("HungNode", func(t *testing.T) { hungNode(t, options(keyspace()), node) })
	t.Run("AwayAtStart", func(t *testing.T) { awayAtStart(t, options(keyspace()), node) })
	t.Run("KilledWhileWriting", func(t *testing.T) { killedWhileWriting(t, options(keyspace()), node) })
}

func readAlerts(s *gocql.Session, keyspace string) (map[string]sinktest.Alert, error) {
	out := map[string]sinktest.Alert{}
	iter := s.Query(fmt.Sprintf("SELECT id, seq, state, labels FROM %s.alerts", quote(keyspace))).Iter()
	var id, state string
	var seq int64
	var labels map[string]string
	for iter.Scan(&id, &seq, &state, &labels) {
		out[id] = sinktest.Alert{Seq: uint64(seq), State: alert.State(state), Label: labels["bus_id"]}
		labels = nil
	}
	return out, iter.Close()
}
