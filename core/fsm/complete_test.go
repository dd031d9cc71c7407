package fsm_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"signalbox/core/fsm"
	"signalbox/core/outbox"
	"signalbox/edge/wire"
	"signalbox/engine"
	"signalbox/engine/column"
)

// A fleet on virtual time whose agents go away and come back with a backlog. The slow truth
// beside it is what each window would say had nobody ever been away.

const fleetTables = `
CREATE STREAM bus (time TIMESTAMP, bus STRING, passengers BIGINT);
CREATE STREAMING TABLE load OPTIONS (allowed_lateness '200 seconds') AS
  SELECT window.start AS start, window.end AS end, bus, sum(passengers) AS passengers, count(*) AS n
  FROM STREAM bus WATERMARK time DELAY OF INTERVAL 2 SECONDS GROUP BY window(time, '10 seconds'), bus;
CREATE STREAMING TABLE sliding OPTIONS (allowed_lateness '200 seconds') AS
  SELECT window.start AS start, window.end AS end, sum(passengers) AS passengers, count(*) AS n
  FROM STREAM bus WATERMARK time DELAY OF INTERVAL 2 SECONDS GROUP BY window(time, '20 seconds', '5 seconds');
CREATE STREAMING TABLE changes OPTIONS (mode 'update', allowed_lateness '200 seconds') AS
  SELECT window.start AS start, window.end AS end, bus, sum(passengers) AS passengers, count(*) AS n
  FROM STREAM bus WATERMARK time DELAY OF INTERVAL 2 SECONDS GROUP BY window(time, '10 seconds'), bus;
CREATE STREAMING TABLE full_only AS SELECT start, end, bus, passengers, n FROM STREAM load WHERE passengers >= 60;
CREATE STREAMING TABLE added AS
  SELECT window.start AS start, count(*) AS n FROM STREAM full_only WATERMARK start DELAY OF INTERVAL 0 SECONDS GROUP BY window(start, '100 seconds');
`

const fleetDelay = 2 * second

type fleetReading struct{ t, passengers int64 }

// fleetAgent sends what is in unsent, in order, and certifies what is gone.
type fleetAgent struct {
	name   string
	joined bool
	away   bool
	seq    uint64
	unsent []fleetReading
	newest int64
	low    int64 // what it certified and the core applied
}

// shownRow is a result row as an upsert sink has it.
type shownRow struct {
	text               string
	end                int64
	rev                uint32
	complete, expected int32
	told               int // emissions
	finals             int // emissions that claim to be final
	first              bool
}

type fleet struct {
	t        *testing.T
	m        *fsm.Machine
	rng      *rand.Rand
	clock    int64
	index    uint64
	agents   []*fleetAgent
	truth    map[string][2]int64 // table, window start, key -> passengers, n
	shown    map[string]map[[16]byte]*shownRow
	read     uint64
	restarts int
	named    int // windows whose missing agents were compared
	news     int // rows of full_only that were told first, not revised
	plant    func(*engine.Input)
}

func newFleet(t *testing.T, seed uint64, agents int, plant func(*engine.Input)) *fleet {
	f := &fleet{t: t, plant: plant, rng: rand.New(rand.NewPCG(seed, 5)), clock: 1_700_000_000 * second, truth: map[string][2]int64{}, shown: map[string]map[[16]byte]*shownRow{}}
	f.m = f.machine()
	f.entry(fsm.LeaderReadyItem(fsm.LeaderReady{Term: 1, Node: "n0", Sinks: []string{"a"}}))
	f.entry(fsm.ScriptItem("p.sql", fleetTables))
	for i := range agents {
		f.agents = append(f.agents, &fleetAgent{name: fmt.Sprint("bus", i)})
	}
	return f
}

func (f *fleet) machine() *fsm.Machine {
	opt := engine.DefaultOptions()
	opt.FinalRows = 7 // so that telling takes several entries
	var e fsm.EngineFactory = fsm.RealEngine{Options: opt}
	if f.plant != nil {
		e = impure{e, f.plant}
	}
	m, err := fsm.New(fsm.Options{Engine: e, Outbox: outbox.Options{}})
	if err != nil {
		f.t.Fatal(err)
	}
	return m
}

