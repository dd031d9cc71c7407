package catalog

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"signalbox/core/fsm"
	"signalbox/engine"
)

// follower is a node that applies an entry some time after the leader answered for it.
type follower struct {
	begun time.Time
	lag   time.Duration
}

func (f *follower) Tables() []engine.TableInfo                 { return nil }
func (f *follower) Documents() (scripts, rules []fsm.Document) { return nil, nil }
func (f *follower) Chain() (index, hash uint64) {
	if time.Since(f.begun) < f.lag {
		return 6, 0
	}
	return 7, 0
}

func (f *follower) Submit(context.Context, fsm.Item) (fsm.Result, error) {
	return fsm.Result{Verdict: fsm.Applied, Index: 7}, nil
}

// TestFollowerReadsItsOwnWrites: what was applied through a follower is there when it answers.
func TestFollowerReadsItsOwnWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &follower{begun: time.Now(), lag: time.Second}
		c := Catalog{State: f, Submit: f}
		if _, err := c.submit(t.Context(), fsm.ScriptItem("a.sql", "")); err != nil {
			t.Fatal(err)
		}
		if at, _ := f.Chain(); at < 7 {
			t.Fatalf("answered at entry %d, before entry 7 was applied here", at)
		}
	})
}

func TestFollowerThatStaysBehindSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &follower{begun: time.Now(), lag: time.Hour}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c := Catalog{State: f, Submit: f}
		if r, err := c.submit(ctx, fsm.ScriptItem("a.sql", "")); err == nil || r.Index != 7 {
			t.Fatalf("got %+v, %v; want the index and an error", r, err)
		}
	})
}

// applied is a cluster that runs one script.
type applied struct {
	follower
	script string
}

func (a *applied) Documents() (scripts, rules []fsm.Document) {
	return []fsm.Document{{Name: "a.sql", Text: a.script, Index: 3}}, nil
}

// TestDryRunTellsWhatHappensToState: each streaming table of a changed script gets its verdict, with the reason.
func TestDryRunTellsWhatHappensToState(t *testing.T) {
	const stream = `CREATE STREAM bus (time TIMESTAMP, bus STRING, passengers BIGINT);
CREATE STREAMING TABLE a AS SELECT window.start AS s, bus, sum(passengers) AS p FROM STREAM bus WATERMARK time DELAY OF INTERVAL 10 SECONDS GROUP BY window(time, '1 minute'), bus;
`
	const b = `CREATE STREAMING TABLE b AS SELECT bus, time FROM STREAM bus WHERE passengers > 50;`
	c := Catalog{State: &applied{script: stream + b}, Engine: fsm.RealEngine{Options: engine.DefaultOptions()}}
	for _, x := range []struct{ text, table, verdict string }{
		{stream + b, "a", "unchanged"},
		{strings.Replace(stream, "'1 minute'", "'2 minutes'", 1) + b, "a", "starts anew"},
		{strings.Replace(stream, "sum(passengers) AS p", "sum(passengers) + 1 AS p", 1) + b, "a", "keeps state"},
		{stream + "CREATE STREAMING TABLE c AS SELECT bus FROM STREAM bus", "c", "new"},
	} {
		out, err := c.Apply(t.Context(), []Document{{Name: "a.sql", Text: x.text}}, true)
		if err != nil || len(out) != 1 || len(out[0].Tables) != 2 {
			t.Fatalf("%+v %v", out, err)
		}
		for _, got := range out[0].Tables {
			if got.Table == x.table && (got.Verdict != x.verdict || (got.Reason == "") != (x.verdict == "unchanged" || x.verdict == "new")) {
				t.Errorf("table %s: %+v, want %s", x.table, got, x.verdict)
			}
		}
	}
}
