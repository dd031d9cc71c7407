package sinktest

import (
	"context"
	"errors"
	"fmt"

	"signalbox/engine/alert"
	"signalbox/engine/column"
	"signalbox/sinks"
)

// Checks is the contract, clause by clause.
func Checks() []Check {
	return []Check{
		{Name: "every type and NULL keeps every digit", Rows: true, Run: everyType},
		{Name: "the same write again changes nothing", Rows: true, Run: repeatedWrite},
		{Name: "an older write changes nothing", Rows: true, Run: olderWrite},
		{Name: "a later revision replaces values and NULLs", Rows: true, Run: revisions},
		{Name: "a deleted row is gone and stays gone", Rows: true, Run: deletes},
		{Name: "a row made anew after deletion shows nothing old", Rows: true, Run: madeAnew},
		{Name: "several changes of a row in one write", Rows: true, Run: severalChanges},
		{Name: "many tables in one write", Rows: true, Run: manyTables},
		{Name: "restart between write and acknowledgement", Rows: true, Run: restarts},
		{Name: "cursor follows writes only", Run: cursor},
		{Name: "prepare again and with another schema", Rows: true, Run: prepareAgain},
		{Name: "a batch that cannot be taken is refused for good", Rows: true, Run: refusal},
		{Name: "a cancelled write can be repeated", Rows: true, Run: cancelled},
		{Name: "alerts keep their newest state", Alerts: true, Run: alerts},
		{Name: "an alert counts anew when its rule was made anew", Alerts: true, Run: ruleMadeAnew},
		{Name: "historical alerts are not the state of now", Alerts: true, Run: historical},
		{Name: "random history with repeats and restarts", Rows: true, Run: randomHistory},
	}
}

// start opens the sink and prepares tables.
func start(ctx context.Context, target Target, tables ...sinks.Table) (*session, error) {
	s, err := open(ctx, target)
	if err != nil {
		return nil, err
	}
	if err := s.Prepare(ctx, tables); err != nil {
		s.Close()
		return nil, fmt.Errorf("prepare: %w", err)
	}
	return s, nil
}

// all runs steps in order up to the first that fails and says which it was.
func all(steps ...func() error) error {
	for i, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("step %d: %w", i+1, err)
		}
	}
	return nil
}

func everyType(ctx context.Context, target Target) error {
	b, want := typesBatch(1)
	s, err := start(ctx, target, b.Table)
	if err != nil {
		return err
	}
	defer s.Close()
	return all(
		func() error { return s.write(1, b) },
		func() error { return s.rowsAre(b.Table, want) })
}

func repeatedWrite(ctx context.Context, target Target) error {
	t := loadTable("route_load")
	s, err := start(ctx, target, t)
	if err != nil {
		return err
	}
	defer s.Close()
	a, b, c := change{id: 1, revision: 1, n: 10}, change{id: 2, revision: 1, n: 20, note: "x"}, change{id: 3, revision: 1, n: 30}
	first, second := batch(t, 5, a, b), batch(t, 7, c)
	return all(
		func() error { return s.write(6, first) },
		func() error { return s.write(6, first) },
		func() error { return s.rowsAre(t, expectAll(a, b)) },
		func() error { return s.write(8, first, second) },
		func() error { return s.write(8, first, second) },
		func() error { return s.rowsAre(t, expectAll(a, b, c)) })
}

func olderWrite(ctx context.Context, target Target) error {
	t := loadTable("route_load")
	s, err := start(ctx, target, t)
	if err != nil {
		return err
	}
	defer s.Close()
	old, newer := change{id: 1, revision: 1, n: 1, note: "old"}, change{id: 1, revision: 2, n: 2, note: "new"}
	return all(
		func() error { return s.write(10, batch(t, 10, old)) },
		func() error { return s.write(20, batch(t, 20, newer)) },
		func() error { return s.write(10, batch(t, 10, old)) },
		func() error { return s.rowsAre(t, expectAll(newer)) },
		func() error { return s.write(21, batch(t, 10, old)) },
		func() error { return s.rowsAre(t, expectAll(newer)) })
}

