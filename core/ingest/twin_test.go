package ingest

import "testing"

// Of two copies of one image the one that was there first is refused while the other is connected; a restart and a reconnect are no copies.
func TestTwoCopiesOfAnImage(t *testing.T) {
	s := &AgentServer{}
	from := func(process byte) *session {
		return &session{server: s, agent: "bus-1", process: [16]byte{process}, wake: make(chan struct{}, 1)}
	}
	enter := func(what string, x *session, refused bool) {
		t.Helper()
		if got := s.twin(x); got != refused {
			t.Fatalf("%s: refused %v, want %v", what, got, refused)
		}
		if !refused {
			s.enter(x)
		}
	}
	a := from(1)
	enter("first", a, false)
	enter("the same process on a new connection", from(1), false)
	enter("started anew while the old connection lingers", from(2), false)
	b := from(3)
	enter("a copy", b, false)
	if b.bye != nil {
		t.Fatal("the newer one was sent away")
	}
	for range 3 {
		enter("the one before", from(2), true)
	}
	enter("the copy, reconnecting", from(3), false)
	s.leave(s.sessions["bus-1"])
	enter("the one before, when the copy is gone", from(2), false)
}
