package sqlite

import (
	"context"
	"fmt"
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
	if err := s.ready(ctx); err != nil {
		return err
	}
	if upTo <= s.upTo {
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
	s.upTo = upTo
	s.stats.Rows += done.Rows
	s.stats.Alerts += done.Alerts
	s.stats.Repeated += done.Repeated
	s.stats.Pruned += done.Pruned
	return nil
}

func (s *Sink) writeAll(ctx context.Context, batches []sinks.Batch, upTo uint64, done *Stats) error {
	var now int64
	for i := range batches {
		b := &batches[i]
		now = max(now, b.Time)
		if b.Index <= s.upTo {
			done.Repeated++
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.writeBatch(b); err != nil {
			return err
		}
		done.Alerts += uint64(len(b.Alerts))
		if b.Rows != nil {
			done.Rows += uint64(b.Rows.Len)
		}
	}
	if err := s.prune(now, done); err != nil {
		return err
	}
	return s.exec(`INSERT INTO _signalbox_cursor (id, up_to, time) VALUES (1, ?, ?)
ON CONFLICT (id) DO UPDATE SET up_to = excluded.up_to, time = max(time, excluded.time)`, int64(upTo), now)
}

// ready makes sure that the database is open and the cursor known. A sink whose
// connection broke is opened again here.
func (s *Sink) ready(ctx context.Context) error {
	if s.closed {
		return errClosed
	}
	if s.db == nil {
		if err := s.open(); err != nil {
			return err
		}
	}
	return s.readCursor(ctx)
}

// inTransaction runs f; when it fails nothing of it remains, in the file or in memory.
func (s *Sink) inTransaction(f func() error) error {
	if err := s.exec("BEGIN IMMEDIATE"); err != nil {
		return s.recover(err)
	}
	err := f()
	if err == nil {
		err = s.exec("COMMIT")
	}
	if err == nil {
		return nil
	}
	if undo := s.exec("ROLLBACK"); undo != nil {
		return s.recover(err)
	}
	s.forgetStatements()
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
	if err := s.readCursor(context.Background()); err != nil {
		return fmt.Errorf("%w; then %w", cause, err)
	}
	return cause
}

func (s *Sink) writeBatch(b *sinks.Batch) error {
	for i := range b.Alerts {
		if err := s.writeAlert(b.Index, &b.Alerts[i]); err != nil {
			return fmt.Errorf("alert %s: %w", b.Alerts[i].ID, err)
		}
	}
	if b.Rows == nil || b.Rows.Len == 0 {
		return nil
	}
	if err := row.Check(b); err != nil {
		return err
	}
	target := b.Table
	target.Schema = b.Rows.Schema // what is written decides, not what was prepared
	t, err := s.ensureTable(&target)
	if err != nil {
		return fmt.Errorf("table %s: %w", b.Table.Name, err)
	}
	if err := s.writeRows(t, b); err != nil {
		return fmt.Errorf("table %s at index %d: %w", b.Table.Name, b.Index, err)
	}
	return nil
}

// rowsAtOnce is how many rows one statement writes where there are so many: the call costs more than the row.
const rowsAtOnce = 64

// maxVariables is SQLite's own limit for one statement.
const maxVariables = 32766

func (s *Sink) writeRows(t *table, b *sinks.Batch) error {
	names := row.Names(b.Rows.Schema)
	atOnce := max(1, min(rowsAtOnce, maxVariables/(metaColumns+len(names))))
	for i := 0; i < b.Rows.Len; {
		if row.Deleted(b, i) {
			if err := s.removeRow(t, b, i); err != nil {
				return fmt.Errorf("row %d (%x): %w", i, b.IDs[i], err)
			}
			i++
			continue
		}
		n := 1
		for n < atOnce && i+n < b.Rows.Len && !row.Deleted(b, i+n) {
			n++
		}
		if n < atOnce {
			n = 1 // a statement for every number of rows would be too many
		}
		upsert, err := s.statement(s.upsertText(t.name, b.Rows.Schema, names, n))
		if err != nil {
			return err
		}
		args := make([]any, 0, n*(metaColumns+len(names)))
		for k := range n {
			args = fill(args, b, i+k)
		}
		if _, err := upsert.Exec(args...); err != nil {
			return fmt.Errorf("%d rows from row %d (%x): %w", n, i, b.IDs[i], err)
		}
		i += n
	}
	return nil
}

func (s *Sink) removeRow(t *table, b *sinks.Batch, i int) error {
	remove, err := s.statement(fmt.Sprintf("DELETE FROM %s WHERE _id = ? AND (_index, _revision) <= (?, ?)", quote(t.name)))
	if err != nil {
		return err
	}
	_, err = remove.Exec(b.IDs[i][:], int64(b.Index), deleteRevision(b, i))
	return err
}

// deleteRevision lets a deletion win over the revision it was issued for, whatever number it carries.
func deleteRevision(b *sinks.Batch, i int) int64 { return int64(max(b.Revisions[i], 1)) }

// metaColumns are our own columns in a row: see upsertSQL.
const metaColumns = 5

// fill appends the values of a row in the order of upsertSQL.
func fill(args []any, b *sinks.Batch, i int) []any {
	var complete, expected any
	if b.Complete != nil {
		complete = int64(b.Complete[i])
	}
	if b.Expected != nil {
		expected = int64(b.Expected[i])
	}
	args = append(args, b.IDs[i][:], int64(b.Revisions[i]), int64(b.Index), complete, expected)
	for c, f := range b.Rows.Schema.Fields {
		args = append(args, value(f.Type, row.Cell(b.Rows, c, i)))
	}
	return args
}

// upsertKey names a statement without writing it out.
type upsertKey struct {
	table  string
	schema *column.Schema
	rows   int
}

// upsertText is upsertSQL, written once.
func (s *Sink) upsertText(table string, schema *column.Schema, names []string, rows int) string {
	k := upsertKey{table, schema, rows}
	text, ok := s.upserts[k]
	if !ok {
		if len(s.upserts) >= maxStatements {
			clear(s.upserts)
		}
		text = upsertSQL(table, names, rows)
		s.upserts[k] = text
	}
	return text
}

// upsertSQL lets the later log entry win, and within an entry the higher
// revision: a row that is written again changes nothing.
func upsertSQL(table string, names []string, rows int) string {
	var cols, sets strings.Builder
	for _, n := range names {
		q := quote(n)
		fmt.Fprintf(&cols, ", %s", q)
		fmt.Fprintf(&sets, ", %s = excluded.%s", q, q)
	}
	one := "(?, ?, ?, ?, ?" + strings.Repeat(", ?", len(names)) + ")"
	return fmt.Sprintf(`INSERT INTO %[1]s (_id, _revision, _index, _complete, _expected%[2]s) VALUES %[3]s
ON CONFLICT (_id) DO UPDATE SET _revision = excluded._revision, _index = excluded._index,
  _complete = excluded._complete, _expected = excluded._expected%[4]s
WHERE (excluded._index, excluded._revision) > (%[1]s._index, %[1]s._revision)`, quote(table), cols.String(), one+strings.Repeat(", "+one, rows-1), sets.String())
}

func (s *Sink) writeAlert(index uint64, a *alert.Transition) error {
	labels, annotations := row.Labels(a.Labels), row.Labels(a.Annotations)
	at, episode := row.Timestamp(a.At), row.Timestamp(a.Episode)
	history, err := s.statement(`INSERT INTO alerts_history
(id, seq, historical, at, episode, rule_group, rule, from_state, to_state, value, labels, annotations, _index)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`)
	if err != nil {
		return err
	}
	if _, err := history.Exec(a.ID, int64(a.Seq), a.Historical, at, episode, a.Group, a.Rule, string(a.From), string(a.To),
		a.Value, labels, annotations, int64(index)); err != nil {
		return err
	}
	if a.Historical { // what would have fired is history, never the state of now
		return nil
	}
	current, err := s.statement(`INSERT INTO alerts
(id, seq, episode, rule_group, rule, state, since, value, labels, annotations, _index)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET seq = excluded.seq, episode = excluded.episode, state = excluded.state, since = excluded.since,
  value = excluded.value, labels = excluded.labels, annotations = excluded.annotations, _index = excluded._index
WHERE (excluded._index, excluded.seq) > (alerts._index, alerts.seq)`) // a rule made anew counts from 1 again
	if err != nil {
		return err
	}
	_, err = current.Exec(a.ID, int64(a.Seq), episode, a.Group, a.Rule, string(a.To), at, a.Value, labels, annotations, int64(index))
	return err
}

// prune deletes a bounded number of rows that are older than the retention.
// Log time decides, not the clock of the node: all nodes keep the same rows.
func (s *Sink) prune(now int64, done *Stats) error {
	if s.opt.Retention < 0 || now == 0 || now-s.pruned < s.opt.PruneEvery.Microseconds() {
		return nil
	}
	limit := row.Timestamp(now - s.opt.Retention.Microseconds())
	full := false
	drop := func(text string) error {
		r, err := s.conn.ExecContext(context.Background(), text, limit, s.opt.PruneRows)
		if err != nil {
			return fmt.Errorf("delete rows older than %s: %w", limit, err)
		}
		n, err := r.RowsAffected()
		done.Pruned += uint64(n)
		full = full || n >= int64(s.opt.PruneRows)
		return err
	}
	for _, t := range s.tables {
		if t.time == "" {
			continue
		}
		q, c := quote(t.name), quote(t.time)
		if err := drop(fmt.Sprintf("DELETE FROM %s WHERE _id IN (SELECT _id FROM %s WHERE %s < ? ORDER BY %s LIMIT ?)", q, q, c, c)); err != nil {
			return err
		}
	}
	if err := drop(`DELETE FROM alerts_history WHERE (id, seq, historical, _index) IN (SELECT id, seq, historical, _index FROM alerts_history WHERE at < ? ORDER BY at LIMIT ?)`); err != nil {
		return err
	}
	if err := drop(`DELETE FROM alerts WHERE id IN (SELECT id FROM alerts WHERE since < ? AND state IN ('resolved', 'inactive') ORDER BY since LIMIT ?)`); err != nil {
		return err
	}
	if !full { // else there is more to delete: look again in the next Write
		s.pruned = now
	}
	return nil
}
