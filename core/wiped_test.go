package core_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"signalbox/core"
	"signalbox/sinks"
)

// copySink is a memorySink that is filled from another node's copy, like an embedded database.
type copySink struct{ memorySink }

func (s *copySink) CopyTo(_ context.Context, path string) (uint64, error) {
	s.place.mu.Lock()
	defer s.place.mu.Unlock()
	b, err := json.Marshal(s.place.image())
	if err != nil {
		return 0, err
	}
	return s.place.upTo, os.WriteFile(path, b, 0o600)
}

func (s *copySink) Install(_ context.Context, path string) (uint64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	var im image
	if err := json.Unmarshal(b, &im); err != nil {
		return 0, err
	}
	s.place.mu.Lock()
	defer s.place.mu.Unlock()
	if im.UpTo < s.place.upTo {
		return 0, fmt.Errorf("a copy up to %d, older than what is here", im.UpTo)
	}
	s.place.rows = map[string]map[[16]byte]stored{}
	for _, r := range im.Rows {
		if s.place.rows[r.Table] == nil {
			s.place.rows[r.Table] = map[[16]byte]stored{}
		}
		s.place.rows[r.Table][r.ID] = stored{r.Revision, r.Row, r.Deleted}
	}
	s.place.upTo = im.UpTo
	return im.UpTo, nil
}

type image struct {
	UpTo uint64
	Rows []imageRow
}

type imageRow struct {
	Table    string
	ID       [16]byte
	Revision uint32
	Row      string
	Deleted  bool
}

func (p *place) image() image {
	im := image{UpTo: p.upTo}
	for name, t := range p.rows {
		for id, r := range t {
			im.Rows = append(im.Rows, imageRow{name, id, r.revision, r.row, r.deleted})
		}
	}
	slices.SortFunc(im.Rows, func(a, b imageRow) int {
		return strings.Compare(a.Table+string(a.ID[:]), b.Table+string(b.ID[:]))
	})
	return im
}

// dump is every row of a table, in order.
func dump(p *place, table string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out strings.Builder
	for _, r := range p.image().Rows {
		if r.Table == table {
			fmt.Fprintf(&out, "%x %d %s\n", r.ID, r.Revision, r.Row)
		}
	}
	return out.String()
}

// A node that lost everything, its database too, is restored by the leader's snapshot: what is in its database
// afterwards is what is in the others', rows from before the snapshot included.
func TestANodeThatLostEverythingHasTheSameDatabase(t *testing.T) {
	c := newCluster(t, 3, func(cfg *core.Config) { cfg.SnapshotEntries, cfg.TrailingEntries = 20, 5 })
	c.withSinks = func(m *member) []sinks.Sink {
		return []sinks.Sink{&copySink{memorySink{scope: sinks.EveryNode, own: true, place: m.place}}}
	}
	for _, m := range c.members { // again, with another sink
		c.stop(m)
		if err := os.RemoveAll(m.cfg.DataDir); err != nil {
			t.Fatal(err)
		}
		m.place = newPlace()
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
	c.poll("its database is filled", func() bool { return strings.Count(dump(lost.place, "load"), "\n") > 2 })
	c.poll("every sink has acknowledged, and the outbox let go", func() bool {
		s, err := c.status(lead)
		return err == nil && s.Outbox.Records == 0
	})
	c.stop(lost)
	if err := os.RemoveAll(lost.cfg.DataDir); err != nil {
		t.Fatal(err)
	}
	lost.place = newPlace()
	a.addrs = []string{lead.cfg.Listen}
	for i := range 3 { // segments of the log have to be full before what is in them is gone
		text := fmt.Sprintf("-- %s\nCREATE STREAM pad%d (time TIMESTAMP)", strings.Repeat("x", 100<<10), i)
		if code, answer := c.post(lead, "/v1/apply", map[string]any{"files": []map[string]string{{"name": fmt.Sprint("pad", i, ".sql"), "text": text}}}); code != 200 {
			t.Fatal(answer)
		}
	}
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
	c.poll("all databases are equal", func() bool {
		want := dump(c.members[0].place, "load")
		for _, m := range c.members[1:] {
			if dump(m.place, "load") != want {
				return false
			}
		}
		return strings.Count(want, "\n") >= 11
	})
	c.sameChain()
	if s, err := c.status(lost); err != nil || lost.node.EntriesApplied() > s.Index/2 {
		t.Errorf("%d of %d entries applied one by one: no snapshot was installed (%v)", lost.node.EntriesApplied(), s.Index, err)
	}
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
