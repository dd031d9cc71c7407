package engine

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestTimeRange(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for n := 1; n < 40; n++ {
		for range 50 {
			v := make([]int64, n)
			for i := range v {
				v[i] = rng.Int64N(20) - 10
			}
			slices.Sort(v[:rng.IntN(n+1)])
			lo, hi := timeRange(v)
			if lo != slices.Min(v) || hi != slices.Max(v) {
				t.Fatalf("%v: %d to %d", v, lo, hi)
			}
		}
	}
}
