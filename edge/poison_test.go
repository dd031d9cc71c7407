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
