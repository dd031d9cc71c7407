package engine_test

import (
	"fmt"
	"math/big"
	"math/rand"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"

	"signalbox/engine"
	"signalbox/engine/column"
)

const overflowCalls = `sum(passengers) AS s, sum(capacity) FILTER (WHERE route = 'r1') AS f, sum(capacity) AS d, sum(CAST(speed AS DECIMAL(38, 0))) AS x,
	count(*) AS n, max(passengers) AS m, count(route) AS r`

// overflowCases are queries of every mode in which sums overflow; windows are the windows of a time, in seconds.
var overflowCases = []struct {
	name, sql   string
	size, slide int64 // 0 = no windows
	gap         int64
	nonNegative bool // the order of merging must not matter
}{
	{"append", `SELECT window.start AS start, bus, %s FROM STREAM bus WATERMARK time DELAY OF INTERVAL 20 SECONDS GROUP BY window(time, '40 seconds'), bus`, 40, 40, 0, false},
	{"sliding", `SELECT window.start AS start, bus, %s FROM STREAM bus WATERMARK time DELAY OF INTERVAL 20 SECONDS GROUP BY window(time, '40 seconds', '10 seconds'), bus`, 40, 10, 0, false},
	{"sliding, not in panes", `SELECT window.start AS start, bus, %s FROM STREAM bus WATERMARK time DELAY OF INTERVAL 20 SECONDS GROUP BY window(time, '50 seconds', '20 seconds'), bus`, 50, 20, 0, false},
	{"update", `OPTIONS (mode 'update') SELECT window.start AS start, bus, %s FROM STREAM bus WATERMARK time DELAY OF INTERVAL 20 SECONDS GROUP BY window(time, '40 seconds'), bus`, 40, 40, 0, false},
	{"update, sliding", `OPTIONS (mode 'update') SELECT window.start AS start, bus, %s FROM STREAM bus WATERMARK time DELAY OF INTERVAL 20 SECONDS GROUP BY window(time, '40 seconds', '10 seconds'), bus`, 40, 10, 0, false},
	{"complete", `OPTIONS (mode 'complete') SELECT window.start AS start, bus, %s FROM STREAM bus WATERMARK time DELAY OF INTERVAL 20 SECONDS GROUP BY window(time, '40 seconds', '10 seconds'), bus`, 40, 10, 0, false},
	{"lateness", `OPTIONS (allowed_lateness '1 hour') SELECT window.start AS start, bus, %s FROM STREAM bus WATERMARK time DELAY OF INTERVAL 0 SECONDS GROUP BY window(time, '40 seconds'), bus`, 40, 40, 0, false},
	{"lateness, sliding", `OPTIONS (allowed_lateness '1 hour') SELECT window.start AS start, bus, %s FROM STREAM bus WATERMARK time DELAY OF INTERVAL 0 SECONDS GROUP BY window(time, '40 seconds', '10 seconds'), bus`, 40, 10, 0, false},
	{"sessions", `SELECT session_window.start AS start, bus, %s FROM STREAM bus WATERMARK time DELAY OF INTERVAL 20 SECONDS GROUP BY session_window(time, '3 seconds'), bus`, 0, 0, 3, true},
	{"keyed", `OPTIONS (mode 'update') SELECT 0 AS start, bus, %s FROM STREAM bus GROUP BY bus`, 0, 0, 0, false},
	{"keyed, complete", `OPTIONS (mode 'complete') SELECT 0 AS start, bus, %s FROM STREAM bus GROUP BY bus`, 0, 0, 0, false},
	{"one group", `OPTIONS (mode 'update') SELECT 0 AS start, 'all' AS bus, %s FROM STREAM bus`, 0, 0, 0, false},
}

// overflowGroup is what the model knows of one window of one key: the rows that were accepted.
type overflowGroup struct {
	start, end int64
	rows       []busRow
}

var (
	maxBig = new(big.Int).SetUint64(1<<63 - 1)
	minBig = new(big.Int).Neg(new(big.Int).SetUint64(1 << 63))
	maxDec = new(big.Int).Exp(big.NewInt(10), big.NewInt(38), nil)
)

