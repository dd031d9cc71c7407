package core_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"signalbox/core"
	"signalbox/core/api"
	"signalbox/edge/wire"
)

func TestEverythingIsAppliedOnceWhileLeadersComeAndGo(t *testing.T) {
	// On a busy machine an agent may wait long for a leader: here nobody counts as offline for that.
	c := newCluster(t, 3, func(cfg *core.Config) { cfg.IdleTimeout = time.Hour })
	c.apply(c.members[0], "pipeline.sql", pipeline) // any node takes it
	const agents, batches, rows = 8, 40, 50
	base := time.Now().Add(-time.Hour).UnixMilli() / 10_000 * 10_000
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var wg sync.WaitGroup
	var all []*agent
	for i := range agents {
		a := &agent{t: t, name: fmt.Sprintf("bus%d", i), install: [16]byte{byte(i + 1)}, addrs: slices.Concat(c.addrs()[i%3:], c.addrs()[:i%3]), double: i%2 == 0}
		// Each is heard once before any goes on: what the cluster does not know yet cannot hold a watermark back.
		a.seal("bus", rows, base)
		if err := a.run(ctx); err != nil {
			t.Fatal(err)
		}
		for b := 1; b < batches; b++ {
			a.seal("bus", rows, base+int64(b*rows*10))
		}
		all = append(all, a)
	}
	for _, a := range all {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if err := a.run(ctx); err != nil {
				t.Errorf("%s: %v after %d acknowledged", a.name, err, a.acked)
			}
		}()
	}
	first := c.leader()
	c.stop(first)
	c.leader()
	c.start(first)
	wg.Wait()
	const want = agents * batches * rows
	for _, m := range c.members {
		c.poll(m.cfg.NodeID+" applies everything", func() bool {
			s, err := c.status(m)
			return err == nil && s.Readings.Applied >= want
		})
		s, _ := c.status(m)
		if s.Readings.Applied != want || s.Readings.Received != s.Readings.Applied+s.Readings.Duplicate+s.Readings.Rejected {
			t.Errorf("node %s: %+v, published %d", s.Node, s.Readings, want)
		}
	}
	c.sameChain()
	wantRows := agents * ((batches * rows * 10) / 10_000)
	for _, m := range c.members {
		m.place.until(t, "rows in the sink of "+m.cfg.NodeID, func() bool { return m.place.count("load") >= wantRows-agents })
	}
	c.shared.until(t, "rows in the leader's sink", func() bool { return c.shared.count("load") >= wantRows-agents })
	for _, m := range c.members {
		for id, r := range m.place.rows["load"] {
			if got := c.shared.rows["load"][id]; got.row != r.row && got.revision == r.revision {
				t.Errorf("row differs: %v at %s, %v at the leader's", r, m.cfg.NodeID, got)
			}
		}
	}
}

func TestRestartFromDiskAndFollowerRestoredBySnapshot(t *testing.T) {
	c := newCluster(t, 3, func(cfg *core.Config) { cfg.SnapshotEntries, cfg.TrailingEntries = 20, 5 })
	c.apply(c.members[0], "pipeline.sql", pipeline)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	base := time.Now().Add(-time.Hour).UnixMilli() / 10_000 * 10_000
	a := &agent{t: t, name: "bus1", install: [16]byte{1}, addrs: c.addrs()}
	const rows = 1000
	send := func(batches int) {
		t.Helper()
		for range batches {
			a.seal("bus", rows, base+int64(len(a.bodies))*1000)
		}
		if err := a.run(ctx); err != nil {
			t.Fatal(err)
		}
	}
	send(10)
	lead := c.leader()
	lag := c.members[slices.IndexFunc(c.members, func(m *member) bool { return m != lead })]
	c.stop(lag)
	a.addrs = nil
	for _, m := range c.members {
		if m != lag {
			a.addrs = append(a.addrs, m.cfg.Listen)
		}
	}
	send(60)
	for _, m := range c.members {
		if m != lag {
			if err := m.node.Snapshot(); err != nil {
				t.Fatal(err)
			}
		}
	}
	send(3)
	for _, m := range c.members { // all nodes restart: the log and snapshots on disk are all there is
		c.stop(m)
	}
	for _, m := range c.members {
		c.start(m)
	}
	a.addrs = c.addrs()
	send(10)
	want := uint64(len(a.bodies) * rows)
	for _, m := range c.members {
		c.poll(m.cfg.NodeID+" has everything", func() bool {
			s, err := c.status(m)
			return err == nil && s.Readings.Applied == want && s.Readings.Duplicate == 0
		})
		got, err := c.query(m, "SELECT sum(n) AS n FROM load")
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Rows) != 1 || got.Index == 0 {
			t.Errorf("node %s answers %+v", m.cfg.NodeID, got)
		}
	}
	c.sameChain()
	var first answer
	for i, m := range c.members {
		got, err := c.query(m, "SELECT start, bus, passengers FROM load ORDER BY start, bus")
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = got
		}
		if fmt.Sprint(got.Rows) != fmt.Sprint(first.Rows) || len(got.Rows) == 0 {
			t.Errorf("node %s answers %v, %s answered %v", m.cfg.NodeID, got.Rows, c.members[0].cfg.NodeID, first.Rows)
		}
	}
}

