package core_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"signalbox/core"
	"signalbox/core/api"
	"signalbox/edge/wire"
	"signalbox/engine/column"
	"signalbox/sinks"
)

const patience = 2 * time.Minute

// memorySink keeps what it was given: the newest revision per id, like an upsert.
type memorySink struct {
	scope sinks.Scope
	own   bool // keeps its cursor with the rows
	place *place
}

// place outlives a sink, as a database outlives its client.
type place struct {
	mu      sync.Mutex
	rows    map[string]map[[16]byte]stored
	alerts  map[string]int // id, state and sequence of each transition
	upTo    uint64
	writes  int
	changed chan struct{}
}

type stored struct {
	revision uint32
	row      string
	deleted  bool
}

func newPlace() *place {
	return &place{alerts: map[string]int{}, rows: map[string]map[[16]byte]stored{}, changed: make(chan struct{})}
}

func (s *memorySink) Name() string                                 { return "memory" }
func (s *memorySink) Scope() sinks.Scope                           { return s.scope }
func (s *memorySink) Prepare(context.Context, []sinks.Table) error { return nil }
func (s *memorySink) Close() error                                 { return nil }

func (s *memorySink) Cursor(context.Context) (uint64, bool, error) {
	s.place.mu.Lock()
	defer s.place.mu.Unlock()
	return s.place.upTo, s.own, nil
}

func (s *memorySink) Write(_ context.Context, batches []sinks.Batch, upTo uint64) error {
	p := s.place
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range batches {
		t := p.rows[b.Table.Name]
		if t == nil {
			t = map[[16]byte]stored{}
			p.rows[b.Table.Name] = t
		}
		for _, a := range b.Alerts {
			p.alerts[fmt.Sprint(a.ID, " ", a.Labels, " ", a.To, " ", a.Seq)]++ // at least once: the id tells repetitions
		}
		for i, id := range b.IDs {
			if old := t[id]; b.Revisions[i] >= old.revision {
				t[id] = stored{b.Revisions[i], fmt.Sprint(b.Rows.Row(i)), b.Deleted[i]}
			}
		}
	}
	p.upTo = max(p.upTo, upTo)
	p.writes++
	close(p.changed)
	p.changed = make(chan struct{})
	return nil
}

func (p *place) count(table string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, r := range p.rows[table] {
		if !r.deleted {
			n++
		}
	}
	return n
}

// until waits for a condition on the place.
func (p *place) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for {
		p.mu.Lock()
		ch := p.changed
		p.mu.Unlock()
		if ok() {
			return
		}
		select {
		case <-ch:
		case <-deadline:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// member is a node with what survives it.
type member struct {
	cfg    core.Config
	place  *place
	clock  func() time.Time // nil = the right one
	node   *core.Node
	cancel context.CancelFunc
	done   chan error
}

type cluster struct {
	t       testing.TB
	members []*member
	shared  *place // written by whoever leads
	tune    func(*core.Config)
	// withSinks makes a member's sinks; nil = in memory.
	withSinks func(*member) []sinks.Sink
}

func newCluster(t testing.TB, n int, tune func(*core.Config)) *cluster {
	c := &cluster{t: t, shared: newPlace(), tune: tune}
	var peers []string
	for i := range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		m := &member{cfg: core.Defaults(), place: newPlace()}
		m.cfg.NodeID, m.cfg.Listen, m.cfg.DataDir = fmt.Sprintf("n%d", i), l.Addr().String(), t.TempDir()
		m.cfg.Heartbeat = 250 * time.Millisecond
		if tune != nil {
			tune(&m.cfg)
		}
		_ = l.Close()
		peers = append(peers, m.cfg.NodeID+"="+m.cfg.Listen)
		c.members = append(c.members, m)
	}
	for _, m := range c.members {
		m.cfg.Peers = peers
		c.start(m)
	}
	t.Cleanup(func() {
		for _, m := range c.members {
			c.stop(m)
		}
	})
	return c
}

func (c *cluster) start(m *member) {
	c.t.Helper()
	all := []sinks.Sink{&memorySink{scope: sinks.EveryNode, own: true, place: m.place}, &leaderSink{memorySink{scope: sinks.Leader, place: c.shared}}}
	if c.withSinks != nil {
		all = c.withSinks(m)
	}
	n, err := core.New(m.cfg, core.Options{LogOutput: testLog{c.t}, Sinks: all, Clock: m.clock, LogSegmentBytes: 64 << 10})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.node, m.cancel, m.done = n, cancel, make(chan error, 1)
	go func() { m.done <- n.Run(ctx) }()
	select {
	case <-n.Started():
	case err := <-m.done:
		c.t.Fatal(err)
	}
}

// leaderSink has its own name beside the every-node one.
type leaderSink struct{ memorySink }

func (*leaderSink) Name() string { return "leader" }

func (c *cluster) stop(m *member) {
	if m.cancel == nil {
		return
	}
	m.cancel()
	if err := <-m.done; err != nil {
		c.t.Error(err)
	}
	m.cancel = nil
}

func (c *cluster) status(m *member) (s api.Status, err error) {
	res, err := http.Get("http://" + m.cfg.Listen + "/v1/status")
	if err != nil {
		return s, err
	}
	defer res.Body.Close()
	return s, json.NewDecoder(res.Body).Decode(&s)
}

// poll asks until ok; between the questions it waits for the cluster to do something, here: a moment.
func (c *cluster) poll(what string, ok func() bool) {
	c.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			c.t.Fatalf("waited in vain: %s", what)
		}
	}
}

