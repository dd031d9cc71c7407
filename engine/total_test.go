package engine_test

import (
	"fmt"
	"math/rand"
	"testing"

	"signalbox/engine"
)

// TestGroupedTotalAgainstOracle: keys that move between groups, that a filter
// hides again, and that expire: an upsert sink holds after each entry what
// grouping the latest value of every key gives.
func TestGroupedTotalAgainstOracle(t *testing.T) {
	const ttl = 20 * second
	for _, agg := range []string{"sum(p)", "max(p)"} {
		for seed := range int64(8) {
			r := rand.New(rand.NewSource(seed))
			e := newEngine(t, engine.DefaultOptions(), `CREATE STREAMING TABLE q OPTIONS (mode 'update', state_ttl '20 seconds') AS SELECT route, `+agg+` AS s, count(*) AS n
				FROM (SELECT bus, max_by(route, time) AS route, max_by(passengers, time) AS p FROM STREAM bus GROUP BY bus) WHERE p > 20 GROUP BY route`)
			last := map[string]busRow{}
			table := map[engine.RowID]string{}
			wm, deleted := int64(-1<<62), 0
			rows := randomRows(r, 1200, 1_700_000_000*second)
			for i := range rows {
				rows[i].t += int64(i) // no two readings of a bus have the same time
				if r.Intn(200) == 0 {
					for j := i; j < len(rows); j++ {
						rows[j].t += 15 * second
					}
				}
			}
			for i := uint64(1); len(rows) > 0; i++ {
				n := min(1+r.Intn(12), len(rows))
				out := apply(t, e, &engine.Input{Index: i, Time: int64(i), Batches: []engine.StreamBatch{{Stream: "bus", Rows: busBatch(rows[:n])}}})
				for _, x := range rows[:n] {
					if old, ok := last[x.bus]; x.t+ttl > wm && (!ok || x.t > old.t) {
						last[x.bus] = x
					}
				}
				for _, x := range rows[:n] {
					wm = max(wm, floorTo(x.t, 1000))
				}
				for b, x := range last {
					if x.t+ttl <= wm {
						delete(last, b)
					}
				}
				for _, c := range out.Changes {
					for j, id := range c.IDs {
						if c.Deleted != nil && c.Deleted[j] {
							delete(table, id)
							deleted++
							continue
						}
						table[id] = rowText(c.Rows, j)
					}
				}
				if got, want := counted(countRows(table)), counted(groupLast(last, agg == "max(p)")); got != want {
					t.Fatalf("%s seed %d entry %d:\ngot  %s\nwant %s", agg, seed, i, got, want)
				}
				rows = rows[n:]
				if i%50 == 0 {
					e = throughSnapshot(t, e, engine.DefaultOptions())
				}
			}
			if deleted == 0 {
				t.Fatalf("%s seed %d: no group ever became empty: the data prove too little", agg, seed)
			}
		}
	}
}

func countRows(table map[engine.RowID]string) map[string]int {
	out := map[string]int{}
	for _, x := range table {
		out[x]++
	}
	return out
}

func groupLast(last map[string]busRow, most bool) map[string]int {
	type total struct{ s, n int64 }
	groups := map[string]*total{}
	for _, x := range last {
		if x.passengers == nil || *x.passengers <= 20 {
			continue
		}
		g := groups[keyOfRoute(x)]
		if g == nil {
			g = &total{}
			groups[keyOfRoute(x)] = g
		}
		if g.n++; !most {
			g.s += *x.passengers
		} else {
			g.s = max(g.s, *x.passengers)
		}
	}
	out := map[string]int{}
	for k, g := range groups {
		out[fmt.Sprintf("%s,%d,%d", k, g.s, g.n)]++
	}
	return out
}
