package fsm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"

	"signalbox/core/fsm"
	"signalbox/edge/wire"
	"signalbox/engine"
	"signalbox/engine/column"
)

// What is read beside Apply: queries, status, alerts and snapshots.

var besideQueries = []string{
	"SELECT * FROM load", "SELECT * FROM `load$open`", "SELECT * FROM `load$windows`", "SELECT * FROM sliding", "SELECT * FROM trips", "SELECT * FROM fleet_now", "SELECT * FROM joined",
	"SELECT * FROM named", "SELECT * FROM jumps", "SELECT * FROM once", "SELECT * FROM failing", "SELECT * FROM fleet", "SELECT * FROM alerts",
	"SELECT * FROM `bus$late`", "SELECT * FROM `bus$rejected`", "SELECT * FROM `$rejected`", "SELECT * FROM `agents$status`", "SELECT * FROM `agents$gaps`",
	"SELECT a.agent, a.applied, g.readings, x.rule FROM `agents$status` AS a LEFT JOIN `agents$gaps` AS g ON a.agent = g.agent LEFT JOIN alerts AS x ON x.labels['bus'] = a.agent",
}

func rowsText(b *column.Batch) string {
	var out strings.Builder
	for i := range b.Len {
		fmt.Fprintln(&out, b.Row(i))
	}
	return out.String()
}

// TestReadingBesideApply: queries, status, alerts and snapshots that run while entries are applied say what a machine
// says that stands still at their entry.
func TestReadingBesideApply(t *testing.T) {
	l := hardLog(t, 21, 300)
	m, twin := machine(t), machine(t)
	type said struct {
		index      uint64
		what, text string
	}
	var mu sync.Mutex
	var all []said
	var wg sync.WaitGroup
	slots := make(chan struct{}, 5)
	note := func(index uint64, what, text string) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, said{index, what, text})
	}
	read := func(i int) {
		defer wg.Done()
		defer func() { <-slots }()
		rng := rand.New(rand.NewPCG(uint64(i), 5))
		switch rng.IntN(8) {
		case 0:
			s := m.Status()
			note(s.Index, "status", statusText(s))
		case 1:
			active, over, index := m.Alerts(5)
			note(index, "alerts", fmt.Sprint(active, over))
		default:
			q := besideQueries[rng.IntN(len(besideQueries))]
			b, index, err := m.Query(t.Context(), q, engine.QueryLimits{})
			if err != nil {
				if i > 5 { // before, the tables are not there
					t.Errorf("%s: %v", q, err)
				}
				return
			}
			note(index, q, rowsText(b))
		}
	}
	for i, data := range l.data {
		apply(t, m, uint64(i+1), data)
		if i%10 == 0 {
			s, err := m.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			wg.Go(func() {
				var buf bytes.Buffer
				if err := s.Write(&buf); err != nil {
					t.Error(err)
				}
				s.Release()
				note(uint64(i+1), "snapshot", buf.String())
			})
		}
		slots <- struct{}{}
		wg.Add(1)
		go read(i)
	}
	wg.Wait()
	at := map[uint64][]said{}
	for _, x := range all {
		at[x.index] = append(at[x.index], x)
	}
	compared := map[string]int{}
	for i, data := range l.data {
		apply(t, twin, uint64(i+1), data)
		for _, x := range at[uint64(i+1)] {
			want := ""
			switch x.what {
			case "status":
				want = statusText(twin.Status())
			case "alerts":
				active, over, _ := twin.Alerts(5)
				want = fmt.Sprint(active, over)
			case "snapshot":
				want = string(snapshot(t, twin))
			default:
				b, _, err := twin.Query(t.Context(), x.what, engine.QueryLimits{})
				if err != nil {
					t.Fatal(err)
				}
				want = rowsText(b)
			}
			if x.text != want {
				t.Fatalf("entry %d, %s: beside Apply\n%.1500q\nstanding still\n%.1500q", x.index, x.what, x.text, want)
			}
			compared[x.what]++
		}
	}
	if compared["status"] < 10 || compared["alerts"] < 10 || compared["snapshot"] < 30 || len(compared) < 15 {
		t.Fatalf("compared: %v", compared)
	}
}

// statusText leaves out what is of this machine's memory.
func statusText(s fsm.Status) string {
	s.Engine.StateBytes = 0
	return fmt.Sprintf("%+v", s)
}