func (c *cluster) leader() *member {
	c.t.Helper()
	var lead *member
	c.poll("a leader", func() bool {
		for _, m := range c.members {
			if m.cancel == nil {
				continue
			}
			s, err := c.status(m)
			if err == nil && s.Role == "Leader" && s.Ready {
				lead = m
				return true
			}
		}
		return false
	})
	return lead
}

func (c *cluster) post(m *member, path string, body any) (int, string) {
	c.t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		c.t.Fatal(err)
	}
	res, err := http.Post("http://"+m.cfg.Listen+path, "application/json", bytes.NewReader(b))
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	out, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(out)
}

func (c *cluster) apply(m *member, name, text string) {
	c.t.Helper()
	code, body := c.post(m, "/v1/apply", map[string]any{"files": []map[string]string{{"name": name, "text": text}}})
	if code != 200 {
		c.t.Fatalf("apply %s: %d %s", name, code, body)
	}
	for _, m := range c.members { // a follower is a moment behind
		c.poll(name+" at "+m.cfg.NodeID, func() bool {
			s, err := c.status(m)
			return err == nil && slices.Contains(s.Documents, name)
		})
	}
}

type answer struct {
	Index uint64
	Rows  [][]any
}

func (c *cluster) query(m *member, sql string) (a answer, err error) {
	b, _ := json.Marshal(map[string]string{"query": sql})
	res, err := http.Post("http://"+m.cfg.Listen+"/v1/query", "application/json", bytes.NewReader(b))
	if err != nil {
		return a, err
	}
	defer res.Body.Close()
	if res.StatusCode != 200 {
		body, _ := io.ReadAll(res.Body)
		return a, fmt.Errorf("%s: %s", res.Status, body)
	}
	d := json.NewDecoder(res.Body)
	d.UseNumber()
	return a, d.Decode(&a)
}

// agent is a spool and a session in a few lines: it sends everything, again after every failure, until all is acknowledged.
type agent struct {
	t       testing.TB
	name    string
	install [16]byte
	epoch   uint64
	bodies  [][]byte // sealed, sequence 1 first
	acked   uint64
	addrs   []string
	double  bool // send every batch twice
}

func (a *agent) seal(stream string, rows int, from int64) {
	s := &column.Schema{Name: stream, Time: 0, Fields: []column.Field{{Name: "time", Type: column.Of(column.TimestampNS)},
		{Name: "bus", Type: column.Of(column.String)}, {Name: "passengers", Type: column.Of(column.BigInt)}}}
	b := column.NewBatch(s, rows)
	for i := range rows {
		b.AppendRow(column.I64((from+int64(i))*1_000_000), column.Str(a.name), column.I64(1))
	}
	frame, err := wire.EncodeFrame(nil, b)
	if err != nil {
		a.t.Fatal(err)
	}
	last := (from + int64(rows) - 1) * 1_000_000
	body, err := wire.AppendBatch(nil, &wire.Batch{Sealed: time.Now().UnixNano(), Received: time.Now().UnixNano(), Frames: [][]byte{frame},
		Frontiers: []wire.Frontier{{Stream: stream, MaxTime: last, LowWater: last}}})
	if err != nil {
		a.t.Fatal(err)
	}
	a.bodies = append(a.bodies, body)
}

