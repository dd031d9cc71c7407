package edge

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	paho "github.com/eclipse/paho.mqtt.golang"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"

	"signalbox/edge/decode"
	"signalbox/edge/wire"
	"signalbox/engine/column"
)

// fakeCore applies batches as the real one does, in memory.
type fakeCore struct {
	t      testing.TB
	server *httptest.Server

	mu       sync.Mutex
	epoch    uint64
	applied  uint64
	install  [16]byte
	hashes   []wire.SeqHash
	batches  []*wire.Batch
	ids      map[wire.Hash]int
	beats    []*wire.Heartbeat
	rows     []string
	redirect string
	greet    func(m *wire.Hello) wire.Message        // nil, or a nil message = welcome
	answer   func(m *wire.BatchMessage) wire.Message // nil = apply; a nil message = say nothing
	conns    map[*websocket.Conn]bool
	changed  chan struct{}
}

func newFakeCore(t testing.TB) *fakeCore {
	c := &fakeCore{t: t, ids: map[wire.Hash]int{}, conns: map[*websocket.Conn]bool{}, changed: make(chan struct{})}
	c.server = httptest.NewServer(http.HandlerFunc(c.serve))
	t.Cleanup(func() { c.cut(); c.server.Close() })
	return c
}

func (c *fakeCore) addr() string { return c.server.Listener.Addr().String() }

func (c *fakeCore) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.conns {
		conn.CloseNow()
	}
}

func (c *fakeCore) serve(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil || r.URL.Path != wire.Path {
		return
	}
	defer conn.CloseNow()
	conn.SetReadLimit(wire.MaxMessageBytes)
	c.mu.Lock()
	c.conns[conn] = true
	c.mu.Unlock()
	coder, _ := wire.NewCoder()
	for {
		_, raw, err := conn.Read(context.Background())
		if err != nil {
			break
		}
		m, err := wire.DecodeMessage(raw)
		if err != nil {
			c.t.Errorf("the agent sent garbage: %v", err)
			break
		}
		if out := c.handle(m, coder); out != nil {
			if conn.Write(context.Background(), websocket.MessageBinary, wire.AppendMessage(nil, out)) != nil {
				break
			}
		}
	}
	c.mu.Lock()
	delete(c.conns, conn)
	c.mu.Unlock()
}

func (c *fakeCore) handle(m wire.Message, coder *wire.Coder) wire.Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer func() { close(c.changed); c.changed = make(chan struct{}) }()
	switch m := m.(type) {
	case *wire.Hello:
		if c.redirect != "" {
			return &wire.Redirect{Leader: c.redirect}
		}
		if c.greet != nil {
			if out := c.greet(m); out != nil {
				return out
			}
		}
		prev, before, had := c.hashes, c.epoch, c.applied
		if c.epoch == 0 || m.Install != c.install || m.NextSeq <= c.applied {
			c.epoch++
			c.applied, c.hashes, c.install = 0, nil, m.Install
		}
		return &wire.Welcome{Epoch: c.epoch, Applied: c.applied, PrevEpoch: before, Prev: had, Hashes: prev, Credit: wire.MaxInFlight, Clock: time.Now().UnixNano()}
	case *wire.BatchMessage:
		if c.answer != nil {
			if out := c.answer(m); out != nil {
				return out
			}
		}
		return c.apply(m, coder)
	case *wire.Heartbeat:
		c.beats = append(c.beats, m)
	}
	return nil
}

func (c *fakeCore) apply(m *wire.BatchMessage, coder *wire.Coder) wire.Message {
	ack := func() wire.Message {
		return &wire.Ack{Epoch: c.epoch, Applied: c.applied, Credit: wire.MaxInFlight}
	}
	switch {
	case m.Epoch != c.epoch:
		return &wire.Goodbye{Code: wire.GoodbyeFenced, Reason: "old epoch"}
	case m.Seq > c.applied+1:
		return &wire.Expect{Epoch: c.epoch, Seq: c.applied + 1, Credit: wire.MaxInFlight}
	case m.Seq <= c.applied:
		return ack()
	}
	body, err := coder.Body(m)
	var b *wire.Batch
	if err == nil {
		b, err = wire.DecodeBatch(body)
	}
	if err != nil {
		c.t.Errorf("batch %d: %v", m.Seq, err)
		return &wire.Goodbye{Code: wire.GoodbyeProtocol, Reason: err.Error()}
	}
	c.applied++
	c.hashes = append(c.hashes, wire.SeqHash{Seq: m.Seq, Hash: m.Hash})
	c.batches = append(c.batches, b)
	for _, f := range b.Frames {
		rows, err := wire.DecodeFrame(f, wire.DecodeOptions{})
		if err != nil {
			c.t.Errorf("batch %d: %v", m.Seq, err)
			continue
		}
		for i := range rows.Len {
			c.rows = append(c.rows, rowText(rows, i))
		}
	}
	return ack()
}

