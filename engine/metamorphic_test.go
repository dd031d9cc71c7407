package engine_test

import (
	"fmt"
	"math/rand"
	"slices"
	"sort"
	"strings"
	"testing"

	"signalbox/engine"
)

// The same readings, however they are cut into entries, restored in between, or
// split over engines whose partial answers are merged, give the same final answers.

const metaQueries = `CREATE STREAMING TABLE q AS SELECT window.start AS start, route, sum(passengers) AS s, count(*) AS n, max(passengers) AS m FROM STREAM bus WATERMARK time DELAY OF INTERVAL 20 SECONDS GROUP BY window(time, '30 seconds'), route;
CREATE STREAMING TABLE slow OPTIONS (allowed_lateness '5 minutes') AS SELECT window.start AS start, bus, sum(passengers) AS s, count(*) AS n, max(passengers) AS m FROM STREAM bus WATERMARK time DELAY OF INTERVAL 2 SECONDS GROUP BY window(time, '30 seconds', '10 seconds'), bus;
CREATE STREAMING TABLE live OPTIONS (mode 'update') AS SELECT bus, sum(passengers) AS s, count(*) AS n, max(passengers) AS m FROM STREAM bus GROUP BY bus;`

// answers is the newest revision of every row, by its key columns.
type answers map[string][3]string

func (a answers) take(out *engine.Output) {
	for _, c := range out.Changes {
		for i := range c.Rows.Len {
			f := strings.Split(rowText(c.Rows, i), ",")
			a[c.Table+" "+strings.Join(f[:len(f)-3], ",")] = [3]string(f[len(f)-3:])
		}
	}
}

func (a answers) String() string {
	var s []string
	for k, v := range a {
		s = append(s, k+" = "+strings.Join(v[:], ","))
	}
	sort.Strings(s)
	return strings.Join(s, "\n")
}

// merge adds the partial answers of another engine: sum, count and max.
func (a answers) merge(b answers) {
	for k, y := range b {
		x, ok := a[k]
		if !ok {
			a[k] = y
			continue
		}
		num := func(s string) (v int64, ok bool) {
			_, err := fmt.Sscan(s, &v)
			return v, err == nil
		}
		for i := range x {
			p, pok := num(x[i])
			q, qok := num(y[i])
			switch {
			case !pok:
				x[i] = y[i]
			case qok && i == 2:
				x[i] = fmt.Sprint(max(p, q))
			case qok:
				x[i] = fmt.Sprint(p + q)
			}
		}
		a[k] = x
	}
}

// play applies rows in entries of random sizes, through snapshots at random points, and returns the final answers.
func play(t *testing.T, r *rand.Rand, rows []busRow, most, restarts int) answers {
	opt := engine.DefaultOptions()
	opt.ReviseEvery = 1 + r.Int63n(20*second)
	e := newEngine(t, opt, metaQueries)
	got := answers{}
	for _, in := range inputs(r, rows, most) {
		if r.Intn(100) < restarts {
			e = throughSnapshot(t, e, opt)
		}
		out := apply(t, e, in)
		got.take(out)
		if len(out.Late) > 0 {
			t.Fatalf("entry %d: %d late rows; nothing is late here", in.Index, len(out.Late))
		}
	}
	return got
}

func TestSameAnswersHoweverItIsCut(t *testing.T) {
	for seed := range int64(12) {
		r := rand.New(rand.NewSource(seed))
		rows := randomRows(r, 1000, 1_700_000_000*second)
		for i := range rows { // nothing is later than the first horizon of q and the second of slow
			rows[i].t = 1_700_000_000*second + int64(i)*second/4 - r.Int63n(15*second)
		}
		want := play(t, r, rows, 50, 0)
		for _, c := range [][2]int{{1, 0}, {400, 0}, {30, 30}, {7, 10}} {
			if got := play(t, r, rows, c[0], c[1]); got.String() != want.String() {
				t.Fatalf("seed %d, entries of at most %d rows, %d %% restarts:\n%s", seed, c[0], c[1], firstDifference(got.String(), want.String()))
			}
		}
		var parts [3][]busRow
		for _, x := range rows {
			p := r.Intn(len(parts))
			parts[p] = append(parts[p], x)
		}
		merged := answers{}
		for _, p := range parts {
			merged.merge(play(t, r, p, 50, 5))
		}
		if merged.String() != want.String() {
			t.Fatalf("seed %d: merged partitions:\n%s", seed, firstDifference(merged.String(), want.String()))
		}
	}
}

// TestRevisionsAreCoalesced: late rows in every entry revise a row at most once
// in ReviseEvery of tick time, and the last revision says it all.
func TestRevisionsAreCoalesced(t *testing.T) {
	e := newEngine(t, engine.DefaultOptions(), `CREATE STREAMING TABLE q OPTIONS (allowed_lateness '1 hour') AS SELECT window.start AS start, bus, sum(passengers) AS s, count(*) AS n FROM STREAM bus WATERMARK time DELAY OF INTERVAL 1 SECOND GROUP BY window(time, '1 minute'), bus`)
	base := 1_700_000_040 * second
	tick := base
	apply(t, e, busInput(1, tick, busRow{t: base, bus: "a", passengers: i64(1)}, busRow{t: base + 5*60*second, bus: "b"}))
	var at []int64
	last := ""
	for i := range int64(100) {
		tick += second
		out := apply(t, e, busInput(uint64(i+2), tick, busRow{t: base + i%60*second, bus: "a", passengers: i64(1)}))
		for _, c := range out.Changes {
			at, last = append(at, tick), rowText(c.Rows, 0)
			if c.Rows.Len != 1 || int(c.Revisions[0]) < len(at) {
				t.Fatalf("revision %d of %d rows at second %d", c.Revisions[0], c.Rows.Len, i)
			}
		}
	}
	for i := 1; i < len(at); i++ {
		if at[i]-at[i-1] < engine.DefaultReviseEvery && i > 1 {
			t.Fatalf("revisions %d µs apart", at[i]-at[i-1])
		}
	}
	if len(at) < 5 || len(at) > 12 || !slices.IsSorted(at) {
		t.Fatalf("%d revisions in 100 seconds", len(at))
	}
	out := apply(t, e, &engine.Input{Index: 1000, Time: tick + 1, End: true})
	for _, c := range out.Changes {
		for i := range c.Rows.Len {
			if x := rowText(c.Rows, i); strings.Contains(x, ",a,") {
				last = x
			}
		}
	}
	if want := fmt.Sprintf("%d,a,101,101", base); last != want {
		t.Fatalf("the last revision says %s, want %s", last, want)
	}
}
