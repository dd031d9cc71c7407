package stream

import (
	"signalbox/engine/column"
	"signalbox/engine/plan"
)

// opener is an aggregate that can say what its groups would say now.
type opener interface {
	operator
	peek()
}

// opener finds the one aggregate of a pipeline whose groups can be shown; nil when there is none.
func (p *Pipeline) opener() opener {
	var found opener
	for _, x := range p.ops {
		switch o := x.(type) {
		case *paneOp, *keyedOp:
			if found != nil {
				return nil
			}
			found = o.(opener)
		case *limitOp, *sessionOp, *dedupOp, *streamJoinOp, *totalOp:
			return nil
		case *stateOp:
			if found != nil { // it would remember rows that are not final
				return nil
			}
		}
	}
	_, windows := found.(*paneOp)
	switch {
	case found == nil, p.mode == plan.Append && !windows, p.mode == plan.Complete:
		return nil
	}
	return found
}

// Opens reports whether Open has an answer. It looks at nothing that Apply changes.
func (p *Pipeline) Opens() bool { return p.opener() != nil }

// Open returns, in append mode, the rows that the windows which are open now
// would give, and in update mode the newest row of every group that is held and
// passes what is above the aggregate.
// The pipeline is used up by it: it is for one that was given the state of another.
func (p *Pipeline) Open() (rows *column.Batch, ids []RowID, ok bool) {
	op := p.opener()
	if op == nil {
		return nil, nil, false
	}
	op.peek()
	for _, x := range p.ops {
		if s, ok := x.(*sortOp); ok {
			s.close()
		}
	}
	rows, ids = p.sink.rows, p.sink.ids
	if p.sink.dels == 0 {
		return rows, ids, true
	}
	var kept []int32
	left := ids[:0:0]
	for i, gone := range p.sink.del {
		if !gone {
			kept, left = append(kept, int32(i)), append(left, ids[i])
		}
	}
	out := column.NewBatch(rows.Schema, len(kept))
	for i, c := range out.Cols {
		c.Take(rows.Cols[i], kept)
	}
	out.Len = len(kept)
	return out, left, true
}
