package spool

import "slices"

// Range is a range of record numbers, both ends included.
type Range struct{ From, To uint64 }

// Ranges is a sorted set of numbers as ranges that neither touch nor overlap.
type Ranges []Range

// Add puts r into the set.
func (s Ranges) Add(r Range) Ranges {
	i, _ := slices.BinarySearchFunc(s, r.From, func(x Range, n uint64) int {
		if x.To+1 < n {
			return -1
		}
		return 1
	})
	j := i
	for ; j < len(s) && s[j].From <= r.To+1; j++ {
		r.From, r.To = min(r.From, s[j].From), max(r.To, s[j].To)
	}
	return slices.Replace(s, i, j, r)
}

// AddNumber puts one number into the set.
func (s Ranges) AddNumber(n uint64) Ranges { return s.Add(Range{n, n}) }

// Has reports whether n is in the set.
func (s Ranges) Has(n uint64) bool {
	i, _ := slices.BinarySearchFunc(s, n, func(x Range, n uint64) int {
		if x.To < n {
			return -1
		}
		return 1
	})
	return i < len(s) && s[i].From <= n
}

// Forget removes every number below n.
func (s Ranges) Forget(n uint64) Ranges {
	for len(s) > 0 && s[0].To < n {
		s = s[1:]
	}
	return slices.Clip(s)
}
