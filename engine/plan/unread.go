package plan

import "slices"

// takeLate finds a DEDUP, with nothing but projections and filters above it, whose event time nobody reads.
func takeLate(root Node) {
	read := everything(root)
	for n := root; ; {
		switch x := n.(type) {
		case *Filter:
			columnsOf(x.Cond, func(c int) { read[c] = true })
			n = x.Input
		case *Project:
			below := make([]bool, len(x.Input.Schema().Fields))
			for i, e := range x.Exprs {
				if read[i] {
					columnsOf(e, func(c int) { below[c] = true })
				}
			}
			read, n = below, x.Input
		case *Dedup:
			t := x.Input.Schema().Time
			x.TakesLate = !x.Within && x.EventKey < 0 && t >= 0 && !read[t] && !slices.Contains(x.Keys, t)
			return
		default:
			return
		}
	}
}
