package batch

import (
	"slices"

	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/plan"
)

// pairChunk is how many candidate pairs a join's condition is computed over at once.
const pairChunk = 8192

// joiner is one join while it runs.
type joiner struct {
	x           *run
	n           *plan.Join
	left, right *column.Batch
	lk, rk      []*column.Column
	pairs       [][2]int32 // matches, in the order of the left rows
	pending     [][2]int32 // candidates whose condition is not computed yet
	hitLeft     []bool
	hitRight    []bool
}

func (x *run) join(n *plan.Join) (*column.Batch, error) {
	left, err := x.node(n.Left)
	if err != nil {
		return nil, err
	}
	if len(n.Params) > 0 {
		return x.apply(n, left)
	}
	right, err := x.node(n.Right)
	if err != nil {
		return nil, err
	}
	return x.joinRows(n, left, right)
}

// joinRows joins two inputs.
func (x *run) joinRows(n *plan.Join, left, right *column.Batch) (*column.Batch, error) {
	var err error
	j := &joiner{x: x, n: n}
	if j.lk, j.left, err = x.eval(left, n.LeftKeys); err != nil {
		return nil, err
	}
	if j.rk, j.right, err = x.eval(right, n.RightKeys); err != nil {
		return nil, err
	}
	j.hitLeft, j.hitRight = make([]bool, j.left.Len), make([]bool, j.right.Len)
	if n.NullAware {
		return j.nullAware()
	}
	if err := j.match(len(j.lk)); err != nil {
		return nil, err
	}
	return j.result()
}

// match finds the pairs of rows whose first keys are equal and whose condition holds.
func (j *joiner) match(keys int) error {
	g := j.x.grouper()
	var rows [][]int32
	rk, lk := j.rk[:keys], j.lk[:keys]
	for i := range j.right.Len {
		if j.nullKey(rk, i) {
			continue
		}
		id := int(g.id(rk, i))
		if id == len(rows) {
			rows = append(rows, nil)
		}
		rows[id] = append(rows[id], int32(i))
	}
	for i := range j.left.Len {
		if j.nullKey(lk, i) {
			continue
		}
		id := g.find(lk, i)
		if id < 0 {
			continue
		}
		for _, r := range rows[id] {
			if j.pending = append(j.pending, [2]int32{int32(i), r}); len(j.pending) >= 4*pairChunk {
				if err := j.flush(); err != nil {
					return err
				}
			}
		}
		if len(j.pending) >= pairChunk {
			if err := j.flush(); err != nil {
				return err
			}
		}
	}
	return j.flush()
}

// nullKey reports whether a key is NULL that equality never matches.
func (j *joiner) nullKey(cols []*column.Column, row int) bool {
	for k, c := range cols {
		if !j.n.NullSafe[k] && c.IsNull(row) {
			return true
		}
	}
	return false
}

// flush computes the condition of the pending pairs.
func (j *joiner) flush() error {
	pairs := j.pending
	j.pending = nil
	j.x.guard.ask()
	if j.n.Cond != nil && len(pairs) > 0 {
		b := j.combine(pairs)
		ctx := new(expr.Context)
		ok := j.n.Cond.Eval(ctx, b, nil)
		if _, err := j.x.refuse(ctx, b); err != nil {
			return err
		}
		kept := pairs[:0:0]
		for i, p := range pairs {
			if !ctx.Failed(int32(i)) && !ok.IsNull(i) && ok.I64[i] != 0 {
				kept = append(kept, p)
			}
		}
		pairs = kept
	}
	for _, p := range pairs {
		if j.n.Kind == plan.LeftSingle && j.hitLeft[p[0]] {
			return &expr.Error{Phase: expr.Runtime, Condition: "SCALAR_SUBQUERY_TOO_MANY_ROWS", SQLState: "21000",
				Message: "more than one row returned by a sub-query used as a value; aggregate it"}
		}
		j.hitLeft[p[0]], j.hitRight[p[1]] = true, true
	}
	switch j.n.Kind {
	case plan.Semi, plan.Anti, plan.Mark:
		return nil
	}
	j.pairs = append(j.pairs, pairs...)
	j.x.guard.hold(8 * int64(len(pairs)))
	return j.x.bound(len(j.pairs))
}

// combine puts the rows of pairs beside each other; -1 is a row of NULLs.
func (j *joiner) combine(pairs [][2]int32) *column.Batch {
	l, r := make([]int32, len(pairs)), make([]int32, len(pairs))
	for i, p := range pairs {
		l[i], r[i] = p[0], p[1]
	}
	out := take(j.left, l)
	right := take(j.right, r)
	cols := append(append(make([]*column.Column, 0, len(out.Cols)+len(right.Cols)), out.Cols...), right.Cols...)
	return &column.Batch{Schema: j.n.Out, Cols: cols, Len: len(pairs)}
}

