package engine

import (
	"fmt"
	"testing"
)

// TestLimitsDoNotDependOnRestores: what a limit refuses is part of the
// replicated state. A replica that was restored from a snapshot has its memory
// laid out anew and must still refuse the same rows.
func TestLimitsDoNotDependOnRestores(t *testing.T) {
	refused := 0
	for _, limit := range []int64{20_000, 90_000, 250_000} {
		opt := DefaultOptions()
		opt.MaxStateBytes, opt.MaxClosedBytes = limit, limit/20
		e, twin := New(opt), New(opt)
		for _, x := range []*Engine{e, twin} {
			if err := x.Execute(manyKeysScript + limitsScript); err != nil {
				t.Fatal(err)
			}
		}
		for i := 1; i <= 30; i++ {
			a, err := e.Apply(manyKeys(i))
			if err != nil {
				t.Fatal(err)
			}
			b, err := twin.Apply(manyKeys(i))
			if err != nil {
				t.Fatal(err)
			}
			for k := range max(len(a.Rejected), len(b.Rejected)) {
				if k >= len(a.Rejected) || k >= len(b.Rejected) || fmt.Sprint(a.Rejected[k]) != fmt.Sprint(b.Rejected[k]) {
					t.Fatalf("limit %d, entry %d: %d rows refused, %d by a replica that was restored; they differ at %d: %s", limit, i, len(a.Rejected), len(b.Rejected), k, firstOf(a.Rejected, b.Rejected, k))
				}
			}
			refused += len(a.Rejected)
			if len(a.Late) != len(b.Late) {
				t.Fatalf("limit %d, entry %d: %d late rows, %d in a replica that was restored", limit, i, len(a.Late), len(b.Late))
			}
			if i%3 == 0 {
				twin = restored(t, twin, opt)
			}
		}
		x, err1 := e.StateHash()
		y, err2 := twin.StateHash()
		if x != y || err1 != nil || err2 != nil {
			t.Fatalf("limit %d: the states differ: %v %v", limit, err1, err2)
		}
	}
	if refused == 0 {
		t.Fatal("nothing was refused")
	}
}

// limitsScript has state of every form beside that of manyKeysScript.
const limitsScript = `CREATE STREAMING TABLE m OPTIONS (mode 'update', state_ttl '40 seconds') AS SELECT bus, route, collect_list(route) AS l, max(route) AS r, approx_count_distinct(passengers) AS d FROM STREAM bus GROUP BY bus, route;
CREATE STREAMING TABLE n OPTIONS (mode 'update', state_ttl '40 seconds') AS SELECT bus, passengers, collect_set(route) AS l, percentile(speed, 0.5) AS p, stddev(speed) AS d FROM STREAM bus GROUP BY bus, passengers;
CREATE STREAMING TABLE o OPTIONS (state_ttl '40 seconds') AS SELECT bus, previous(route, bus) AS p, had_changed(passengers, bus) AS c FROM STREAM bus;
CREATE STREAMING TABLE p AS SELECT window.start AS start, bus, route, last(bus) AS l, min_by(route, speed) AS b FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS GROUP BY window(time, '30 seconds'), bus, route;`

func firstOf(a, b []Refused, k int) string {
	text := func(l []Refused) string {
		if k >= len(l) {
			return "nothing"
		}
		return l[k].Query + " " + l[k].Reason + " " + l[k].Row
	}
	return text(a) + " / " + text(b)
}

func restored(t *testing.T, e *Engine, opt Options) *Engine {
	t.Helper()
	s, err := e.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	back := New(opt)
	if err := back.decode(body(t, s), snapshotVersion); err != nil {
		t.Fatal(err)
	}
	return back
}
