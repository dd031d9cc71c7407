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
	"testing/synctest"
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

// A core that does not answer for less than max_alert_age costs no transition, and none comes twice.
func TestAStallBelowMaxAlertAgeLosesNoTransition(t *testing.T) {
	for _, c := range []struct {
		name          string
		stall         int // seconds
		buses, period int
		every         time.Duration
		perBatch      time.Duration
		linger        time.Duration
	}{
		{name: "3 s", stall: 3, buses: 20, period: 2},
		{name: "8 s", stall: 8, buses: 20, period: 2},
		{name: "8 s, 10,000 readings/s", stall: 8, buses: 10000, period: 2, every: 100 * time.Millisecond},
		{name: "12 s", stall: 12, buses: 20, period: 3},
		{name: "12 s, a slow core", stall: 12, buses: 20, period: 3, perBatch: 300 * time.Millisecond},
		{name: "12 s with linger", stall: 12, buses: 20, period: 3, linger: time.Second},
		{name: "45 s", stall: 45, buses: 20, period: 5},
		{name: "58 s", stall: 58, buses: 20, period: 5},
		{name: "58 s, 1,000 readings/s", stall: 58, buses: 1000, period: 7, every: 100 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				cfg := stallConfig(dir)
				cfg.Linger = c.linger
				s := newStalls(t, cfg)
				s.perBatch.Store(int64(c.perBatch))
				stop := s.boot(cfg)
				if c.every == 0 {
					c.every = time.Second / 4
				}
				i := 0
				for ; i < 3; i++ {
					s.second(i, c.buses, c.period, c.every)
				}
				s.hold(true)
				for ; i < 3+c.stall; i++ {
					s.second(i, c.buses, c.period, c.every)
				}
				s.hold(false)
				for ; i < 8+c.stall; i++ {
					s.second(i, c.buses, c.period, c.every)
				}
				s.settle()
				stop()
				got, want := names(s.core.live), names(s.oracle.live)
				if !slices.Equal(got, want) {
					missing, extra := difference(want, got), difference(got, want)
					t.Errorf("%d transitions of %d are missing, %d came that should not; %d as history; batches by lane %v\nmissing %.300q\nextra %.300q",
						len(missing), len(want), len(extra), len(s.core.past), s.lanes, missing, extra)
				}
				if len(want) < 2*c.buses {
					t.Errorf("only %d transitions", len(want))
				}
				if s.src.acked == 0 || s.core.worst > time.Minute {
					t.Errorf("%d messages acknowledged, oldest alert %v", s.src.acked, s.core.worst)
				}
			})
		})
	}
}

// live runs an agent for as many seconds as the script has letters: h = the core does not answer, any other = it does.
func (s *stalls) live(buses, period int, every time.Duration, script string) {
	for i, c := range script {
		s.hold(c == 'h')
		s.second(i, buses, period, every)
	}
	s.hold(false)
	s.settle()
}

// After an outage beyond max_alert_age nothing fires or resolves that is older, and what does not is counted and is history.
func TestBacklogOfAnOutageIsHistory(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cfg := stallConfig(dir)
		s := newStalls(t, cfg)
		s.perBatch.Store(int64(50 * time.Millisecond))
		stop := s.boot(cfg)
		s.live(20, 20, time.Second, ".."+strings.Repeat("h", 180)+"..........")
		demoted := s.a.Status().Demoted
		stop()
		if s.core.worst > time.Minute {
			t.Errorf("a transition of now is %v old", s.core.worst)
		}
		live, past, all := names(s.core.live), names(s.core.past), names(s.oracle.live)
		recent := 0
		for _, tr := range s.oracle.live { // those of the last minute before the core came back, and later
			if tr.At >= time.Date(2000, 1, 1, 0, 3, 2, 0, time.UTC).Add(-29*time.Second).UnixMicro() {
				recent++
			}
		}
		// A bus that was full when the live readings begin is told at its first one.
		if len(live) < recent || len(difference(all, live)) > len(past)+20 || len(past) == 0 {
			t.Errorf("%d transitions: %d as now (%d are recent), %d as history", len(all), len(live), recent, len(past))
		}
		if demoted < 20*(180-62) || demoted > 20*(180-20) || s.core.e.AlertStats().Historical < demoted {
			t.Errorf("%d readings demoted, %d evaluated as history", demoted, s.core.e.AlertStats().Historical)
		}
	})
}

// A new reading overtakes the backlog: with a slow core it is applied long before the backlog is through.
func TestLiveOvertakesBacklog(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cfg := stallConfig(dir)
		cfg.BatchReadings = 100
		s := newStalls(t, cfg)
		s.perBatch.Store(int64(400 * time.Millisecond))
		stop := s.boot(cfg)
		s.hold(true)
		for i := range 1200 {
			s.second(i, 20, 100, time.Second)
		}
		s.hold(false)
		back := time.Now()
		seen := time.Duration(0)
		for i := 1200; seen == 0; i++ {
			if i == 1400 {
				t.Fatal("no alert of a reading that was published after the core came back")
			}
			s.second(i, 20, 1, time.Second)
			s.mu.Lock()
			for _, tr := range s.core.live {
				if tr.At > back.UnixMicro() && seen == 0 {
					seen = time.Since(back)
				}
			}
			backlog := s.sent - s.rows
			s.mu.Unlock()
			if seen != 0 && backlog < 2000 {
				t.Errorf("only %d readings waited when the first new one was there", backlog)
			}
		}
		if seen > 20*time.Second {
			t.Errorf("the first new alert took %v", seen)
		}
		s.settle()
		stop()
	})
}

