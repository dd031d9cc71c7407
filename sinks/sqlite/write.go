package sqlite

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"signalbox/engine/alert"
	"signalbox/engine/column"
	"signalbox/sinks"
	"signalbox/sinks/row"
)

// Write stores the batches and the cursor in one transaction.
func (s *Sink) Write(ctx context.Context, batches []sinks.Batch, upTo uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ready(); err != nil {
		return err
	}
	// The first half of an entry of which a row was refused comes with the position before the entry.
	if upTo <= s.upTo && !slices.ContainsFunc(batches, func(b sinks.Batch) bool { return b.Index > s.upTo }) {
		s.stats.Repeated += uint64(len(batches))
		return nil
	}
	var done Stats
	err := s.inTransaction(func() error {
		done = Stats{}
		return s.writeAll(ctx, batches, upTo, &done)
	})
	if err != nil {
		return fmt.Errorf("sqlite: write up to index %d: %w", upTo, permanent(err))
	}
	s.upTo = max(s.upTo, upTo)
	s.stats.Rows += done.Rows
	s.stats.Alerts += done.Alerts
	s.stats.Repeated += done.Repeated
	s.stats.Pruned += done.Pruned
	return nil
}

func (s *Sink) writeAll(ctx context.Context, batches []sinks.Batch, upTo uint64, done *Stats) error {
	var now int64
	s.relaid = false
	var tables []string // in order of appearance
	rows := map[string][]*sinks.Batch{}
	if s.conn.feed != nil {
		s.conn.feed.reset() // of a write that failed
	}
	for i := range batches {
		b := &batches[i]
		now = max(now, b.Time)
		if b.Index <= s.upTo {
			done.Repeated++
			continue
		}
		if err := s.writeAlerts(b); err != nil {
			return err
		}
		done.Alerts += uint64(len(b.Alerts))
		if b.Rows == nil || b.Rows.Len == 0 {
			continue
		}
		if rows[b.Table.Name] == nil {
			tables = append(tables, b.Table.Name)
		}
		rows[b.Table.Name] = append(rows[b.Table.Name], b)
		done.Rows += uint64(b.Rows.Len)
	}
	for _, name := range tables { // those of one table together: a statement for many rows costs little more than for one
		if err := s.writeTable(ctx, rows[name]); err != nil {
			return fmt.Errorf("table %s: %w", name, err)
		}
	}
	if err := s.prune(now, done); err != nil {
		return err
	}
	if err := s.outOfTime(ctx); err != nil {
		return err
	}
	return s.conn.do(`INSERT INTO _signalbox_cursor (id, up_to, time) VALUES (1, ?, ?)
ON CONFLICT (id) DO UPDATE SET up_to = max(up_to, excluded.up_to), time = max(time, excluded.time)`, int64(upTo), now)
}

// outOfTime ends a write whose time is over, but none that has copied a table: it would take as long the next time, and never end.
func (s *Sink) outOfTime(ctx context.Context) error {
	if s.relaid {
		return nil
	}
	return ctx.Err()
}

// ready makes sure that the database is open and the cursor known. A sink whose
// connection broke is opened again here.
func (s *Sink) ready() error {
	if s.closed {
		return errClosed
	}
	if s.conn == nil {
		if err := s.open(); err != nil {
			return err
		}
	}
	return s.readCursor()
}

// inTransaction runs f; when it fails nothing of it remains, in the file or in memory.
func (s *Sink) inTransaction(f func() error) error {
	if err := s.conn.exec("BEGIN IMMEDIATE"); err != nil {
		return s.recover(err)
	}
	err := f()
	if err == nil {
		err = s.conn.exec("COMMIT")
	}
	if err == nil {
		return nil
	}
	if undo := s.conn.exec("ROLLBACK"); undo != nil {
		return s.recover(err)
	}
	if load := s.loadTables(); load != nil {
		return s.recover(err)
	}
	return err
}

// recover opens the database anew, because the connection is in an unknown
// state; it returns the error that led here. When opening fails too, the next
// call tries again.
func (s *Sink) recover(cause error) error {
	s.close()
	if err := s.open(); err != nil {
		return fmt.Errorf("%w; opening the database again: %w", cause, err)
	}
	if err := s.readCursor(); err != nil {
		return fmt.Errorf("%w; then %w", cause, err)
	}
	return cause
}

