package edge

import (
	"fmt"
	"strings"
	"testing"
)

// One message whose rows have no columns in common is wider than a batch may be. It arrives all the same, also by way of the disk.
func TestAMessageWiderThanABatch(t *testing.T) {
	for _, away := range []bool{false, true} {
		addr, _ := broker(t)
		core := newFakeCore(t)
		cfg := testConfig(t, addr, core.addr())
		if away {
			cfg.Core = []string{"127.0.0.1:1"}
		}
		a, stop := start(t, cfg)
		if !away {
			until(t, "linked", func() bool { return a.Status().Connected })
		}
		publish := publisher(t, addr)
		var lines strings.Builder
		n := 0
		for ; lines.Len() < 64000; n++ {
			fmt.Fprintf(&lines, "m f%d=1 %d\n", n%500, n)
		}
		publish("lp/x", lines.String())
		until(t, "received", func() bool { return a.Status().Received == uint64(n) })
		if away {
			stop()
			cfg.Core = []string{core.addr()}
			a, stop = start(t, cfg)
		}
		core.wait("all rows", func() bool { return len(core.rows) == n })
		until(t, "acknowledged", func() bool { return a.Status().InFlight == 0 })
		stop()
	}
}

// A message of ten megabytes, and what a device sends by mistake, are refused, counted and acknowledged; what is around them arrives.
func TestBadMessagesAreAcknowledgedAndCounted(t *testing.T) {
	addr, _ := broker(t)
	core := newFakeCore(t)
	a, stop := start(t, testConfig(t, addr, core.addr()))
	publish := publisher(t, addr)
	publish("lp/x", "bus v=1i 1000")
	publish("lp/x", strings.Repeat("x", 10<<20))
	publish("lp/x", "")
	publish("json/1", `{"t":"NaN"}`)
	publish("json/1", strings.Repeat("[", 1000))
	publish("lp/x", "bus v=2i 2000\nbus v=1e400 3000\nbus v=3i 4000")
	core.wait("8 rows", func() bool { return len(core.rows) == 8 })
	until(t, "acknowledged to the broker", func() bool { s := a.Status(); return s.InFlight == 0 && a.source.Stats().Acked == 6 })
	s := a.Status()
	if s.Received != 8 || s.Shipped != 8 || fmt.Sprint(s.Rejected) != "map[malformed:3 no_time:1 oversized:1]" {
		t.Errorf("%+v", s)
	}
	core.set(func() {
		all := strings.Join(core.rows, "\n")
		for _, want := range []string{"v=1", "v=2", "v=3", "reason=oversized", "the payload is empty", "reason=no_time", "nested deeper"} {
			if !strings.Contains(all, want) {
				t.Errorf("%q is not in\n%.2000s", want, all)
			}
		}
	})
	stop()
}
