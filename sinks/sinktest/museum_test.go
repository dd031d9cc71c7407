package sinktest

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"signalbox/engine/column"
	"signalbox/sinks"
	"signalbox/sinks/row"
)

// bugs are switches of the model sink below; each is a mistake that a real sink made somewhere.
type bugs struct {
	appliesTwice, forgetsCursor, cursorRunsAhead, olderWins, ignoresDelete, resurrects, dropsNull, roundsIntegers,
	truncatesTime, mixesTables, firstOfWriteWins, losesOnClose, neverPermanent, permanentOnCancel, alertGoesBack, historyIsNow,
	losesCompleteness, keepsOldColumns, failsOnSecondPrepare, keepsHalfAWrite, highestSeqOnly bool
}

// place is what a model sink leaves behind.
type place struct {
	tables map[string]map[[16]byte]cell
	alerts map[string]Alert
	told   map[string]uint64 // index at which each alert was last changed
	cursor uint64
}

type cell struct {
	row    Row
	index  uint64
	killed bool
}

// model is a sink in memory: correct without bugs.
type model struct {
	at       *place
	bugs     bugs
	prepared int
}

func newTarget(b bugs) Target {
	p := &place{tables: map[string]map[[16]byte]cell{}, alerts: map[string]Alert{}, told: map[string]uint64{}}
	return Target{
		Open: func() (sinks.Sink, error) {
			if b.forgetsCursor {
				p.cursor = 0
			}
			return &model{at: p, bugs: b}, nil
		},
		Rows: func(t sinks.Table) (map[[16]byte]Row, error) {
			out := map[[16]byte]Row{}
			for id, c := range p.tables[t.Name] {
				if !c.killed {
					out[id] = c.row
				}
			}
			return out, nil
		},
		Alerts: func() (map[string]Alert, error) { return maps.Clone(p.alerts), nil },
	}
}

func (m *model) Name() string       { return "model" }
func (m *model) Scope() sinks.Scope { return sinks.EveryNode }

func (m *model) Prepare(context.Context, []sinks.Table) error {
	m.prepared++
	if m.bugs.failsOnSecondPrepare && m.prepared > 1 {
		return context.DeadlineExceeded
	}
	return nil
}

func (m *model) Cursor(context.Context) (uint64, bool, error) { return m.at.cursor, true, nil }

func (m *model) Close() error {
	if m.bugs.losesOnClose {
		clear(m.at.tables)
	}
	return nil
}

func (m *model) Write(ctx context.Context, batches []sinks.Batch, upTo uint64) error {
	if err := ctx.Err(); err != nil {
		if m.bugs.permanentOnCancel {
			return sinks.ErrPermanent
		}
		if m.bugs.keepsHalfAWrite {
			m.at.cursor = upTo
		}
		return err
	}
	if m.bugs.cursorRunsAhead {
		upTo++
	}
	for i := range batches {
		if err := row.Check(&batches[i]); err != nil && !m.bugs.neverPermanent {
			return err
		} else if err != nil {
			return context.DeadlineExceeded
		}
	}
	if m.bugs.firstOfWriteWins {
		batches = slices.Clone(batches)
		slices.Reverse(batches)
	}
	for i := range batches {
		b := &batches[i]
		if b.Index <= m.at.cursor && !m.bugs.olderWins && !m.bugs.appliesTwice {
			continue
		}
		m.apply(b)
	}
	m.at.cursor = max(m.at.cursor, upTo)
	return nil
}

func (m *model) apply(b *sinks.Batch) {
	for _, a := range b.Alerts {
		if a.Historical && !m.bugs.historyIsNow {
			continue
		}
		if m.bugs.highestSeqOnly && a.Seq <= m.at.alerts[a.ID].Seq {
			continue
		}
		if b.Index >= m.at.told[a.ID] || m.bugs.alertGoesBack {
			m.at.told[a.ID] = b.Index
			m.at.alerts[a.ID] = Alert{Seq: a.Seq, State: a.To, Label: a.Labels[0].Value}
		}
	}
	if b.Rows == nil {
		return
	}
	name := b.Table.Name
	if m.bugs.mixesTables {
		name = strings.ReplaceAll(strings.ToLower(name), "$", "__")
	}
	t := m.at.tables[name]
	if t == nil {
		t = map[[16]byte]cell{}
		m.at.tables[name] = t
	}
	for i := range b.Rows.Len {
		m.applyRow(t, b, i)
	}
	m.at.tables[b.Table.Name] = t
}