func revisions(ctx context.Context, target Target) error {
	t := loadTable("route_load")
	s, err := start(ctx, target, t)
	if err != nil {
		return err
	}
	defer s.Close()
	step := func(index uint64, c change) func() error {
		return func() error {
			return all(
				func() error { return s.write(index, batch(t, index, c)) },
				func() error { return s.rowsAre(t, expectAll(c)) })
		}
	}
	return all(
		step(1, change{id: 9, revision: 1, n: 1}),
		step(2, change{id: 9, revision: 2, n: 2, note: "a value for a NULL"}),
		step(3, change{id: 9, revision: 3, n: -3}),
		step(4, change{id: 9, revision: 7, n: 4, note: "revisions may be skipped"}))
}

func deletes(ctx context.Context, target Target) error {
	t := loadTable("route_load")
	s, err := start(ctx, target, t)
	if err != nil {
		return err
	}
	defer s.Close()
	a, b := change{id: 1, revision: 1, n: 1}, change{id: 2, revision: 1, n: 2, note: "stays"}
	gone, never := change{id: 1, revision: 2, deleted: true}, change{id: 7, revision: 1, deleted: true}
	return all(
		func() error { return s.write(1, batch(t, 1, a, b)) },
		func() error { return s.write(2, batch(t, 2, gone, never)) },
		func() error { return s.rowsAre(t, expectAll(b)) },
		func() error { return s.write(1, batch(t, 1, a, b)) },
		func() error { return s.rowsAre(t, expectAll(b)) },
		func() error { return s.write(2, batch(t, 1, a, b), batch(t, 2, gone, never)) },
		func() error { return s.rowsAre(t, expectAll(b)) })
}

func madeAnew(ctx context.Context, target Target) error {
	t := loadTable("route_load")
	s, err := start(ctx, target, t)
	if err != nil {
		return err
	}
	defer s.Close()
	old, gone := change{id: 1, revision: 3, n: 1, note: "old"}, change{id: 1, revision: 4, deleted: true}
	anew, other := change{id: 1, revision: 1, n: 5}, change{id: 2, revision: 1, n: 6}
	return all(
		func() error { return s.write(1, batch(t, 1, old)) },
		func() error { return s.write(2, batch(t, 2, gone)) },
		func() error { return s.write(3, batch(t, 3, anew)) },
		func() error { return s.rowsAre(t, expectAll(anew)) },
		// the same within one write
		func() error { return s.write(4, batch(t, 4, change{id: 2, revision: 1, n: 9, note: "old"})) },
		func() error {
			return s.write(6, batch(t, 5, change{id: 2, revision: 2, deleted: true}), batch(t, 6, other))
		},
		func() error { return s.rowsAre(t, expectAll(anew, other)) })
}

func severalChanges(ctx context.Context, target Target) error {
	t := loadTable("route_load")
	s, err := start(ctx, target, t)
	if err != nil {
		return err
	}
	defer s.Close()
	last, second := change{id: 1, revision: 4, n: 4}, change{id: 2, revision: 2, n: 8, note: "second"}
	return all(
		func() error {
			return s.write(4,
				batch(t, 1, change{id: 1, revision: 1, n: 1, note: "first"}),
				batch(t, 2, change{id: 1, revision: 2, n: 2}),
				batch(t, 3, change{id: 1, revision: 3, n: 3, note: "third"}, change{id: 2, revision: 1, n: 7, note: "first"}, second),
				batch(t, 4, last))
		},
		func() error { return s.rowsAre(t, expectAll(last, second)) })
}

func manyTables(ctx context.Context, target Target) error {
	names := []string{"route_load", "Route Load", "bus$late", "bus__late", "order", "_tables", "alerts", "sqlite_x",
		"a_name_that_is_rather_longer_than_what_some_databases_take_1", "a_name_that_is_rather_longer_than_what_some_databases_take_2"}
	var tables []sinks.Table
	for _, n := range names {
		tables = append(tables, loadTable(n))
	}
	s, err := start(ctx, target, tables...)
	if err != nil {
		return err
	}
	defer s.Close()
	var batches []sinks.Batch
	for index := uint64(1); index <= 3; index++ {
		for i, t := range tables {
			batches = append(batches, batch(t, index, change{id: byte(i), revision: uint32(index), n: int64(index), note: t.Name}))
		}
	}
	if err := s.write(3, batches...); err != nil {
		return err
	}
	for i, t := range tables {
		if err := s.rowsAre(t, expectAll(change{id: byte(i), revision: 3, n: 3, note: t.Name})); err != nil {
			return err
		}
	}
	return nil
}

