package core_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"signalbox/core"
	"signalbox/sinks"
	"signalbox/sinks/sqlite"
)

// dump is everything a table of a database holds, in order.
func dump(t *testing.T, path, query string) string {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?mode=ro&_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(query)
	if err != nil {
		return err.Error()
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for rows.Next() {
		vals := make([]any, len(names))
		for i := range vals {
			vals[i] = new(any)
		}
		if err := rows.Scan(vals...); err != nil {
			t.Fatal(err)
		}
		for _, v := range vals {
			fmt.Fprint(&out, *v.(*any), "|")
		}
		out.WriteByte('\n')
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// A node that lost everything, its database too, is restored by the leader's snapshot: what is in its database
// afterwards is what is in the others', rows from before the snapshot included.
func TestANodeThatLostEverythingHasTheSameDatabase(t *testing.T) {
	c := newCluster(t, 3, func(cfg *core.Config) { cfg.SnapshotEntries, cfg.TrailingEntries = 20, 5 })
	c.withSinks = func(m *member) []sinks.Sink {
		s, err := sqlite.Open(sqlite.Options{Path: database(m)})
		if err != nil {
			t.Fatal(err)
		}
		return []sinks.Sink{s}
	}
	for _, m := range c.members { // again, with the real sink
		c.stop(m)
		if err := os.RemoveAll(m.cfg.DataDir); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range c.members {
		c.start(m)
	}
	c.apply(c.members[0], "pipeline.sql", pipeline)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	base := time.Now().Add(-time.Hour).UnixMilli() / 10_000 * 10_000
	a := &agent{t: t, name: "bus1", install: [16]byte{1}, addrs: c.addrs()}
	send := func(batches int) {
		t.Helper()
		for range batches {
			a.seal("bus", 1000, base+int64(len(a.bodies))*1000)
		}
		if err := a.run(ctx); err != nil {
			t.Fatal(err)
		}
	}
	send(40)
	lead := c.leader()
	var lost *member
	for _, m := range c.members {
		if m != lead {
			lost = m
		}
	}
	const load = "SELECT start, bus, passengers, n, _revision, hex(_id) FROM load ORDER BY start, bus"
	c.poll("its database is filled", func() bool { return strings.Count(dump(t, database(lost), load), "\n") > 2 })
	c.stop(lost)
	if err := os.RemoveAll(lost.cfg.DataDir); err != nil {
		t.Fatal(err)
	}
	a.addrs = []string{lead.cfg.Listen}
	send(40)
	for _, m := range c.members { // afterwards the log before the snapshot is gone
		if m != lost {
			if err := m.node.Snapshot(); err != nil {
				t.Fatal(err)
			}
		}
	}
	c.start(lost)
	a.addrs = c.addrs()
	send(40)
	if s, err := c.status(lost); err != nil || lost.node.EntriesApplied() > s.Index/2 {
		t.Errorf("%d of %d entries applied one by one: no snapshot was installed (%v)", lost.node.EntriesApplied(), s.Index, err)
	}
	c.poll("all databases are equal", func() bool {
		want := dump(t, database(c.members[0]), load)
		for _, m := range c.members[1:] {
			if dump(t, database(m), load) != want {
				return false
			}
		}
		return strings.Count(want, "\n") >= 11
	})
	c.sameChain()
	for _, m := range c.members {
		s, err := c.status(m)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range s.Sinks {
			if k.Skipped != 0 {
				t.Errorf("%s: output was gone before %s had it", m.cfg.NodeID, k.Name)
			}
		}
	}
}

func database(m *member) string { return filepath.Join(m.cfg.DataDir, "results.db") }
