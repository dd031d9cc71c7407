package frames

import (
	"strings"
	"testing"

	"signalbox/engine/column"
	"signalbox/simulator/w1"
)

func TestFramesAreSmallerThanTextAndComeBackEqual(t *testing.T) {
	rows, err := Measure()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if r.Zstd > r.Frame || r.Frame*5 > r.Text || r.TextZstd >= r.Text || r.Encode <= 0 || r.Decode <= 0 {
			t.Errorf("%+v", r)
		}
		if r.Asked > 0 && r.Zstd > r.Asked {
			t.Errorf("%s: %.2f bytes per reading, %.0f are asked", r.Name, r.Zstd, r.Asked)
		}
	}
	var b strings.Builder
	if err := Print(&b, rows); err != nil || strings.Count(b.String(), "\n") != len(rows)+1 {
		t.Errorf("%v\n%s", err, b.String())
	}
}

func TestADifferenceIsNoticed(t *testing.T) {
	s := shape{"x", 1, 10, 0}
	if _, err := measure(s); err != nil {
		t.Fatal(err)
	}
	a, b := example(s), example(s)
	if err := same(a, b); err != nil {
		t.Fatal(err)
	}
	b.Cols[3].I64[7]++
	if same(a, b) == nil {
		t.Error("a changed value is not noticed")
	}
}

func example(s shape) *column.Batch {
	var out *column.Batch
	for out = range w1.Batches(w1.Config{Seconds: s.seconds, Buses: s.buses, Routes: 20, Seed: 1, LateMS: 1}, s.buses*s.seconds) {
	}
	return out
}
