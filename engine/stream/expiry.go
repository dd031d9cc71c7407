package stream

// expiry is something that ends at a time; n breaks ties, so that the order is always the same.
type expiry struct {
	at int64
	n  int32
}

func (a expiry) before(b expiry) bool { return a.at < b.at || a.at == b.at && a.n < b.n }

// expiries is a heap of expiries, earliest first.
type expiries []expiry

func (h *expiries) push(x expiry) {
	*h = append(*h, x)
	s := *h
	i := len(s) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !s[i].before(s[up]) {
			return
		}
		s[i], s[up] = s[up], s[i]
		i = up
	}
}

// due removes and returns the earliest expiry at or before mark.
func (h *expiries) due(mark int64) (expiry, bool) {
	s := *h
	if len(s) == 0 || s[0].at > mark {
		return expiry{}, false
	}
	x := s[0]
	last := len(s) - 1
	s[0] = s[last]
	s = s[:last]
	*h = s
	for i := 0; ; {
		k := 2*i + 1
		if k >= last {
			return x, true
		}
		if k+1 < last && s[k+1].before(s[k]) {
			k++
		}
		if !s[k].before(s[i]) {
			return x, true
		}
		s[i], s[k] = s[k], s[i]
		i = k
	}
}
