package e2e

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"signalbox/simulator/fleet"
)

// TestChecksCatch plants what the comparisons exist to find: a check that has never failed proves nothing.
func TestChecksCatch(t *testing.T) {
	f := fleet.New(fleet.Config{Seed: 3, Buses: 10, Routes: 3, Interval: 200 * time.Millisecond, Pace: 20, Crowding: 0.2})
	var all []fleet.Reading
	for range 3000 {
		all = append(all, f.Next())
	}
	want := lines(t, all, nil)
	full := slices.IndexFunc(all, func(r fleet.Reading) bool { return r.Passengers >= r.Capacity })
	if full < 0 {
		t.Fatal("no bus is full: the plants below would hide")
	}
	changed := func(i int, change func(*fleet.Reading)) []fleet.Reading {
		out := slices.Clone(all)
		change(&out[i])
		return out
	}
	last := len(all) - 1
	for name, c := range map[string]struct {
		readings []fleet.Reading
		tables   []string
	}{
		"one lost":                        {slices.Delete(slices.Clone(all), full, full+1), []string{"route_load", "route_revised", "full_bus", "bus_count"}},
		"one twice":                       {append(slices.Clone(all), all[full]), []string{"route_load", "route_revised", "full_bus", "bus_count"}},
		"one passenger more":              {changed(last, func(r *fleet.Reading) { r.Passengers++ }), []string{"route_load", "bus_now", "fleet_now"}},
		"one microsecond later":           {changed(last, func(r *fleet.Reading) { r.Time += 1000 }), []string{"bus_now"}},
		"a position that was not there":   {changed(last, func(r *fleet.Reading) { r.HasPosition = !r.HasPosition }), []string{"bus_now"}},
		"counted for another bus":         {changed(full, func(r *fleet.Reading) { r.BusID = "b9999" }), []string{"bus_count", "full_bus", "fleet_now"}},
		"counted for another route":       {changed(full, func(r *fleet.Reading) { r.Route = "R77" }), []string{"route_load", "full_bus"}},
		"described as another bus's type": {changed(full, func(r *fleet.Reading) { r.VehicleType = "nothing" }), []string{"full_bus"}},
	} {
		got := lines(t, c.readings, nil)
		for _, table := range c.tables {
			if difference(got[table], want[table]) == "" {
				t.Errorf("%s: not seen in %s", name, table)
			}
		}
	}
}

func lines(t *testing.T, readings []fleet.Reading, late map[string]map[lateRow]int) map[string][]string {
	t.Helper()
	out, err := expected(readings, late)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestLateRowsAreTakenOutOnce(t *testing.T) {
	r := fleet.Reading{BusID: "a", Route: "R1", VehicleType: "C", Time: 5e9, Passengers: 3, Capacity: 10}
	k := lateRow{micros(5_000_000), "R1", 3}
	late := map[string]map[lateRow]int{"route_strict": {k: 1}}
	got := lines(t, []fleet.Reading{r, r}, late)
	if !strings.Contains(got["route_strict"][0], "|R1|1|") || !strings.Contains(got["route_revised"][0], "|R1|2|") {
		t.Errorf("one of two equal rows was late: route_strict %v, route_revised %v", got["route_strict"], got["route_revised"])
	}
	if !maps.Equal(late["route_strict"], map[lateRow]int{k: 1}) {
		t.Error("the late rows were changed")
	}
	if _, err := expected([]fleet.Reading{r}, map[string]map[lateRow]int{"route_load": {k: 2}}); err == nil {
		t.Error("a late row that was never sent was believed")
	}
}

func TestDifferenceAndTransitions(t *testing.T) {
	if d := difference([]string{"a", "b", "b", "d"}, []string{"a", "b", "c"}); !strings.Contains(d, "2 too many (b; d)") || !strings.Contains(d, "1 missing (c)") {
		t.Errorf("difference: %s", d)
	}
	const topic = "signalbox/event/g/r/1"
	w := &watcher{messages: []message{
		{topic, []byte(`{"id":"1","group":"g","rule":"r","seq":1,"state":"firing","value":"7"}`), false},
		{topic, []byte(`{"id":"1","group":"g","rule":"r","seq":1,"state":"firing","value":"7"}`), false}}}
	if got, err := w.transitions(); err != nil || len(got) != 1 {
		t.Errorf("a transition told twice: %v, %v", got, err)
	}
	w.messages[1].payload = []byte(`{"id":"1","group":"g","rule":"r","seq":1,"state":"firing","value":"8"}`)
	if _, err := w.transitions(); err == nil {
		t.Error("a transition told with two values was not noticed")
	}
}