func restarts(ctx context.Context, target Target) error {
	t := loadTable("route_load")
	s, err := start(ctx, target, t)
	if err != nil {
		return err
	}
	defer func() { s.Close() }()
	a, b := change{id: 1, revision: 1, n: 1}, change{id: 2, revision: 1, n: 2}
	return all(
		func() error { return s.write(3, batch(t, 1, a)) },
		s.reopen,
		func() error { return s.cursorIs(3) },
		func() error { return s.Prepare(ctx, []sinks.Table{t}) },
		func() error { return s.write(3, batch(t, 1, a)) },
		func() error { return s.rowsAre(t, expectAll(a)) },
		s.reopen,
		func() error { return s.write(9, batch(t, 1, a), batch(t, 9, b)) }, // no Prepare in this life
		s.reopen,
		func() error { return s.cursorIs(9) },
		func() error { return s.rowsAre(t, expectAll(a, b)) })
}

func cursor(ctx context.Context, target Target) error {
	s, err := start(ctx, target)
	if err != nil {
		return err
	}
	defer func() { s.Close() }()
	return all(
		func() error { return s.cursorIs(0) },
		func() error { return s.write(17) }, // entries without results move the cursor too
		func() error { return s.cursorIs(17) },
		func() error { return s.write(5) },
		func() error { return s.cursorIs(17) },
		s.reopen,
		func() error { return s.cursorIs(17) })
}

func prepareAgain(ctx context.Context, target Target) error {
	t := loadTable("route_load")
	s, err := start(ctx, target, t)
	if err != nil {
		return err
	}
	defer func() { s.Close() }()
	wide := t
	wide.Schema = &column.Schema{Name: t.Schema.Name, Fields: append(append([]column.Field{}, t.Schema.Fields...), field("extra", column.Double))}
	a, b := change{id: 1, revision: 1, n: 1, note: "a"}, change{id: 2, revision: 1, n: 2, note: "b"}
	prepare := func(tables ...sinks.Table) func() error {
		return func() error { return s.Prepare(ctx, tables) }
	}
	wideBatch := batch(wide, 2, b)
	wideBatch.Rows.Cols[4] = column.New(column.Of(column.Double), 1)
	wideBatch.Rows.Cols[4].AppendF64(2.5)
	wideRow := expect(b)
	wideRow.Values["extra"] = "2.5"
	return all(
		prepare(t), prepare(t, t),
		func() error { return s.write(1, batch(t, 1, a)) },
		prepare(wide),
		func() error { return s.write(2, wideBatch) },
		func() error { return s.rowsAre(wide, map[[16]byte]Row{rowID(1): expect(a), rowID(2): wideRow}) },
		s.reopen, prepare(wide), prepare(wide),
		func() error { return s.rowsAre(wide, map[[16]byte]Row{rowID(1): expect(a), rowID(2): wideRow}) })
}

func refusal(ctx context.Context, target Target) error {
	t := loadTable("route_load")
	s, err := start(ctx, target, t)
	if err != nil {
		return err
	}
	defer s.Close()
	good, bad := change{id: 1, revision: 1, n: 1}, batch(t, 2, change{id: 2, revision: 1, n: 2})
	bad.IDs = nil
	return all(
		func() error { return s.write(1, batch(t, 1, good)) },
		func() error {
			if err := s.Write(ctx, []sinks.Batch{bad}, 2); !errors.Is(err, sinks.ErrPermanent) {
				return fmt.Errorf("a batch without row ids gave %v, want sinks.ErrPermanent", err)
			}
			return nil
		},
		func() error { return s.cursorIs(1) },
		func() error { return s.write(3, batch(t, 3, change{id: 3, revision: 1, n: 3})) },
		func() error { return s.rowsAre(t, expectAll(good, change{id: 3, revision: 1, n: 3})) })
}