func rowText(b *column.Batch, i int) string {
	s := b.Schema.Name
	for j, f := range b.Schema.Fields {
		if d := b.Cols[j].Datum(i); !d.Null && f.Type.Kind == column.String {
			s += fmt.Sprintf(" %s=%s", f.Name, d.S)
		} else if !d.Null {
			s += fmt.Sprintf(" %s=%v", f.Name, max(float64(d.I), d.F))
		}
	}
	return s
}

// wait blocks until the core's state satisfies a condition.
func (c *fakeCore) wait(what string, ok func() bool) {
	c.t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		c.mu.Lock()
		done, changed := ok(), c.changed
		rows := len(c.rows)
		c.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			c.t.Fatalf("%s: never came; %d rows", what, rows)
		}
	}
}

func (c *fakeCore) set(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

// broker starts an MQTT broker on loopback.
func broker(t testing.TB) (addr string, stop func()) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := mochi.New(&mochi.Options{Logger: slog.New(slog.DiscardHandler)})
	if err := s.AddHook(new(auth.AllowHook), nil); err != nil {
		t.Fatal(err)
	}
	if err := s.AddListener(listeners.NewNet("t", ln)); err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	stop = func() { once.Do(func() { s.Close() }) }
	t.Cleanup(stop)
	return "tcp://" + ln.Addr().String(), stop
}

func publisher(t testing.TB, addr string) func(topic, payload string) {
	return publisherNamed(t, addr, "publisher")
}

func publisherNamed(t testing.TB, addr, name string) func(topic, payload string) {
	c := paho.NewClient(paho.NewClientOptions().AddBroker(addr).SetClientID(name))
	if tok := c.Connect(); tok.WaitTimeout(5*time.Second) && tok.Error() != nil {
		t.Fatal(tok.Error())
	}
	t.Cleanup(func() { c.Disconnect(50) })
	return func(topic, payload string) {
		if tok := c.Publish(topic, 1, false, payload); !tok.WaitTimeout(5*time.Second) || tok.Error() != nil {
			t.Fatalf("publish: %v", tok.Error())
		}
	}
}

func testConfig(t testing.TB, broker string, cores ...string) Config {
	cfg := DefaultConfig()
	cfg.Agent, cfg.Core, cfg.DataDir, cfg.HTTP = "bus-1", cores, t.TempDir(), "127.0.0.1:0"
	cfg.MQTT.Brokers = []string{broker}
	cfg.MQTT.MaxBackoff, cfg.MaxBackoff = time.Second, 200*time.Millisecond
	cfg.Linger, cfg.Heartbeat = 0, 50*time.Millisecond
	cfg.Mappings = []decode.Mapping{{Topic: "lp/#"}, {Topic: "json/{id}", Format: "json", Stream: "j", Time: decode.Time{From: "$.t", Unit: "s"},
		Columns: []decode.Column{{Name: "id", From: "{id}"}, {Name: "v", From: "$.v", Type: "BIGINT"}}}}
	return cfg
}

// start runs an agent until stop, which checks what has to hold at the end.
func start(t testing.TB, cfg Config) (*Agent, func()) {
	t.Helper()
	a, err := New(cfg, Options{Logger: slog.New(slog.DiscardHandler), Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	var once sync.Once
	stop := func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("run: %v", err)
			}
			checkIdentity(t, a.Status())
		})
	}
	t.Cleanup(stop)
	until(t, "subscribed", func() bool { return a.Status().Broker })
	return a, stop
}

// checkIdentity: received + recovered = shipped + dropped + in flight.
func checkIdentity(t testing.TB, s Status) {
	t.Helper()
	dropped := uint64(0)
	for _, n := range s.Dropped {
		dropped += n
	}
	if s.Received+s.Recovered != s.Shipped+dropped+s.InFlight {
		t.Errorf("readings do not add up: %+v", s)
	}
}

// until polls a condition: the agent has no event for each.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: never came", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}