func TestAPIOnOneNode(t *testing.T) {
	c := newCluster(t, 1, nil)
	m := c.members[0]
	c.leader()
	if code, body := c.post(m, "/v1/apply", map[string]any{"files": []map[string]string{{"name": "bad.sql", "text": "CREATE STREAM x (time TIMESTAMP);\nSELEC 1;"}}}); code != 400 || !bytes.Contains([]byte(body), []byte("2:1")) {
		t.Errorf("bad SQL: %d %s", code, body)
	}
	if code, body := c.post(m, "/v1/apply", map[string]any{"dry_run": true, "files": []map[string]string{{"name": "p.sql", "text": pipeline}}}); code != 200 {
		t.Errorf("dry run: %d %s", code, body)
	}
	if _, err := c.query(m, "SELECT * FROM load"); err == nil {
		t.Error("a dry run created a table")
	}
	c.apply(m, "p.sql", pipeline)
	c.apply(m, "t.sql", "CREATE TABLE vehicles (bus STRING, capacity BIGINT);")
	res, err := http.Post("http://"+m.cfg.Listen+"/v1/tables/vehicles", "text/csv", bytes.NewReader([]byte("bus,capacity\nb1,9007199254740993\nb2,50\n")))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 200 {
		t.Fatalf("upload: %s", res.Status)
	}
	got, err := c.query(m, "SELECT capacity FROM vehicles ORDER BY bus")
	if err != nil || fmt.Sprint(got.Rows) != "[[9007199254740993] [50]]" {
		t.Errorf("static table: %v %v", got.Rows, err)
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		res, err := http.Get("http://" + m.cfg.Listen + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != 200 || len(body) == 0 {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
	if _, err := c.query(m, "DROP STREAM bus"); err == nil {
		t.Error("the query endpoint changed the catalog")
	}
}

func TestAgentsAreToldApart(t *testing.T) {
	c := newCluster(t, 1, nil)
	m := c.members[0]
	c.apply(m, "p.sql", pipeline)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	a := &agent{t: t, name: "bus1", install: [16]byte{1}, addrs: c.addrs()}
	now := time.Now().UnixMilli()
	for i := range 3 {
		a.seal("bus", 5, now-60_000+int64(i)*10)
	}
	if err := a.run(ctx); err != nil {
		t.Fatal(err)
	}
	// The same device from an old image: it seals sequence 2 anew, with another content.
	old := &agent{t: t, name: "bus1", install: [16]byte{1}, epoch: a.epoch, addrs: c.addrs(), bodies: a.bodies[:1]}
	old.seal("bus", 7, now-50_000)
	if err := old.run(ctx); err != nil {
		t.Fatal(err)
	}
	if old.epoch != a.epoch+1 {
		t.Errorf("a restored image kept epoch %d", old.epoch)
	}
	s, err := c.status(m)
	if err != nil {
		t.Fatal(err)
	}
	// The first batch of the old image had been applied already: a duplicate, whatever its new sequence.
	if s.Readings.Applied != 15+7 || s.Readings.Duplicate != 5 {
		t.Errorf("readings %+v", s.Readings)
	}
	// A batch that is none is set aside and acknowledged, and the next one is applied.
	bad := &agent{t: t, name: "bus2", install: [16]byte{2}, addrs: c.addrs()}
	body, err := wire.AppendBatch(nil, &wire.Batch{Frames: [][]byte{[]byte("not a frame at all")}})
	if err != nil {
		t.Fatal(err)
	}
	bad.bodies = append(bad.bodies, body)
	bad.seal("bus", 4, now-40_000)
	if err := bad.run(ctx); err != nil {
		t.Fatal(err)
	}
	got, err := c.query(m, "SELECT reason FROM `$rejected`")
	if err != nil || fmt.Sprint(got.Rows) != "[[frame]]" {
		t.Errorf("$rejected: %v %v", got.Rows, err)
	}
	if s, _ := c.status(m); s.Readings.Applied != 15+7+4 {
		t.Errorf("after a bad batch: %+v", s.Readings)
	}
}

func TestAnAlertReachesEverySinkOnceAndSurvivesFailover(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.apply(c.members[0], "p.sql", pipeline)
	c.apply(c.members[1], "rules.yaml", `groups:
  - name: fleet
    rules:
      - alert: full
        from: bus
        by: [bus]
        expr: passengers >= 1
        value: passengers
`)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	a := &agent{t: t, name: "bus7", install: [16]byte{7}, addrs: c.addrs()}
	a.seal("bus", 1, time.Now().UnixMilli())
	if err := a.run(ctx); err != nil {
		t.Fatal(err)
	}
	one := func(p *place) func() bool {
		return func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			return len(p.alerts) == 1
		}
	}
	c.shared.until(t, "the alert at the leader's sink", one(c.shared))
	for _, m := range c.members {
		m.place.until(t, "the alert in the sink of "+m.cfg.NodeID, one(m.place))
	}
	first := c.leader()
	c.stop(first)
	lead := c.leader()
	a.addrs = []string{lead.cfg.Listen}
	a.seal("bus", 1, time.Now().UnixMilli())
	if err := a.run(ctx); err != nil {
		t.Fatal(err)
	}
	res, err := http.Get("http://" + lead.cfg.Listen + "/v1/alerts")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var got api.AlertsResponse
	if err := json.NewDecoder(res.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	if len(got.Alerts) != 1 || got.Alerts[0].State != "firing" || got.Alerts[0].By["bus"] != "bus7" {
		t.Errorf("after failover: %+v", got)
	}
	if !one(c.shared)() {
		t.Errorf("told again after failover: %v", c.shared.alerts)
	}
}
