package engine_test

import (
	"fmt"
	"math/rand"
	"sort"
	"strings"
	"testing"

	"signalbox/engine"
)

// The oracle computes, row by row and with maps, what the executor computes by
// columns and panes. It shares no code with it.

type cell struct {
	sum, n, rows int64
	max          int64
	fsum         float64
	fmax         float64
}

type oracle struct {
	size, slide, delay, lateness int64
	update                       bool
	key                          func(r busRow) string
	wm, maxSeen                  int64
	any                          bool
	groups, all                  map[[2]any]*cell // all: also those that are closed for good; may be nil
	emitted                      int64
	late                         int
}

func floorTo(t, step int64) int64 {
	q := t / step * step
	if q > t {
		q -= step
	}
	return q
}

// step applies one entry and returns the lines "start key sum n max" that become visible.
func (o *oracle) step(rows []busRow, end bool) []string {
	touched := map[[2]any]bool{}
	for _, r := range rows {
		open := false
		for start := floorTo(r.t, o.slide); start > r.t-o.size; start -= o.slide {
			if start+o.size+o.lateness <= o.wm {
				continue
			}
			open = true
			k := [2]any{start, o.key(r)}
			c := o.groups[k]
			if c == nil {
				c = &cell{max: -1 << 62, fmax: -1e300}
				o.groups[k] = c
				if o.all != nil {
					o.all[k] = c
				}
			}
			c.rows++
			if r.passengers != nil {
				c.sum += *r.passengers
				c.max = max(c.max, *r.passengers)
				c.n++
			}
			c.fsum += r.speed
			c.fmax = max(c.fmax, r.speed)
			touched[k] = true
		}
		if !open {
			o.late++
		}
		if ms := floorTo(r.t, 1000); !o.any || ms > o.maxSeen {
			o.maxSeen, o.any = ms, true
		}
	}
	var out []string
	show := func(k [2]any, c *cell) {
		s, m := fmt.Sprint(c.sum), fmt.Sprint(c.max)
		if c.n == 0 {
			s, m = "NULL", "NULL"
		}
		out = append(out, fmt.Sprintf("%d,%s,%s,%s,%d,%.6f", k[0], k[1], s, m, c.rows, c.fmax))
	}
	if o.update {
		for k := range touched {
			show(k, o.groups[k])
		}
	}
	if next := o.maxSeen - o.delay; o.any && next > o.wm {
		o.wm = next
	}
	if end {
		o.wm = 1 << 62
	}
	for k, c := range o.groups {
		we := k[0].(int64) + o.size
		if !o.update && we <= o.wm && we > o.emitted {
			show(k, c)
		}
	}
	o.emitted = o.wm
	for k := range o.groups {
		if k[0].(int64)+o.size+o.lateness <= o.wm {
			delete(o.groups, k)
		}
	}
	sort.Strings(out)
	return out
}

func keyOfRoute(r busRow) string {
	if r.route == "" {
		return "NULL"
	}
	return r.route
}

func TestWindowsAgainstOracle(t *testing.T) {
	cases := []struct {
		name, opts, window string
		size, slide        int64
		update             bool
		key                string
	}{
		{"tumbling", "", "'1 minute'", 60, 60, false, "route"},
		{"tumbling update", "OPTIONS (mode 'update')", "'7 seconds'", 7, 7, true, "route"},
		{"sliding panes", "", "'50 seconds', '10 seconds'", 50, 10, false, "bus"},
		{"sliding update", "OPTIONS (mode 'update')", "'20 seconds', '10 seconds'", 20, 10, true, "route"},
		{"sliding uneven", "", "'25 seconds', '10 seconds'", 25, 10, false, "route"},
		{"sliding uneven update", "OPTIONS (mode 'update')", "'25 seconds', '10 seconds'", 25, 10, true, "bus"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for seed := range int64(6) {
				r := rand.New(rand.NewSource(seed))
				key := func(r busRow) string { return r.bus }
				if c.key == "route" {
					key = keyOfRoute
				}
				o := &oracle{size: c.size * second, slide: c.slide * second, delay: 10 * second, update: c.update, key: key, groups: map[[2]any]*cell{}}
				e := newEngine(t, engine.DefaultOptions(), fmt.Sprintf(`CREATE STREAMING TABLE q %s AS SELECT window.start AS start, %s AS k, sum(passengers) AS s, max(passengers) AS m, count(*) AS n, max(speed) AS fm
					FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS GROUP BY window(time, %s), %s`, c.opts, c.key, c.window, c.key))
				rows := randomRows(r, 1500, 1_700_000_000*second)
				late := 0
				for i := uint64(1); ; i++ {
					n := min(1+r.Intn(60), len(rows))
					in := &engine.Input{Index: i, Time: int64(i) * second, End: n == 0}
					if n > 0 {
						in.Batches = []engine.StreamBatch{{Stream: "bus", Rows: busBatch(rows[:n])}}
					}
					out := apply(t, e, in)
					late += len(out.Late)
					var got []string
					for _, ch := range out.Changes {
						for j := range ch.Rows.Len {
							row := ch.Rows.Row(j)
							f := strings.Split(rowText(ch.Rows, j), ",")
							got = append(got, fmt.Sprintf("%s,%s,%s,%s,%s,%.6f", f[0], f[1], f[2], f[3], f[4], row[5].F))
						}
					}
					sort.Strings(got)
					want := o.step(rows[:n], n == 0)
					if a, b := strings.Join(got, "\n"), strings.Join(want, "\n"); a != b {
						t.Fatalf("seed %d entry %d:\ngot\n%s\nwant\n%s", seed, i, a, b)
					}
					if late != o.late {
						t.Fatalf("seed %d entry %d: %d late rows, want %d", seed, i, late, o.late)
					}
					if n == 0 {
						break
					}
					rows = rows[n:]
				}
				if o.late == 0 {
					t.Fatal("the data had no late row: the test proves less than it should")
				}
			}
		})
	}
}

