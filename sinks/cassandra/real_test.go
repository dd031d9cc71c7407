package cassandra

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/gocql/gocql"

	devservices "signalbox/deploy/dev"
	"signalbox/engine/column"
	"signalbox/sinks"
)

func openTest(t *testing.T, o Options) *Sink {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// schemaByHand runs what Schema prints, twice, and then a sink that may not create anything.
func schemaByHand(t *testing.T, o Options, reader *gocql.Session) {
	o.AutoSchema, o.MaxTry = false, time.Millisecond
	s, table := openTest(t, o), busTable("route_load")
	err := s.Prepare(t.Context(), []sinks.Table{table})
	if err == nil || errors.Is(err, sinks.ErrPermanent) {
		t.Fatalf("without a schema prepare gives %v, want an error that can be retried", err)
	}
	for range 2 {
		for _, statement := range Schema([]sinks.Table{table}, o.SchemaOptions) {
			if err := reader.Query(statement).Exec(); err != nil {
				t.Fatalf("%v\n%s", err, statement)
			}
		}
	}
	if err := s.Prepare(t.Context(), []sinks.Table{table}); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), []sinks.Batch{busBatch(table, 1, 1, 1, column.I64(7))}, 1); err != nil {
		t.Fatal(err)
	}
	var written, ttl int64
	if err := reader.Query(fmt.Sprintf(`SELECT writetime(passengers), ttl(passengers) FROM %s.route_load`, o.Keyspace)).Scan(&written, &ttl); err != nil {
		t.Fatal(err)
	}
	var passengers, revision int64
	if err := reader.Query(fmt.Sprintf(`SELECT passengers, "_revision" FROM %s.route_load WHERE route = '10' AND "_bucket" = '1970-01-01T00:00:00Z' AND start >= '1970-01-01T00:01:00Z'`,
		o.Keyspace)).Scan(&passengers, &revision); err != nil || passengers != 7 || revision != 1 {
		t.Errorf("asked as a person would: %d passengers, revision %d, %v", passengers, revision, err)
	}
	if want := int64(1_767_225_600_000_001); written != want {
		t.Errorf("the write time is %d, want the log's %d", written, want)
	}
	if ttl <= 0 || ttl > 90*86400 {
		t.Errorf("rows live for %d s, want up to 90 days", ttl)
	}
}

// nullKeys stores rows whose key columns are NULL or empty, where Cassandra allows neither.
func nullKeys(t *testing.T, o Options, reader *gocql.Session) {
	s := openTest(t, o)
	for _, table := range []sinks.Table{stateTable("now"), {Name: "windows", Key: []string{"start", "bus_id"}, Entity: []string{"bus_id"}, Time: "start",
		Schema: &column.Schema{Fields: []column.Field{{Name: "bus_id", Type: column.Of(column.String)}, {Name: "start", Type: column.Of(column.Timestamp)}}}}} {
		b := sinks.Batch{Index: 1, Time: 1_767_225_600_000_000, Table: table, Rows: column.NewBatch(table.Schema, 3), IDs: [][16]byte{{1}, {2}, {3}}, Revisions: []uint32{1, 1, 1}}
		b.Rows.AppendRow(column.NullDatum, column.I64(5))
		b.Rows.AppendRow(column.Str(""), column.I64(5))
		b.Rows.AppendRow(column.Str("7"), column.NullDatum)
		if err := s.Write(t.Context(), []sinks.Batch{b}, 1); err != nil {
			t.Fatal(err)
		}
		rows, err := readRows(reader, o.Keyspace, table)
		if err != nil {
			t.Fatal(err)
		}
		_, null := rows[[16]byte{1}].Values["bus_id"]
		empty, there := rows[[16]byte{2}].Values["bus_id"]
		if len(rows) != 3 || null || !there || empty != "" || rows[[16]byte{3}].Values["bus_id"] != "7" {
			t.Errorf("%s: %v", table.Name, rows)
		}
	}
}

func refusals(t *testing.T, o Options, reader *gocql.Session) {
	s, table := openTest(t, o), busTable("route_load")
	if err := s.Prepare(t.Context(), []sinks.Table{table}); err != nil {
		t.Fatal(err)
	}
	long := busBatch(table, 1, 1, 1, column.I64(1))
	long.Rows.Cols[2] = column.New(column.Of(column.String), 1)
	long.Rows.Cols[2].AppendString(string(make([]byte, 70_000)))
	if err := s.Write(t.Context(), []sinks.Batch{long}, 1); !errors.Is(err, sinks.ErrPermanent) {
		t.Errorf("a key of 70,000 bytes gives %v, want a permanent error", err)
	}
	changed := table
	changed.Schema = &column.Schema{Fields: append([]column.Field{}, table.Schema.Fields...)}
	changed.Schema.Fields[3].Type = column.Of(column.String)
	if err := s.Prepare(t.Context(), []sinks.Table{changed}); !errors.Is(err, sinks.ErrPermanent) {
		t.Errorf("a column of another type gives %v, want a permanent error", err)
	}
	if err := s.Write(t.Context(), []sinks.Batch{busBatch(table, 2, 1, 2, column.I64(2))}, 2); err != nil {
		t.Errorf("after the refusals: %v", err)
	}
	if rows, err := readRows(reader, o.Keyspace, table); err != nil || len(rows) != 1 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
}

