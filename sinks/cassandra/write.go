package cassandra

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gocql/gocql"

	"signalbox/engine/alert"
	"signalbox/sinks"
	"signalbox/sinks/row"
)

// statement is one upsert or deletion, ready to send.
type statement struct {
	cql  string
	args []any
	what string // for errors: table and row
	done bool
}

// Write sends the newest change of each row and waits for all acknowledgements.
func (s *Sink) Write(ctx context.Context, batches []sinks.Batch, upTo uint64) error {
	s.work.Lock()
	defer s.work.Unlock()
	err := s.deliver(ctx, batches)
	if err == nil {
		return nil
	}
	if errors.Is(err, sinks.ErrPermanent) {
		s.count(func(t *Stats) { t.Refused++ })
	}
	return fmt.Errorf("cassandra: up to index %d: %w", upTo, err)
}

// deliver tries until everything is acknowledged, the error is permanent, the
// context ends or MaxTry is over.
func (s *Sink) deliver(ctx context.Context, batches []sinks.Batch) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	list, layouts, err := s.plan(batches)
	if err != nil || len(list) == 0 {
		return err
	}
	giveUp := time.Now().Add(s.opt.MaxTry)
	backoff := s.opt.BackoffMin
	for {
		if s.isClosed() {
			return errClosed
		}
		err := s.attempt(ctx, list, layouts)
		if err == nil || errors.Is(err, sinks.ErrPermanent) {
			return err
		}
		s.afterFailure(err)
		if ctx.Err() != nil || time.Now().After(giveUp) {
			return err
		}
		// half of the time is jitter, so that many sinks do not come back together
		pause := backoff/2 + time.Duration(s.opt.Rand.Int64N(int64(backoff/2)+1))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
		backoff = min(2*backoff, s.opt.BackoffMax)
	}
}

func (s *Sink) attempt(ctx context.Context, list []statement, layouts []*layout) error {
	if err := s.connect(ctx); err != nil {
		return err
	}
	for _, l := range layouts {
		if err := s.ensure(ctx, l); err != nil {
			return err
		}
	}
	return s.send(ctx, list)
}

