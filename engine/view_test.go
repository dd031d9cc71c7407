package engine

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"signalbox/engine/alert"
	"signalbox/engine/column"
)

// viewEngine has every kind of table that a query may read, with few retained rows so that they are pushed out and used again.
func viewEngine(t testing.TB) *Engine {
	opt := DefaultOptions()
	opt.ResultRows, opt.RingRows = 700, 90
	opt.System = []SystemTable{systemTable(nil)}
	e := New(opt)
	if err := e.Execute(manyKeysScript + ";\n" + `CREATE TABLE routes (route STRING, depot STRING);
CREATE STREAMING TABLE m AS SELECT window.start AS start, depot, sum(passengers) AS s FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS JOIN routes ON bus.route = routes.route GROUP BY window(time, '2 minutes'), depot;
CREATE STREAMING TABLE o OPTIONS (mode 'update') AS SELECT bus, count(*) AS n, max(passengers) AS p FROM STREAM bus GROUP BY bus HAVING count(*) > 1;`); err != nil {
		t.Fatal(err)
	}
	rules, errs := alert.ParseRules([]byte(`groups:
  - name: g
    rules:
      - alert: Full
        from: bus
        expr: passengers >= 50
        by: [bus]
        for: 5s
        annotations: {summary: "{{ $labels.bus }} has {{ $value }} on {{ $labels.route }}"}
        value: passengers
      - alert: Quiet
        from: bus
        expr: passengers < 0
        by: [bus, route]
        absent_for: 40s
`), "rules.yaml")
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if err := e.SetRules(rules); err != nil {
		t.Fatal(err)
	}
	loadRoutes(t, e, 0)
	return e
}

func loadRoutes(t testing.TB, e *Engine, version int) {
	s := &column.Schema{Name: "routes", Fields: []column.Field{{Name: "route", Type: column.Of(column.String)}, {Name: "depot", Type: column.Of(column.String)}}}
	b := column.NewBatch(s, 0)
	for i := range 4 {
		b.AppendRow(column.Str(fmt.Sprintf("r%d", i)), column.Str(fmt.Sprintf("depot-%d", (i+version)%3)))
	}
	if err := e.LoadTable("routes", uint64(version), b); err != nil {
		t.Fatal(err)
	}
}

func systemTable(capture func()) SystemTable {
	s := &column.Schema{Name: "agents$x", Time: -1, Fields: []column.Field{{Name: "v", Type: column.Of(column.BigInt)}}}
	return SystemTable{Schema: s, Capture: func() func() *column.Batch {
		return func() *column.Batch {
			if capture != nil {
				capture()
			}
			b := column.NewBatch(s, 1)
			b.AppendRow(column.I64(1))
			return b
		}
	}}
}

var viewQueries = []string{
	"SELECT * FROM a", "SELECT * FROM b", "SELECT * FROM c", "SELECT * FROM d", "SELECT * FROM f", "SELECT * FROM g", "SELECT * FROM h",
	"SELECT * FROM i", "SELECT * FROM j", "SELECT * FROM k", "SELECT * FROM l", "SELECT * FROM m", "SELECT * FROM o",
	"SELECT * FROM `a$open`", "SELECT * FROM `b$open`", "SELECT * FROM `c$open`", "SELECT * FROM `d$open`", "SELECT * FROM `h$open`", "SELECT * FROM `m$open`", "SELECT * FROM `o$open`",
	"SELECT * FROM `a$windows`", "SELECT * FROM `b$windows`", "SELECT * FROM `d$windows`",
	"SELECT * FROM `bus$late`", "SELECT * FROM `bus$rejected`", "SELECT * FROM `$rejected`", "SELECT * FROM alerts", "SELECT * FROM routes", "SELECT v FROM `agents$x`",
	"SELECT current_timestamp(), bus, count(*) AS n, sum(s) AS s FROM a GROUP BY bus ORDER BY bus NULLS FIRST",
	"SELECT x.bus, x.n, y.p FROM h AS x JOIN o AS y ON x.bus = y.bus WHERE x.n > 2 UNION ALL SELECT depot, s, NULL FROM m",
	"SELECT bus, rank() OVER (ORDER BY n DESC, bus) FROM `o$open` WHERE bus IN (SELECT bus FROM d)",
	"WITH w AS (SELECT bus, n FROM `h$open`) SELECT count(*), sum(n), (SELECT count(*) FROM alerts) FROM w",
}