// TestFleetTotalAgainstOracle compares the incremental total with adding up all keys after each entry.
func TestFleetTotalAgainstOracle(t *testing.T) {
	type key struct {
		p, t  int64
		known bool
	}
	const ttl = 15 * second
	for seed := range int64(10) {
		r := rand.New(rand.NewSource(seed))
		e := newEngine(t, engine.DefaultOptions(), `CREATE STREAMING TABLE q OPTIONS (mode 'update', state_ttl '15 seconds') AS
			SELECT sum(p) AS s, count(*) AS n, max(p) AS m, avg(v) AS v FROM (SELECT bus, max(passengers) AS p, count(*) AS v FROM STREAM bus GROUP BY bus)`)
		keys, counts := map[string]*key{}, map[string]int64{}
		rows := randomRows(r, 1500, 1_700_000_000*second)
		wm := int64(-1 << 62)
		for i := uint64(1); len(rows) > 0; i++ {
			n := min(1+r.Intn(60), len(rows))
			out := apply(t, e, &engine.Input{Index: i, Time: int64(i), Batches: []engine.StreamBatch{{Stream: "bus", Rows: busBatch(rows[:n])}}})
			changed, before := false, wm
			for _, x := range rows[:n] {
				if x.t+ttl <= before {
					continue
				}
				k := keys[x.bus]
				if k == nil {
					k = &key{}
					keys[x.bus] = k
				}
				counts[x.bus]++
				k.t = max(k.t, x.t)
				if x.passengers != nil && (!k.known || *x.passengers > k.p) {
					k.p, k.known = *x.passengers, true
				}
				changed = true
			}
			for _, x := range rows[:n] {
				wm = max(wm, floorTo(x.t, 1000))
			}
			for b, k := range keys {
				if k.t+ttl <= wm {
					delete(keys, b)
					delete(counts, b)
					changed = true
				}
			}
			rows = rows[n:]
			if len(out.Changes) == 0 {
				if changed {
					t.Fatalf("seed %d entry %d: no total", seed, i)
				}
				continue
			}
			sum, known, m, total := int64(0), false, int64(-1<<62), int64(0)
			for b, k := range keys {
				total += counts[b]
				if k.known {
					sum, known, m = sum+k.p, true, max(m, k.p)
				}
			}
			c := out.Changes[0]
			if len(out.Changes) != 1 || c.Rows.Len < 1 {
				t.Fatalf("seed %d entry %d: %d changes of %d rows", seed, i, len(out.Changes), c.Rows.Len)
			}
			last := c.Rows.Len - 1
			want := fmt.Sprintf("%d,%d,%d,%v", sum, len(keys), m, float64(total)/float64(len(keys)))
			if !known {
				want = fmt.Sprintf("NULL,%d,NULL,%v", len(keys), float64(total)/float64(len(keys)))
			}
			if got := rowText(c.Rows, last); got != want {
				t.Fatalf("seed %d entry %d: total %s, want %s", seed, i, got, want)
			}
		}
	}
}
