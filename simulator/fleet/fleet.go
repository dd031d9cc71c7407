// Package fleet makes up a bus fleet from a seed: routes and stops, passengers
// who board by the hour of the day, vehicle types with capacities, noisy and
// missing positions, and now and then a crowd, so that buses get full and
// empty again.
//
// It promises that the same Config gives the same readings on every machine,
// and it refuses to know the clock, the network and the product.
package fleet

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"time"
)

// VehicleType is a row of the static table.
type VehicleType struct {
	Name        string
	Seats       int64
	Capacity    int64
	Description string
}

// VehicleTypes are typical for Helsinki's contracts: capacities as its planners use them.
var vehicleTypes = [...]VehicleType{
	{"A1", 36, 56, "short bus, 2 axles"},
	{"A2", 40, 67, "standard bus, 2 axles"},
	{"C", 48, 78, "long bus, 3 axles"},
	{"D", 62, 105, "articulated bus"},
	{"MA", 15, 19, "minibus"},
}

// VehicleTypes lists the vehicle types in a fixed order.
func VehicleTypes() []VehicleType { return append([]VehicleType(nil), vehicleTypes[:]...) }

// boardingShare is the share of a weekday's boardings in each hour, 00 to 23.
// Source: 48,433 trips in Nashville before March 2020, smarttransit-ai/transit-occupancy-analysis@bc54ce92.
// The hours 00 to 03 are not in the source; they are set to the last hour's share.
var boardingShare = [24]float64{.0043, .0043, .0043, .0043, .0072, .0456, .0842, .0748, .0593, .0495, .0536, .0530,
	.0547, .0585, .0767, .1054, .0902, .0595, .0378, .0276, .0251, .0200, .0130, .0043}

// Config describes a fleet. The zero value of a field means its default.
type Config struct {
	Seed     uint64
	Buses    int           // default 20
	Routes   int           // default 5
	Start    time.Time     // event time of the first reading; default 2026-01-01T07:00:00Z
	Interval time.Duration // between two readings of one bus; default 1 s
	Pace     float64       // how much quicker than life stops follow each other; default 1
	Crowding float64       // share of stops where a crowd waits; default 0.01
	NoFix    float64       // share of readings without a position; default 0.25 as in the Helsinki recordings
}

func (c Config) withDefaults() Config {
	if c.Buses == 0 {
		c.Buses = 20
	}
	if c.Routes == 0 {
		c.Routes = 5
	}
	if c.Start.IsZero() {
		c.Start = time.Date(2026, 1, 1, 7, 0, 0, 0, time.UTC)
	}
	if c.Interval == 0 {
		c.Interval = time.Second
	}
	if c.Pace == 0 {
		c.Pace = 1
	}
	if c.Crowding == 0 {
		c.Crowding = 0.01
	}
	if c.NoFix == 0 {
		c.NoFix = 0.25
	}
	return c
}

// Reading is what one bus reports at one moment.
type Reading struct {
	Bus         int    // 0-based
	BusID       string // "b0001"
	Route       string // "R01"
	VehicleType string
	Time        int64 // ns since the epoch
	Seq         int64 // per bus, from 1
	Passengers  int64
	Capacity    int64
	Speed       float64 // m/s
	Lat, Lon    float64
	HasPosition bool
}

// Fleet yields the readings of all buses in the order of their time.
type Fleet struct {
	cfg   Config
	buses []bus
	tick  int64
	next  int
}

type bus struct {
	id, route  string
	kind       VehicleType
	rng        *rand.Rand
	passengers int64
	seq        int64
	phase      time.Duration // its readings come this long after the tick
	stopIn     time.Duration // to the next stop
	dwell      time.Duration // left at the stop
	crowd      int           // stops for which a crowd still waits
	speed      float64
	lat, lon   float64
	heading    float64
}

// New makes a fleet.
func New(cfg Config) *Fleet {
	cfg = cfg.withDefaults()
	f := &Fleet{cfg: cfg, buses: make([]bus, cfg.Buses)}
	for i := range f.buses {
		f.buses[i] = newBus(cfg, i)
	}
	return f
}

func newBus(cfg Config, i int) bus {
	rng := rand.New(rand.NewPCG(cfg.Seed, uint64(i)+1))
	b := bus{
		id: fmt.Sprintf("b%04d", i+1), route: fmt.Sprintf("R%02d", i%cfg.Routes+1), rng: rng,
		kind:    vehicleTypes[rng.IntN(len(vehicleTypes))],
		phase:   cfg.Interval * time.Duration(i) / time.Duration(cfg.Buses),
		lat:     60.17 + rng.Float64()*0.2,
		lon:     24.94 + rng.Float64()*0.2,
		heading: rng.Float64() * 2 * math.Pi,
	}
	b.passengers = rng.Int64N(b.kind.Capacity/3 + 1)
	b.stopIn = time.Duration(rng.Float64() * 75 * float64(time.Second) / cfg.Pace)
	return b
}

// Config returns the configuration with its defaults filled in.
func (f *Fleet) Config() Config { return f.cfg }

