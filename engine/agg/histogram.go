package agg

import (
	"slices"
	"sort"

	"signalbox/engine/column"
	"signalbox/engine/expr"
)

func histogramEntries() []entry {
	bitmap := func(name, doc, example string) entry {
		return entry{Info: Info{Name: name, Signature: name + "(x)", Doc: doc, Example: example}, bind: bindBitmap, min: 1, max: 1}
	}
	return []entry{
		{Info: Info{Name: "histogram_numeric", Signature: "histogram_numeric(x, bins)", Doc: "Histogram of at most that many bins, each with its centre x and the count y; bins follow the data.", Example: "histogram_numeric(speed, 5)"},
			bind: bindHistogram, min: 2, max: 2},
		bitmap("bitmap_construct_agg", "Bitmap of 4096 bytes with the bits at the positions that bitmap_bit_position gives.", "bitmap_construct_agg(bitmap_bit_position(passengers))"),
		bitmap("bitmap_or_agg", "Bits that are set in one of the bitmaps.", "bitmap_or_agg(CAST(route AS BINARY))"),
		bitmap("bitmap_and_agg", "Bits that are set in all bitmaps.", "bitmap_and_agg(CAST(route AS BINARY))"),
	}
}

const bitmapBytes = 4096

func bindBitmap(c *call) (Func, error) {
	t := column.Of(column.Binary)
	if c.name == "bitmap_construct_agg" {
		if t = column.Of(column.BigInt); !c.args[0].Type().Kind.IsIntegral() {
			return nil, c.typeError(0, "a BIGINT")
		}
	} else if c.args[0].Type().Kind != column.Binary {
		return nil, c.typeError(0, "BINARY")
	}
	if err := c.coerce(0, t); err != nil {
		return nil, err
	}
	name := c.name
	return c.listFn(column.Of(column.Binary), 0, 1, func(a *listAcc, slots []int32, out *column.Column) error {
		bits := make([]byte, bitmapBytes)
		if name == "bitmap_and_agg" {
			for i := range bits {
				bits[i] = 0xff
			}
		}
		for _, s := range slots {
			d := a.datum(0, s)
			switch name {
			case "bitmap_construct_agg":
				if d.I < 0 || d.I >= 8*bitmapBytes {
					return &expr.Error{Phase: expr.Runtime, Condition: "INVALID_BITMAP_POSITION", SQLState: "22003", Message: "a position in a bitmap is 0 to 32767: use bitmap_bit_position(x)"}
				}
				bits[d.I/8] |= 1 << (d.I % 8)
			case "bitmap_or_agg":
				for i := range min(len(d.S), bitmapBytes) {
					bits[i] |= d.S[i]
				}
			default:
				for i := range bits {
					if i < len(d.S) {
						bits[i] &= d.S[i]
					} else {
						bits[i] = 0
					}
				}
			}
		}
		out.AppendBytes(bits)
		return nil
	})
}

func bindHistogram(c *call) (Func, error) {
	t := c.args[0].Type()
	switch k := t.Kind; {
	case k == column.String || k == column.Void:
		t = column.Of(column.Double)
	case k == column.Decimal || !k.IsNumeric():
		return nil, c.typeError(0, "a number other than DECIMAL")
	}
	x := t
	if err := c.coerce(1, column.Of(column.Int)); err != nil {
		return nil, err
	}
	n, err := c.constant(1, "number of bins")
	if err != nil {
		return nil, err
	}
	if n.Null || n.I < 2 || n.I > maxBins {
		return nil, analysis("DATATYPE_MISMATCH.VALUE_OUT_OF_RANGE", "42K09", "histogram_numeric takes 2 to %d bins", maxBins)
	}
	if err := c.coerce(0, column.Of(column.Double)); err != nil {
		return nil, err
	}
	bin := column.StructOf(column.Field{Name: "x", Type: x}, column.Field{Name: "y", Type: column.Of(column.Double)})
	return c.listFn(column.ArrayOf(bin), 0, 1, func(a *listAcc, slots []int32, out *column.Column) error {
		if len(slots) == 0 {
			out.AppendNull()
			return nil
		}
		h := histogram{most: int(n.I), seed: (31183 ^ javaMultiplier) & javaMask}
		for _, s := range slots {
			h.add(a.lists.cells[0].f64[s])
		}
		d := column.Datum{}
		for _, b := range h.bins {
			v := column.F64(b.x)
			if x.Kind.IsIntegral() {
				v = column.I64(int64(b.x))
			}
			d.L = append(d.L, column.Datum{L: []column.Datum{v, column.F64(b.y)}})
		}
		out.Append(d)
		return nil
	})
}

const maxBins = 10_000

// histogram is the one of Ben-Haim and Yom-Tov as Hive and Spark compute it: the two closest bins become one. Of
// equally close ones a generator with a fixed seed picks, java.util.Random.
type histogram struct {
	bins []histogramBin
	most int
	seed int64
}

type histogramBin struct{ x, y float64 }

const (
	javaMultiplier = 0x5DEECE66D
	javaMask       = 1<<48 - 1
)

func (h *histogram) random() float64 {
	next := func(bits uint) int64 {
		h.seed = (h.seed*javaMultiplier + 0xB) & javaMask
		return h.seed >> (48 - bits)
	}
	hi := next(26) << 27
	return float64(hi+next(27)) / (1 << 53)
}

func (h *histogram) add(v float64) {
	i := sort.Search(len(h.bins), func(i int) bool { return h.bins[i].x >= v })
	if i < len(h.bins) && h.bins[i].x == v {
		h.bins[i].y++
		return
	}
	h.bins = slices.Insert(h.bins, i, histogramBin{v, 1})
	if len(h.bins) > h.most {
		h.join()
	}
}

// join makes one bin of the two that are closest.
func (h *histogram) join() {
	least, at, equal := h.bins[1].x-h.bins[0].x, 0, 1.0
	for i := 1; i < len(h.bins)-1; i++ {
		switch d := h.bins[i+1].x - h.bins[i].x; {
		case d < least:
			least, at, equal = d, i, 1
		case d == least:
			if equal++; h.random() <= 1/equal {
				at = i
			}
		}
	}
	a, b := h.bins[at], h.bins[at+1]
	y := a.y + b.y
	x := float64(a.x * (a.y / y))
	h.bins[at] = histogramBin{x + float64(b.x/y*b.y), y}
	h.bins = slices.Delete(h.bins, at+1, at+2)
}
