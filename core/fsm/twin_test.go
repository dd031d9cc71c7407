package fsm_test

import (
	"strings"
	"testing"

	"signalbox/core/fsm"
	"signalbox/edge/wire"
)

// Two devices of one name do not take it from each other for ever: the one that lost it is refused while the other is
// alive, and gets it when that one is gone. A device that starts anew, is installed anew or reconnects is no twin.
func TestTwoDevicesOfOneName(t *testing.T) {
	m := machine(t)
	l := &log{clock: 1_700_000_000 * second}
	index := uint64(0)
	do := func(items ...fsm.Item) []fsm.Result {
		index++
		return apply(t, m, index, l.add(items...))
	}
	do(fsm.LeaderReadyItem(fsm.LeaderReady{Term: 1, Node: "n0"}))
	hello := func(install, session byte, epoch, next uint64) fsm.Result {
		l.clock += second
		return do(fsm.GrantItem(&wire.Hello{Protocol: wire.Protocol, Agent: "bus-1", Install: [16]byte{install}, Session: [16]byte{session}, Epoch: epoch, NextSeq: next}))[0]
	}
	granted := func(what string, r fsm.Result, epoch uint64) {
		t.Helper()
		if r.Welcome == nil || r.Welcome.Epoch != epoch {
			t.Fatalf("%s: %+v", what, r)
		}
	}
	granted("first", hello(1, 1, 0, 1), 1)
	granted("the same process again", hello(1, 1, 1, 1), 1)
	granted("the same device, started anew", hello(1, 2, 1, 1), 1)
	granted("another device of the name", hello(9, 9, 0, 1), 2)
	for range 5 {
		r := hello(1, 2, 1, 1)
		if r.Verdict != fsm.Refused || r.Welcome != nil || !strings.Contains(r.Reason, `two devices have the name "bus-1"`) {
			t.Fatalf("the one that lost the name: %+v", r)
		}
		if r := do(fsm.HeartbeatItem("bus-1", &wire.Heartbeat{Epoch: 2}))[0]; r.Verdict != fsm.Applied {
			t.Fatalf("the one that has it: %+v", r)
		}
	}
	granted("the one that has it, reconnecting", hello(9, 9, 2, 1), 2)
	granted("and started anew", hello(9, 10, 2, 1), 2)
	l.clock += 31 * second
	granted("the other one, when this one is gone", hello(1, 2, 1, 1), 3)
	granted("a third, installed anew", hello(5, 5, 0, 1), 4)
	// A Welcome that was lost: the same process asks again with the epoch before.
	granted("before", hello(5, 5, 4, 1), 4)
	granted("restored", hello(6, 5, 4, 1), 5)
	granted("its Welcome was lost", hello(6, 5, 4, 1), 6)
}
