package stream

import (
	"math/rand"
	"slices"
	"testing"
)

// TestExpiriesComeInOrder compares the heap with sorting.
func TestExpiriesComeInOrder(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	for range 200 {
		var h expiries
		var all []expiry
		for n := range int32(r.Intn(60)) {
			x := expiry{r.Int63n(20), n}
			h.push(x)
			all = append(all, x)
		}
		slices.SortFunc(all, func(a, b expiry) int {
			if a.before(b) {
				return -1
			}
			return 1
		})
		mark := r.Int63n(22)
		for len(all) > 0 && all[0].at <= mark {
			x, ok := h.due(mark)
			if !ok || x != all[0] {
				t.Fatalf("got %v %v, want %v", x, ok, all[0])
			}
			all = all[1:]
		}
		if x, ok := h.due(mark); ok {
			t.Fatalf("%v is after %d", x, mark)
		}
	}
}

// TestAgesFindTheOld compares the buckets with looking at every group.
func TestAgesFindTheOld(t *testing.T) {
	r := rand.New(rand.NewSource(2))
	a := ages{step: 7}
	a.grow(40, 1)
	last := map[int32]int64{}
	for now := int64(0); now < 3000; now++ {
		g := int32(r.Intn(40))
		at := now - r.Int63n(30)
		a.saw(g, at)
		if old, ok := last[g]; !ok || at > old {
			last[g] = at
		}
		gone := a.expire(now-50, func(int32) bool { return true })
		want := 0
		for k, t := range last {
			if t <= now-50 {
				delete(last, k)
				want++
			}
		}
		for _, g := range gone {
			a.forget(g)
		}
		if len(gone) != want {
			t.Fatalf("at %d: %d groups expired, want %d", now, len(gone), want)
		}
	}
}
