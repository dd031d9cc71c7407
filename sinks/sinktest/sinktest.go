// Package sinktest is the contract of package sinks as a test that every sink
// passes: what it stores under repetition, restart, revision, deletion and error.
//
// It promises to catch a sink that applies twice, forgets its cursor, lets an
// old revision win, loses digits or resurrects a deleted row (its own tests
// plant those bugs), and refuses to know how a sink stores anything: the caller
// hands in readers.
package sinktest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"signalbox/engine/alert"
	"signalbox/sinks"
)

// Row is a stored row as a reader of the place sees it.
type Row struct {
	Revision           uint32
	Complete, Expected int32             // -1 = not known
	Values             map[string]string // by column of the schema, as row.Text writes it; a NULL is not there
}

// Alert is the stored current state of an alert.
type Alert struct {
	Seq   uint64
	State alert.State
	Label string // value of the label "bus_id"
}

// Target is one empty place and the ways to look at it.
type Target struct {
	// Open opens a sink on the place; it is called again after Close, and then finds what was written.
	Open func() (sinks.Sink, error)
	// Rows reads the current rows of a table. nil = this sink does not keep rows.
	Rows func(t sinks.Table) (map[[16]byte]Row, error)
	// Alerts reads the current states. nil = this sink does not keep alerts.
	Alerts func() (map[string]Alert, error)
}

// Check is one clause of the contract.
type Check struct {
	Name   string
	Rows   bool // needs Target.Rows
	Alerts bool // needs Target.Alerts
	Run    func(ctx context.Context, target Target) error
}

// patience bounds one check; a sink that hangs fails instead of blocking the run.
const patience = 3 * time.Minute

// Run holds a sink to the contract. fresh returns an empty place for each check.
func Run(t *testing.T, fresh func(t *testing.T) Target) {
	for _, c := range Checks() {
		t.Run(strings.ReplaceAll(c.Name, " ", "_"), func(t *testing.T) {
			target := fresh(t)
			if !c.applies(target) {
				t.Skip("this sink does not keep what the check looks at")
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if err := c.Run(ctx, target); err != nil {
				t.Error(err)
			}
		})
	}
}

func (c Check) applies(t Target) bool {
	return !(c.Rows && t.Rows == nil) && !(c.Alerts && t.Alerts == nil)
}

// session is a sink under test together with its place.
type session struct {
	sinks.Sink
	target Target
	ctx    context.Context
}

func open(ctx context.Context, target Target) (*session, error) {
	s, err := target.Open()
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	return &session{Sink: s, target: target, ctx: ctx}, nil
}

// reopen closes the sink as a crash after a Write would, and opens it again.
func (s *session) reopen() error {
	if err := s.Close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	again, err := s.target.Open()
	if err != nil {
		return fmt.Errorf("open again: %w", err)
	}
	s.Sink = again
	return nil
}

func (s *session) write(upTo uint64, batches ...sinks.Batch) error {
	if err := s.Write(s.ctx, batches, upTo); err != nil {
		return fmt.Errorf("write up to %d: %w", upTo, err)
	}
	return nil
}

// cursorIs checks the cursor of a sink that keeps one.
func (s *session) cursorIs(want uint64) error {
	got, ok, err := s.Cursor(s.ctx)
	switch {
	case err != nil:
		return fmt.Errorf("cursor: %w", err)
	case ok && got != want:
		return fmt.Errorf("cursor is %d, want %d", got, want)
	}
	return nil
}

// rowsAre compares the place with what should be there.
func (s *session) rowsAre(t sinks.Table, want map[[16]byte]Row) error {
	got, err := s.target.Rows(t)
	if err != nil {
		return fmt.Errorf("read table %s: %w", t.Name, err)
	}
	return diffRows(t.Name, got, want)
}

func diffRows(table string, got, want map[[16]byte]Row) error {
	var out []string
	for _, id := range sortedIDs(got, want) {
		g, have := got[id]
		w, should := want[id]
		switch {
		case have && !should:
			out = append(out, fmt.Sprintf("row %x is there and should not be: %s", id, show(g)))
		case !have && should:
			out = append(out, fmt.Sprintf("row %x is missing: %s", id, show(w)))
		case show(g) != show(w):
			out = append(out, fmt.Sprintf("row %x\n   got %s\n  want %s", id, show(g), show(w)))
		}
	}
	if len(out) == 0 {
		return nil
	}
	if len(out) > 10 {
		out = append(out[:10], fmt.Sprintf("and %d more", len(out)-10))
	}
	return fmt.Errorf("table %s:\n%s", table, strings.Join(out, "\n"))
}

func sortedIDs(maps_ ...map[[16]byte]Row) [][16]byte {
	all := map[[16]byte]bool{}
	for _, m := range maps_ {
		for id := range m {
			all[id] = true
		}
	}
	return slices.SortedFunc(maps.Keys(all), func(a, b [16]byte) int { return slices.Compare(a[:], b[:]) })
}

func show(r Row) string {
	var b strings.Builder
	fmt.Fprintf(&b, "revision %d, complete %d of %d", r.Revision, r.Complete, r.Expected)
	for _, k := range slices.Sorted(maps.Keys(r.Values)) {
		fmt.Fprintf(&b, ", %s=%q", k, r.Values[k])
	}
	return b.String()
}

func (s *session) alertsAre(want map[string]Alert) error {
	got, err := s.target.Alerts()
	if err != nil {
		return fmt.Errorf("read alerts: %w", err)
	}
	if !maps.Equal(got, want) {
		return fmt.Errorf("alerts are %v, want %v", got, want)
	}
	return nil
}
