// Package oracle recomputes what the bus pipeline must have produced, slowly
// and obviously: one reading at a time, plain maps, no window state, no
// batches. It promises to share no code with the engine, so that both agree
// only when both are right, and refuses to know how readings were delivered.
package oracle

import (
	"sort"

	"signalbox/simulator/fleet"
)

// Window is the answer of one route in one window.
type Window struct {
	Start, End int64 // µs
	Route      string
	Readings   int64
	Max        int64
	Avg        float64 // sum / count
	Sum        int64
	Peak       float64 // greatest passengers / capacity
}

// Key identifies a window of a route.
type Key struct {
	Start int64
	Route string
}

// Windows computes tumbling windows of size µs over the readings, each counted as often as it is listed.
func Windows(readings []fleet.Reading, size int64) map[Key]Window {
	out := map[Key]Window{}
	for _, r := range readings {
		us := floorDiv(r.Time, 1000)
		start := floorDiv(us, size) * size
		k := Key{start, r.Route}
		w, seen := out[k]
		if !seen {
			w = Window{Start: start, End: start + size, Route: r.Route, Max: r.Passengers, Peak: ratio(r)}
		}
		w.Readings++
		w.Sum += r.Passengers
		w.Max = max(w.Max, r.Passengers)
		w.Peak = max(w.Peak, ratio(r))
		w.Avg = float64(w.Sum) / float64(w.Readings)
		out[k] = w
	}
	return out
}

func ratio(r fleet.Reading) float64 { return float64(r.Passengers) / float64(r.Capacity) }

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// FleetTotal is the latest load of each bus, summed, and how many buses there are.
func FleetTotal(readings []fleet.Reading) (passengers, buses int64) {
	for _, r := range Latest(readings) {
		passengers += r.Passengers
		buses++
	}
	return passengers, buses
}

// Latest returns the newest reading of each bus.
func Latest(readings []fleet.Reading) map[string]fleet.Reading {
	out := map[string]fleet.Reading{}
	for _, r := range readings {
		if old, ok := out[r.BusID]; !ok || r.Time > old.Time {
			out[r.BusID] = r
		}
	}
	return out
}

// Count is how often a bus was heard, and the greatest number it gave a reading.
type Count struct{ Readings, LastSeq int64 }

// Counts counts the readings of each bus, each as often as it is listed.
func Counts(readings []fleet.Reading) map[string]Count {
	out := map[string]Count{}
	for _, r := range readings {
		c := out[r.BusID]
		out[r.BusID] = Count{c.Readings + 1, max(c.LastSeq, r.Seq)}
	}
	return out
}

// Full returns the readings at capacity, in the order given.
func Full(readings []fleet.Reading) (out []fleet.Reading) {
	for _, r := range readings {
		if r.Passengers >= r.Capacity {
			out = append(out, r)
		}
	}
	return out
}

// Transition is a change of the capacity alert of one bus.
type Transition struct {
	BusID  string
	Firing bool
	Time   int64 // ns: event time of the reading that caused it
}

// Alerts walks each bus through its readings in the order of their arrival:
// full fires, below nine tenths resolves, anything older than the newest seen is ignored.
func Alerts(arrived []fleet.Reading) (out []Transition) {
	type state struct {
		newest int64
		firing bool
	}
	buses := map[string]*state{}
	for _, r := range arrived {
		s := buses[r.BusID]
		if s == nil {
			s = &state{newest: -1 << 62}
			buses[r.BusID] = s
		}
		if r.Time <= s.newest {
			continue
		}
		s.newest = r.Time
		switch {
		case !s.firing && r.Passengers >= r.Capacity:
			s.firing = true
			out = append(out, Transition{r.BusID, true, r.Time})
		case s.firing && float64(r.Passengers) < 0.9*float64(r.Capacity):
			s.firing = false
			out = append(out, Transition{r.BusID, false, r.Time})
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].Time < out[j].Time })
	return out
}
