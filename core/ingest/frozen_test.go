package ingest_test

import (
	"context"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"signalbox/core/fsm"
	"signalbox/core/ingest"
)

// follower is a log of a node that follows whoever the test says.
type follower struct {
	mu      sync.Mutex
	addr    string
	changed chan struct{}
}

func (*follower) Begin([]byte) (func(context.Context) (any, error), error) { panic("a follower") }
func (*follower) IsLeader() bool                                           { return false }
func (*follower) Ready() bool                                              { return false }

func (f *follower) Leader() (string, string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return "x", f.addr
}

func (f *follower) Changed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

func (f *follower) follow(addr string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.addr = addr
	close(f.changed)
	f.changed = make(chan struct{})
}

// serve is a node that takes forwarded items.
func serve(t *testing.T, h http.Handler) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(ingest.ForwardPath, h)
	s := &http.Server{Handler: mux}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return l.Addr().String()
}

// A leader that is frozen or cut off answers nothing and closes nothing. When another one leads, a follower must
// give up what it sent to the old one, or its agents wait as long as TCP does.
func TestAFrozenLeaderDoesNotHoldItsFollowers(t *testing.T) {
	frozen := &scripted{begun: make(chan int, 100), release: make(chan error, 100), leader: true} // entries never commit
	old := ingest.NewProposer(ingest.Options{Log: frozen, Clock: time.Now})
	t.Cleanup(old.Close)
	alive, next := open(t, true)
	for range 100 {
		alive.release <- nil
	}
	f := &follower{addr: serve(t, old.ForwardHandler()), changed: make(chan struct{})}
	forward := ingest.NewForwarder(func(ctx context.Context, addr string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", addr)
	})
	p := ingest.NewProposer(ingest.Options{Log: f, Remote: forward, Clock: time.Now})
	t.Cleanup(func() { p.Close(); forward.Close() })
	first := make(chan error, 10)
	for range ingest.InFlight {
		if err := p.Enqueue(fsm.TickItem(), func(_ fsm.Result, err error) { first <- err }); err != nil {
			t.Fatal(err)
		}
		<-frozen.begun // each in a request of its own: all slots are taken
	}
	f.follow(serve(t, next.ForwardHandler()))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for range ingest.InFlight {
		select {
		case err := <-first:
			if err == nil {
				t.Error("a frozen leader answered")
			}
		case <-ctx.Done():
			t.Fatal("what was sent to the frozen leader is still waited for")
		}
	}
	if _, err := p.Submit(ctx, fsm.TickItem()); err != nil {
		t.Errorf("the new leader is not used: %v", err)
	}
}