// noticed is what a planted bug ends with.
type noticed string

func (f *fleet) fail(format string, args ...any) {
	f.t.Helper()
	if f.plant != nil {
		panic(noticed(fmt.Sprintf(format, args...)))
	}
	f.t.Fatalf(format, args...)
}

func (f *fleet) entry(items ...fsm.Item) {
	f.t.Helper()
	f.index++
	for _, r := range apply(f.t, f.m, f.index, fsm.EncodeEntry(nil, fsm.Header{Clock: f.clock}, items)) {
		if r.Verdict != fsm.Applied {
			f.t.Fatalf("entry %d: %+v", f.index, r)
		}
	}
	f.collect()
}

// truthAdd notes a reading in every window it belongs to.
func (f *fleet) truthAdd(bus string, r fleetReading) {
	add := func(table string, start int64, key string) {
		k := fmt.Sprint(table, " ", start, " ", key)
		v := f.truth[k]
		f.truth[k] = [2]int64{v[0] + r.passengers, v[1] + 1}
	}
	start := r.t - r.t%(10*second)
	add("load", start, bus)
	add("changes", start, bus)
	for s := r.t - r.t%(5*second); s > r.t-20*second; s -= 5 * second {
		add("sliding", s, "")
	}
}

// step lets a second pass: every agent reads, and those with a link send.
func (f *fleet) step() {
	f.clock += second
	var items []fsm.Item
	for _, a := range f.agents {
		if !a.joined {
			continue
		}
		r := fleetReading{f.clock - f.rng.Int64N(second/2), f.rng.Int64N(12)}
		f.truthAdd(a.name, r)
		a.unsent, a.newest = append(a.unsent, r), r.t
		if !a.away {
			items = append(items, f.send(a)...)
		}
	}
	f.entry(append(items, fsm.TickItem())...)
	f.certified(items)
}

// send makes the next batch of an agent: the oldest of its backlog first.
func (f *fleet) send(a *fleetAgent) []fsm.Item {
	n, lane := len(a.unsent), wire.Live
	if n > 1 {
		n, lane = min(n, 1+f.rng.IntN(9)), wire.Backlog
	}
	rows := column.NewBatch(&column.Schema{Name: "bus", Time: 0, Fields: []column.Field{{Name: "time", Type: column.Of(column.TimestampNS)},
		{Name: "bus", Type: column.Of(column.String)}, {Name: "passengers", Type: column.Of(column.BigInt)}}}, n)
	for _, r := range a.unsent[:n] {
		rows.AppendRow(column.I64(r.t*1000), column.Str(a.name), column.I64(r.passengers))
	}
	a.unsent = a.unsent[n:]
	low := a.newest
	if len(a.unsent) > 0 {
		low = a.unsent[0].t
	}
	frame, err := wire.EncodeFrame(nil, rows)
	if err != nil {
		f.t.Fatal(err)
	}
	body, err := wire.AppendBatch(nil, &wire.Batch{Lane: lane, Received: f.clock * 1000, Frames: [][]byte{frame}, Frontiers: []wire.Frontier{{Stream: "bus", MaxTime: a.newest * 1000, LowWater: low * 1000}}})
	if err != nil {
		f.t.Fatal(err)
	}
	a.seq++
	a.low = low
	return []fsm.Item{batch(f.t, a.name, 1, a.seq, body)}
}

func (f *fleet) join(a *fleetAgent) {
	a.joined = true
	f.entry(fsm.GrantItem(&wire.Hello{Protocol: wire.Protocol, Agent: a.name, Install: [16]byte{1}}))
}

