package ingest_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"signalbox/core/codec"
	"signalbox/core/fsm"
	"signalbox/core/ingest"
	"signalbox/raftstore"
)

// scripted is a log whose entries commit when the test says so.
type scripted struct {
	mu      sync.Mutex
	entries [][]byte
	begun   chan int
	release chan error
	leader  bool
}

func (l *scripted) Begin(data []byte) (func(context.Context) (any, error), error) {
	l.mu.Lock()
	l.entries = append(l.entries, slices.Clone(data)) // a log keeps no memory of its caller
	n := items(data)
	l.mu.Unlock()
	l.begun <- n
	return func(ctx context.Context) (any, error) {
		select {
		case err := <-l.release:
			return make([]fsm.Result, n), err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}, nil
}

// items counts the items of an entry.
func items(data []byte) int {
	r := codec.NewReader(data, "entry")
	r.Byte()
	r.Uvarint()
	r.Uvarint()
	r.Varint()
	return r.Count()
}

func (l *scripted) IsLeader() bool           { return l.leader }
func (l *scripted) Ready() bool              { return l.leader }
func (l *scripted) Leader() (string, string) { return "", "" }
func (l *scripted) Changed() <-chan struct{} { return make(chan struct{}) }

func open(t *testing.T, leader bool) (*scripted, *ingest.Proposer) {
	l := &scripted{begun: make(chan int, 100), release: make(chan error, 100), leader: leader}
	p := ingest.NewProposer(ingest.Options{Log: l, Clock: time.Now})
	t.Cleanup(p.Close)
	return l, p
}

func TestWhatArrivesWhileEntriesAreInFlightSharesTheNext(t *testing.T) {
	l, p := open(t, true)
	var done sync.WaitGroup
	add := func() {
		done.Add(1)
		if err := p.Enqueue(fsm.TickItem(), func(_ fsm.Result, err error) {
			if err != nil {
				t.Error(err)
			}
			done.Done()
		}); err != nil {
			t.Fatal(err)
		}
	}
	for range ingest.InFlight { // an idle proposer does not wait for company
		add()
		if n := <-l.begun; n != 1 {
			t.Fatalf("first entries have %d items", n)
		}
	}
	for range 50 {
		add()
	}
	l.release <- nil
	if n := <-l.begun; n != 50 {
		t.Errorf("the next entry has %d items, 50 were waiting", n)
	}
	for range ingest.InFlight {
		l.release <- nil
	}
	done.Wait()
}

// TestABusyProposerSendsFullEntries: with much under way small items wait for company, a full entry does not wait.
func TestABusyProposerSendsFullEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, p := open(t, true)
		add := func(bytes int) {
			if err := p.Enqueue(fsm.Item{Kind: fsm.ItemBatch, Data: make([]byte, bytes)}, func(fsm.Result, error) {}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		begun := func(want ...int) {
			t.Helper()
			synctest.Wait()
			var got []int
			for len(l.begun) > 0 {
				got = append(got, <-l.begun)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("entries of %d items, want %d", got, want)
			}
		}
		add(ingest.BusyBytes)
		add(1) // that was not yet much: a second entry
		begun(1, 1)
		for range 3 {
			add(100)
		}
		begun()
		l.release <- nil
		l.release <- nil
		begun(3)
		l.release <- nil
		add(ingest.BusyBytes + 1)
		begun(1)
		for range 4 {
			add(ingest.EntryBytes / 4)
		}
		begun(4)
		l.release <- nil
		l.release <- nil
		synctest.Wait()
	})
}

func TestOutcomesReachTheirCallers(t *testing.T) {
	l, p := open(t, true)
	for _, want := range []error{nil, raftstore.ErrIndeterminate, raftstore.ErrNotLeader} {
		got := make(chan error, 1)
		if err := p.Enqueue(fsm.TickItem(), func(_ fsm.Result, err error) { got <- err }); err != nil {
			t.Fatal(err)
		}
		<-l.begun
		l.release <- want
		if err := <-got; !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
}

func TestQueueIsBoundedAndAFollowerWithoutLeaderSaysSo(t *testing.T) {
	_, p := open(t, true)
	big := fsm.ScriptItem("x", string(make([]byte, 8<<20)))
	var err error
	accepted := 0
	for range ingest.InFlight + 20 {
		if err = p.Enqueue(big, func(fsm.Result, error) {}); err != nil {
			break
		}
		accepted++
	}
	if !errors.Is(err, ingest.ErrOverloaded) || accepted > ingest.InFlight+9 {
		t.Errorf("%d items of 8 MiB were taken: %v", accepted, err)
	}
	_, follower := open(t, false)
	ctx, cancel := context.WithCancel(context.Background())
	got := make(chan error, 1)
	if err := follower.Enqueue(fsm.TickItem(), func(_ fsm.Result, err error) { got <- err; cancel() }); err != nil {
		t.Fatal(err)
	}
	if err := <-got; !errors.Is(err, ingest.ErrNoLeader) {
		t.Errorf("without a leader: %v", err)
	}
	if _, err := follower.Submit(ctx, fsm.TickItem()); err == nil {
		t.Error("submit succeeded without a leader")
	}
}
