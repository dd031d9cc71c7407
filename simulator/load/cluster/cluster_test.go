package cluster

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"signalbox/simulator/w1"
)

// small is enough for windows to close on the way, and for the dedup of two minutes to differ from one.
func small(t *testing.T) Config {
	t.Helper()
	c := Config{Dir: t.TempDir(), Nodes: 3, Agents: 3, BatchSize: 500, Work: w1.Default()}
	c.Work.Seconds, c.Work.Buses, c.Work.Routes = 150, 60, 7
	return c
}

func TestThreeProcessesAnswerAsTheOracle(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	cfg := small(t)
	cfg.Program = filepath.Join(t.TempDir(), "signalbox-core")
	if out, err := exec.Command("go", "build", "-o", cfg.Program, "signalbox/cmd/signalbox-core").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	w, err := Prepare(cfg)
	if err != nil {
		t.Fatal(err)
	}
	res, err := Run(context.Background(), cfg, w)
	if err != nil {
		t.Fatal(err)
	}
	if res.Readings < 150*60 || res.Q1 != len(w.answers["Q1"]) || res.Q2 != len(w.answers["Q2"]) || res.Q1 == 0 || res.Q2 == 0 {
		t.Errorf("%+v", res)
	}
	if res.CPU() <= 0 || res.SentBytes == 0 || len(res.Nodes) != 3 {
		t.Errorf("nothing measured: %+v", res)
	}
	// A wrong answer is noticed: one row of the oracle is changed.
	w.answers["Q1"][0] = strings.Replace(w.answers["Q1"][0], ",", ";", 1)
	if _, _, err := compare(context.Background(), filepath.Join(cfg.Dir, "core2", "results.db"), w); err == nil {
		t.Error("a changed answer is not noticed")
	}
}

func TestSealedFrontiersCertifyNoReadingThatFollows(t *testing.T) {
	cfg := small(t)
	w, err := Prepare(cfg)
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for i, p := range w.parts {
		total += len(p)
		if len(p) == 0 || w.first[i] <= 0 || w.first[i] > w.last {
			t.Errorf("agent %d: %d batches, first %d, last %d", i, len(p), w.first[i], w.last)
		}
	}
	if want := (w.readings + cfg.BatchSize - 1) / cfg.BatchSize; total != want {
		t.Errorf("%d batches, want %d", total, want)
	}
}