// collect takes what the last entry emitted, as an upsert sink does, and holds each row to what is true of it.
func (f *fleet) collect() {
	f.t.Helper()
	out, upTo, err := f.m.Outbox().Read(f.read, 1<<30, 0)
	if err != nil {
		f.t.Fatal(err)
	}
	f.read = upTo
	for i := range out {
		b := &out[i]
		table := f.shown[b.Table.Name]
		if table == nil {
			table = map[[16]byte]*shownRow{}
			f.shown[b.Table.Name] = table
		}
		for r := range b.Rows.Len {
			if b.Deleted[r] {
				delete(table, b.IDs[r])
				continue
			}
			x := table[b.IDs[r]]
			if x == nil {
				x = &shownRow{first: b.Complete != nil && b.Complete[r] == b.Expected[r]}
				table[b.IDs[r]] = x
			}
			f.take(b.Table.Name, x, b.Rows, r, b.Revisions[r])
			if b.Complete == nil {
				if b.Table.Name != "added" {
					f.fail("entry %d: %s says nothing about its completeness", f.index, x.text)
				}
				continue
			}
			x.complete, x.expected = b.Complete[r], b.Expected[r]
			if x.complete == x.expected {
				x.finals++
			}
			f.claim(b.Table.Name, x)
		}
	}
}

// collectAny leaves out what the last entry emitted.
func (f *fleet) collectAny() { f.read = f.index }

func (f *fleet) take(table string, x *shownRow, rows *column.Batch, r int, rev uint32) {
	text := fmt.Sprintf("%s %v", table, rows.Row(r))
	if rev <= x.rev {
		f.fail("entry %d: revision %d after %d: %s", f.index, rev, x.rev, text)
	}
	if x.finals > 0 && x.text != text {
		f.fail("entry %d: a final row changed: %s, it was %s", f.index, text, x.text)
	}
	if table == "full_only" && rev == 1 {
		f.news++
	}
	x.told, x.rev, x.text = x.told+1, rev, text
	if table != "added" {
		x.end = rows.Cols[1].I64[r]
	}
}

// claim: a row that says that everybody is past its window has the value it has in a world without outages.
func (f *fleet) claim(table string, x *shownRow) {
	if table == "full_only" || x.complete != x.expected {
		return
	}
	if got, want := x.text, f.want(table, x.text); got != want {
		f.fail("entry %d: claims to be final (%d of %d): %s, the truth is %s", f.index, x.complete, x.expected, got, want)
	}
}

// want is a row with the true numbers.
func (f *fleet) want(table, text string) string {
	for k, v := range f.truth {
		var name, key string
		var start int64
		_, _ = fmt.Sscan(k, &name, &start, &key)
		if name != table {
			continue
		}
		size := 10 * second
		row := []column.Datum{column.I64(start), column.I64(start + size), column.Str(key), column.I64(v[0]), column.I64(v[1])}
		if table == "sliding" {
			size = 20 * second
			row = []column.Datum{column.I64(start), column.I64(start + size), column.I64(v[0]), column.I64(v[1])}
		}
		if sameKey(text, fmt.Sprintf("%s %v", table, row), table) {
			return fmt.Sprintf("%s %v", table, row)
		}
	}
	return "no such window"
}

// sameKey compares two rows without their last two columns.
func sameKey(a, b, table string) bool {
	cut := func(s string) string {
		i := strings.LastIndex(s, " {false ")
		return s[:strings.LastIndex(s[:i], " {false ")]
	}
	return cut(a) == cut(b)
}

// certified compares what the last entry told with the agents' own ledgers: how many are past each window, and who is missing.
func (f *fleet) certified(sent []fsm.Item) {
	f.t.Helper()
	rows, _, err := f.m.Query(f.t.Context(), "SELECT start, end, state, agents_complete, agents_expected, missing FROM `load$windows`", engine.QueryLimits{})
	if err != nil {
		f.t.Fatal(err)
	}
	for i := range rows.Len {
		end, state := rows.Cols[1].I64[i], rows.Cols[2].Str(i)
		if state != "emitted" && state != "final" {
			continue
		}
		var missing []string
		expected := 0
		for _, a := range f.agents {
			if a.seq == 0 {
				continue
			}
			expected++
			if a.low-a.low%1000-fleetDelay < end {
				missing = append(missing, a.name)
			}
		}
		var named []string
		if text := rows.Cols[5].Str(i); text != "" {
			for _, x := range strings.Split(text, ", ") {
				name, _, _ := strings.Cut(x, " ")
				named = append(named, name)
			}
		}
		slices.Sort(named)
		if !slices.Equal(named, missing) || rows.Cols[3].I64[i] != int64(expected-len(missing)) || rows.Cols[4].I64[i] != int64(expected) {
			f.fail("entry %d: window to %d s is %s, %d of %d, missing %q; the agents say %d expected, missing %q", f.index, (end-f.clock)/second,
				state, rows.Cols[3].I64[i], rows.Cols[4].I64[i], rows.Cols[5].Str(i), expected, missing)
		}
		if len(missing) > 0 {
			f.named++
		}
		if state == "final" && len(missing) > 0 {
			f.fail("entry %d: a window is final without %q", f.index, missing)
		}
	}
}

