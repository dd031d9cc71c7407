package engine

import (
	"testing"

	"signalbox/engine/sql"
)

// TestASnapshotMayCountUpdatedRows: what an earlier version accepted must come back from its snapshot.
func TestASnapshotMayCountUpdatedRows(t *testing.T) {
	e := New(DefaultOptions())
	if err := e.Execute(`CREATE STREAM bus (time TIMESTAMP, bus STRING, passengers BIGINT);
CREATE STREAMING TABLE a OPTIONS (mode 'update') AS SELECT bus, sum(passengers) AS s FROM STREAM bus GROUP BY bus`); err != nil {
		t.Fatal(err)
	}
	const text = `CREATE STREAMING TABLE b OPTIONS (mode 'update') AS SELECT sum(s) AS s FROM STREAM a`
	if err := e.Execute(text); err == nil {
		t.Fatal("accepted as a new table")
	}
	list, errs := sql.ParseScript(text)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	st, ok := list[0].(*sql.CreateStreamingTable)
	if !ok {
		t.Fatalf("%T", list[0])
	}
	if err := e.createStreaming(e.cat, st, 0, 1, 0); err != nil {
		t.Fatal(err)
	}
}
