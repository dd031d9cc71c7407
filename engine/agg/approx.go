package agg

import (
	"io"
	"math"
	"math/bits"

	"signalbox/engine/column"
	"signalbox/engine/expr"
)

func approxEntries() []entry {
	p := func(name string) entry {
		return entry{Info: Info{Name: name, Signature: name + "(x, percentage [, accuracy])", Example: name + "(speed, 0.99)",
			Doc: "A value of x near the percentile (rank error about 1/accuracy, default 10000; exact below 4 x accuracy values), from a sketch of bounded size. The percentage is a constant or an array."},
			bind: bindPercentileApprox, min: 2, max: 3}
	}
	return []entry{
		{Info: Info{Name: "approx_count_distinct", Signature: "approx_count_distinct(x [, relativeSD])", Doc: "Estimated number of different values (HyperLogLog, default standard deviation 0.05).", Example: "approx_count_distinct(bus)"},
			bind: bindHLL, min: 1, max: 2},
		p("percentile_approx"), p("approx_percentile"),
	}
}

// maxPrecision bounds the registers of a HyperLogLog: 2^16 bytes a group.
const maxPrecision = 16

func bindHLL(c *call) (Func, error) {
	rsd := 0.05
	if len(c.args) == 2 {
		if err := c.double(1); err != nil {
			return nil, err
		}
		d, err := c.constant(1, "relative standard deviation")
		if err != nil {
			return nil, err
		}
		rsd = d.F
	}
	p := int(math.Ceil(2 * math.Log(1.106/rsd) / math.Log(2)))
	if !(rsd > 0) || p < 4 || p > maxPrecision {
		return nil, analysis("DATATYPE_MISMATCH.VALUE_OUT_OF_RANGE", "42K09", "the relative standard deviation of %s must be between 0.0044 and 0.39, not %v", c.name, rsd)
	}
	return c.fn(column.Of(column.BigInt), func() Accumulator { return &hllAcc{p: p} })
}

// hllAcc counts distinct values by HyperLogLog with the hash and the registers
// that Spark uses. A group has registers from its first value on.
type hllAcc struct {
	p    int
	slab []int32 // per group: index of its registers + 1, 0 = none yet
	regs []uint8 // 2^p per slab
	free []int32
}

func (a *hllAcc) Grow(n int) { a.slab = growTo(a.slab, n) }

func (a *hllAcc) Add(_ *expr.Context, groups []int32, args []*column.Column, sel []int32) {
	arg := args[0]
	for i, g := range groups {
		row := rowAt(sel, i)
		if arg.IsNull(row) {
			continue
		}
		x := hashValue(arg, row, 42)
		r := a.registers(g)
		rank := uint8(bits.LeadingZeros64(x<<a.p|1<<(a.p-1)) + 1)
		if at := x >> (64 - a.p); rank > r[at] {
			r[at] = rank
		}
	}
}

// registers returns those of a group, made when there are none.
func (a *hllAcc) registers(g int32) []uint8 {
	m := 1 << a.p
	if a.slab[g] == 0 {
		if n := len(a.free); n > 0 {
			a.slab[g], a.free = a.free[n-1], a.free[:n-1]
			clear(a.regs[int(a.slab[g]-1)*m:][:m])
		} else {
			a.slab[g] = int32(len(a.regs)/m) + 1
			a.regs = growTo(a.regs, len(a.regs)+m)
		}
	}
	return a.regs[int(a.slab[g]-1)*m:][:m]
}

func (a *hllAcc) Merge(into int32, other Accumulator, from int32) error {
	o, ok := other.(*hllAcc)
	if !ok || o.p != a.p {
		return mismatch(a, other)
	}
	if o.slab[from] == 0 {
		return nil
	}
	r := a.registers(into)
	for i, v := range o.registers(from) {
		r[i] = max(r[i], v)
	}
	return nil
}

func (a *hllAcc) Value(group int32, out *column.Column) error {
	if a.slab[group] == 0 {
		out.AppendI64(0)
		return nil
	}
	out.AppendI64(int64(math.Round(estimate(a.registers(group), a.p))))
	return nil
}

// linearBelow is up to which estimate, by precision from 4, counting empty registers is better (HLL++ paper, table of thresholds).
var linearBelow = [...]float64{10, 20, 40, 80, 220, 400, 900, 1800, 3100, 6500, 15500, 20000, 50000}

// estimate is linear counting for small numbers and Ertl's improved estimator
// above, which needs no table of biases.
func estimate(regs []uint8, p int) float64 {
	m := float64(len(regs))
	var hist [66]float64
	inverse := 0.0
	for _, r := range regs {
		hist[min(int(r), 65)]++
		inverse += math.Ldexp(1, -int(r))
	}
	if hist[0] > 0 {
		linear := m * math.Log(m/hist[0])
		alpha := 0.7213 / (1 + 1.079/m)
		if linear <= linearBelow[p-4] || alpha*m*m/inverse <= 2.5*m {
			return linear
		}
	}
	q := 64 - p
	z := m * tau((m-hist[q+1])/m)
	for k := q; k >= 1; k-- {
		z = 0.5 * (z + hist[k])
	}
	z += m * sigma(hist[0]/m)
	return m * m / (2 * math.Ln2 * z)
}

func sigma(x float64) float64 {
	if x == 1 {
		return math.Inf(1)
	}
	y, z := 1.0, x
	for {
		x = float64(x * x)
		before := z
		z += float64(x * y)
		y += y
		if z == before {
			return z
		}
	}
}

func tau(x float64) float64 {
	if x == 0 || x == 1 {
		return 0
	}
	y, z := 1.0, 1-x
	for {
		x = math.Sqrt(x)
		before := z
		y *= 0.5
		z -= float64(float64((1-x)*(1-x)) * y)
		if z == before {
			return z / 3
		}
	}
}

func (a *hllAcc) Clear(group int32) {
	if a.slab[group] != 0 {
		a.free = append(a.free, a.slab[group])
		a.slab[group] = 0
	}
}

func (a *hllAcc) Encode(w io.Writer, n int) error {
	e := newEncoder(w)
	for g := range int32(n) {
		if a.slab[g] == 0 {
			e.blob(nil)
			continue
		}
		e.blob(a.registers(g))
	}
	return e.flush()
}

func (a *hllAcc) Decode(r io.Reader, n int) error {
	d := newDecoder(r)
	*a = hllAcc{p: a.p}
	for g := 0; g < n && d.err == nil; g++ {
		a.Grow(g + 1)
		b := d.blob()
		if len(b) == 0 {
			continue
		}
		if len(b) != 1<<a.p {
			d.fail("registers of another precision")
			break
		}
		copy(a.registers(int32(g)), b)
	}
	return d.err
}

func (a *hllAcc) Bytes() int { return 4*len(a.slab) + len(a.regs) - len(a.free)<<a.p }