func (f *fleet) number(sql string) int64 {
	f.t.Helper()
	b, _, err := f.m.Query(f.t.Context(), sql, engine.QueryLimits{})
	if err != nil || b.Len != 1 {
		f.t.Fatalf("%s: %v %v", sql, b, err)
	}
	return b.Cols[0].I64[0]
}

func (f *fleet) restart() {
	f.restarts++
	m := f.machine()
	if err := m.Restore(bytes.NewReader(snapshot(f.t, f.m))); err != nil {
		f.t.Fatal(err)
	}
	f.m = m
}

func (f *fleet) run(seconds int, each func(s int)) {
	for s := range seconds {
		if each != nil {
			each(s)
		}
		f.step()
		if f.rng.IntN(15) == 0 {
			f.restart()
		}
	}
}

// settle lets everybody send everything and the last revision go out.
func (f *fleet) settle() {
	for _, a := range f.agents {
		a.away = false
	}
	f.run(120, nil)
}

func TestWindowsBecomeFinalOnceTheirBacklogIsIn(t *testing.T) {
	for seed := range uint64(4) {
		f := newFleet(t, seed, 6, nil)
		for _, a := range f.agents[:5] {
			f.join(a)
		}
		f.run(30, nil)
		f.run(300, func(s int) {
			for i, a := range f.agents[1:4] { // away for up to a minute and a half, again and again
				if s%97 == 10*i {
					a.away = true
				}
				if s%97 == 40+20*i {
					a.away = false
				}
			}
			if s == 100 {
				f.join(f.agents[5])
			}
		})
		f.settle()
		revised, atOnce := 0, 0
		horizon := f.clock - 20*second // what came last is still open or on its way
		for _, table := range []string{"load", "sliding", "changes"} {
			for _, x := range f.shown[table] {
				if x.end > horizon {
					continue
				}
				if x.finals != 1 {
					t.Fatalf("seed %d: %s claimed to be final %d times, told %d times, %d of %d", seed, x.text, x.finals, x.told, x.complete, x.expected)
				}
				if x.first && x.told != 1 && table != "changes" {
					t.Fatalf("seed %d: complete at first and told %d times: %s", seed, x.told, x.text)
				}
				if x.first {
					atOnce++
				} else {
					revised++
				}
				if want := f.want(table, x.text); want != x.text {
					t.Fatalf("seed %d: %s, without the outages %s", seed, x.text, want)
				}
			}
		}
		for k := range f.truth { // no window is missing
			var table, key string
			var start int64
			_, _ = fmt.Sscan(k, &table, &start, &key)
			size := map[string]int64{"sliding": 20 * second}[table]
			if start+max(size, 10*second) > horizon {
				continue
			}
			found := false
			for _, x := range f.shown[table] {
				found = found || strings.Contains(x.text, fmt.Sprintf("{false %d ", start)) && strings.Contains(x.text, key) && x.end <= horizon
			}
			if !found {
				t.Fatalf("seed %d: %s is nowhere", seed, k)
			}
		}
		for _, x := range f.shown["full_only"] { // what a filter lets through is final like its source
			if x.end <= horizon && x.complete != x.expected {
				t.Fatalf("seed %d: behind a filter %s stays at %d of %d", seed, x.text, x.complete, x.expected)
			}
		}
		counted := f.number("SELECT coalesce(sum(n), 0) FROM `added$open`") + int64(f.m.Status().Engine.Late) // only rows of full_only are late
		for _, x := range f.shown["added"] {
			var n int64
			fields := strings.Fields(x.text)
			_, _ = fmt.Sscan(fields[len(fields)-5], &n)
			counted += n
		}
		if counted != int64(f.news) {
			t.Fatalf("seed %d: %d rows were told first, a table that counts them counted %d", seed, f.news, counted)
		}
		if n := f.m.Status().Engine.Revised; n == 0 || f.number("SELECT count(*) FROM `added$late` WHERE reason = 'revised'") != int64(n) {
			t.Fatalf("seed %d: %d revisions did not count, others are listed", seed, n)
		}
		if late := f.number("SELECT count(*) FROM `bus$late`"); late != 0 || revised == 0 || atOnce == 0 || f.restarts == 0 || f.named == 0 {
			t.Fatalf("seed %d: too tame: %d late, %d rows revised, %d complete at once, %d restarts, %d windows with somebody missing", seed, late, revised, atOnce, f.restarts, f.named)
		}
	}
}

