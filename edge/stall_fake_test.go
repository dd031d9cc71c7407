package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"signalbox/edge/decode"
	"signalbox/edge/mqtt"
	"signalbox/edge/wire"
	"signalbox/engine"
	"signalbox/engine/alert"
	"signalbox/engine/column"
)

// memorySource is a broker in memory: what was not acknowledged is counted.
type memorySource struct {
	mu    sync.Mutex
	queue []mqtt.Message
	acked int
	ready chan struct{}
}

func (s *memorySource) Run(ctx context.Context) error { <-ctx.Done(); return nil }
func (s *memorySource) Ready() <-chan struct{}        { return s.ready }

func (s *memorySource) Receipt([]mqtt.Message, mqtt.Place) {}

func (s *memorySource) signal() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

func (s *memorySource) push(lines string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := time.Now()
	s.queue = append(s.queue, mqtt.Message{Topic: "lp/x", Payload: []byte(lines), Received: at.UnixNano(), At: at})
	s.signal()
}

func (s *memorySource) Take(buf []mqtt.Message, limit, _ int) []mqtt.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(limit, len(s.queue))
	buf = append(buf, s.queue[:n]...)
	if s.queue = slices.Clone(s.queue[n:]); len(s.queue) > 0 {
		s.signal()
	}
	return buf
}

func (s *memorySource) Return(ms []mqtt.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(slices.Clone(ms), s.queue...)
	s.signal()
}

func (s *memorySource) Ack(ms []mqtt.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acked += len(ms)
}

func (s *memorySource) Stats() mqtt.Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return mqtt.Stats{Connected: true, Queued: len(s.queue)}
}

const fullRule = "groups:\n  - name: g\n    rules:\n      - {alert: Full, from: bus, expr: passengers >= 50, by: [bus_id], value: passengers}\n"

// judge evaluates the rule as a core does.
type judge struct {
	t     *testing.T
	e     *engine.Engine
	index uint64
	live  []alert.Transition
	past  []alert.Transition
	worst time.Duration // oldest reading behind a transition of now
	skew  time.Duration // of the core's clock, which is right, to the agent's
}

func newJudge(t *testing.T) *judge {
	e := engine.New(engine.DefaultOptions())
	if err := e.Execute("CREATE STREAM bus (time TIMESTAMP, bus_id STRING, passengers BIGINT)"); err != nil {
		t.Fatal(err)
	}
	rules, errs := alert.ParseRules([]byte(fullRule), "rules.yaml")
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if err := e.SetRules(rules); err != nil {
		t.Fatal(err)
	}
	return &judge{t: t, e: e}
}

func (j *judge) take(b *column.Batch, received int64, replayed bool) {
	cols := &column.Batch{Schema: &column.Schema{Name: b.Schema.Name, Time: b.Schema.Time, Fields: slices.Clone(b.Schema.Fields)}, Cols: slices.Clone(b.Cols), Len: b.Len}
	for i, c := range b.Cols {
		if c.Type.Kind != column.TimestampNS {
			continue
		}
		m := *c
		m.Type, m.I64 = column.Of(column.Timestamp), slices.Clone(c.I64)
		for k := range m.I64 {
			m.I64[k] = column.FloorMicros(m.I64[k])
		}
		cols.Cols[i], cols.Schema.Fields[i].Type = &m, m.Type
	}
	j.index++
	now := time.Now().Add(j.skew)
	out, err := j.e.Apply(&engine.Input{Index: j.index, Time: now.UnixMicro() + int64(j.index), Batches: []engine.StreamBatch{{Stream: "bus", Rows: cols, Received: received, Replayed: replayed}}})
	if err != nil {
		j.t.Error(err)
		return
	}
	if len(out.Rejected) > 0 {
		j.t.Errorf("rejected: %+v", out.Rejected[0])
	}
	for _, tr := range out.Alerts {
		if tr.Historical {
			j.past = append(j.past, tr)
			continue
		}
		j.worst = max(j.worst, now.Sub(time.UnixMicro(tr.At)))
		j.live = append(j.live, tr)
	}
}

func names(ts []alert.Transition) []string {
	var out []string
	for _, tr := range ts {
		out = append(out, fmt.Sprintf("%s %s %s", tr.Labels, tr.To, time.UnixMicro(tr.At).UTC().Format("15:04:05.000")))
	}
	slices.Sort(out)
	return out
}

// stalls is an agent on virtual time, with a core that can stop answering.
type stalls struct {
	t        *testing.T
	a        *Agent
	src      *memorySource
	core     *judge
	oracle   *judge       // sees every reading when it is published
	perBatch atomic.Int64 // ns

	mu      sync.Mutex
	held    bool
	release chan struct{}
	applied uint64
	lanes   map[wire.Lane]int
	rows    int
	behind  uint64        // most readings that a heartbeat named as backlog
	late    time.Duration // largest difference between what a batch says of its receipt and its newest reading
	sent    int
	decoder *decode.Decoder
	wg      sync.WaitGroup
}

func newStalls(t *testing.T, cfg Config) *stalls {
	d, err := decode.New(cfg.mappings())
	if err != nil {
		t.Fatal(err)
	}
	return &stalls{t: t, src: &memorySource{ready: make(chan struct{}, 1)}, core: newJudge(t), oracle: newJudge(t), release: make(chan struct{}), lanes: map[wire.Lane]int{}, decoder: d}
}

