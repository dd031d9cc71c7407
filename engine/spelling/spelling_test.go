package spelling

import (
	"strings"
	"testing"
)

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "bus", 3}, {"bus", "", 3}, {"bus", "bus", 0},
		{"passengers", "passenger", 1}, {"passengers", "passangers", 1}, {"passengers", "pasesngers", 1},
		{"WHEER", "WHERE", 1}, {"kitten", "sitting", 3}, {"ab", "ba", 1}, {"abc", "ca", 3},
		{strings.Repeat("x", 1<<20), strings.Repeat("x", 1<<20) + "y", 0}, {strings.Repeat("x", 1<<20), "", MaxName},
	} {
		if got := Distance(c.a, c.b); got != c.want {
			t.Errorf("Distance(%.20q, %.20q) = %d, want %d", c.a, c.b, got, c.want)
		}
		if got := Distance(c.b, c.a); got != c.want {
			t.Errorf("Distance(%.20q, %.20q) = %d, want %d: not symmetric", c.b, c.a, got, c.want)
		}
	}
}