func (m *model) applyRow(t map[[16]byte]cell, b *sinks.Batch, i int) {
	id := b.IDs[i]
	was, there := t[id]
	if there && was.index > b.Index && !m.bugs.olderWins && !m.bugs.appliesTwice {
		return
	}
	if row.Deleted(b, i) {
		switch {
		case m.bugs.ignoresDelete:
		case m.bugs.resurrects:
			was.killed = true
			t[id] = was
		default:
			delete(t, id)
		}
		return
	}
	r := Row{Revision: b.Revisions[i], Complete: -1, Expected: -1, Values: map[string]string{}}
	if m.bugs.appliesTwice && there {
		r.Revision += was.row.Revision
	}
	if b.Complete != nil && !m.bugs.losesCompleteness {
		r.Complete, r.Expected = b.Complete[i], b.Expected[i]
	}
	for c, f := range b.Rows.Schema.Fields {
		m.applyValue(r.Values, f, row.Cell(b.Rows, c, i), was.row.Values)
	}
	t[id] = cell{row: r, index: b.Index}
}

func (m *model) applyValue(values map[string]string, f column.Field, d column.Datum, old map[string]string) {
	if d.Null {
		if v, ok := old[f.Name]; ok && (m.bugs.dropsNull || m.bugs.keepsOldColumns && f.Name == "note") {
			values[f.Name] = v
		}
		return
	}
	if m.bugs.roundsIntegers && f.Type.Kind == column.BigInt {
		d.I = int64(float64(d.I))
	}
	if m.bugs.truncatesTime && f.Type.Kind == column.Timestamp {
		d.I -= d.I % 1000
	}
	values[f.Name] = row.Text(f.Type, d)
}

// failures runs the whole contract and names the checks that failed.
func failures(t *testing.T, fresh func() Target) []string {
	var out []string
	for _, c := range Checks() {
		if err := c.Run(t.Context(), fresh()); err != nil {
			out = append(out, c.Name)
		}
	}
	return out
}

func TestContractAcceptsACorrectSink(t *testing.T) {
	Run(t, func(*testing.T) Target { return newTarget(bugs{}) })
}

func TestContractCatchesPlantedBugs(t *testing.T) {
	for name, b := range map[string]bugs{
		"applies a repeated batch again":        {appliesTwice: true},
		"forgets the cursor at restart":         {forgetsCursor: true},
		"cursor ahead of the write":             {cursorRunsAhead: true},
		"an older batch wins":                   {olderWins: true, forgetsCursor: true},
		"deletions ignored":                     {ignoresDelete: true},
		"deleted row keeps its values":          {resurrects: true, dropsNull: true},
		"NULL does not replace a value":         {dropsNull: true},
		"integers through a double":             {roundsIntegers: true},
		"microseconds cut off":                  {truncatesTime: true},
		"two tables share a mapped name":        {mixesTables: true},
		"first change of a write wins":          {firstOfWriteWins: true},
		"rows not durable at close":             {losesOnClose: true},
		"malformed batch retried for ever":      {neverPermanent: true},
		"cancellation taken for a refusal":      {permanentOnCancel: true},
		"cursor moved by a write that failed":   {keepsHalfAWrite: true},
		"alert state goes back":                 {alertGoesBack: true, olderWins: true},
		"alert of a rule made anew ignored":     {highestSeqOnly: true},
		"history taken for now":                 {historyIsNow: true},
		"completeness not stored":               {losesCompleteness: true},
		"value of a deleted row in the new one": {keepsOldColumns: true},
		"prepare works only once":               {failsOnSecondPrepare: true},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			caught := failures(t, func() Target { return newTarget(b) })
			if len(caught) == 0 {
				t.Fatal("the contract did not notice")
			}
			t.Logf("caught by %q", caught)
		})
	}
}