// A core that takes less than comes in still alerts on what is young: the queue must not stand at the age at which nothing counts.
func TestASlowCoreStillAlerts(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cfg := stallConfig(dir)
		cfg.BatchReadings = 50
		s := newStalls(t, cfg)
		s.perBatch.Store(int64(2 * time.Second))
		stop := s.boot(cfg)
		for i := range 300 {
			s.second(i, 100, 3, time.Second/4)
		}
		st := s.a.Status()
		s.mu.Lock()
		fresh := 0
		for _, tr := range s.core.live {
			if tr.At > time.Date(2000, 1, 1, 0, 2, 0, 0, time.UTC).UnixMicro() {
				fresh++
			}
		}
		s.mu.Unlock()
		s.perBatch.Store(int64(0))
		s.settle()
		stop()
		if st.Demoted == 0 || fresh < 1000 || s.core.worst > time.Minute {
			t.Errorf("%d readings demoted, %d transitions of the last three minutes came as now, the oldest after %v", st.Demoted, fresh, s.core.worst)
		}
	})
}

// An agent that is more than ten seconds behind with its live readings says so, and windows do not wait for it. One that only lingers is not behind.
func TestWhoLingersIsNotBehind(t *testing.T) {
	for _, c := range []struct {
		linger time.Duration
		script string
		slow   time.Duration
		behind bool
	}{{0, "..............................", 0, false}, {30 * time.Second, strings.Repeat(".", 70), 0, false}, {0, "..hhhhh...", 0, false}, {0, strings.Repeat(".", 40), 4 * time.Second, true}} {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			cfg := stallConfig(dir)
			cfg.Linger = c.linger
			if c.slow > 0 {
				cfg.BatchReadings = 1
			}
			s := newStalls(t, cfg)
			s.perBatch.Store(int64(c.slow))
			stop := s.boot(cfg)
			s.live(5, 5, time.Second, c.script)
			stop()
			if s.behind > 0 != c.behind {
				t.Errorf("linger %v, %s: %d readings named as backlog", c.linger, c.script, s.behind)
			}
		})
	}
}

// A restart in the middle of a stall makes no history of what waits.
func TestARestartInAStallLosesNoTransition(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cfg := stallConfig(dir)
		s := newStalls(t, cfg)
		stop := s.boot(cfg)
		i := 0
		run := func(n int) {
			for end := i + n; i < end; i++ {
				s.second(i, 20, 4, time.Second/4)
			}
		}
		run(5)
		s.hold(true)
		run(20)
		stop()
		time.Sleep(2 * time.Second)
		stop = s.boot(cfg)
		run(10)
		s.hold(false)
		run(5)
		s.settle()
		stop()
		if got, want := names(s.core.live), names(s.oracle.live); !slices.Equal(got, want) {
			t.Errorf("missing %.500q, extra %.500q, %d as history", difference(want, got), difference(got, want), len(s.core.past))
		}
	})
}

// A device whose clock is a year off, or stands at its first day, has devices behind it that know the time. Their readings are neither of the
// future nor of the past, whether they are sent at once, after a stall, or from the disk.
func TestAClockThatIsYearsOff(t *testing.T) {
	for _, skew := range []time.Duration{365 * 24 * time.Hour, -365 * 24 * time.Hour, 26 * 365 * 24 * time.Hour, -30 * 365 * 24 * time.Hour, 2 * time.Hour} {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			cfg := stallConfig(dir)
			s := newStalls(t, cfg)
			s.core.skew, s.oracle.skew = skew, skew
			s.hold(true) // readings come before the core told its time
			stop := s.boot(cfg)
			s.live(10, 10, time.Second, strings.Repeat("h", 90)+"....."+strings.Repeat("h", 20)+"....."+strings.Repeat("h", 100)+".....")
			offset, lanes := s.a.loop.health.offset, s.lanes
			stop()
			if s.late > 2*time.Second || s.core.worst > time.Minute+time.Second || lanes[wire.Backlog] == 0 || lanes[wire.Live] == 0 {
				t.Errorf("skew %v: receipt is off by %v, a transition of now was %v old, lanes %v", skew, s.late, s.core.worst, lanes)
			}
			if len(s.core.live) == 0 || (offset-skew).Abs() > time.Second {
				t.Errorf("skew %v: %d transitions, offset %v", skew, len(s.core.live), offset)
			}
		})
	}
}

// difference returns what a has more often than b.
func difference(a, b []string) []string {
	n := map[string]int{}
	for _, x := range b {
		n[x]++
	}
	var out []string
	for _, x := range a {
		if n[x]--; n[x] < 0 {
			out = append(out, x)
		}
	}
	return out
}
