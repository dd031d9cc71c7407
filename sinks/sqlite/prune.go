package sqlite

import (
	"fmt"

	"signalbox/sinks/row"
)

// maxPruneRows bounds how long one write may delete: several times what one write can bring.
const maxPruneRows = 1 << 18

// prune deletes a bounded number of rows that are older than the retention.
// Log time decides, not the clock of the node: all nodes keep the same rows.
func (s *Sink) prune(now int64, done *Stats) error {
	if s.opt.Retention < 0 || now == 0 || now-s.pruned < s.opt.PruneEvery.Microseconds() {
		return nil
	}
	limit := row.Timestamp(now - s.opt.Retention.Microseconds())
	full := false
	drop := func(text string) error {
		if err := s.conn.do(text, limit, s.room); err != nil {
			return fmt.Errorf("delete rows older than %s: %w", limit, err)
		}
		n := s.conn.changes()
		done.Pruned += uint64(n)
		full = full || n >= s.room
		return nil
	}
	for _, t := range s.tables {
		if t.time == "" {
			continue
		}
		q, c := quote(t.name), quote(t.time)
		if err := drop(fmt.Sprintf("DELETE FROM %s WHERE (%s) IN (SELECT %s FROM %s WHERE %s < ? ORDER BY %s LIMIT ?)", q, t.key(), t.key(), q, c, c)); err != nil {
			return err
		}
	}
	if err := drop(`DELETE FROM alerts_history WHERE (id, seq, historical, _index) IN (SELECT id, seq, historical, _index FROM alerts_history WHERE at < ? ORDER BY at LIMIT ?)`); err != nil {
		return err
	}
	if err := drop(`DELETE FROM alerts WHERE id IN (SELECT id FROM alerts WHERE since < ? AND state IN ('resolved', 'inactive') ORDER BY since LIMIT ?)`); err != nil {
		return err
	}
	if full { // there is more to delete: look again in the next Write, and catch up with what comes in
		s.room = max(s.opt.PruneRows, min(2*s.room, maxPruneRows))
		return nil
	}
	s.pruned, s.room = now, s.opt.PruneRows
	return nil
}
