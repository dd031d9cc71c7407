package alert

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"signalbox/engine/column"
	"signalbox/engine/sql"
)

const second = int64(1_000_000)

// reading is one row for a rule with the by column k and the extra column route.
type reading struct {
	key           string
	t             int64
	cond, resolve tri
	value         string
}

func schemaOf() *column.Schema {
	text := column.Of(column.String)
	return &column.Schema{Name: "rows", Time: 1, Fields: []column.Field{{Name: "k", Type: text}, {Name: TimeColumn, Type: column.Of(column.Timestamp)},
		{Name: CondColumn, Type: column.Of(column.Boolean)}, {Name: ResolveColumn, Type: column.Of(column.Boolean)},
		{Name: ValueColumn, Type: text}, {Name: "route", Type: text}}}
}

func datum(v tri) column.Datum {
	if v == null {
		return column.NullDatum
	}
	return column.Bool(v == yes)
}

func rowsOf(list ...reading) *column.Batch {
	b := column.NewBatch(schemaOf(), len(list))
	for _, r := range list {
		key := column.Str(r.key)
		if r.key == "NULL" {
			key = column.NullDatum
		}
		b.AppendRow(key, column.I64(r.t), datum(r.cond), datum(r.resolve), column.Str(r.value), column.Str("r-"+r.key))
	}
	return b
}

func testRule() Rule {
	return Rule{Group: "buses", Name: "AtCapacity", From: "bus", Expr: "passengers >= capacity", Value: "passengers", By: []string{"k"},
		Labels:      []Label{{"severity", "page"}},
		Annotations: []Label{{"summary", `Bus {{ $labels.k }} on {{ $labels.route }} has {{ $value }} ({{ printf "%.1f" $value }})`}}}
}

