package agg

import (
	"io"
	"math"

	"signalbox/engine/column"
	"signalbox/engine/expr"
)

func momentEntries() []entry {
	e := func(name, doc string) entry {
		return entry{Info: Info{Name: name, Signature: name + "(x)", Doc: doc, Example: name + "(speed)"}, bind: bindMoments, min: 1, max: 1}
	}
	return []entry{
		e("stddev", "Sample standard deviation; NULL for fewer than two values."),
		e("std", "The same as stddev."),
		e("stddev_samp", "The same as stddev."),
		e("stddev_pop", "Population standard deviation."),
		e("variance", "Sample variance; NULL for fewer than two values."),
		e("var_samp", "The same as variance."),
		e("var_pop", "Population variance."),
		e("skewness", "Skewness; NULL when all values are equal."),
		e("kurtosis", "Excess kurtosis; NULL when all values are equal."),
	}
}

func bindMoments(c *call) (Func, error) {
	if err := c.double(0); err != nil {
		return nil, err
	}
	order := 2
	if c.name == "skewness" {
		order = 3
	} else if c.name == "kurtosis" {
		order = 4
	}
	name := c.name
	return c.fn(column.Of(column.Double), func() Accumulator { return &momentAcc{order: order, name: name} })
}

// moments are central moments kept by Spark's updating formulas.
type moments struct{ n, mean, m2, m3, m4 float64 }

// momentAcc keeps central moments up to an order.
type momentAcc struct {
	s     []moments
	order int
	name  string
}

func (a *momentAcc) Grow(n int) { a.s = growTo(a.s, n) }

func (a *momentAcc) Add(_ *expr.Context, groups []int32, args []*column.Column, sel []int32) {
	arg := args[0]
	nulls := arg.HasNulls()
	for i, g := range groups {
		row := rowAt(sel, i)
		if nulls && arg.IsNull(row) {
			continue
		}
		a.s[g].add(arg.F64[row], a.order)
	}
}

func (m *moments) add(x float64, order int) {
	n := m.n + 1
	delta := x - m.mean
	dn := delta / n
	m2 := m.m2 + float64(delta*(delta-dn))
	if order >= 3 {
		d2, dn2 := float64(delta*delta), float64(dn*dn)
		m3 := m.m3 - float64(3*dn*m2) + float64(delta*(d2-dn2))
		if order >= 4 {
			m.m4 = m.m4 - float64(4*dn*m3) - float64(6*dn2*m2) + float64(delta*(float64(delta*d2)-float64(dn*dn2)))
		}
		m.m3 = m3
	}
	m.n, m.mean, m.m2 = n, m.mean+dn, m2
}

func (m *moments) merge(o *moments, order int) {
	if o.n == 0 {
		return
	}
	if m.n == 0 {
		*m = *o
		return
	}
	n1, n2 := m.n, o.n
	n := n1 + n2
	delta := o.mean - m.mean
	dn := delta / n
	m2 := m.m2 + o.m2 + float64(delta*dn*n1*n2)
	if order >= 3 {
		m3 := m.m3 + o.m3 + float64(dn*dn*delta*n1*n2*(n1-n2)) + float64(3*dn*(float64(n1*o.m2)-float64(n2*m.m2)))
		if order >= 4 {
			m.m4 = m.m4 + o.m4 + float64(dn*dn*dn*delta*n1*n2*(float64(n1*n1)-float64(n1*n2)+float64(n2*n2))) +
				float64(6*dn*dn*(float64(n1*n1*o.m2)+float64(n2*n2*m.m2))) + float64(4*dn*(float64(n1*o.m3)-float64(n2*m.m3)))
		}
		m.m3 = m3
	}
	m.n, m.mean, m.m2 = n, m.mean+float64(dn*n2), m2
}

func (a *momentAcc) Merge(into int32, other Accumulator, from int32) error {
	o, ok := other.(*momentAcc)
	if !ok || o.order != a.order {
		return mismatch(a, other)
	}
	a.s[into].merge(&o.s[from], a.order)
	return nil
}

func (a *momentAcc) Value(group int32, out *column.Column) error {
	v, ok := a.s[group].result(a.name)
	if !ok {
		out.AppendNull()
		return nil
	}
	out.AppendF64(v)
	return nil
}

func (m *moments) result(name string) (float64, bool) {
	switch name {
	case "stddev_pop":
		return math.Sqrt(m.m2 / m.n), m.n > 0
	case "var_pop":
		return m.m2 / m.n, m.n > 0
	case "stddev", "std", "stddev_samp":
		return math.Sqrt(m.m2 / (m.n - 1)), m.n > 1
	case "variance", "var_samp":
		return m.m2 / (m.n - 1), m.n > 1
	case "skewness":
		return float64(math.Sqrt(m.n)*m.m3) / math.Sqrt(float64(m.m2*m.m2*m.m2)), m.n > 0 && m.m2 != 0
	}
	return float64(m.n*m.m4)/float64(m.m2*m.m2) - 3, m.n > 0 && m.m2 != 0
}

func (a *momentAcc) Clear(group int32) { a.s[group] = moments{} }

func (a *momentAcc) Encode(w io.Writer, n int) error {
	e := newEncoder(w)
	e.rows(n, 5, func(i int, row []float64) {
		m := &a.s[i]
		row[0], row[1], row[2], row[3], row[4] = m.n, m.mean, m.m2, m.m3, m.m4
	})
	return e.flush()
}

func (a *momentAcc) Decode(r io.Reader, n int) error {
	d := newDecoder(r)
	a.s = nil
	d.rows(n, 5, func(_ int, row []float64) { a.s = append(a.s, moments{row[0], row[1], row[2], row[3], row[4]}) })
	return d.err
}

func (a *momentAcc) Bytes() int { return 40 * len(a.s) }
