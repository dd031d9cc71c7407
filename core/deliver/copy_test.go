package deliver_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"signalbox/core/deliver"
	"signalbox/core/outbox"
	"signalbox/sinks"
)

// ownPlace keeps its cursor itself and can be filled from a copy.
type ownPlace struct {
	*sink
	copyAt uint64
	past   bool // the copy is refused

	installedAt, lastPrepare int // number of copies, in all and before the last Prepare
}

func (s *ownPlace) Prepare(context.Context, []sinks.Table) error {
	s.lastPrepare = s.installedAt
	return nil
}

func (s *ownPlace) Cursor(context.Context) (uint64, bool, error) { return s.upTo, true, nil }

func (s *ownPlace) CopyTo(context.Context, string) (uint64, error) {
	return 0, errors.New("not asked for")
}

func (s *ownPlace) Install(context.Context, string) (uint64, error) {
	if s.past {
		return 0, errors.New("the copy is older than what is here")
	}
	s.upTo = s.copyAt
	s.installedAt++
	return s.copyAt, nil
}

// A node that lost its database and leads is filled from another node like any other; only when nobody has a copy does
// it go on with what is left, counted.
func TestALeaderThatLostItsDatabaseIsFilledToo(t *testing.T) {
	for _, c := range []struct {
		what        string
		fails, past bool
		rows        int
		skipped     uint64
	}{{"copied", false, false, 6, 0}, {"nobody has one", true, false, 8, 1}, {"only an older one", false, true, 8, 1}} {
		t.Run(c.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				s := &ownPlace{sink: newSink("db", sinks.EveryNode), copyAt: 7, past: c.past}
				ob, err := outbox.New(outbox.Options{SegmentBytes: 1})
				if err != nil {
					t.Fatal(err)
				}
				ob.Register([]string{"db@n0"})
				w := &world{ob: ob, changed: make(chan struct{}), ready: true}
				w.append(10)
				ob.Ack("db@n0", 6) // what the lost database had
				d := deliver.New(deliver.Options{Node: "n0", Sinks: []sinks.Sink{s}, Source: w, Leadership: w, Submit: w, Rand: rand.New(rand.NewPCG(1, 2)),
					FetchCopy: func(context.Context, string) (string, error) {
						if c.fails {
							return "", errors.New("no other node answers")
						}
						path := filepath.Join(dir, "copy")
						return path, os.WriteFile(path, nil, 0o600)
					}})
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() { defer close(done); d.Run(ctx) }()
				defer func() { cancel(); <-done }()
				time.Sleep(time.Minute)
				synctest.Wait()
				if s.lastPrepare != s.installedAt {
					t.Error("the tables of the copy were not looked at")
				}
				if _, err := os.Stat(filepath.Join(dir, "copy")); err == nil && c.past {
					t.Error("a copy that was refused is still there")
				}
				st := d.Status()[0]
				if len(s.rows) != c.rows || st.Skipped != c.skipped || s.upTo != 10 {
					t.Errorf("%d rows written, want %d; skipped %d, want %d; up to %d", len(s.rows), c.rows, st.Skipped, c.skipped, s.upTo)
				}
			})
		})
	}
}