// run sends until everything is acknowledged or ctx ends.
func (a *agent) run(ctx context.Context) error {
	var err error
	for i := 0; ctx.Err() == nil && a.acked < uint64(len(a.bodies)); i++ {
		if err = a.session(ctx, a.addrs[i%len(a.addrs)]); errors.Is(err, errConflict) {
			return err
		} else if err != nil && i < 20 {
			a.t.Logf("%s: session %d: %v", a.name, i, err)
		}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w after %d of %d batches; last session: %w", ctx.Err(), a.acked, len(a.bodies), err)
	}
	return nil
}

var errConflict = errors.New("conflict")

func (a *agent) session(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "ws://"+addr+wire.Path, nil)
	if err != nil {
		return err
	}
	defer conn.CloseNow()
	conn.SetReadLimit(wire.MaxMessageBytes)
	say := func(m wire.Message) error {
		return conn.Write(ctx, websocket.MessageBinary, wire.AppendMessage(nil, m))
	}
	hear := func() (wire.Message, error) {
		_, b, err := conn.Read(ctx)
		if err != nil {
			return nil, err
		}
		return wire.DecodeMessage(b)
	}
	if err := say(&wire.Hello{Protocol: wire.Protocol, Agent: a.name, Install: a.install, Epoch: a.epoch, NextSeq: uint64(len(a.bodies)) + 1}); err != nil {
		return err
	}
	m, err := hear()
	w, ok := m.(*wire.Welcome)
	if err != nil || !ok {
		return fmt.Errorf("no welcome: %v %v", m, err)
	}
	a.epoch, a.acked = w.Epoch, w.Applied
	coder, err := wire.NewCoder()
	if err != nil {
		return err
	}
	next := a.acked + 1
	for a.acked < uint64(len(a.bodies)) {
		for next <= uint64(len(a.bodies)) && next <= a.acked+wire.MaxInFlight {
			body := a.bodies[next-1]
			for range map[bool]int{false: 1, true: 2}[a.double] {
				if err := say(coder.Pack(a.epoch, next, wire.HashBody(body), body)); err != nil {
					return err
				}
			}
			next++
		}
		m, err := hear()
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case *wire.Ack:
			a.acked = max(a.acked, m.Applied)
		case *wire.Expect:
			next = m.Seq
		case *wire.SlowDown:
			next = a.acked + 1
			select {
			case <-ctx.Done():
			case <-time.After(time.Duration(m.RetryAfter)):
			}
		case *wire.Conflict:
			return fmt.Errorf("%w: batch %d: %s", errConflict, m.Seq, m.Reason)
		case *wire.Goodbye:
			return fmt.Errorf("goodbye: %s", m.Reason)
		}
	}
	return nil
}

const pipeline = `
CREATE STREAM bus (time TIMESTAMP, bus STRING, passengers BIGINT);
CREATE STREAMING TABLE load AS
  SELECT window.start AS start, bus, sum(passengers) AS passengers, count(*) AS n
  FROM STREAM bus WATERMARK time DELAY OF INTERVAL 1 SECOND
  GROUP BY window(time, '10 seconds'), bus;
`

func (c *cluster) addrs() (out []string) {
	for _, m := range c.members {
		out = append(out, m.cfg.Listen)
	}
	return out
}

// sameChain compares the replicas' hash at an equal index.
func (c *cluster) sameChain() {
	c.t.Helper()
	c.poll("all nodes at one index", func() bool {
		var got []string
		for _, m := range c.members {
			s, err := c.status(m)
			if err != nil {
				return false
			}
			got = append(got, fmt.Sprint(s.Index, " ", s.Chain))
		}
		same := true
		for _, g := range got {
			same = same && g == got[0]
		}
		return same
	})
}

// testLog shows what nodes say in a failed test.
type testLog struct{ t testing.TB }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Logf("%s", p)
	return len(p), nil
}
