package edge

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// BenchmarkPublishToCore is the latency of one reading from publish to the core's receipt, disk included, linger 0.
func BenchmarkPublishToCore(b *testing.B) {
	addr, _ := broker(b)
	core := newFakeCore(b)
	a, _ := start(b, testConfig(b, addr, core.addr()))
	until(b, "linked", func() bool { return a.Status().Connected })
	publish := publisher(b, addr)
	var took []time.Duration
	i := 0
	for b.Loop() {
		i++
		at := time.Now()
		publish("lp/bus", fmt.Sprintf("bus,bus_id=B1 v=%di %d", i, i))
		core.wait("reading", func() bool { return len(core.rows) == i })
		took = append(took, time.Since(at))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "µs/p50")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "µs/p99")
}