// send keeps Concurrency statements in flight. The first failure stops the
// sending of further ones: a cluster in trouble is not pushed.
func (s *Sink) send(ctx context.Context, list []statement) error {
	var next, sent atomic.Int64
	var failed atomic.Pointer[error]
	var workers sync.WaitGroup
	for range min(s.opt.Concurrency, len(list)) {
		workers.Go(func() {
			for failed.Load() == nil {
				n := int(next.Add(1)) - 1
				if n >= len(list) {
					return
				}
				st := &list[n]
				if st.done {
					continue
				}
				if err := s.session.Query(st.cql, st.args...).WithContext(ctx).Exec(); err != nil {
					err = classify(fmt.Errorf("%s: %w", st.what, err))
					s.count(func(t *Stats) { t.Failed++ })
					if old := failed.Load(); old == nil || errors.Is(err, sinks.ErrPermanent) {
						failed.Store(&err)
					}
					return
				}
				st.done = true
				sent.Add(1)
			}
		})
	}
	workers.Wait()
	if n := sent.Load(); n > 0 {
		s.count(func(t *Stats) { t.Rows += uint64(n) })
		s.succeeded()
	}
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// classify marks what no repetition cures. That a table or keyspace is missing
// is cured by creating it, and missing rights by granting them.
func classify(err error) error {
	var marshal gocql.MarshalError
	if errors.As(err, &marshal) || errors.Is(err, gocql.ErrFrameTooBig) {
		return fmt.Errorf("%w: %w", sinks.ErrPermanent, err)
	}
	var request gocql.RequestError
	if !errors.As(err, &request) {
		return err
	}
	switch request.Code() {
	case gocql.ErrCodeSyntax:
		return fmt.Errorf("%w: %w", sinks.ErrPermanent, err)
	case gocql.ErrCodeInvalid:
		if !schemaIsGone(err) {
			return fmt.Errorf("%w: %w", sinks.ErrPermanent, err)
		}
	}
	return err
}

// schemaIsGone reports that somebody dropped what we had found or made.
func schemaIsGone(err error) bool {
	var request gocql.RequestError
	if !errors.As(err, &request) {
		return false
	}
	text := strings.ToLower(request.Message())
	for _, sign := range []string{"does not exist", "unconfigured table", "undefined column", "unknown keyspace"} {
		if strings.Contains(text, sign) {
			return true
		}
	}
	return false
}

// afterFailure decides what of our own state may be to blame.
func (s *Sink) afterFailure(err error) {
	if schemaIsGone(err) {
		clear(s.ensured)
		s.keyspace = false
	}
	s.mu.Lock()
	stuck := time.Since(s.success) > s.opt.WatchdogAfter
	if stuck {
		s.success = time.Now() // the new session gets as long
		if s.session != nil {
			s.stats.Watchdog++
		}
	}
	s.mu.Unlock()
	// the driver is known to stay without hosts for ever after a long outage
	if stuck || errors.Is(err, gocql.ErrNoConnections) || errors.Is(err, gocql.ErrSessionClosed) {
		s.dropSession()
	}
}

// place is one row of one table.
type place struct {
	table string
	id    [16]byte
}

// last is the newest change of a row within a Write.
type last struct {
	batch, row int
	again      bool // there was an earlier change in the same Write: something may be stored
}

// plan turns batches into statements: one per row, its newest change. Two
// writes of a row with one timestamp would leave a mixture of both.
func (s *Sink) plan(batches []sinks.Batch) ([]statement, []*layout, error) {
	newest := map[place]last{}
	for i := range batches {
		b := &batches[i]
		if err := row.Check(b); err != nil {
			return nil, nil, err
		}
		if b.Rows == nil {
			continue
		}
		for j := range b.Rows.Len {
			p := place{b.Table.Name, b.IDs[j]}
			was, again := newest[p]
			if again && batches[was.batch].Index > b.Index {
				continue
			}
			newest[p] = last{i, j, again}
		}
	}
	p := planner{sink: s, batches: batches, newest: newest}
	p.alerts()
	for i := range batches {
		p.rows(i)
	}
	s.count(func(t *Stats) { t.Superseded += uint64(p.superseded) })
	return p.list, p.layouts, nil
}

type planner struct {
	sink       *Sink
	batches    []sinks.Batch
	newest     map[place]last
	list       []statement
	layouts    []*layout
	superseded int
}

func (p *planner) rows(i int) {
	b := &p.batches[i]
	if b.Rows == nil || b.Rows.Len == 0 {
		return
	}
	target := b.Table
	target.Schema = b.Rows.Schema
	l := layoutOf(&target)
	p.layouts = append(p.layouts, l)
	keyspace := p.sink.opt.keyspace()
	insert, remove := l.insert(keyspace), l.remove(keyspace)
	for j := range b.Rows.Len {
		at := p.newest[place{b.Table.Name, b.IDs[j]}]
		if at.batch != i || at.row != j {
			p.superseded++
			continue
		}
		st := statement{cql: insert, what: fmt.Sprintf("table %s, row %x", l.name, b.IDs[j])}
		if row.Deleted(b, j) {
			k := l.keyOf(b, j, p.sink.opt.Bucket)
			st.cql = remove
			st.args = append(append([]any{b.Time}, k.partition...), k.clustering...)
		} else {
			fresh := b.Revisions[j] <= 1 && !at.again
			st.args = l.insertValues(b, j, p.sink.opt.Bucket, fresh)
		}
		p.list = append(p.list, st)
	}
}

// alerts adds every transition to the history and the newest of each alert to the current state.
func (p *planner) alerts() {
	type current struct {
		transition *alert.Transition
		batch      *sinks.Batch
	}
	newest := map[string]current{}
	var order []string
	for i := range p.batches {
		b := &p.batches[i]
		for j := range b.Alerts {
			a := &b.Alerts[j]
			p.list = append(p.list, p.sink.historyStatement(b, a))
			if a.Historical {
				continue
			}
			was, ok := newest[a.ID]
			if !ok {
				order = append(order, a.ID)
			}
			if !ok || b.Index > was.batch.Index || b.Index == was.batch.Index && a.Seq >= was.transition.Seq {
				newest[a.ID] = current{a, b}
			}
		}
	}
	for _, id := range order {
		p.list = append(p.list, p.sink.currentStatement(newest[id].batch, newest[id].transition))
	}
	if len(p.list) > 0 {
		p.layouts = append(p.layouts, alertLayouts()...)
	}
}

func (s *Sink) historyStatement(b *sinks.Batch, a *alert.Transition) statement {
	l := alertLayouts()[1]
	return statement{cql: l.insert(s.opt.keyspace()), what: "alert " + a.ID, args: []any{
		a.Group, a.Rule, bucketOf(a.At, s.opt.Bucket), millis(a.At), a.ID, int64(a.Seq), a.Historical, string(a.From), string(a.To), a.At,
		millis(a.Episode), a.Value, labels(a.Labels), labels(a.Annotations), a.Episode, int64(b.Index), b.Time}}
}

func (s *Sink) currentStatement(b *sinks.Batch, a *alert.Transition) statement {
	l := alertLayouts()[0]
	return statement{cql: l.insert(s.opt.keyspace()), what: "alert " + a.ID, args: []any{
		a.Group, a.Rule, a.ID, int64(a.Seq), string(a.To), millis(a.At), a.At,
		millis(a.Episode), a.Value, labels(a.Labels), labels(a.Annotations), a.Episode, int64(b.Index), b.Time}}
}

func labels(list []alert.Label) map[string]string {
	out := make(map[string]string, len(list))
	for _, l := range list {
		out[l.Name] = l.Value
	}
	return out
}
