package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"signalbox/cmd/signalbox/client"
	"signalbox/simulator/fleet"
	"signalbox/simulator/load"
	"signalbox/simulator/oracle"
)

// agentsOf is how many agents a test fleet is spread over; a bus always belongs to the same one.
const agentsOf = 2

// windowSize is that of route_load, in µs.
const windowSize = 10_000_000

// ledger is what was published: every good reading as often as it was sent, and the bad ones by the reason
// for which they have to be refused.
type ledger struct {
	t   testing.TB
	pub *load.Publisher

	mu   sync.Mutex
	good []fleet.Reading // in the order of publishing
	bad  map[string]int
	odd  int64 // sequence of the readings that carry bad neighbours
}

func newLedger(t testing.TB, broker string) *ledger {
	t.Helper()
	p, err := load.Connect(t.Context(), load.PublisherConfig{Broker: broker, ClientID: "e2e-buses", Topic: "%s", Connections: 4, InFlight: 256, Timeout: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return &ledger{t: t, pub: p, bad: map[string]int{}}
}

func busTopic(r fleet.Reading) string {
	return fmt.Sprintf("fleet/depot%d/%s", r.Bus%agentsOf+1, r.BusID)
}

// sent books a message of the simulator.
func (l *ledger) sent(d fleet.Delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if d.Reading.Time > d.At+int64(5*time.Minute) {
		l.bad["future"]++
		return
	}
	l.good = append(l.good, d.Reading)
}

func (l *ledger) counts() (good, bad int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range l.bad {
		bad += n
	}
	return len(l.good), bad
}

// readings returns the good readings so far.
func (l *ledger) readings() []fleet.Reading {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.good)
}

// neighbour books a good reading that travels in the same message as a bad one. Its time is now minus age.
func (l *ledger) neighbour(age time.Duration) fleet.Reading {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.odd++
	at := time.Now().Add(-age).Truncate(time.Millisecond).UnixNano() + l.odd*1000 // no two at the same microsecond
	r := fleet.Reading{Bus: 0, BusID: "odd1", Route: "R99", VehicleType: "C", Time: at, Seq: l.odd,
		Passengers: 20 + l.odd%5, Capacity: 78, Speed: 3.5}
	l.good = append(l.good, r)
	return r
}

// mischief publishes one message of each bad kind, each between two good readings.
func (l *ledger) mischief() {
	l.t.Helper()
	now := time.Now().UnixNano()
	for _, bad := range []struct{ reason, text string }{
		{"malformed", "bus,bus_id=,route= nonsense\n"},
		{"type", fmt.Sprintf("bus,bus_id=odd2,route=R99,vehicle_type=C passengers=\"many\",capacity=78i,seq=1i %d\n", now)},
		{"unknown_stream", fmt.Sprintf("tram,tram_id=t1 passengers=7i %d\n", now)},
		{"future", fmt.Sprintf("bus,bus_id=odd3,route=R99,vehicle_type=C passengers=7i,capacity=78i,seq=1i %d\n", now+int64(10*time.Minute))},
	} {
		payload := fleet.AppendLine(nil, l.neighbour(0))
		payload = append(payload, bad.text...)
		payload = fleet.AppendLine(payload, l.neighbour(0))
		l.publish(payload)
		l.refuse(bad.reason)
	}
	l.publish(slices.Concat(fleet.AppendLine(nil, fleet.Reading{BusID: "odd4"}), []byte("# "), []byte(strings.Repeat("x", 70_000)))) // as a whole too large
	l.refuse("oversized")
	l.publish([]byte("bus,bus_id=\xff\xfe passengers=1i")) // not UTF-8
	l.refuse("malformed")
}

// tardy publishes readings that are older than the delay of any query allows.
func (l *ledger) tardy(age time.Duration) { l.publish(fleet.AppendLine(nil, l.neighbour(age))) }

func (l *ledger) publish(payload []byte) {
	if err := l.pub.Publish(context.WithoutCancel(l.t.Context()), 0, "fleet/depot1/odd", payload); err != nil {
		l.t.Error(err)
	}
}

func (l *ledger) refuse(reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bad[reason]++
}

// lateRow is a row that a query found too late.
type lateRow struct {
	at         string
	route      string
	passengers int64
}

// lateRows asks for what each query found too late.
func lateRows(ctx context.Context, c *client.Client) (map[string]map[lateRow]int, error) {
	rows, err := c.Query(ctx, "SELECT query, `row` FROM `bus$late`")
	if err != nil {
		return nil, err
	}
	out := map[string]map[lateRow]int{}
	for _, r := range rows.Rows {
		var query, text string
		if err := json.Unmarshal(r[0], &query); err != nil {
			return nil, err
		}
		if query != "route_load" && query != "route_strict" {
			return nil, fmt.Errorf("query %s refused a late row, but allows an hour", query)
		}
		if out[query] == nil {
			out[query] = map[lateRow]int{}
		}
		if err := json.Unmarshal(r[1], &text); err != nil {
			return nil, err
		}
		var row struct {
			Time, Route string
			Passengers  int64
		}
		if err := json.Unmarshal([]byte(text), &row); err != nil {
			return nil, fmt.Errorf("late row %s: %w", text, err)
		}
		out[query][lateRow{row.Time, row.Route, row.Passengers}]++
	}
	return out, nil
}

// without returns the readings less the late ones; it is an error when a late row was never sent.
func without(readings []fleet.Reading, late map[lateRow]int) ([]fleet.Reading, error) {
	left := maps.Clone(late)
	var out []fleet.Reading
	for _, r := range readings {
		k := lateRow{micros(r.Time / 1000), r.Route, r.Passengers}
		if left[k] > 0 {
			left[k]--
			continue
		}
		out = append(out, r)
	}
	for k, n := range left {
		if n > 0 {
			return nil, fmt.Errorf("%d late rows %+v were never sent, or sent less often", n, k)
		}
	}
	return out, nil
}

// compared are the result tables that the oracle knows.
var compared = []resultTable{
	{"route_strict", []string{"start", "end", "route", "readings", "passengers_max", "passengers_avg", "peak"}, "ttsiiff"},
	{"route_load", []string{"start", "end", "route", "readings", "passengers_max", "passengers_avg", "peak"}, "ttsiiff"},
	{"route_revised", []string{"start", "end", "route", "readings", "passengers_max", "passengers_avg", "peak"}, "ttsiiff"},
	{"bus_now", []string{"bus_id", "time", "route", "vehicle_type", "passengers", "capacity", "lat", "lon"}, "stssiiff"},
	{"fleet_now", []string{"passengers", "buses"}, "ii"},
	{"full_bus", []string{"time", "bus_id", "route", "passengers", "capacity", "description"}, "tssiis"},
	{"bus_count", []string{"bus_id", "readings", "last_seq"}, "sii"},
}

// expected computes what the tables must hold: everything that was sent, less what was late for a query.
func expected(all []fleet.Reading, late map[string]map[lateRow]int) (map[string][]string, error) {
	out := map[string][]string{"route_revised": windowLines(all)}
	for _, query := range []string{"route_load", "route_strict"} {
		onTime, err := without(all, late[query])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", query, err)
		}
		out[query] = windowLines(onTime)
	}
	for _, r := range oracle.Latest(all) {
		var lat, lon any
		if r.HasPosition {
			lat, lon = r.Lat, r.Lon
		}
		out["bus_now"] = append(out["bus_now"], line(r.BusID, micros(r.Time/1000), r.Route, r.VehicleType, r.Passengers, r.Capacity, lat, lon))
	}
	passengers, buses := oracle.FleetTotal(all)
	out["fleet_now"] = []string{line(passengers, buses)}
	what := map[string]string{}
	for _, v := range fleet.VehicleTypes() {
		what[v.Name] = v.Description
	}
	for _, r := range oracle.Full(all) {
		out["full_bus"] = append(out["full_bus"], line(micros(r.Time/1000), r.BusID, r.Route, r.Passengers, r.Capacity, what[r.VehicleType]))
	}
	for bus, c := range oracle.Counts(all) {
		out["bus_count"] = append(out["bus_count"], line(bus, c.Readings, c.LastSeq))
	}
	for _, rows := range out {
		slices.Sort(rows)
	}
	return out, nil
}

func windowLines(readings []fleet.Reading) (out []string) {
	for _, w := range oracle.Windows(readings, windowSize) {
		out = append(out, line(micros(w.Start), micros(w.End), w.Route, w.Readings, w.Max, w.Avg, w.Peak))
	}
	return out
}
