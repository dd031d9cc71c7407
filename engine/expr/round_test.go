package expr

import (
	"math"
	"math/rand"
	"strconv"
	"testing"
)

// TestRoundDigits holds the short way of rounding to the long one with big numbers.
func TestRoundDigits(t *testing.T) {
	r := rand.New(rand.NewSource(3))
	for range 200000 {
		f := []float64{math.Float64frombits(r.Uint64()), float64(r.Intn(1<<20)) / 1000, float64(r.Intn(1<<30)-1<<29) / 1e5, r.NormFloat64()}[r.Intn(4)]
		if math.IsNaN(f) || math.IsInf(f, 0) || math.Abs(f) >= 1<<53 {
			continue
		}
		scale := 1 + r.Intn(8)
		v, s, _ := parseDecimalText(strconv.FormatFloat(f, 'e', -1, 64))
		want := f
		if s > scale {
			want, _ = strconv.ParseFloat(rescale(v, s, scale, halfUp).String()+"e"+itoa(-scale), 64)
		}
		want += 0
		if got, ok := roundDigits(f, scale); ok && math.Float64bits(got) != math.Float64bits(want) {
			t.Fatalf("round(%v, %d) = %v, want %v", f, scale, got, want)
		}
	}
}
