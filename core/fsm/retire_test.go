package fsm_test

import (
	"strings"
	"testing"

	"signalbox/core/fsm"
	"signalbox/edge/wire"
)

// An agent that will not come back is waited for until an operator says so; it is expected again when it speaks.
func TestARetiredAgentIsNotWaitedFor(t *testing.T) {
	f := newFleet(t, 3, 4, nil)
	for _, a := range f.agents {
		f.join(a)
	}
	f.run(30, nil)
	dead := f.agents[1]
	dead.away = true
	f.run(100, nil)
	if n := f.number("SELECT count(*) FROM `load$windows` WHERE state = 'emitted' AND missing = 'bus1 (offline)'"); n < 8 {
		t.Fatalf("%d windows wait for bus1", n)
	}
	retire := func(name string) fsm.Result {
		f.index++
		r := apply(t, f.m, f.index, fsm.EncodeEntry(nil, fsm.Header{Clock: f.clock}, []fsm.Item{fsm.RetireItem(name)}))[0]
		f.collectAny()
		return r
	}
	if r := retire("nobody"); r.Verdict != fsm.Refused || !strings.Contains(r.Reason, "signalbox agents") {
		t.Fatalf("an agent that does not exist: %+v", r)
	}
	if r := retire("bus1"); r.Verdict != fsm.Applied || r.Reason != "" {
		t.Fatalf("%+v", r)
	}
	if r := retire("bus1"); r.Verdict != fsm.Applied || r.Reason != "it was retired already" {
		t.Fatalf("again: %+v", r)
	}
	f.restart()
	dead.joined = false
	for range 30 {
		f.clock += second
		var items []fsm.Item
		for _, a := range f.agents {
			if a.joined {
				r := fleetReading{f.clock, 1}
				a.unsent, a.newest = append(a.unsent, r), r.t
				items = append(items, f.send(a)...)
			}
		}
		f.index++
		apply(t, f.m, f.index, fsm.EncodeEntry(nil, fsm.Header{Clock: f.clock}, append(items, fsm.TickItem())))
	}
	if n := f.number("SELECT count(*) FROM `load$windows` WHERE state = 'emitted'"); n != 0 {
		t.Fatalf("%d windows still wait", n)
	}
	if n := f.number("SELECT count(*) FROM `load$windows` WHERE state = 'final' AND agents_complete = 3 AND agents_expected = 3 AND revisions > 0"); n < 8 {
		t.Fatalf("%d windows are final without bus1", n)
	}
	if n := f.number("SELECT count(*) FROM `agents$status` WHERE agent = 'bus1' AND standing = 'retired'"); n != 1 {
		t.Fatal("its standing does not say so")
	}
	f.index++
	apply(t, f.m, f.index, fsm.EncodeEntry(nil, fsm.Header{Clock: f.clock}, f.send(dead)))
	if st := f.m.Status().Streams[0]; st.Expected != 4 || st.Missing != "bus1 (backlog)" {
		t.Fatalf("it speaks again: %+v", st)
	}
}

// An agent that was started anew does not name the streams it has heard nothing of since. While it is idle it holds nobody up.
func TestAnIdleAgentThatForgotItsStreamsHoldsNothingUp(t *testing.T) {
	f := newFleet(t, 4, 2, nil)
	for _, a := range f.agents {
		f.join(a)
	}
	f.run(30, nil)
	quiet := f.agents[1]
	quiet.away = true
	beat := func(idle bool) {
		f.clock += second
		r := fleetReading{f.clock, 1}
		a := f.agents[0]
		a.unsent, a.newest = append(a.unsent, r), r.t
		f.index++
		apply(t, f.m, f.index, fsm.EncodeEntry(nil, fsm.Header{Clock: f.clock}, append(f.send(a),
			fsm.HeartbeatItem(quiet.name, &wire.Heartbeat{Epoch: 1, Sent: quiet.seq, Clock: f.clock * 1000, Idle: idle}))))
	}
	for range 60 {
		beat(false) // it says that it lives, and nothing about the stream: it may still have readings
	}
	if st := f.m.Status().Streams[0]; st.LowWater > quiet.low || st.Holder != quiet.name {
		t.Fatalf("it is not waited for: %+v, it certified %d", st, quiet.low)
	}
	beat(true)
	if st := f.m.Status().Streams[0]; st.LowWater != f.clock-5*second || st.Complete != 2 || st.Missing != "" {
		t.Fatalf("it is idle and holds everybody up: %+v at %d", st, f.clock)
	}
}
