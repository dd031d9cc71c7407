package deliver_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"signalbox/core/deliver"
	"signalbox/core/fsm"
	"signalbox/core/outbox"
	"signalbox/engine"
	"signalbox/engine/column"
	"signalbox/sinks"
)

var schema = column.Schema{Name: "t", Time: -1, Fields: []column.Field{{Name: "n", Type: column.Of(column.BigInt)}}}

// sink is a scripted place: it fails for a while, refuses poisonous rows, or writes and says it failed.
type sink struct {
	mu     sync.Mutex
	name   string
	scope  sinks.Scope
	down   bool
	lies   *rand.Rand // nil = honest
	poison int64
	rows   map[[16]byte]int64
	upTo   uint64
	calls  int
}

func (s *sink) Name() string                                 { return s.name }
func (s *sink) Scope() sinks.Scope                           { return s.scope }
func (s *sink) Prepare(context.Context, []sinks.Table) error { return nil }
func (s *sink) Close() error                                 { return nil }
func (s *sink) Cursor(context.Context) (uint64, bool, error) { return 0, false, nil }

func (s *sink) Write(_ context.Context, batches []sinks.Batch, upTo uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if s.down {
		return errors.New("not there")
	}
	for _, b := range batches {
		for i := range b.Rows.Len {
			if b.Rows.Cols[0].I64[i] == s.poison {
				return fmt.Errorf("row %d: %w", s.poison, sinks.ErrPermanent)
			}
		}
	}
	for _, b := range batches {
		for i, id := range b.IDs {
			s.rows[id] = b.Rows.Cols[0].I64[i]
		}
	}
	s.upTo = max(s.upTo, upTo)
	if s.lies != nil && s.lies.IntN(5) == 0 {
		return errors.New("timeout, but it was written")
	}
	return nil
}

func (s *sink) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

type world struct {
	ob      *outbox.Outbox
	mu      sync.Mutex
	ready   bool
	changed chan struct{}
	acks    []fsm.Item
	index   uint64
}

func (w *world) Outbox() *outbox.Outbox { return w.ob }

func (w *world) Ready() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ready
}

func (w *world) Changed() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changed
}

func (w *world) lead(v bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ready = v
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *world) Submit(_ context.Context, it fsm.Item) (fsm.Result, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.acks = append(w.acks, it)
	return fsm.Result{Verdict: fsm.Applied}, nil
}

func (w *world) append(n int) {
	for range n {
		w.index++
		b := column.NewBatch(&schema, 2)
		c := engine.Changes{Table: "t", Rows: b, Revisions: []uint32{1, 1}}
		for j := range 2 {
			v := int64(w.index)*10 + int64(j)
			b.AppendRow(column.I64(v))
			c.IDs = append(c.IDs, engine.RowID{byte(v), byte(v >> 8), byte(v >> 16)})
		}
		w.ob.Append(w.index, int64(w.index), []engine.Changes{c}, nil)
	}
}

func start(t *testing.T, all ...sinks.Sink) (*world, *deliver.Delivery) {
	ob, err := outbox.New(outbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{ob: ob, changed: make(chan struct{})}
	var names []string
	for _, s := range all {
		names = append(names, deliver.CursorName(s, "n0"))
	}
	ob.Register(names)
	d := deliver.New(deliver.Options{Node: "n0", Sinks: all, Source: w, Leadership: w, Submit: w, Rand: rand.New(rand.NewPCG(1, 2))})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); d.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return w, d
}

func newSink(name string, scope sinks.Scope) *sink {
	return &sink{name: name, scope: scope, rows: map[[16]byte]int64{}}
}

func TestADeadSinkDelaysOnlyItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good, dead := newSink("good", sinks.EveryNode), newSink("dead", sinks.EveryNode)
		dead.down = true
		w, d := start(t, good, dead)
		w.append(100)
		time.Sleep(time.Hour) // of virtual time
		synctest.Wait()
		if len(good.rows) != 200 || len(dead.rows) != 0 {
			t.Errorf("good has %d rows, dead %d", len(good.rows), len(dead.rows))
		}
		if calls := dead.calls; calls < 60 || calls > 400 {
			t.Errorf("%d attempts in an hour: the retries do not back off", calls)
		}
		if s := d.Status()[1]; s.LastError == "" || s.Retries == 0 || s.Lag == 0 {
			t.Errorf("status of the dead sink: %+v", s)
		}
		dead.set(func() { dead.down = false })
		time.Sleep(deliver.RetryMax + time.Second)
		synctest.Wait()
		if len(dead.rows) != 200 || dead.upTo != 100 {
			t.Errorf("after it came back: %d rows up to %d", len(dead.rows), dead.upTo)
		}
	})
}

func TestOneRefusedRowIsIsolatedAndReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSink("s", sinks.EveryNode)
		s.poison = 371
		w, d := start(t, s)
		w.append(50)
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(s.rows) != 99 || s.upTo != 50 {
			t.Errorf("%d rows up to %d, want 99 up to 50", len(s.rows), s.upTo)
		}
		if st := d.Status()[0]; st.Refused != 1 || st.Rows != 99 {
			t.Errorf("status %+v", st)
		}
		if len(w.acks) == 0 {
			t.Error("nothing was replicated")
		}
	})
}

func TestAWriteThatSucceededAndSaidItFailedIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSink("s", sinks.EveryNode)
		s.lies = rand.New(rand.NewPCG(5, 5))
		w, _ := start(t, s)
		for range 50 {
			w.append(1)
			synctest.Wait()
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(s.rows) != 100 || s.upTo != 50 {
			t.Errorf("%d rows up to %d", len(s.rows), s.upTo)
		}
	})
}

func TestOnlyTheLeaderWritesALeadersSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSink("mqtt", sinks.Leader)
		w, _ := start(t, s)
		w.append(3)
		time.Sleep(time.Minute)
		synctest.Wait()
		if s.calls != 0 {
			t.Fatalf("%d writes by a follower", s.calls)
		}
		w.lead(true)
		synctest.Wait()
		if len(s.rows) != 6 {
			t.Errorf("%d rows after it became leader", len(s.rows))
		}
		w.lead(false)
		synctest.Wait()
		w.append(3)
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(s.rows) != 6 {
			t.Errorf("%d rows: a node that no longer leads went on writing", len(s.rows))
		}
	})
}