// decimalOf is the DECIMAL that a DOUBLE is cast to: its shortest digits.
func decimalOf(f float64) *big.Int {
	n, ok := new(big.Float).SetPrec(200).SetString(strconv.FormatFloat(f, 'e', -1, 64))
	if !ok {
		panic(f)
	}
	i, _ := n.Int(nil)
	return i
}

// sums adds up from the start; nil means NULL.
func (g *overflowGroup) sums() (s, f, d, x *big.Int) {
	add := func(to **big.Int, v *big.Int) {
		if *to == nil {
			*to = new(big.Int)
		}
		(*to).Add(*to, v)
	}
	for _, r := range g.rows {
		if r.passengers != nil {
			add(&s, big.NewInt(*r.passengers))
		}
		if r.capacity != nil {
			if r.route == "r1" {
				add(&f, big.NewInt(*r.capacity))
			}
			add(&d, big.NewInt(*r.capacity))
		}
		add(&x, decimalOf(r.speed))
	}
	return s, f, d, x
}

func (g *overflowGroup) fits() bool {
	s, f, d, x := g.sums()
	for _, v := range []*big.Int{s, f, d} {
		if v != nil && (v.Cmp(maxBig) > 0 || v.Cmp(minBig) < 0) {
			return false
		}
	}
	return x == nil || new(big.Int).Abs(x).Cmp(maxDec) < 0
}

func (g *overflowGroup) String() string {
	s, f, d, x := g.sums()
	text := func(v *big.Int) string {
		if v == nil {
			return "NULL"
		}
		return v.String()
	}
	most := "NULL"
	routes := 0
	for _, r := range g.rows {
		if r.passengers != nil && (most == "NULL" || fmt.Sprint(*r.passengers) != most && *r.passengers > mustInt(most)) {
			most = fmt.Sprint(*r.passengers)
		}
		if r.route != "" {
			routes++
		}
	}
	return fmt.Sprintf("%s %s %s %s %d %s %d", text(s), text(f), text(d), text(x), len(g.rows), most, routes)
}

func mustInt(s string) (n int64) {
	if _, err := fmt.Sscan(s, &n); err != nil {
		panic(err)
	}
	return n
}

// overflowModel takes rows one at a time: all of its windows take a row, or none.
type overflowModel struct {
	size, slide, gap int64
	one              bool
	slides           map[string][]*overflowGroup // of windows made of slides: what they share must fit as well
	groups           map[string][]*overflowGroup
	refused          int
}

func (m *overflowModel) add(r busRow) {
	key := r.bus
	if m.one {
		key = "all"
	}
	list := m.groups[key]
	var at []*overflowGroup // replaced by at once they fit
	kept := slices.Clone(list)
	switch {
	case m.gap > 0:
		g := &overflowGroup{start: r.t, end: r.t + m.gap*second}
		kept = kept[:0]
		for _, x := range list {
			if x.start <= g.end && g.start <= x.end { // they touch
				g.start, g.end = min(g.start, x.start), max(g.end, x.end)
				g.rows = append(g.rows, x.rows...)
				continue
			}
			kept = append(kept, x)
		}
		g.rows = append(g.rows, r)
		at, kept = []*overflowGroup{g}, append(kept, g)
	case m.size > 0:
		first := r.t - (r.t % (m.slide * second)) // times are positive
		for s := first; s > r.t-m.size*second; s -= m.slide * second {
			at = append(at, withRow(&kept, s, r))
		}
	default:
		at = append(at, withRow(&kept, 0, r))
	}
	slides := slices.Clone(m.slides[key])
	if m.slide > 0 && m.size > m.slide && m.size%m.slide == 0 {
		at = append(at, withRow(&slides, r.t-r.t%(m.slide*second), r))
	}
	for _, g := range at {
		if !g.fits() {
			m.refused++
			return
		}
	}
	m.groups[key], m.slides[key] = kept, slides
}

// withRow replaces the group that starts at s by one that has the row, too.
func withRow(kept *[]*overflowGroup, s int64, r busRow) *overflowGroup {
	g := &overflowGroup{start: s}
	i := slices.IndexFunc(*kept, func(x *overflowGroup) bool { return x.start == s })
	if i < 0 {
		i = len(*kept)
		*kept = append(*kept, nil)
	} else {
		g.rows = slices.Clone((*kept)[i].rows)
	}
	g.rows = append(g.rows, r)
	(*kept)[i] = g
	return g
}

