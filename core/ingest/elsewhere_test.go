package ingest

import (
	"fmt"
	"testing"
	"time"

	"signalbox/core/fsm"
	"signalbox/edge/wire"
)

// A node that is cut off from the majority must not keep its agents: another node may reach a leader.
func TestAgentsOfACutOffNodeAreSentAway(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	session := func() *session {
		return &session{server: &AgentServer{Clock: func() time.Time { return now }}, wake: make(chan struct{}, 1)}
	}
	x := session()
	for i := range 10 {
		x.settle(uint64(i), fsm.Result{}, ErrNoLeader)
		if x.bye != nil {
			t.Fatal("sent away at the first failure: an election takes a second")
		}
	}
	now = now.Add(elsewhereAfter - 1)
	x.settle(11, fsm.Result{}, fmt.Errorf("%w: forwarded", ErrIndeterminate))
	if x.bye != nil || len(x.outbox) != 11 {
		t.Fatalf("%d answers, goodbye %v", len(x.outbox), x.bye)
	}
	now = now.Add(1)
	x.settle(12, fsm.Result{}, ErrNoLeader)
	if x.bye == nil || x.bye.Code != wire.GoodbyeNoLeader {
		t.Errorf("an agent is kept by a node that has no leader: %v", x.bye)
	}
	x = session() // what succeeds between failures, and overload, are no reason
	for range 10 {
		x.settle(1, fsm.Result{}, ErrNoLeader)
		x.settle(1, fsm.Result{Verdict: fsm.Applied, Seq: 1}, nil)
		x.settle(1, fsm.Result{}, ErrOverloaded)
		now = now.Add(elsewhereAfter)
	}
	if x.bye != nil {
		t.Errorf("sent away from a node that works: %v", x.bye)
	}
}