// Next returns the next reading. The sequence never ends.
func (f *Fleet) Next() Reading {
	b := &f.buses[f.next]
	at := f.cfg.Start.Add(time.Duration(f.tick)*f.cfg.Interval + b.phase)
	b.advance(f.cfg, at)
	r := b.report(f.cfg, f.next, at)
	if f.next++; f.next == len(f.buses) {
		f.next = 0
		f.tick++
	}
	return r
}

// advance moves a bus by one interval: it drives, stops, lets people off and on.
func (b *bus) advance(cfg Config, at time.Time) {
	b.drive(cfg.Interval)
	if b.dwell > 0 {
		b.dwell -= cfg.Interval
		return
	}
	if b.stopIn -= cfg.Interval; b.stopIn > 0 {
		return
	}
	b.atStop(cfg, at)
	b.stopIn = time.Duration((45 + b.rng.Float64()*60) * float64(time.Second) / cfg.Pace)
	b.dwell = time.Duration((9 + b.rng.Float64()*29) * float64(time.Second) / cfg.Pace)
}

func (b *bus) drive(dt time.Duration) {
	if b.dwell > 0 {
		b.speed = 0
		return
	}
	b.speed = min(22, max(0, b.speed+(b.rng.Float64()-0.45)*3))
	b.heading += (b.rng.Float64() - 0.5) * 0.3
	metres := b.speed * dt.Seconds()
	b.lat += metres * math.Cos(b.heading) / 111_320
	b.lon += metres * math.Sin(b.heading) / (111_320 * math.Cos(b.lat*math.Pi/180))
}

// atStop lets a fifth of the passengers off and boards by the hour; a crowd fills the bus within a few stops.
func (b *bus) atStop(cfg Config, at time.Time) {
	off := int64(0)
	for range b.passengers {
		if b.rng.Float64() < 0.2 {
			off++
		}
	}
	if b.crowd == 0 && b.rng.Float64() < cfg.Crowding {
		b.crowd = 3
	}
	mean := boardingShare[at.UTC().Hour()] * float64(b.kind.Capacity) / 3
	if b.crowd > 0 {
		b.crowd--
		off /= 4
		mean = float64(b.kind.Capacity) * 0.6
	}
	b.passengers = min(b.passengers-off+poisson(b.rng, mean), b.kind.Capacity+2)
}

// poisson draws from a Poisson distribution (Knuth; the means here are small).
func poisson(rng *rand.Rand, mean float64) int64 {
	limit, product, n := math.Exp(-mean), 1.0, int64(-1)
	for product > limit {
		product *= rng.Float64()
		n++
	}
	return max(n, 0)
}

func (b *bus) report(cfg Config, i int, at time.Time) Reading {
	b.seq++
	noise := func() float64 { return b.rng.NormFloat64() * 5 / 111_320 } // 5 m
	return Reading{
		Bus: i, BusID: b.id, Route: b.route, VehicleType: b.kind.Name, Time: at.UnixNano(), Seq: b.seq,
		Passengers: b.passengers, Capacity: b.kind.Capacity,
		Speed: math.Round(b.speed*100) / 100,
		Lat:   math.Round((b.lat+noise())*1e5) / 1e5, Lon: math.Round((b.lon+noise())*1e5) / 1e5,
		HasPosition: b.rng.Float64() >= cfg.NoFix,
	}
}

// AppendLine appends a reading in line protocol, with a newline.
func AppendLine(dst []byte, r Reading) []byte {
	dst = append(dst, "bus,bus_id="...)
	dst = append(dst, r.BusID...)
	dst = append(dst, ",route="...)
	dst = append(dst, r.Route...)
	dst = append(dst, ",vehicle_type="...)
	dst = append(dst, r.VehicleType...)
	dst = append(dst, " passengers="...)
	dst = strconv.AppendInt(dst, r.Passengers, 10)
	dst = append(dst, "i,capacity="...)
	dst = strconv.AppendInt(dst, r.Capacity, 10)
	dst = append(dst, "i,speed="...)
	dst = strconv.AppendFloat(dst, r.Speed, 'f', -1, 64)
	if r.HasPosition {
		dst = append(dst, ",lat="...)
		dst = strconv.AppendFloat(dst, r.Lat, 'f', -1, 64)
		dst = append(dst, ",lon="...)
		dst = strconv.AppendFloat(dst, r.Lon, 'f', -1, 64)
	}
	dst = append(dst, ",seq="...)
	dst = strconv.AppendInt(dst, r.Seq, 10)
	dst = append(dst, "i "...)
	dst = strconv.AppendInt(dst, r.Time, 10)
	return append(dst, '\n')
}

// VehicleTypesCSV is the static table vehicle_types.
func VehicleTypesCSV() []byte {
	out := []byte("vehicle_type,seats,capacity,description\n")
	for _, v := range vehicleTypes {
		out = fmt.Appendf(out, "%s,%d,%d,\"%s\"\n", v.Name, v.Seats, v.Capacity, v.Description)
	}
	return out
}