// planKey is what the way of rows into a table follows from.
type planKey struct {
	table, time, key string
	schema           *column.Schema
}

func planKeyOf(b *sinks.Batch) planKey {
	return planKey{table: b.Table.Name, time: b.Table.Time, key: strings.Join(b.Table.Key, "\x00"), schema: b.Rows.Schema}
}

// plan is how rows of a schema are written: worked out once, and again when the table changes.
type plan struct {
	t      *table
	keyed  bool // the result has a key
	timeAt int  // ordinal of the time column of a table in order of time, else -1
	module string
	fresh  string // new rows of a stream without agents; one that is there already is left alone
	insert string // the same with what agents had certified
	upsert string // the later log entry wins, and within one entry the higher revision
	remove string
}

func (s *Sink) forgetPlans() {
	clear(s.plans)
	s.conn.forget()
}

func (s *Sink) plan(b *sinks.Batch) (*plan, error) {
	k := planKeyOf(b)
	if p := s.plans[k]; p != nil {
		return p, nil
	}
	target := b.Table
	target.Schema = b.Rows.Schema // what is written decides, not what was prepared
	t, err := s.ensureTable(&target)
	if err != nil {
		return nil, err
	}
	names := row.Names(b.Rows.Schema)
	p := &plan{t: t, keyed: len(b.Table.Key) > 0, timeAt: -1}
	if t.layout == byTime {
		p.timeAt = slices.Index(names, t.time)
	}
	if s.conn.feed == nil {
		s.conn.feed = newFeed(s.conn)
	}
	if p.module, err = s.conn.feed.module(metaColumns + len(names)); err != nil {
		return nil, err
	}
	p.texts(names)
	if len(s.plans) >= maxStatements {
		clear(s.plans)
	}
	s.plans[k] = p
	return p, nil
}

// texts writes the statements out. A row that is there already does not stop the first: all rows that were new are in
// then, and the second, which takes care of the others, changes nothing in them.
func (p *plan) texts(names []string) {
	list := []string{row.ID, row.Revision, row.Index, row.Complete, row.Expected} // as feed.value has them
	for _, n := range names {
		list = append(list, quote(n))
	}
	from, sets := make([]string, len(list)), make([]string, 0, len(list))
	for i, n := range list {
		from[i] = fmt.Sprintf("c%d", i)
		if i > 0 && n != quote(p.t.time) || p.t.layout == byID && i > 0 {
			sets = append(sets, n+" = excluded."+n)
		}
	}
	rows := func() string {
		return fmt.Sprintf("INTO %s (%s) SELECT %s FROM %s WHERE true", quote(p.t.name), strings.Join(list, ", "), strings.Join(from, ", "), p.module)
	}
	p.upsert = fmt.Sprintf("INSERT %s ON CONFLICT (%s) DO UPDATE SET %s WHERE (excluded._index, excluded._revision) > (%[4]s._index, %[4]s._revision)",
		rows(), p.t.key(), strings.Join(sets, ", "), quote(p.t.name))
	from[1] = "1" // what is the same in all rows need not be asked for row by row
	p.insert = "INSERT OR IGNORE " + rows()
	from[3], from[4] = "NULL", "NULL"
	p.fresh = "INSERT OR IGNORE " + rows()
	p.remove = fmt.Sprintf("DELETE FROM %s WHERE _id = ? AND (_index, _revision) <= (?, ?)", quote(p.t.name))
	if p.t.layout == byTime {
		p.remove += fmt.Sprintf(" AND %s = ?", quote(p.t.time))
	}
}

// writeTable writes batches of one table, in their order.
func (s *Sink) writeTable(ctx context.Context, batches []*sinks.Batch) error {
	var last *plan
	for _, b := range batches {
		if err := s.outOfTime(ctx); err != nil {
			return err
		}
		if err := row.Check(b); err != nil {
			return err
		}
		if p := s.plans[planKeyOf(b)]; p == nil || p != last { // the table may have to change first
			if err := s.flush(last); err != nil {
				return err
			}
		}
		p, err := s.plan(b)
		if err == nil && !p.stays(b) {
			p, err = s.replan(last, p, b)
		}
		if err == nil {
			last, err = p, s.writeRows(p, b)
		}
		if err != nil {
			return fmt.Errorf("at index %d: %w", b.Index, err)
		}
	}
	return s.flush(last)
}

