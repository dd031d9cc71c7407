package engine_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"signalbox/engine"
	"signalbox/engine/alert"
)

var fullRule = alert.Rule{Group: "capacity", Name: "BusFull", From: "bus", Expr: "passengers >= capacity", Value: "passengers", By: []string{"bus"}}

func busInput(index uint64, at int64, rows ...busRow) *engine.Input {
	in := &engine.Input{Index: index, Time: at}
	if len(rows) > 0 {
		in.Batches = []engine.StreamBatch{{Stream: "bus", Rows: busBatch(rows)}}
	}
	return in
}

func transitions(out *engine.Output) string {
	var s []string
	for _, a := range out.Alerts {
		h := ""
		if a.Historical {
			h = " historical"
		}
		s = append(s, fmt.Sprintf("%s %v %s->%s %s%s", a.Rule, a.Labels, a.From, a.To, a.Value, h))
	}
	return strings.Join(s, "; ")
}

func TestAlertFiresResolvesAndSurvivesRestore(t *testing.T) {
	e := newEngine(t, engine.DefaultOptions())
	if err := e.SetRules([]alert.Rule{fullRule}); err != nil {
		t.Fatal(err)
	}
	base := 1_700_000_000 * second
	row := func(at, p int64) busRow {
		return busRow{t: base + at*second, bus: "b1", passengers: i64(p), capacity: i64(50)}
	}
	if got := transitions(apply(t, e, busInput(1, base, row(0, 49)))); got != "" {
		t.Fatalf("49 of 50: %s", got)
	}
	got := transitions(apply(t, e, busInput(2, base+second, row(1, 50))))
	if !strings.Contains(got, "->firing 50") {
		t.Fatalf("50 of 50: %q", got)
	}
	s, err := e.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if err := s.Write(&buf); err != nil {
		t.Fatal(err)
	}
	if e, err = engine.Restore(&buf, engine.DefaultOptions()); err != nil {
		t.Fatal(err)
	}
	if got := transitions(apply(t, e, busInput(3, base+2*second, row(2, 51)))); got != "" {
		t.Fatalf("a restored engine tells it again: %s", got)
	}
	b, err := e.Query("SELECT rule, state FROM alerts")
	if err != nil || b.Len != 1 || b.Cols[1].Str(0) != string(alert.Firing) {
		t.Fatalf("alerts table: %v %v", b, err)
	}
	if got := transitions(apply(t, e, busInput(4, base+3*second, row(3, 10)))); !strings.Contains(got, "->resolved") {
		t.Fatalf("10 of 50: %q", got)
	}
	old := busInput(5, base+600*second, row(4, 60))
	if got := transitions(apply(t, e, old)); !strings.Contains(got, "historical") {
		t.Fatalf("a reading of ten minutes ago: %q", got)
	}
}

func TestAlertOverStreamingTable(t *testing.T) {
	e := newEngine(t, engine.DefaultOptions(), `CREATE STREAMING TABLE total OPTIONS (mode 'update') AS SELECT max(t) AS time, sum(p) AS p FROM (SELECT bus, max(passengers) AS p, max(time) AS t FROM STREAM bus GROUP BY bus)`)
	rule := alert.Rule{Group: "g", Name: "Crowded", From: "total", Expr: "p > 100"}
	if err := e.SetRules([]alert.Rule{rule}); err != nil {
		t.Fatal(err)
	}
	base := 1_700_000_000 * second
	apply(t, e, busInput(1, base, busRow{t: base, bus: "a", passengers: i64(60)}))
	got := transitions(apply(t, e, busInput(2, base+second, busRow{t: base + second, bus: "b", passengers: i64(60)})))
	if !strings.Contains(got, "->firing") {
		t.Fatalf("120 passengers: %q", got)
	}
	if err := e.Execute("DROP STREAMING TABLE total"); err == nil {
		t.Fatal("a table that a rule watches was dropped")
	}
	if err := e.SetRules(nil); err != nil {
		t.Fatal(err)
	}
	if got := transitions(apply(t, e, busInput(3, base+2*second))); !strings.Contains(got, "->resolved") {
		t.Fatalf("the rule is gone: %q", got)
	}
}