func printed(b *column.Batch) string {
	var out strings.Builder
	for i := range b.Len {
		fmt.Fprintln(&out, b.Row(i))
	}
	return out.String()
}

// TestQueriesBesideApply: queries that run while entries are applied, static tables are loaded, tables and rules are
// replaced and snapshots are written answer as an engine that stood still at their entry.
func TestQueriesBesideApply(t *testing.T) {
	const entries = 40
	e, twin := viewEngine(t), viewEngine(t)
	change := func(e *Engine, i int) { // what happens between two entries
		switch {
		case i%9 == 0:
			loadRoutes(t, e, i)
		case i%13 == 0: // other words, the same state
			if err := e.Execute(fmt.Sprintf("CREATE STREAMING TABLE o OPTIONS (mode 'update') AS SELECT bus, count(*) AS n, max(passengers) AS p FROM STREAM bus GROUP BY bus HAVING count(*) > %d", i%3)); err != nil {
				t.Error(err)
			}
		case i%17 == 0:
			rules := e.Rules()
			rules[0].For = int64(1+i%4) * 1_000_000
			if err := e.SetRules(rules); err != nil {
				t.Error(err)
			}
		}
	}
	type answer struct{ query, rows string }
	got := map[uint64][]answer{}
	var owner, mu sync.Mutex // owner is held by Apply and View, as the state machine does
	var wg sync.WaitGroup
	slots := make(chan struct{}, 6)
	ask := func(seed uint64) {
		defer wg.Done()
		defer func() { <-slots }()
		rng := rand.New(rand.NewPCG(seed, 2))
		for range 4 {
			q := viewQueries[rng.IntN(len(viewQueries))]
			p, err := e.Prepare(q)
			if err != nil {
				t.Errorf("%s: %v", q, err)
				return
			}
			runtime.Gosched()
			owner.Lock()
			v, err := e.View(p)
			owner.Unlock()
			if err != nil {
				t.Errorf("%s: %v", q, err)
				return
			}
			b, err := v.Run(QueryLimits{Interrupt: func() error { runtime.Gosched(); return nil }})
			if err != nil {
				t.Errorf("%s: %v", q, err)
				return
			}
			mu.Lock()
			got[v.Index()] = append(got[v.Index()], answer{q, printed(b)})
			mu.Unlock()
		}
	}
	for i := 1; i <= entries; i++ {
		in := manyKeys(i)
		owner.Lock()
		change(e, i)
		if _, err := e.Apply(in); err != nil {
			t.Fatal(err)
		}
		if i%7 == 0 {
			s, err := e.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			wg.Go(func() { _ = s.Write(discard{}) })
		}
		owner.Unlock()
		for k := range 2 {
			slots <- struct{}{}
			wg.Add(1)
			go ask(uint64(i*10 + k))
		}
	}
	wg.Wait()
	compared := 0
	for i := 1; i <= entries; i++ {
		change(twin, i)
		mustApply(t, twin, i)
		for _, a := range got[uint64(i)] {
			b, err := twin.Query(a.query)
			if err != nil {
				t.Fatal(err)
			}
			if want := printed(b); want != a.rows {
				t.Fatalf("entry %d: %s: beside Apply\n%.2000s\nstanding still\n%.2000s", i, a.query, a.rows, want)
			}
			compared++
		}
	}
	if compared != 8*entries {
		t.Fatalf("%d answers were compared", compared)
	}
	mustApply(t, e, entries+1)
	if len(e.open) > 0 {
		t.Fatalf("%d views or snapshots are still held", len(e.open))
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// TestResultsAreThoseThatWereTold: what a table shows is the newest revision of each row that its entries emitted, the
// latest ResultRows of them; and in update mode $open shows all, however many.
func TestResultsAreThoseThatWereTold(t *testing.T) {
	e := viewEngine(t)
	type told struct {
		row string
		at  int
	}
	rows, full := map[string]map[RowID]told{}, map[string]bool{}
	for i := 1; i <= 40; i++ {
		out, err := e.Apply(manyKeys(i))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range out.Changes {
			if rows[c.Table] == nil || c.Table == "k" || c.Table == "l" { // complete mode tells everything each time
				rows[c.Table] = map[RowID]told{}
			}
			for r, id := range c.IDs {
				if c.Deleted != nil && c.Deleted[r] {
					delete(rows[c.Table], id)
					continue
				}
				rows[c.Table][id] = told{fmt.Sprintln(c.Rows.Row(r)), i}
			}
		}
		for _, name := range []string{"a", "d", "f", "g", "h", "i", "k", "o", "h$open", "o$open"} {
			b, err := e.Query("SELECT * FROM `" + name + "`")
			if err != nil {
				t.Fatal(err)
			}
			all, _, open := strings.Cut(name, "$")
			want := rows[all]
			full[name] = full[name] || len(want) >= 700 // from then on rows were pushed out, and others may have expired since
			if n := len(want); b.Len != n && (open || !full[name] || b.Len > 700) {
				t.Fatalf("entry %d: %s has %d rows, %d were told", i, name, b.Len, n)
			}
			known := map[string]int{}
			for _, x := range want {
				known[x.row]++
			}
			for r := range b.Len {
				if s := fmt.Sprintln(b.Row(r)); known[s] == 0 {
					t.Fatalf("entry %d: %s shows %s, which was not told or is not the newest", i, name, s)
				} else {
					known[s]--
				}
			}
		}
	}
	if len(rows["h"]) <= 700 {
		t.Fatalf("only %d keys: nothing was pushed out", len(rows["h"]))
	}
}

// TestAQueryThatStandsStillHoldsNothing: while a query stands still, before its rows are made and in the middle of the work
// on them, entries are applied; and the answer is of its entry.
func TestAQueryThatStandsStillHoldsNothing(t *testing.T) {
	for _, where := range []string{"capture", "work"} {
		stands, goOn := make(chan struct{}), make(chan struct{})
		var once sync.Once
		stand := func() {
			once.Do(func() {
				close(stands)
				<-goOn
			})
		}
		e, twin := viewEngine(t), viewEngine(t)
		if where == "capture" {
			e.opt.System = []SystemTable{systemTable(stand)}
		}
		for i := 1; i <= 10; i++ {
			mustApply(t, e, i)
			mustApply(t, twin, i)
		}
		const query = "SELECT z.v, x.bus, x.n, y.s FROM `agents$x` AS z CROSS JOIN `h$open` AS x JOIN a AS y ON x.bus = y.bus"
		p, err := e.Prepare(query)
		if err != nil {
			t.Fatal(err)
		}
		v, err := e.View(p)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan string)
		go func() {
			asked := 0
			b, err := v.Run(QueryLimits{Interrupt: func() error {
				if asked++; where == "work" && asked > 6 {
					stand()
				}
				return nil
			}})
			if err != nil {
				t.Error(err)
			}
			done <- printed(b)
		}()
		<-stands
		for i := 11; i <= 30; i++ {
			mustApply(t, e, i)
		}
		if where == "work" && len(e.open) > 0 {
			t.Fatal("the state is still held although the rows are made")
		}
		close(goOn)
		b, err := twin.Query(query)
		if err != nil {
			t.Fatal(err)
		}
		if got := <-done; got != printed(b) || b.Len < 100 {
			t.Fatalf("%s: the answer is not of its entry", where)
		}
	}
}

// TestViewsLeaveNothing: views that ran, failed, were given up or forgotten leave nothing behind.
func TestViewsLeaveNothing(t *testing.T) {
	e := viewEngine(t)
	for i := 1; i <= 20; i++ {
		mustApply(t, e, i)
	}
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	round := func(i int) {
		for k, q := range viewQueries {
			p, err := e.Prepare(q)
			if err != nil {
				t.Fatal(err)
			}
			v, err := e.View(p)
			if err != nil {
				t.Fatal(err)
			}
			switch (i + k) % 4 {
			case 0:
				_, err = v.Run(QueryLimits{})
			case 1:
				v.Release()
			case 2:
				if _, err := v.Run(QueryLimits{Interrupt: func() error { return fmt.Errorf("enough") }}); err == nil {
					t.Fatalf("%s: not interrupted", q)
				}
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	round(0)
	before := heap()
	for i := range 100 {
		round(i)
	}
	heap() // finds the forgotten ones
	mustApply(t, e, 21)
	if len(e.open) > 0 {
		t.Fatalf("%d views are held", len(e.open))
	}
	if after := heap(); after > before+before/4+1<<20 {
		t.Fatalf("the heap grew from %d to %d bytes over 2,700 views", before, after)
	}
}

// TestViewBounds: a query that would hold too much ends with an error that says so, before it has it.
func TestViewBounds(t *testing.T) {
	e := viewEngine(t)
	for i := 1; i <= 20; i++ {
		mustApply(t, e, i)
	}
	for _, q := range []string{
		"SELECT * FROM `h$open`",
		"SELECT x.bus FROM h AS x CROSS JOIN h AS y CROSS JOIN h AS z",
		"SELECT bus, collect_list(n) OVER (ORDER BY bus) AS l FROM h",
		"SELECT repeat(bus, 10000) AS r FROM h WHERE bus IS NOT NULL",
		"SELECT explode(sequence(1, 1000)) AS v FROM h",
	} {
		_, err := run(t, e, q, QueryLimits{MaxBytes: 1 << 13})
		if err == nil || !strings.Contains(err.Error(), "8192 bytes") {
			t.Errorf("%s: %v, want an error about bytes", q, err)
		}
	}
	if _, err := run(t, e, "SELECT x.bus FROM h AS x CROSS JOIN h AS y", QueryLimits{MaxRows: 1000}); err == nil || !strings.Contains(err.Error(), "1000 rows") {
		t.Errorf("%v, want an error about rows", err)
	}
	if b, err := run(t, e, "SELECT count(*) FROM `h$open`", QueryLimits{}); err != nil || b.Len != 1 {
		t.Errorf("%v", err)
	}
}

func run(t *testing.T, e *Engine, q string, l QueryLimits) (*column.Batch, error) {
	p, err := e.Prepare(q)
	if err != nil {
		t.Fatal(err)
	}
	v, err := e.View(p)
	if err != nil {
		t.Fatal(err)
	}
	return v.Run(l)
}

// TestQueryErrorsSayWhereAndWhat: a name that is nearly one is guessed, and what cannot be read says what can.
func TestQueryErrorsSayWhereAndWhat(t *testing.T) {
	e := viewEngine(t)
	for q, want := range map[string][]string{
		"SELECT *\nFROM alertz":                    {"2:6", "`alerts`"},
		"SELECT * FROM `a$opn`":                    {"1:15", "`a$open`"},
		"SELECT * FROM `bus$rejectd`":              {"1:15", "`bus$rejected`"},
		"SELECT * FROM `agents$y`":                 {"1:15", "`agents$x`"},
		"SELECT * FROM bus":                        {"1:15", "are not kept", "bus$late"},
		"SELECT * FROM STREAM bus":                 {"1:", "are not kept"},
		"SELECT 1, * FROM a JOIN `g$open` ON true": {"1:25", "g$open is not there", "query g"},
		"SELECT buss FROM a":                       {"1:8", "`a.bus`"},
		"SELECT bus FROM a WHERE bus =":            {"1:"},
		"CREATE TABLE x (y INT)":                   {"1:1"},
		"SELECT bus FROM a; SELECT 1":              {"1:"},
	} {
		_, err := e.Prepare(q)
		if err == nil {
			t.Errorf("%s: no error", q)
			continue
		}
		for _, part := range want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %q does not say %q", q, err, part)
			}
		}
	}
	if names := (readable{cat: e.cat, system: e.opt.System, asked: new([]string)}).Names(); slices.Contains(names, "bus") || !slices.Contains(names, "o$open") {
		t.Errorf("names to guess from: %q", names)
	}
}