func (m *overflowModel) lines() string {
	var out []string
	for key, list := range m.groups {
		for _, g := range list {
			out = append(out, fmt.Sprintf("%d %s %s", g.start, key, g))
		}
	}
	sort.Strings(out)
	return strings.Join(out, "\n")
}

func overflowRows(r *rand.Rand, n int, nonNegative bool) []busRow {
	t := 1_700_000_000 * second
	var rows []busRow
	for range n {
		t += r.Int63n(second / 2)
		x := busRow{t: t - r.Int63n(4*second), bus: fmt.Sprintf("b%d", r.Intn(3)), route: []string{"", "r0", "r1"}[r.Intn(3)], passengers: i64(r.Int63n(9)), capacity: i64(r.Int63n(9)), speed: float64(r.Intn(3))}
		big := func() *int64 {
			v := []int64{1 << 62, 1 << 61, 1<<63 - 1, 1 << 60}[r.Intn(4)] - r.Int63n(3)
			if !nonNegative && r.Intn(2) == 0 {
				v = -v
			}
			return i64(v)
		}
		switch r.Intn(12) {
		case 0, 1:
			x.passengers = big()
		case 2:
			x.capacity = big()
		case 3:
			x.passengers, x.capacity = big(), big()
		case 4:
			if x.speed = float64(1+r.Intn(9)) * 1e37; !nonNegative && r.Intn(2) == 0 {
				x.speed = -x.speed
			}
		case 5:
			x.passengers = nil
		case 6:
			x.capacity = nil
		}
		rows = append(rows, x)
	}
	return rows
}

// TestARefusedRowLeavesNoTrace: a row that overflows one aggregate is refused
// and is in none of the others, in none of its windows, and in no session, in
// every mode and however the rows come in entries.
func TestARefusedRowLeavesNoTrace(t *testing.T) {
	for _, c := range overflowCases {
		t.Run(c.name, func(t *testing.T) {
			for seed := range int64(12) {
				r := rand.New(rand.NewSource(seed))
				sql := fmt.Sprintf(c.sql, overflowCalls)
				options, query, _ := strings.Cut(sql, "SELECT ")
				e := newEngine(t, engine.DefaultOptions(), "CREATE STREAMING TABLE q "+options+" AS SELECT "+query)
				m := &overflowModel{size: c.size, slide: c.slide, gap: c.gap, one: c.name == "one group", slides: map[string][]*overflowGroup{}, groups: map[string][]*overflowGroup{}}
				rows := overflowRows(r, 250, c.nonNegative)
				refused := 0
				for i := uint64(1); ; i++ {
					n := min(len(rows), 1+r.Intn([]int{3, 30, 300}[seed%3]))
					in := &engine.Input{Index: i, Time: int64(i) * second, End: n == 0}
					if n > 0 {
						in.Batches = []engine.StreamBatch{{Stream: "bus", Rows: busBatch(rows[:n])}}
					}
					for _, x := range apply(t, e, in).Rejected {
						if refused++; !strings.Contains(x.Detail, "does not fit") {
							t.Fatalf("refused for another reason: %+v", x)
						}
					}
					if n == 0 {
						break
					}
					for _, x := range rows[:n] {
						m.add(x)
					}
					rows = rows[n:]
					if i%5 == 0 {
						e = throughSnapshot(t, e, engine.DefaultOptions())
					}
				}
				if refused != m.refused || refused == 0 {
					t.Fatalf("seed %d: %d rows were refused, want %d (and some)", seed, refused, m.refused)
				}
				if got, want := overflowLines(t, e), m.lines(); got != want {
					t.Fatalf("seed %d: %s", seed, firstDifference(got, want))
				}
			}
		})
	}
}

func overflowLines(t *testing.T, e *engine.Engine) string {
	b, err := e.Query("SELECT start, bus, s, f, d, CAST(x AS STRING), n, m, r FROM q")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for i := range b.Len {
		var f []string
		for j, d := range b.Row(i) {
			switch {
			case d.Null:
				f = append(f, "NULL")
			case b.Cols[j].Type.Kind == column.String:
				f = append(f, d.S)
			default:
				f = append(f, fmt.Sprint(d.I))
			}
		}
		out = append(out, strings.Join(f, " "))
	}
	sort.Strings(out)
	return strings.Join(out, "\n")
}