func stallConfig(dir string) Config {
	cfg := DefaultConfig()
	cfg.Agent, cfg.DataDir, cfg.HTTP, cfg.Linger = "bus-1", dir, "", 0
	cfg.Mappings = []decode.Mapping{{Topic: "lp/#"}}
	return cfg
}

// boot starts the agent; the function it returns ends it as a power cut does not: with a clean spool.
func (s *stalls) boot(cfg Config) (stop func()) {
	a, err := New(cfg, Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		s.t.Fatal(err)
	}
	a.source, s.a = s.src, a
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := a.work(ctx, nil); err != nil {
			s.t.Error(err)
		}
		a.drainUntil(func() bool { return !a.loop.committing && a.loop.sealing == 0 }, time.Minute)
		close(a.stopped)
		if err := a.spool.Close(); err != nil {
			s.t.Error(err)
		}
	}()
	s.wg.Go(func() { s.connect(ctx) })
	return func() { cancel(); <-done; s.wg.Wait() }
}

// connect keeps a link and answers on it; when the agent gives it up the next one follows.
func (s *stalls) connect(ctx context.Context) {
	for ctx.Err() == nil {
		running, cancel := context.WithCancelCause(ctx)
		l := &link{addr: "core", out: make(chan []byte, sendQueue), cancel: cancel, redirect: make(chan string, 1)}
		a := s.a
		a.post(func() { a.linkUp(l) })
		s.answer(running, l)
		a.post(func() { a.linkDown(l, errors.New("gone")) })
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}

func (s *stalls) answer(ctx context.Context, l *link) {
	coder, _ := wire.NewCoder()
	for {
		var raw []byte
		select {
		case raw = <-l.out:
		case <-ctx.Done():
			return
		}
		m, err := wire.DecodeMessage(raw)
		if err != nil {
			s.t.Error(err)
			return
		}
		if !s.wait(ctx) {
			return
		}
		var out wire.Message
		switch m := m.(type) {
		case *wire.Hello:
			out = &wire.Welcome{Epoch: 1, Applied: s.applied, Credit: wire.MaxInFlight, Clock: time.Now().Add(s.core.skew).UnixNano()}
		case *wire.BatchMessage:
			time.Sleep(time.Duration(s.perBatch.Load()))
			s.apply(m, coder)
			out = &wire.Ack{Epoch: 1, Applied: s.applied, Credit: wire.MaxInFlight}
		case *wire.Heartbeat:
			s.mu.Lock()
			s.behind = max(s.behind, m.Backlog.Readings)
			s.mu.Unlock()
		}
		if out != nil && ctx.Err() == nil {
			a := s.a
			a.post(func() { a.linkMessage(l, out) })
		}
	}
}

// wait blocks while the core is held.
func (s *stalls) wait(ctx context.Context) bool {
	for {
		s.mu.Lock()
		held, release := s.held, s.release
		s.mu.Unlock()
		if !held {
			return true
		}
		select {
		case <-release:
		case <-ctx.Done():
			return false
		}
	}
}

func (s *stalls) hold(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = yes
	if !yes {
		close(s.release)
		s.release = make(chan struct{})
	}
}

func (s *stalls) apply(m *wire.BatchMessage, coder *wire.Coder) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.Seq != s.applied+1 {
		return
	}
	body, err := coder.Body(m)
	if err != nil {
		s.t.Error(err)
		return
	}
	b, err := wire.DecodeBatch(body)
	if err != nil {
		s.t.Error(err)
		return
	}
	s.applied++
	s.lanes[b.Lane]++
	for _, f := range b.Frames {
		rows, err := wire.DecodeFrame(f, wire.DecodeOptions{})
		if err != nil {
			s.t.Error(err)
			return
		}
		newest := slices.Max(rows.Cols[rows.Schema.Time].I64)
		s.late = max(s.late, time.Duration(b.Received-newest).Abs())
		s.rows += rows.Len
		s.core.take(rows, b.Received, b.Lane == wire.Backlog)
	}
}

// second publishes one second: every bus reports once, and is full every other period seconds.
func (s *stalls) second(i, buses, period int, every time.Duration) {
	steps := int(time.Second / every)
	for step := range steps {
		var lines strings.Builder
		for b := step; b < buses; b += steps {
			pax := 0
			if (i/period+b)%2 == 1 {
				pax = 50
			}
			fmt.Fprintf(&lines, "bus,bus_id=B%d passengers=%di %d\n", b, pax, time.Now().Add(s.core.skew).UnixNano())
			s.sent++
		}
		if lines.Len() > 0 {
			s.decoder.Decode("lp/x", []byte(lines.String()), time.Now().UnixNano())
			for _, b := range s.decoder.Take() {
				s.oracle.take(b, time.Now().Add(s.core.skew).UnixNano(), false)
			}
			s.src.push(lines.String())
		}
		time.Sleep(every)
	}
}

func (s *stalls) settle() {
	deadline := time.Now().Add(10 * time.Minute)
	for {
		s.mu.Lock()
		rows := s.rows
		s.mu.Unlock()
		if rows == s.sent {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%d of %d readings came", rows, s.sent)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