func droppedTable(t *testing.T, o Options, reader *gocql.Session) {
	s, table := openTest(t, o), busTable("route_load")
	if err := s.Write(t.Context(), []sinks.Batch{busBatch(table, 1, 1, 1, column.I64(1))}, 1); err != nil {
		t.Fatal(err)
	}
	if err := reader.Query(fmt.Sprintf("DROP TABLE %s.route_load", o.Keyspace)).Exec(); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), []sinks.Batch{busBatch(table, 2, 1, 2, column.I64(2))}, 2); err != nil {
		t.Fatal(err)
	}
	if rows, err := readRows(reader, o.Keyspace, table); err != nil || len(rows) != 1 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
}

// killedWhileWriting kills Cassandra with -9 while rows are written, starts it
// again, and looks for the newest revision of every row that was acknowledged. The sink recovers by itself.
func killedWhileWriting(t *testing.T, o Options, node *devservices.CassandraNode) {
	o.WatchdogAfter = 2 * time.Second
	s, table := openTest(t, o), busTable("route_load")
	const writes, rows = 60, 20
	trigger, restarted := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(restarted)
		<-trigger
		node.Kill()
		node.Start()
	}()
	for n := range uint64(writes) {
		if n == writes/3 {
			close(trigger)
		}
		var batches []sinks.Batch
		for r := range rows {
			id := byte(r)
			b := busBatch(table, n+1, uint32(n+1), id, column.I64(int64(n+1)))
			b.IDs[0][1] = byte(n % 5) // 100 rows, each revised 12 times
			batches = append(batches, b)
		}
		if err := s.Write(t.Context(), batches, n+1); err != nil {
			t.Fatalf("write %d: %v", n+1, err)
		}
	}
	<-restarted
	got, err := readRows(connectReader(t, node.Host), o.Keyspace, table)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != rows*5 {
		t.Errorf("%d rows, want %d", len(got), rows*5)
	}
	for id, r := range got {
		want := uint32(writes - 5 + int(id[1]) + 1)
		if r.Revision != want || r.Values["passengers"] != fmt.Sprint(want) {
			t.Errorf("row %x has revision %d and %s passengers, want %d", id, r.Revision, r.Values["passengers"], want)
		}
	}
	if st := s.Stats(); st.Failed == 0 {
		t.Errorf("Cassandra was killed and nothing failed: %+v", st)
	}
}

// hungNode stops the process without closing its connections: writes fail in
// bounded time and go on by themselves afterwards, through a new session.
func hungNode(t *testing.T, o Options, node *devservices.CassandraNode) {
	o.Timeout, o.ConnectTimeout, o.WatchdogAfter, o.MaxTry = time.Second, time.Second, 2*time.Second, 5*time.Second
	s, table := openTest(t, o), busTable("route_load")
	if err := s.Write(t.Context(), []sinks.Batch{busBatch(table, 1, 1, 1, column.I64(1))}, 1); err != nil {
		t.Fatal(err)
	}
	node.Pause()
	err := s.Write(t.Context(), []sinks.Batch{busBatch(table, 2, 1, 2, column.I64(2))}, 2)
	node.Resume()
	if err == nil || errors.Is(err, sinks.ErrPermanent) {
		t.Fatalf("a write to a hung node gives %v", err)
	}
	if st := s.Stats(); st.Watchdog == 0 {
		t.Errorf("the watchdog did not replace the session: %+v", st)
	}
	if err := writeUntilTaken(t, s, busBatch(table, 2, 1, 2, column.I64(2))); err != nil {
		t.Fatal(err)
	}
	if rows, err := readRows(connectReader(t, node.Host), o.Keyspace, table); err != nil || len(rows) != 2 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
}

// writeUntilTaken calls Write as the core does: until it returns nil.
func writeUntilTaken(t *testing.T, s *Sink, b sinks.Batch) (err error) {
	for range 20 {
		if err = s.Write(t.Context(), []sinks.Batch{b}, b.Index); err == nil {
			return nil
		}
	}
	return err
}

// awayAtStart opens the sink while there is no Cassandra.
func awayAtStart(t *testing.T, o Options, node *devservices.CassandraNode) {
	node.Kill()
	o.MaxTry, o.ConnectTimeout = time.Second, time.Second
	s, table := openTest(t, o), busTable("route_load")
	b := busBatch(table, 1, 1, 1, column.I64(1))
	if err := s.Write(t.Context(), []sinks.Batch{b}, 1); err == nil || errors.Is(err, sinks.ErrPermanent) {
		t.Fatalf("without Cassandra a write gives %v", err)
	}
	node.Start()
	if err := writeUntilTaken(t, s, b); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkRealCassandra writes window rows of 20 routes to one node.
func BenchmarkRealCassandra(b *testing.B) {
	node := devservices.Cassandra(b)
	s, err := Open(Options{Hosts: []string{node.Host}, AutoSchema: true, Consistency: "QUORUM",
		SchemaOptions: SchemaOptions{Replication: "{'class': 'SimpleStrategy', 'replication_factor': 1}"}})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	table, index := busTable("route_load"), uint64(0)
	if err := s.Prepare(b.Context(), []sinks.Table{table}); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		var batches []sinks.Batch
		for range 1000 {
			index++
			row := busBatch(table, index, 1, byte(index), column.I64(int64(index)))
			row.IDs[0][1], row.IDs[0][2] = byte(index>>8), byte(index>>16)
			batches = append(batches, row)
		}
		if err := s.Write(b.Context(), batches, index); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(index)/b.Elapsed().Seconds(), "rows/s")
}