// replan changes the layout of a table that does not stay what it is.
func (s *Sink) replan(last, p *plan, b *sinks.Batch) (*plan, error) {
	if err := s.flush(last); err != nil {
		return nil, err
	}
	if err := s.orderByID(p.t); err != nil {
		return nil, err
	}
	return s.plan(b)
}

// stays reports that a table in order of time can take the rows: each has a time, and without a key none was there before,
// maybe at another time.
func (p *plan) stays(b *sinks.Batch) bool {
	if p.t.layout != byTime {
		return true
	}
	if p.timeAt < 0 || b.Rows.Cols[p.timeAt] == nil || b.Rows.Cols[p.timeAt].HasNulls() {
		return false
	}
	if p.keyed {
		return true
	}
	for i := range b.Rows.Len {
		if b.Revisions[i] > 1 || row.Deleted(b, i) {
			return false
		}
	}
	return true
}

// writeRows puts rows into the feed; a deletion happens at once, after what came before it.
func (s *Sink) writeRows(p *plan, b *sinks.Batch) error {
	f := s.conn.feed
	for i := 0; i < b.Rows.Len; {
		if row.Deleted(b, i) {
			if err := s.flush(p); err != nil {
				return err
			}
			if err := s.removeRow(p, b, i); err != nil {
				return fmt.Errorf("row %d (%x): %w", i, b.IDs[i], err)
			}
			i++
			continue
		}
		from := i
		for i < b.Rows.Len && !row.Deleted(b, i) {
			i++
		}
		if f.full() {
			if err := s.flush(p); err != nil {
				return err
			}
		}
		f.add(b, from, i, p.timeAt)
	}
	return nil
}

// flush writes what is in the feed.
func (s *Sink) flush(p *plan) error {
	f := s.conn.feed
	if p == nil || f.len() == 0 {
		return nil
	}
	defer f.reset()
	f.sort()
	if err := f.load(); err != nil {
		return err
	}
	if !f.revised {
		text := p.fresh
		if f.certified {
			text = p.insert
		}
		if err := s.conn.do(text); err != nil || s.conn.changes() == f.len() {
			return err
		}
	}
	return s.conn.do(p.upsert)
}

func (s *Sink) removeRow(p *plan, b *sinks.Batch, i int) error {
	args := []any{b.IDs[i][:], int64(b.Index), deleteRevision(b, i)}
	if p.timeAt >= 0 {
		args = append(args, row.Timestamp(b.Rows.Cols[p.timeAt].I64[i]))
	}
	return s.conn.do(p.remove, args...)
}

// deleteRevision lets a deletion win over the revision it was issued for, whatever number it carries.
func deleteRevision(b *sinks.Batch, i int) int64 { return int64(max(b.Revisions[i], 1)) }

func (s *Sink) writeAlerts(b *sinks.Batch) error {
	for i := range b.Alerts {
		if err := s.writeAlert(b.Index, &b.Alerts[i]); err != nil {
			return fmt.Errorf("alert %s: %w", b.Alerts[i].ID, err)
		}
	}
	return nil
}

func (s *Sink) writeAlert(index uint64, a *alert.Transition) error {
	labels, annotations := row.Labels(a.Labels), row.Labels(a.Annotations)
	at, episode := row.Timestamp(a.At), row.Timestamp(a.Episode)
	err := s.conn.do(`INSERT INTO alerts_history
(id, seq, historical, at, episode, rule_group, rule, from_state, to_state, value, labels, annotations, _index)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		a.ID, int64(a.Seq), a.Historical, at, episode, a.Group, a.Rule, string(a.From), string(a.To), a.Value, labels, annotations, int64(index))
	if err != nil || a.Historical { // what would have fired is history, never the state of now
		return err
	}
	return s.conn.do(`INSERT INTO alerts
(id, seq, episode, rule_group, rule, state, since, value, labels, annotations, _index)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET seq = excluded.seq, episode = excluded.episode, state = excluded.state, since = excluded.since,
  value = excluded.value, labels = excluded.labels, annotations = excluded.annotations, _index = excluded._index
WHERE (excluded._index, excluded.seq) > (alerts._index, alerts.seq)`, // a rule made anew counts from 1 again
		a.ID, int64(a.Seq), episode, a.Group, a.Rule, string(a.To), at, a.Value, labels, annotations, int64(index))
}
