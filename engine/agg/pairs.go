package agg

import (
	"io"
	"math"

	"signalbox/engine/column"
	"signalbox/engine/expr"
)

func pairEntries() []entry {
	e := func(name, doc string) entry {
		return entry{Info: Info{Name: name, Signature: name + "(y, x)", Doc: doc, Example: name + "(passengers, speed)"}, bind: bindPairs, min: 2, max: 2}
	}
	return []entry{
		e("covar_pop", "Population covariance of the pairs without NULL."),
		e("covar_samp", "Sample covariance of the pairs without NULL."),
		e("corr", "Pearson's correlation of the pairs without NULL."),
		e("regr_count", "Number of pairs without NULL."),
		e("regr_avgx", "Mean of x over the pairs without NULL."),
		e("regr_avgy", "Mean of y over the pairs without NULL."),
		e("regr_sxx", "Sum of squares of x around its mean."),
		e("regr_syy", "Sum of squares of y around its mean."),
		e("regr_sxy", "Sum of products of x and y around their means."),
		e("regr_slope", "Slope of the least-squares line."),
		e("regr_intercept", "Where the least-squares line meets x = 0."),
		e("regr_r2", "Coefficient of determination of the least-squares line."),
	}
}

func bindPairs(c *call) (Func, error) {
	for i := range c.args {
		if err := c.double(i); err != nil {
			return nil, err
		}
	}
	name, t := c.name, column.Of(column.Double)
	if name == "regr_count" {
		t = column.Of(column.BigInt)
	}
	return c.fn(t, func() Accumulator { return &pairAcc{name: name} })
}

// comoments are the joint moments of pairs (y, x).
type comoments struct{ n, y, x, cov, y2, x2 float64 }

// pairAcc keeps joint moments by Spark's updating formulas.
type pairAcc struct {
	s    []comoments
	name string
}

func (a *pairAcc) Grow(n int) { a.s = growTo(a.s, n) }

func (a *pairAcc) Add(_ *expr.Context, groups []int32, args []*column.Column, sel []int32) {
	y, x := args[0], args[1]
	for i, g := range groups {
		row := rowAt(sel, i)
		if y.IsNull(row) || x.IsNull(row) {
			continue
		}
		a.s[g].add(y.F64[row], x.F64[row])
	}
}

func (m *comoments) add(y, x float64) {
	m.n++
	dy, dx := y-m.y, x-m.x
	dyn, dxn := dy/m.n, dx/m.n
	m.y += dyn
	m.x += dxn
	m.cov += float64(dy * (x - m.x))
	m.y2 += float64(dy * (dy - dyn))
	m.x2 += float64(dx * (dx - dxn))
}

func (m *comoments) merge(o *comoments) {
	if o.n == 0 {
		return
	}
	if m.n == 0 {
		*m = *o
		return
	}
	n := m.n + o.n
	dy, dx := o.y-m.y, o.x-m.x
	dyn, dxn := dy/n, dx/n
	m.cov += o.cov + float64(dy*dxn*m.n*o.n)
	m.y2 += o.y2 + float64(dy*dyn*m.n*o.n)
	m.x2 += o.x2 + float64(dx*dxn*m.n*o.n)
	m.y += float64(dyn * o.n)
	m.x += float64(dxn * o.n)
	m.n = n
}

func (a *pairAcc) Merge(into int32, other Accumulator, from int32) error {
	o, ok := other.(*pairAcc)
	if !ok {
		return mismatch(a, other)
	}
	a.s[into].merge(&o.s[from])
	return nil
}

func (a *pairAcc) Value(group int32, out *column.Column) error {
	if a.name == "regr_count" {
		out.AppendI64(int64(a.s[group].n))
		return nil
	}
	v, ok := a.s[group].result(a.name)
	if !ok {
		out.AppendNull()
		return nil
	}
	out.AppendF64(v)
	return nil
}

func (m *comoments) result(name string) (float64, bool) {
	switch name {
	case "covar_pop":
		return m.cov / m.n, m.n > 0
	case "covar_samp":
		return m.cov / (m.n - 1), m.n > 1
	case "corr":
		return m.cov / math.Sqrt(float64(m.x2*m.y2)), m.n > 1 && m.x2 != 0 && m.y2 != 0
	case "regr_avgx":
		return m.x, m.n > 0
	case "regr_avgy":
		return m.y, m.n > 0
	case "regr_sxx":
		return m.x2, m.n > 0
	case "regr_syy":
		return m.y2, m.n > 0
	case "regr_sxy":
		return m.cov, m.n > 0
	case "regr_slope":
		return m.cov / m.x2, m.n > 1 && m.x2 != 0
	case "regr_intercept":
		return m.y - float64(m.cov/m.x2*m.x), m.n > 1 && m.x2 != 0
	}
	if m.y2 == 0 {
		return 1, m.n > 1 && m.x2 != 0
	}
	return float64(m.cov*m.cov) / m.x2 / m.y2, m.n > 1 && m.x2 != 0
}

func (a *pairAcc) Clear(group int32) { a.s[group] = comoments{} }

func (a *pairAcc) Encode(w io.Writer, n int) error {
	e := newEncoder(w)
	e.rows(n, 6, func(i int, row []float64) {
		m := &a.s[i]
		row[0], row[1], row[2], row[3], row[4], row[5] = m.n, m.y, m.x, m.cov, m.y2, m.x2
	})
	return e.flush()
}

func (a *pairAcc) Decode(r io.Reader, n int) error {
	d := newDecoder(r)
	a.s = nil
	d.rows(n, 6, func(_ int, row []float64) {
		a.s = append(a.s, comoments{row[0], row[1], row[2], row[3], row[4], row[5]})
	})
	return d.err
}

func (a *pairAcc) Bytes() int { return 48 * len(a.s) }
