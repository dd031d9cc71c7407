package engine_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"signalbox/engine"
)

// claims lists the rows of an entry as table: values, complete of expected, and whether they only repeat.
func claims(out *engine.Output) (list []string) {
	for _, c := range out.Changes {
		for i := range c.IDs {
			s := fmt.Sprintf("%s: %s r%d", c.Table, rowText(c.Rows, i), c.Revisions[i])
			if c.Complete != nil {
				s += fmt.Sprintf(" %d/%d", c.Complete[i], c.Expected[i])
			}
			if c.Same != nil && c.Same[i] {
				s += " same"
			}
			list = append(list, s)
		}
	}
	return list
}

func wantClaims(t *testing.T, out *engine.Output, want ...string) {
	t.Helper()
	if got := claims(out); !slices.Equal(got, want) {
		t.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// windowsOf is <table>$windows as text.
func windowsOf(t *testing.T, e *engine.Engine, table string) (list []string) {
	t.Helper()
	b, err := e.Query("SELECT state, rows, agents_complete, agents_expected, missing, revisions FROM `" + table + "$windows`")
	if err != nil {
		t.Fatal(err)
	}
	for i := range b.Len {
		list = append(list, rowText(b, i))
	}
	return list
}

const perMinute = `AS SELECT window.start AS s, bus, count(*) AS n FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS GROUP BY window(time, '1 minute'), bus HAVING count(*) > 1`

// behind certifies low while agents are behind, given as name, low.
func certify(in *engine.Input, low int64, expected int, behind ...engine.Behind) *engine.Input {
	in.Certified = []engine.Certified{{Stream: "bus", LowWater: low, AgentsComplete: expected - len(behind), AgentsExpected: expected, Behind: behind}}
	return in
}

func TestAWindowBecomesFinalOnce(t *testing.T) {
	opt := engine.DefaultOptions()
	e := newEngine(t, opt, `CREATE STREAMING TABLE q OPTIONS (allowed_lateness '10 minutes') `+perMinute)
	base := 1_700_000_040 * second // a full minute
	off := func(low int64) engine.Behind { return engine.Behind{Agent: "depot", Reason: "offline", Low: low} }
	apply(t, e, certify(busInput(1, second, busRow{t: base, bus: "a"}, busRow{t: base + 1, bus: "a"}, busRow{t: base + 2, bus: "b"}, busRow{t: base + 3, bus: "b"}, busRow{t: base, bus: "once"}), base, 3))
	wantClaims(t, apply(t, e, certify(busInput(2, 2*second), base+80*second, 3, off(base+30*second))),
		fmt.Sprintf("q: %d,a,2 r1 2/3", base), fmt.Sprintf("q: %d,b,2 r1 2/3", base))
	if w := windowsOf(t, e, "q"); !slices.Equal(w, []string{"emitted,3,2,3,depot (offline),0"}) {
		t.Fatal(w)
	}
	// It is back: its backlog changes b, and does not reach the end of the window yet.
	wantClaims(t, apply(t, e, certify(busInput(3, 3*second, busRow{t: base + 40*second, bus: "b"}), base+80*second, 3, off(base+45*second))),
		fmt.Sprintf("q: %d,b,3 r2 2/3", base))
	// Now everybody is past it. Revisions are ten seconds apart, so it is told then: b with a new reading, a with the news that it is final.
	wantClaims(t, apply(t, e, certify(busInput(4, 4*second, busRow{t: base + 50*second, bus: "b"}), base+80*second, 3)))
	wantClaims(t, apply(t, e, certify(busInput(5, 13*second), base+80*second, 3)),
		fmt.Sprintf("q: %d,b,4 r3 3/3", base), fmt.Sprintf("q: %d,a,2 r4 3/3 same", base))
	if w := windowsOf(t, e, "q"); !slices.Equal(w, []string{"final,3,3,3,,3"}) {
		t.Fatal(w)
	}
	wantClaims(t, apply(t, e, certify(busInput(6, 60*second), base+90*second, 3)))
	// An agent that breaks its word: only the row that changed is told.
	wantClaims(t, apply(t, e, certify(busInput(7, 70*second, busRow{t: base + 51*second, bus: "a"}), base+90*second, 3)),
		fmt.Sprintf("q: %d,a,3 r5 3/3", base))
	// The windows after it are complete at once, and never told again.
	wantClaims(t, apply(t, e, certify(busInput(8, 80*second, busRow{t: base + 70*second, bus: "a"}, busRow{t: base + 71*second, bus: "a"}), base+130*second, 3)),
		fmt.Sprintf("q: %d,a,2 r1 3/3", base+60*second))
	wantClaims(t, apply(t, e, certify(busInput(9, 200*second), base+800*second, 3)))
	if w := windowsOf(t, e, "q"); !slices.Equal(w, []string{"final,3,3,3,,4", "final,1,3,3,,0"}) {
		t.Fatal(w)
	}
	if c := e.Counters(); c.Finals != 2 || c.Incomplete != 0 {
		t.Fatalf("%+v", c)
	}
}

// What reads a table sees its revisions; that a row became final is news only to what shows rows one by one.
func TestFinalRowsAreNoNewReadings(t *testing.T) {
	e := newEngine(t, engine.DefaultOptions(), `CREATE STREAMING TABLE q OPTIONS (allowed_lateness '10 minutes') `+perMinute,
		`CREATE STREAMING TABLE shown AS SELECT s, bus, n * 10 AS n FROM STREAM q`,
		`CREATE STREAMING TABLE added OPTIONS (mode 'update') AS SELECT bus, count(*) AS rows FROM STREAM q GROUP BY bus`)
	base := 1_700_000_040 * second
	apply(t, e, certify(busInput(1, second, busRow{t: base, bus: "a"}, busRow{t: base + 1, bus: "a"}), base, 2))
	wantClaims(t, apply(t, e, certify(busInput(2, 2*second), base+80*second, 2, engine.Behind{Agent: "x", Reason: "backlog", Low: base})),
		fmt.Sprintf("q: %d,a,2 r1 1/2", base), fmt.Sprintf("shown: %d,a,20 r1 1/2", base), "added: a,1 r1")
	wantClaims(t, apply(t, e, certify(busInput(3, 20*second), base+80*second, 2)),
		fmt.Sprintf("q: %d,a,2 r2 2/2 same", base), fmt.Sprintf("shown: %d,a,20 r2 2/2 same", base))
}

// Many windows that become final at once are told over several entries; those about to be forgotten do not wait.
func TestTellingThatWindowsAreFinalIsBounded(t *testing.T) {
	opt := engine.DefaultOptions()
	opt.FinalRows, opt.WindowRows = 5, 3
	e := newEngine(t, opt, `CREATE STREAMING TABLE q OPTIONS (allowed_lateness '30 minutes') AS SELECT window.start AS s, bus, count(*) AS n FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS GROUP BY window(time, '1 minute'), bus`)
	base := 1_700_000_040 * second
	var rows []busRow
	for m := range int64(20) {
		for b := range 3 {
			rows = append(rows, busRow{t: base + m*60*second, bus: fmt.Sprint(b)})
		}
	}
	apply(t, e, certify(busInput(1, second, rows...), base, 2))
	out := apply(t, e, certify(busInput(2, 2*second), base+1300*second, 2, engine.Behind{Agent: "x", Reason: "offline", Low: base}))
	if n := len(claims(out)); n != 60 || e.Counters().Incomplete != 20 {
		t.Fatalf("%d rows first, %d windows incomplete", n, e.Counters().Incomplete)
	}
	told := map[string]int{}
	for i := uint64(3); i < 30; i++ {
		if i%4 == 0 {
			e = throughSnapshot(t, e, opt)
		}
		in := certify(busInput(i, int64(i)*second), base+1300*second, 2)
		if i == 9 { // the first twelve windows reach their horizon
			in = certify(busInput(i, int64(i)*second), base+(12*60+1800+10)*second, 2)
		}
		got := claims(apply(t, e, in))
		if len(got) > 5 && i != 9 {
			t.Fatalf("entry %d tells %d rows", i, len(got))
		}
		for _, x := range got {
			if !strings.HasSuffix(x, " 2/2 same") {
				t.Fatal(x)
			}
			told[strings.Split(x, " r")[0]]++
		}
	}
	for k, n := range told {
		if n != 1 {
			t.Errorf("%s told %d times", k, n)
		}
	}
	if c := e.Counters(); len(told) != 60 || c.Finals != 60 || c.Incomplete != 0 || c.WindowsEvict != 12-3 {
		t.Fatalf("%d rows told, counters %+v", len(told), c)
	}
	if w := windowsOf(t, e, "q"); len(w) != 3+8 {
		t.Fatalf("%d windows are listed", len(w))
	}
}

// Sessions and windows without allowed_lateness are told once, and say how many are past them.
func TestCompletenessWithoutLateness(t *testing.T) {
	e := newEngine(t, engine.DefaultOptions(), `CREATE STREAMING TABLE q `+strings.ReplaceAll(perMinute, "HAVING count(*) > 1", ""),
		`CREATE STREAMING TABLE trips AS SELECT session_window.start AS s, bus, count(*) AS n FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS GROUP BY session_window(time, '20 seconds'), bus`,
		`CREATE STREAMING TABLE now OPTIONS (mode 'update') AS SELECT window.start AS s, count(*) AS n FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS GROUP BY window(time, '1 minute')`)
	base := 1_700_000_040 * second
	wantClaims(t, apply(t, e, certify(busInput(1, second, busRow{t: base + 5*second, bus: "a"}, busRow{t: base + 65*second, bus: "a"}), base, 2)),
		fmt.Sprintf("now: %d,1 r1 0/2", base), fmt.Sprintf("now: %d,1 r1 0/2", base+60*second))
	x := engine.Behind{Agent: "x", Reason: "backlog", Low: base + 50*second} // past the first session, not the first minute
	wantClaims(t, apply(t, e, certify(busInput(2, 2*second), base+100*second, 2, x)),
		fmt.Sprintf("q: %d,a,1 r1 1/2", base), fmt.Sprintf("trips: %d,a,1 r1 2/2", base+5*second), fmt.Sprintf("trips: %d,a,1 r1 1/2", base+65*second))
	wantClaims(t, apply(t, e, certify(busInput(3, 30*second), base+140*second, 2)),
		fmt.Sprintf("q: %d,a,1 r1 2/2", base+60*second), fmt.Sprintf("now: %d,1 r2 2/2 same", base+60*second))
	if w := windowsOf(t, e, "q"); !slices.Equal(w, []string{"closed,1,1,2,x (backlog),0", "final,1,2,2,,0"}) {
		t.Fatal(w)
	}
	if w := windowsOf(t, e, "now"); !slices.Equal(w, []string{"closed,1,1,2,x (backlog),0", "final,1,2,2,,1"}) {
		t.Fatal(w)
	}
	if _, err := e.Query("SELECT * FROM `trips$windows`"); err == nil {
		t.Fatal("sessions have no list of windows")
	}
}

// Without agents nothing is final, and nothing says so.
func TestWindowsWithoutAgents(t *testing.T) {
	e := newEngine(t, engine.DefaultOptions(), `CREATE STREAMING TABLE q OPTIONS (allowed_lateness '1 minute') AS SELECT window.start AS s, count(*) AS n FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS GROUP BY window(time, '1 minute', '30 seconds')`)
	base := 1_700_000_040 * second
	for i := range int64(6) {
		for _, c := range claims(apply(t, e, busInput(uint64(i+1), (i+1)*second, busRow{t: base + i*40*second, bus: "a"}))) {
			if strings.Contains(c, "/") {
				t.Fatal(c)
			}
		}
	}
	want := []string{"closed,1,NULL,NULL,NULL,0", "closed,2,NULL,NULL,NULL,0"}
	if w := windowsOf(t, e, "q"); len(w) < 5 || w[0] != "closed,1,NULL,NULL,NULL,0" || w[len(w)-1] != "open,1,NULL,NULL,NULL,0" {
		t.Fatalf("%v, want something like %v", w, want)
	}
}

func TestRowsLateForSomeWindowsAreListed(t *testing.T) {
	base := 1_700_000_040 * second
	e := newEngine(t, engine.DefaultOptions(),
		`CREATE STREAMING TABLE q AS SELECT window.start AS s, count(*) AS n FROM STREAM bus WATERMARK time DELAY OF INTERVAL 0 SECONDS GROUP BY window(time, '30 seconds', '10 seconds')`,
		`CREATE STREAMING TABLE uneven AS SELECT window.start AS s, count(*) AS n FROM STREAM bus WATERMARK time DELAY OF INTERVAL 0 SECONDS GROUP BY window(time, '25 seconds', '10 seconds')`)
	apply(t, e, busInput(1, second, busRow{t: base + 60*second, bus: "a"}))
	out := apply(t, e, busInput(2, 2*second, busRow{t: base + 41*second, bus: "b"}, busRow{t: base + 47*second, bus: "c"}, busRow{t: base + 1, bus: "d"}))
	var got []string
	for _, x := range append(slices.Clone(out.Late), out.Partly...) {
		got = append(got, fmt.Sprintf("%s %s %d %s", x.Query, x.Reason, x.Time-base, strings.TrimSuffix(x.Detail, "; it counts in the others")))
	}
	slices.Sort(got)
	w := func(sizes int64, starts ...int64) (text string) {
		for _, x := range starts {
			text += fmt.Sprintf(" [2023-11-14T22:14:%02dZ, %s)", x, time.UnixMicro(base+(x+sizes)*second).UTC().Format(time.RFC3339))
		}
		return text
	}
	want := []string{"q late 1 ", "uneven late 1 ",
		"q late_partly 41000000 closed were 2 of its 3 windows:" + w(30, 20, 30), "q late_partly 47000000 closed were 2 of its 3 windows:" + w(30, 20, 30),
		"uneven late_partly 41000000 closed were 2 of its 3 windows:" + w(25, 20, 30), "uneven late_partly 47000000 closed were 1 of its 2 windows:" + w(25, 30)}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	listed, err := e.Query("SELECT count(*) FROM `bus$late` WHERE reason = 'late_partly'")
	if err != nil || listed.Cols[0].I64[0] != 4 {
		t.Fatalf("listed: %v %v", listed, err)
	}
	c := e.Counters()
	if c.Applied != 4 || int(c.Late) != len(out.Late) || int(c.LatePartly) != len(out.Partly) {
		t.Fatalf("%+v", c)
	}
}

// Where agents certify, the watermark moves without news: a sum without keys is told when readings came, as often as that.
func TestACertifiedWatermarkAloneTellsNoSumAgain(t *testing.T) {
	e := newEngine(t, engine.DefaultOptions(), `CREATE STREAMING TABLE q OPTIONS (mode 'update') AS SELECT count(*) AS n FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS`)
	base := 1_700_000_040 * second
	wantClaims(t, apply(t, e, certify(busInput(1, second, busRow{t: base, bus: "a"}), base, 1)), "q: 1 r1 1/1")
	for i := range int64(5) {
		wantClaims(t, apply(t, e, certify(busInput(2+uint64(i), (2+i)*second), base+(20+i)*second, 1)))
	}
	wantClaims(t, apply(t, e, certify(busInput(7, 8*second, busRow{t: base + 60*second, bus: "a"}), base+30*second, 1)), "q: 2 r2 1/1")
}

// A sliding window that lost a pane to the byte budget is not told again as final: its rows would lack what was in the pane.
func TestAWindowThatWasGivenUpIsNotToldAgain(t *testing.T) {
	opt := engine.DefaultOptions()
	opt.MaxClosedBytes = 700
	e := newEngine(t, opt, `CREATE STREAMING TABLE q OPTIONS (allowed_lateness '30 minutes') AS SELECT window.start AS s, bus, count(*) AS n
		FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS GROUP BY window(time, '2 minutes', '1 minute'), bus`)
	base := 1_700_000_040 * second
	var rows []busRow
	for m := range int64(10) {
		rows = append(rows, busRow{t: base + m*60*second, bus: "a"}, busRow{t: base + m*60*second + 1, bus: "a"})
	}
	x := engine.Behind{Agent: "x", Reason: "backlog", Low: base - second}
	apply(t, e, certify(busInput(1, second, rows...), base, 2, x))
	told := map[engine.RowID]string{}
	for _, c := range apply(t, e, certify(busInput(2, 2*second), base+900*second, 2, x)).Changes {
		for i, id := range c.IDs {
			told[id] = rowText(c.Rows, i)
		}
	}
	if e.Counters().ClosedEvict == 0 || len(told) != 11 {
		t.Fatalf("%d windows, %d given up", len(told), e.Counters().ClosedEvict)
	}
	finals := 0
	for i := uint64(3); i < 6; i++ {
		for _, c := range apply(t, e, certify(busInput(i, int64(i)*20*second), base+900*second, 2)).Changes {
			for k, id := range c.IDs {
				if finals++; told[id] != rowText(c.Rows, k) {
					t.Errorf("%s became %s without a reading", told[id], rowText(c.Rows, k))
				}
			}
		}
		e = throughSnapshot(t, e, opt)
	}
	if finals == 0 || finals == len(told) || e.Counters().Incomplete == 0 {
		t.Fatalf("%d of %d rows are final, %d windows are not", finals, len(told), e.Counters().Incomplete)
	}
	for _, w := range windowsOf(t, e, "q")[:1] {
		if !strings.HasPrefix(w, "emitted,") {
			t.Fatal(w)
		}
	}
}
