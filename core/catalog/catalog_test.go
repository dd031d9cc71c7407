package catalog

import (
	"context"
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