func cancelled(ctx context.Context, target Target) error {
	t := loadTable("route_load")
	s, err := start(ctx, target, t)
	if err != nil {
		return err
	}
	defer s.Close()
	dead, cancel := context.WithCancel(ctx)
	cancel()
	a := change{id: 1, revision: 1, n: 1}
	return all(
		func() error {
			err := s.Write(dead, []sinks.Batch{batch(t, 1, a)}, 1)
			if err == nil || errors.Is(err, sinks.ErrPermanent) {
				return fmt.Errorf("a write whose context had ended gave %v, want an error that can be retried", err)
			}
			return nil
		},
		func() error { return s.cursorIs(0) },
		func() error { return s.write(1, batch(t, 1, a)) },
		func() error { return s.rowsAre(t, expectAll(a)) })
}

func transition(id string, seq uint64, from, to alert.State) alert.Transition {
	return alert.Transition{ID: id, Seq: seq, Episode: epoch, Group: "buses/a+b", Rule: "AtCapacity#1", From: from, To: to,
		At: epoch + int64(seq)*1_000_000, Value: "1.02", Labels: []alert.Label{{Name: "bus_id", Value: "läuft " + id}, {Name: "severity", Value: "page"}},
		Annotations: []alert.Label{{Name: "summary", Value: "Bus \"7\" is\nfull"}}}
}

func alertBatch(index uint64, list ...alert.Transition) sinks.Batch {
	return sinks.Batch{Index: index, Time: timeOf(index), Alerts: list}
}

func stored(id string, seq uint64, state alert.State) Alert {
	return Alert{Seq: seq, State: state, Label: "läuft " + id}
}

func alerts(ctx context.Context, target Target) error {
	s, err := start(ctx, target)
	if err != nil {
		return err
	}
	defer func() { s.Close() }()
	first := alertBatch(1, transition("a1", 1, alert.Inactive, alert.Firing), transition("b2", 1, alert.Inactive, alert.Firing))
	second := alertBatch(2, transition("a1", 2, alert.Firing, alert.Resolved))
	want := map[string]Alert{"a1": stored("a1", 2, alert.Resolved), "b2": stored("b2", 1, alert.Firing)}
	return all(
		func() error { return s.write(1, first) },
		func() error { return s.write(2, second) },
		func() error { return s.alertsAre(want) },
		func() error { return s.write(2, first, second) },
		func() error { return s.alertsAre(want) },
		s.reopen,
		func() error { return s.write(2, first, second) },
		func() error { return s.alertsAre(want) },
		func() error { return s.write(3, alertBatch(3, transition("a1", 3, alert.Resolved, alert.Firing))) },
		func() error {
			want["a1"] = stored("a1", 3, alert.Firing)
			return s.alertsAre(want)
		})
}

func historical(ctx context.Context, target Target) error {
	s, err := start(ctx, target)
	if err != nil {
		return err
	}
	defer s.Close()
	past := transition("a1", 2, alert.Inactive, alert.Firing)
	past.Historical = true
	return all(
		func() error { return s.write(1, alertBatch(1, transition("b2", 1, alert.Inactive, alert.Firing))) },
		func() error { return s.write(2, alertBatch(2, past)) },
		func() error { return s.alertsAre(map[string]Alert{"b2": stored("b2", 1, alert.Firing)}) })
}

func ruleMadeAnew(ctx context.Context, target Target) error {
	s, err := start(ctx, target)
	if err != nil {
		return err
	}
	defer func() { s.Close() }()
	old := alertBatch(1, transition("a1", 1, alert.Inactive, alert.Firing), transition("a1", 2, alert.Firing, alert.Resolved))
	anew := transition("a1", 1, alert.Inactive, alert.Firing)
	anew.Episode += 3_600_000_000
	anew.At += 3_600_000_000
	want := map[string]Alert{"a1": stored("a1", 1, alert.Firing)}
	return all(
		func() error { return s.write(1, old) },
		func() error { return s.write(2, alertBatch(2, anew)) },
		func() error { return s.alertsAre(want) },
		func() error { return s.write(2, old, alertBatch(2, anew)) },
		func() error { return s.alertsAre(want) })
}