func newSet(t *testing.T, rules ...Rule) *Set {
	t.Helper()
	s, err := NewSet(rules, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// brief writes transitions as key:from>to@seconds, with ! for history.
func brief(list []Transition) string {
	var out []string
	for _, tr := range list {
		key := ""
		for _, l := range tr.Labels {
			if l.Name == "k" {
				key = l.Value
			}
		}
		s := fmt.Sprintf("%s:%s>%s@%d", key, tr.From, tr.To, tr.At/second)
		if tr.Historical {
			s = "!" + s
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

func expect(t *testing.T, got []Transition, want string) {
	t.Helper()
	if b := brief(got); b != want {
		t.Fatalf("got %q, want %q", b, want)
	}
}

func TestFiresAtOnceAndResolves(t *testing.T) {
	s := newSet(t, testRule())
	got := s.Observe(0, rowsOf(reading{"a", 10 * second, yes, null, "80"}, reading{"a", 11 * second, yes, null, "81"}, reading{"b", 11 * second, no, null, "3"}), Observation{})
	expect(t, got, "a:inactive>firing@10")
	tr := got[0]
	if tr.Seq != 1 || tr.Episode != 10*second || tr.Value != "80" || len(tr.ID) != 32 {
		t.Fatalf("%+v", tr)
	}
	if a := tr.Annotations[0].Value; a != "Bus a on r-a has 80 (80.0)" {
		t.Fatalf("annotation %q", a)
	}
	if !slices.Equal(tr.Labels, []Label{{"k", "a"}, {"severity", "page"}}) {
		t.Fatalf("labels %v", tr.Labels)
	}
	expect(t, s.Observe(0, rowsOf(reading{"a", 12 * second, null, null, ""}, reading{"a", 9 * second, no, null, "1"}), Observation{}), "")
	got = s.Observe(0, rowsOf(reading{"a", 12 * second, no, null, "70"}, reading{"a", 13 * second, yes, null, "90"}), Observation{})
	expect(t, got, "a:firing>resolved@12 a:resolved>firing@13")
	if got[0].Seq != 2 || got[1].Seq != 3 || got[0].Episode != 10*second || got[1].Episode != 13*second || got[0].ID != tr.ID {
		t.Fatalf("%+v", got)
	}
	if st := s.Stats(); st.Disordered != 1 || st.Keys != 2 || st.Active != 1 || st.Rows != 7 {
		t.Fatalf("%+v", st)
	}
}

func TestForElapsesByClockAndByReading(t *testing.T) {
	r := testRule()
	r.For = 30 * second
	s := newSet(t, r)
	expect(t, s.Observe(0, rowsOf(reading{"a", 0, yes, null, ""}, reading{"b", 5 * second, yes, null, ""}), Observation{}), "a:inactive>pending@0 b:inactive>pending@5")
	expect(t, s.Advance(30*second), "")
	expect(t, s.Advance(31*second), "a:pending>firing@30")
	expect(t, s.Observe(0, rowsOf(reading{"b", 35 * second, null, null, ""}), Observation{}), "b:pending>firing@35")
	expect(t, s.Observe(0, rowsOf(reading{"a", 40 * second, no, null, ""}, reading{"c", 40 * second, yes, null, ""}, reading{"c", 70 * second, no, null, ""}), Observation{}),
		"a:firing>resolved@40 c:inactive>pending@40 c:pending>inactive@70")
	expect(t, s.Advance(1000*second), "")
}

func TestKeepFiringForAndResolve(t *testing.T) {
	r := testRule()
	r.KeepFiringFor = 10 * second
	s := newSet(t, r)
	expect(t, s.Observe(0, rowsOf(reading{"a", 0, yes, null, ""}, reading{"a", 5 * second, no, null, ""}, reading{"a", 14 * second, yes, null, ""}, reading{"a", 20 * second, no, null, ""}), Observation{}), "a:inactive>firing@0")
	expect(t, s.Advance(31*second), "a:firing>resolved@30")

	r = testRule()
	r.Resolve = "passengers < 50"
	s = newSet(t, r)
	expect(t, s.Observe(0, rowsOf(reading{"a", 0, yes, no, ""}, reading{"a", 1 * second, no, no, ""}, reading{"a", 2 * second, yes, yes, ""}, reading{"a", 3 * second, no, null, ""},
		reading{"a", 4 * second, null, yes, ""}), Observation{}), "a:inactive>firing@0 a:firing>resolved@4")
}

func TestHistoryNeverChangesNow(t *testing.T) {
	s := newSet(t, testRule())
	now := Observation{Tick: 1000 * second, MaxAge: 60 * second}
	expect(t, s.Observe(0, rowsOf(reading{"a", 900 * second, yes, null, ""}, reading{"a", 910 * second, no, null, ""}, reading{"a", 990 * second, no, null, ""}), now),
		"!a:inactive>firing@900 !a:firing>resolved@910")
	expect(t, s.Observe(0, rowsOf(reading{"a", 995 * second, yes, null, ""}), now), "a:inactive>firing@995")
	replayed := now
	replayed.Replayed = true
	expect(t, s.Observe(0, rowsOf(reading{"a", 999 * second, no, null, ""}, reading{"a", 999 * second, yes, null, ""}), replayed), "")
	if list := s.Active(); len(list) != 1 || list[0].State != Firing || list[0].Seq != 3 {
		t.Fatalf("%+v", list)
	}
}

func TestNoDataIsNeverResolved(t *testing.T) {
	r := testRule()
	r.AbsentFor = 20 * second
	s := newSet(t, r)
	s.Observe(0, rowsOf(reading{"a", 0, yes, null, "7"}, reading{"b", 0, no, null, ""}), Observation{})
	got := s.Advance(21 * second)
	if len(got) != 2 || got[0].To != NoData || got[1].To != NoData || got[0].At != 20*second {
		t.Fatalf("%s", brief(got))
	}
	expect(t, s.Observe(0, rowsOf(reading{"a", 30 * second, yes, null, ""}, reading{"b", 30 * second, no, null, ""}), Observation{}), "a:no-data>firing@30 b:no-data>inactive@30")
}

func TestLimitHoldsBackAndCounts(t *testing.T) {
	r := testRule()
	r.Limit = 1
	s := newSet(t, r)
	expect(t, s.Observe(0, rowsOf(reading{"a", 0, yes, null, ""}, reading{"b", 0, yes, null, ""}), Observation{}), "a:inactive>firing@0")
	if st := s.Stats(); st.Limited != 1 || st.Active != 1 {
		t.Fatalf("%+v", st)
	}
	expect(t, s.Observe(0, rowsOf(reading{"a", second, no, null, ""}, reading{"b", second, yes, null, ""}), Observation{}), "a:firing>resolved@1 b:inactive>firing@1")
}

func TestMaxKeysForgetsTheIdle(t *testing.T) {
	s, err := NewSet([]Rule{testRule()}, Options{MaxKeys: 4})
	if err != nil {
		t.Fatal(err)
	}
	s.Observe(0, rowsOf(reading{"a", 0, yes, null, ""}, reading{"b", 5, no, null, ""}, reading{"c", 3, no, null, ""}, reading{"d", 4, no, null, ""}), Observation{})
	expect(t, s.Observe(0, rowsOf(reading{"e", 6, yes, null, ""}, reading{"a", 6, no, null, ""}, reading{"b", 4, yes, null, ""}), Observation{}), "e:inactive>firing@0 a:firing>resolved@0")
	if st := s.Stats(); st.Evicted != 2 || st.Keys != 3 || st.Disordered != 1 || st.Refused != 0 {
		t.Fatalf("%+v", st)
	}
	s.Observe(0, rowsOf(reading{"f", 7, yes, null, ""}, reading{"g", 7, yes, null, ""}, reading{"h", 7, yes, null, ""}, reading{"i", 7, yes, null, ""}), Observation{})
	if st := s.Stats(); st.Keys != 4 || st.Refused == 0 {
		t.Fatalf("%+v", st)
	}
}

func TestReplaceKeepsWhatStays(t *testing.T) {
	gone := testRule()
	gone.Name = "Gone"
	s := newSet(t, gone, testRule())
	s.Observe(0, rowsOf(reading{"a", 0, yes, null, ""}), Observation{})
	s.Observe(1, rowsOf(reading{"a", 0, yes, null, ""}), Observation{})
	changed := testRule()
	changed.KeepFiringFor = 5 * second
	got, err := s.Replace([]Rule{changed}, second)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, got, "a:firing>resolved@1")
	expect(t, s.Observe(0, rowsOf(reading{"a", 2 * second, no, null, ""}), Observation{}), "")
	expect(t, s.Advance(8*second), "a:firing>resolved@7")
}

// oracle computes the transitions of one key by stepping through every second of a small range of time.
func oracle(r Rule, list []reading, end int64) []string {
	type state struct {
		name, told, prior  State
		episode, cleared   int64
		clearing, anything bool
		last               int64
	}
	st := state{name: Inactive, told: Inactive, prior: Inactive}
	var out []string
	tell := func(at int64) {
		if st.name != st.told {
			out = append(out, fmt.Sprintf("%s>%s@%d", st.told, st.name, at))
			st.told = st.name
		}
	}
	due := func(at int64) {
		if st.name == Pending && at-st.episode >= r.For {
			st.name = Firing
			tell(at)
		}
		if st.name == Firing && st.clearing && at-st.cleared >= r.KeepFiringFor {
			st.name, st.clearing = Resolved, false
			tell(at)
		}
	}
	for now := int64(0); now <= end; now++ {
		for _, x := range list {
			if x.t != now {
				continue
			}
			st.last, st.anything = now, true
			if st.name == NoData {
				st.name = st.prior
			}
			switch {
			case (st.name == Inactive || st.name == Resolved) && x.cond == yes:
				st.name, st.episode, st.clearing = Pending, now, false
				if r.For > 0 {
					tell(now)
				}
			case st.name == Pending && x.cond == no:
				st.name = Inactive
			case st.name == Firing && x.cond == yes:
				st.clearing = false
			case st.name == Firing && !st.clearing && (r.Resolve == "" && x.cond == no || r.Resolve != "" && x.resolve == yes):
				st.clearing, st.cleared = true, now
			}
			if r.For > 0 {
				tell(now)
			}
			due(now)
			tell(now)
		}
		if now < end {
			due(now)
			if r.AbsentFor > 0 && st.anything && st.name != NoData && now-st.last >= r.AbsentFor {
				st.prior, st.name = st.name, NoData
				tell(now)
			}
		}
	}
	return out
}

// TestOracle compares random sequences, cut into random batches, with the
// clock advanced and the set restored from a snapshot at random points.
func TestOracle(t *testing.T) {
	for seed := range uint64(400) {
		rng := rand.New(rand.NewPCG(seed, 7))
		r := testRule()
		r.For, r.KeepFiringFor = rng.Int64N(3)*rng.Int64N(8), rng.Int64N(3)*rng.Int64N(8)
		if rng.IntN(2) == 0 {
			r.Resolve = "x"
		}
		if rng.IntN(3) == 0 {
			r.AbsentFor = 1 + rng.Int64N(12)
		}
		const end = 80
		var list []reading
		for range 60 {
			list = append(list, reading{string(rune('a' + rng.IntN(4))), rng.Int64N(end), tri(rng.IntN(3)), tri(rng.IntN(3)), fmt.Sprint(rng.IntN(100))})
		}
		slices.SortStableFunc(list, func(a, b reading) int { return int(a.t - b.t) })
		for i := range list { // some disorder
			if j := i + rng.IntN(4); rng.IntN(3) == 0 && j < len(list) {
				list[i], list[j] = list[j], list[i]
			}
		}
		accepted := map[string][]reading{}
		for _, x := range list {
			if mine := accepted[x.key]; len(mine) == 0 || x.t >= mine[len(mine)-1].t {
				accepted[x.key] = append(mine, x)
			}
		}
		got := map[string][]string{}
		seqs := map[string]uint64{}
		s := newSet(t, r)
		collect := func(trs []Transition) {
			for _, tr := range trs {
				key := tr.Labels[0].Value
				got[key] = append(got[key], fmt.Sprintf("%s>%s@%d", tr.From, tr.To, tr.At))
				if tr.Seq != seqs[key]+1 {
					t.Fatalf("seed %d: key %s: seq %d after %d", seed, key, tr.Seq, seqs[key])
				}
				seqs[key] = tr.Seq
			}
		}
		for at := 0; at < len(list); {
			n := min(1+rng.IntN(6), len(list)-at)
			collect(s.Observe(0, rowsOf(list[at:at+n]...), Observation{}))
			at += n
			if rng.IntN(2) == 0 {
				low := int64(end)
				for _, x := range list[at:] {
					low = min(low, x.t)
				}
				collect(s.Advance(low - rng.Int64N(3)))
			}
			if rng.IntN(4) == 0 {
				b := s.Encode(nil)
				restored, err := DecodeSet(b, Options{})
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(restored.Encode(nil), b) {
					t.Fatalf("seed %d: a restored set encodes differently", seed)
				}
				s = restored
			}
		}
		collect(s.Advance(end))
		for key, mine := range accepted {
			if want := oracle(r, mine, end); !slices.Equal(got[key], want) {
				t.Fatalf("seed %d, rule %+v, key %s, readings %v:\n got %v\nwant %v", seed, r, key, mine, got[key], want)
			}
		}
	}
}

// TestIDs holds the ids: they are in stores and on topics.
func TestIDs(t *testing.T) {
	r := testRule()
	s := newSet(t, r)
	got := s.Observe(0, rowsOf(reading{"", 0, yes, null, ""}, reading{"NULL", 0, yes, null, ""}, reading{strings.Repeat("x", 300), 0, yes, null, ""}), Observation{})
	if len(got) != 3 || got[0].Labels[0].Value != "" || len(got[2].Labels[0].Value) != 300 {
		t.Fatalf("%+v", got)
	}
	const want = "5e8b8d8d3f9243162814b6ee8a6fda3c"
	if id := newSetID(t); id != want {
		t.Fatalf("id %s, want %s", id, want)
	}
}

func newSetID(t *testing.T) string {
	return newSet(t, testRule()).Observe(0, rowsOf(reading{"7", 0, yes, null, ""}), Observation{})[0].ID
}

// TestSelectSQL holds that the query of a rule parses and names what Observe needs.
func TestSelectSQL(t *testing.T) {
	r := testRule()
	r.By = []string{"b.bus_id", "`line no`"}
	r.From = "STREAM bus b JOIN vehicle v ON b.bus_id = v.bus_id"
	r.Resolve = "passengers < 0.9 * capacity"
	q, err := sql.ParseSelect(SelectSQL(r))
	if err != nil {
		t.Fatalf("%s: %v", SelectSQL(r), err)
	}
	var names []string
	for _, it := range q.Body.(*sql.Select).Items {
		names = append(names, it.Alias)
	}
	if want := []string{"bus_id", "line no", TimeColumn, CondColumn, ResolveColumn, ValueColumn, "k", "route"}; !slices.Equal(names, want) {
		t.Fatalf("columns %q, want %q", names, want)
	}
}

// TestSnapshotDamage cuts and flips a snapshot: an error or a set, never a panic.
func TestSnapshotDamage(t *testing.T) {
	r := testRule()
	r.For = second
	s := newSet(t, r)
	s.Observe(0, rowsOf(reading{"a", 0, yes, null, "1"}, reading{"b", 0, no, null, "1"}), Observation{})
	s.Observe(0, rowsOf(reading{"a", 0, yes, null, "1"}), Observation{Replayed: true})
	b := s.Encode(nil)
	for n := range b {
		if _, err := DecodeSet(b[:n], Options{}); err == nil {
			t.Fatalf("the first %d of %d bytes are taken for a snapshot", n, len(b))
		}
		for bit := range 8 {
			c := bytes.Clone(b)
			c[n] ^= 1 << bit
			if s, err := DecodeSet(c, Options{}); err == nil {
				s.Advance(1 << 40)
				s.now(func(c *Capture) { c.Table() })
			}
		}
	}
}

func benchRows(keys, rows int, firing int) *column.Batch {
	list := make([]reading, rows)
	for i := range list {
		c := no
		if i%keys < firing {
			c = yes
		}
		list[i] = reading{fmt.Sprintf("bus-%d", i%keys), int64(i), c, null, "80"}
	}
	return rowsOf(list...)
}

// TestObserveDoesNotAllocate holds that readings that change nothing cost no memory.
func TestObserveDoesNotAllocate(t *testing.T) {
	s := newSet(t, testRule())
	b := benchRows(1000, 4000, 10)
	s.Observe(0, b, Observation{})
	if n := testing.AllocsPerRun(10, func() {
		for i := range b.Cols[1].I64 {
			b.Cols[1].I64[i] += 4000
		}
		s.Observe(0, b, Observation{})
	}); n > 4 {
		t.Fatalf("%v allocations for 4000 readings", n)
	}
}

func BenchmarkObserve(b *testing.B) {
	for _, keys := range []int{100, 2000, 100000} {
		b.Run(fmt.Sprint(keys), func(b *testing.B) {
			s, err := NewSet([]Rule{testRule()}, Options{})
			if err != nil {
				b.Fatal(err)
			}
			rows := benchRows(keys, max(keys, 1000), 1)
			for b.Loop() {
				for i := range rows.Cols[1].I64 {
					rows.Cols[1].I64[i] += int64(rows.Len)
				}
				s.Observe(0, rows, Observation{})
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(rows.Len), "ns/reading")
		})
	}
}
