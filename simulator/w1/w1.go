// Package w1 is benchmark workload W1: bus occupancy readings in line protocol
// with exact duplicates and a little disorder, five queries over them, and the
// answers computed the slow way. It promises the same bytes for the same
// parameters, and refuses to know the engine that is measured.
package w1

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"sort"
	"strconv"
)

// Config is the size and the shape. Unique readings = Seconds * Buses.
type Config struct {
	Seconds, Buses, Routes int
	Seed                   uint64
	Duplicates             float64 // share of readings repeated byte for byte, up to LateMS later
	Shuffled               float64 // share delivered 1 to LateMS after their place
	LateMS                 int
	StartMS                int64
}

// Default is W1 as its figures are quoted: 5,050,135 readings with seed 1.
func Default() Config {
	return Config{Seconds: 2500, Buses: 2000, Routes: 100, Seed: 1, Duplicates: .01, Shuffled: .02, LateMS: 5000, StartMS: 1767247200000}
}

type record struct {
	arrive   int64 // ms, the place in the file
	seq, bus int32
	ts       int64 // ms
	pax      int16
	speed    int32 // 1/100
	lat, lon int32 // 1e-5
}

type vehicle struct {
	cap, pax, speed, lat, lon int
	name, route               string
}

// Write writes the workload and returns the number of lines.
func Write(w io.Writer, c Config) (int, error) {
	vehicles, records := c.records()
	out := bufio.NewWriterSize(w, 1<<20)
	var line []byte
	for _, r := range records {
		line = appendLine(line[:0], &vehicles[r.bus], r)
		if _, err := out.Write(line); err != nil {
			return 0, err
		}
	}
	return len(records), out.Flush()
}

func (c Config) records() ([]vehicle, []record) {
	rng := rand.New(rand.NewPCG(c.Seed, 0x5eed))
	caps := []int{60, 80, 90, 100}
	vs := make([]vehicle, c.Buses)
	for i := range vs {
		full := caps[rng.IntN(4)]
		vs[i] = vehicle{full, rng.IntN(full), rng.IntN(2000), 6017000 + rng.IntN(20000), 2494000 + rng.IntN(20000),
			fmt.Sprintf("B%04d", i+1), fmt.Sprintf("R%02d", i%c.Routes)}
	}
	records := make([]record, 0, c.Seconds*c.Buses*51/50)
	for s := range c.Seconds {
		for b := range c.Buses {
			records = c.step(rng, &vs[b], s, b, records)
		}
	}
	sort.Slice(records, func(i, j int) bool {
		if records[i].arrive != records[j].arrive {
			return records[i].arrive < records[j].arrive
		}
		return records[i].seq < records[j].seq
	})
	return vs, records
}

func (c Config) step(rng *rand.Rand, v *vehicle, s, b int, records []record) []record {
	if rng.IntN(20) == 0 {
		v.pax = min(max(v.pax+rng.IntN(13)-6, 0), v.cap+3)
	}
	v.speed = min(max(v.speed+rng.IntN(201)-100, 0), 2500)
	v.lat += rng.IntN(21) - 10
	v.lon += rng.IntN(21) - 10
	ts := c.StartMS + int64(s)*1000 + int64(b)*1000/int64(c.Buses)
	r := record{ts, int32(len(records)), int32(b), ts, int16(v.pax), int32(v.speed), int32(v.lat), int32(v.lon)}
	if rng.Float64() < c.Shuffled {
		r.arrive += 1 + int64(rng.IntN(c.LateMS))
	}
	records = append(records, r)
	if rng.Float64() < c.Duplicates {
		d := r
		d.arrive += int64(rng.IntN(c.LateMS - int(r.arrive-r.ts) + 1))
		d.seq = int32(len(records))
		records = append(records, d)
	}
	return records
}

func appendLine(b []byte, v *vehicle, r record) []byte {
	b = append(append(b, "bus,bus="...), v.name...)
	b = append(append(b, ",route="...), v.route...)
	b = strconv.AppendInt(append(b, " passengers="...), int64(r.pax), 10)
	b = strconv.AppendInt(append(b, "i,capacity="...), int64(v.cap), 10)
	b = strconv.AppendFloat(append(b, "i,speed="...), float64(r.speed)/100, 'f', -1, 64)
	b = strconv.AppendFloat(append(b, ",lat="...), float64(r.lat)/1e5, 'f', -1, 64)
	b = strconv.AppendFloat(append(b, ",lon="...), float64(r.lon)/1e5, 'f', -1, 64)
	b = strconv.AppendInt(append(b, ' '), r.ts*1000000, 10)
	return append(b, '\n')
}