// What comes when the horizon has passed it is late, and the rows it belongs to never claim to be final.
func TestBeyondTheHorizonNothingClaimsToBeFinal(t *testing.T) {
	f := newFleet(t, 9, 4, nil)
	for _, a := range f.agents {
		f.join(a)
	}
	f.run(30, nil)
	gone := f.agents[2]
	left := gone.low
	gone.away = true
	f.run(400, nil)
	back := f.clock
	f.settle()
	closed := map[string]int{}
	for _, table := range []string{"load", "sliding", "changes"} {
		for _, x := range f.shown[table] {
			lost := x.end > left && x.end <= back-210*second // forgotten before its agent was back
			if lost && x.finals > 0 {
				t.Fatalf("%s is beyond the horizon and claimed to be final", x.text)
			}
			if lost {
				closed[table]++
			}
			if !lost && x.end <= left && x.finals != 1 {
				t.Fatalf("%s, from before, claimed to be final %d times", x.text, x.finals)
			}
		}
		if closed[table] == 0 {
			t.Fatalf("nothing of %s is beyond the horizon", table)
		}
	}
	if f.number("SELECT count(*) FROM `bus$late` WHERE reason = 'late' AND query = 'load'") == 0 ||
		f.number("SELECT count(*) FROM `load$windows` WHERE state = 'closed' AND missing = 'bus2 (offline)' AND agents_complete = 3 AND agents_expected = 4") < 10 {
		t.Fatal("late readings and closed windows are not listed")
	}
	if n := f.number("SELECT count(*) FROM `bus$late` WHERE reason = 'late_partly' AND query = 'sliding' AND detail LIKE 'closed were % of its 4 windows: [%'"); n == 0 {
		t.Fatal("readings that are late for some of their windows are not listed")
	}
	s := f.m.Status()
	if s.Counters.Received != s.Counters.Applied+s.Counters.Duplicate+s.Counters.Rejected || s.Counters.Rejected != 0 || s.Engine.LatePartly == 0 {
		t.Fatalf("accounts %+v, partly late %d", s.Counters, s.Engine.LatePartly)
	}
}

// The checks above notice rows that claim more than is true.
func TestCompletenessMuseum(t *testing.T) {
	without := func(reasons ...string) func(*engine.Input) {
		return func(in *engine.Input) {
			for i := range in.Certified {
				c := &in.Certified[i]
				c.Behind = slices.DeleteFunc(slices.Clone(c.Behind), func(b engine.Behind) bool { return slices.Contains(reasons, b.Reason) })
			}
		}
	}
	for _, c := range []struct {
		bug   string
		plant func(*engine.Input)
	}{
		{"nobody is ever behind", without("offline", "backlog", "behind")},
		{"who is offline has sent everything", without("offline")},
		{"who drains a backlog is complete", without("backlog")},
		{"everybody is as far as the furthest behind", func(in *engine.Input) {
			for i := range in.Certified {
				for j := range in.Certified[i].Behind {
					in.Certified[i].Behind[j].Low = in.Certified[i].Behind[0].Low
				}
			}
		}},
	} {
		func() {
			defer func() {
				p := recover()
				if _, ok := p.(noticed); !ok {
					t.Errorf("%s: nobody noticed (%v)", c.bug, p)
				}
			}()
			f := newFleet(t, 1, 4, c.plant)
			for _, a := range f.agents {
				f.join(a)
			}
			f.run(160, func(s int) {
				f.agents[1].away, f.agents[2].away = s > 20 && s < 110, s > 50 && s < 100
			})
		}()
	}
}