// result makes the output from the matches.
func (j *joiner) result() (*column.Batch, error) {
	switch j.n.Kind {
	case plan.Semi:
		return j.leftRows(true), nil
	case plan.Anti:
		return j.leftRows(false), nil
	case plan.Mark:
		mark := column.New(column.Of(column.Boolean), j.left.Len)
		for _, h := range j.hitLeft {
			mark.Append(column.Bool(h))
		}
		return withColumns(j.n.Out, j.left, mark), nil
	case plan.Left, plan.Full, plan.LeftSingle:
		for i, h := range j.hitLeft {
			if !h {
				j.pairs = append(j.pairs, [2]int32{int32(i), -1})
			}
		}
		slices.SortStableFunc(j.pairs, func(a, b [2]int32) int { return int(a[0]) - int(b[0]) })
	}
	if j.n.Kind == plan.Right || j.n.Kind == plan.Full {
		for i, h := range j.hitRight {
			if !h {
				j.pairs = append(j.pairs, [2]int32{-1, int32(i)})
			}
		}
	}
	j.x.guard.rows(len(j.pairs), j.left.Cols, j.right.Cols)
	return j.combine(j.pairs), nil
}

func (j *joiner) leftRows(hit bool) *column.Batch {
	keep := make([]int32, 0, j.left.Len)
	for i, h := range j.hitLeft {
		if h == hit {
			keep = append(keep, int32(i))
		}
	}
	out := take(j.left, keep)
	out.Schema = j.n.Out
	return out
}

// nullAware is IN with three values: true when a row of the right is equal,
// unknown when the value or one of the right is NULL, else false.
func (j *joiner) nullAware() (*column.Batch, error) {
	from := len(j.lk) - j.n.InKeys
	unknown := make([]bool, j.left.Len)
	if from == 0 && j.n.InKeys == 1 && j.n.Cond == nil {
		j.plainIn(unknown)
	} else if err := j.correlatedIn(from, unknown); err != nil {
		return nil, err
	}
	if j.n.Kind != plan.Mark {
		keep := make([]int32, 0, j.left.Len)
		for i := range j.left.Len {
			if !j.hitLeft[i] && !unknown[i] {
				keep = append(keep, int32(i))
			}
		}
		out := take(j.left, keep)
		out.Schema = j.n.Out
		return out, nil
	}
	mark := column.New(column.Of(column.Boolean), j.left.Len)
	for i := range j.left.Len {
		if unknown[i] && !j.hitLeft[i] {
			mark.AppendNull()
			continue
		}
		mark.Append(column.Bool(j.hitLeft[i]))
	}
	return withColumns(j.n.Out, j.left, mark), nil
}

// plainIn compares with one set of values.
func (j *joiner) plainIn(unknown []bool) {
	g := j.x.grouper()
	rightNull := false
	for i := range j.right.Len {
		if j.rk[0].IsNull(i) {
			rightNull = true
			continue
		}
		g.id(j.rk, i)
	}
	for i := range j.left.Len {
		if j.lk[0].IsNull(i) {
			unknown[i] = j.right.Len > 0
			continue
		}
		j.hitLeft[i] = g.find(j.lk, i) >= 0
		unknown[i] = rightNull
	}
}

// correlatedIn compares with the rows of the right that belong to each left row;
// the keys from number from on are those of IN.
func (j *joiner) correlatedIn(from int, unknown []bool) error {
	kind := j.n.Kind
	inner := *j.n
	inner.Kind = plan.Inner
	j.n = &inner
	if err := j.match(from); err != nil {
		return err
	}
	inner.Kind = kind
	clear(j.hitLeft)
	for _, p := range j.pairs {
		l := int(p[0])
		equal, known := j.same(from, l, int(p[1]))
		j.hitLeft[l] = j.hitLeft[l] || equal && known
		unknown[l] = unknown[l] || equal && !known
	}
	return nil
}

// same compares the keys of IN of two rows: unequal, equal, or (not known) equal but for a NULL.
func (j *joiner) same(from, l, r int) (equal, known bool) {
	known = true
	for k := from; k < len(j.lk); k++ {
		a, b := j.lk[k:k+1], j.rk[k:k+1]
		switch {
		case a[0].IsNull(l) || b[0].IsNull(r):
			known = false
		case string(appendKey(nil, a, l)) != string(appendKey(nil, b, r)):
			return false, true
		}
	}
	return true, known
}