// TestASnapshotIsOfItsMoment: what is written long after the snapshot was taken is the state of its entry.
func TestASnapshotIsOfItsMoment(t *testing.T) {
	l := hardLog(t, 8, 120)
	l.add(fsm.RetireItem("bus2"))
	l.add(fsm.GrantItem(&wire.Hello{Protocol: wire.Protocol, Agent: "long", Install: [16]byte{9}}))
	for seq := range uint64(wire.MaxHashes + 10) { // more than it is remembered of
		l.clock += second
		l.add(batch(t, "long", 1, seq+1, body(t, "bus", "long", 1, l.clock, wire.Live)))
	}
	m := machine(t)
	var open []func()
	for i, data := range l.data {
		apply(t, m, uint64(i+1), data)
		want := snapshot(t, m)
		s, err := m.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, func() {
			var buf bytes.Buffer
			if err := s.Write(&buf); err != nil {
				t.Fatal(err)
			}
			s.Release()
			if !bytes.Equal(buf.Bytes(), want) {
				t.Fatalf("the snapshot of entry %d, written later, is another", i+1)
			}
		})
		if len(open) > 7 {
			open[0]()
			open = open[1:]
		}
	}
	for _, f := range open {
		f()
	}
}

// standing is a context that stands still when it is asked for the nth time.
type standing struct {
	context.Context
	mu           sync.Mutex
	asked, at    int
	stands, goOn chan struct{}
}

func (c *standing) Err() error {
	c.mu.Lock()
	c.asked++
	here := c.asked == c.at
	c.mu.Unlock()
	if here {
		close(c.stands)
		<-c.goOn
	}
	return c.Context.Err()
}

// TestAQueryThatStandsStillHoldsNobody: while queries stand still at any point of their work, entries are applied,
// snapshots taken and other queries answered.
func TestAQueryThatStandsStillHoldsNobody(t *testing.T) {
	l := hardLog(t, 3, 80)
	const query = "SELECT a.agent, o.start, alerts.id FROM `agents$status` AS a CROSS JOIN `sliding$open` AS o LEFT JOIN alerts ON true ORDER BY 1, 2"
	for at := 1; at <= 9; at++ {
		m := machine(t)
		for i, data := range l.data[:60] {
			apply(t, m, uint64(i+1), data)
		}
		want, index, err := m.Query(t.Context(), query, engine.QueryLimits{})
		if err != nil || want.Len == 0 {
			t.Fatal(want, err)
		}
		ctx := &standing{Context: t.Context(), at: at, stands: make(chan struct{}), goOn: make(chan struct{})}
		type answer struct {
			rows  *column.Batch
			index uint64
			err   error
		}
		done := make(chan answer, 1)
		go func() {
			b, i, err := m.Query(ctx, query, engine.QueryLimits{})
			done <- answer{b, i, err}
		}()
		<-ctx.stands
		for i, data := range l.data[60:] {
			apply(t, m, uint64(61+i), data)
		}
		snapshot(t, m)
		m.Status()
		if _, now, err := m.Query(t.Context(), query, engine.QueryLimits{}); err != nil || now != uint64(len(l.data)) {
			t.Fatalf("another query beside it: entry %d, %v", now, err)
		}
		close(ctx.goOn)
		if a := <-done; a.err != nil || a.index != index || rowsText(a.rows) != rowsText(want) {
			t.Fatalf("standing at %d: entry %d, %v; want that of entry %d", at, a.index, a.err, index)
		}
	}
}

// TestAQueryEndsWithItsContext: a client that went away, or a deadline, ends the work, and its cause is the error.
func TestAQueryEndsWithItsContext(t *testing.T) {
	m := machine(t)
	for i, data := range hardLog(t, 3, 60).data {
		apply(t, m, uint64(i+1), data)
	}
	why := errors.New("the client went away")
	for at := 1; at <= 6; at++ {
		ctx, cancel := context.WithCancelCause(t.Context())
		c := &standing{Context: ctx, at: at, stands: make(chan struct{}), goOn: make(chan struct{})}
		go func() {
			<-c.stands
			cancel(why)
			close(c.goOn)
		}()
		if _, _, err := m.Query(c, "SELECT count(*) FROM `load$open` AS a CROSS JOIN alerts CROSS JOIN load GROUP BY a.bus", engine.QueryLimits{}); !errors.Is(err, why) {
			t.Fatalf("cancelled at question %d: %v", at, err)
		}
	}
}

// TestAgentsAreCopiedNotShared: the machine goes on with agents of its own after a capture, also in the entry after it.
func TestAgentsAreCopiedNotShared(t *testing.T) {
	l := randomLog(t, 4, 100)
	m, quiet := machine(t), machine(t)
	for i, data := range l.data {
		a, b := apply(t, m, uint64(i+1), data), apply(t, quiet, uint64(i+1), data)
		if !reflect.DeepEqual(a, b) {
			t.Fatalf("entry %d: %v, without captures %v", i+1, a, b)
		}
		m.Status()
	}
	if !bytes.Equal(snapshot(t, m), snapshot(t, quiet)) {
		t.Fatal("captures changed the state")
	}
}
