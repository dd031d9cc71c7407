package oracle

import (
	"testing"

	"signalbox/simulator/fleet"
)

func reading(bus, route string, second, passengers int64) fleet.Reading {
	return fleet.Reading{BusID: bus, Route: route, Time: second * 1e9, Passengers: passengers, Capacity: 10}
}

// The oracle itself is checked by hand on numbers small enough to see.
func TestByHand(t *testing.T) {
	rs := []fleet.Reading{reading("a", "R1", 1, 4), reading("b", "R1", 9, 10), reading("a", "R1", 10, 8), reading("c", "R2", 3, 1), reading("a", "R1", 5, 9)}
	w := Windows(rs, 10_000_000)
	if got := w[Key{0, "R1"}]; got.Readings != 3 || got.Max != 10 || got.Sum != 23 || got.Peak != 1 || got.End != 10_000_000 {
		t.Errorf("window 0 of R1: %+v", got)
	}
	if got := w[Key{10_000_000, "R1"}]; got.Readings != 1 || got.Avg != 8 {
		t.Errorf("window 10 of R1: %+v", got)
	}
	if p, n := FleetTotal(rs); p != 19 || n != 3 {
		t.Errorf("fleet total %d on %d buses, want 19 on 3", p, n)
	}
	rs[2].Seq = 7
	if c := Counts(rs); len(c) != 3 || c["a"] != (Count{3, 7}) {
		t.Errorf("counts: %+v", c)
	}
	if f := Full(rs); len(f) != 1 || f[0].BusID != "b" {
		t.Errorf("full: %+v", f)
	}
}

func TestAlertsByHand(t *testing.T) {
	rs := []fleet.Reading{reading("a", "R", 1, 10), reading("a", "R", 2, 9), reading("a", "R", 3, 8), reading("a", "R", 2, 10), reading("a", "R", 4, 11)}
	got := Alerts(rs)
	want := []Transition{{"a", true, 1e9}, {"a", false, 3e9}, {"a", true, 4e9}}
	if len(got) != len(want) {
		t.Fatalf("got %+v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%d: got %+v want %+v", i, got[i], want[i])
		}
	}
}
