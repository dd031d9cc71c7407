package edge

import (
	"fmt"
	"slices"
	"sync"
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

// BenchmarkThroughput is readings per second from several publishers to the core, one reading a message.
func BenchmarkThroughput(b *testing.B) {
	addr, _ := broker(b)
	core := newFakeCore(b)
	a, _ := start(b, testConfig(b, addr, core.addr()))
	until(b, "linked", func() bool { return a.Status().Connected })
	const publishers = 8
	var pubs []func(topic, payload string)
	for i := range publishers {
		pubs = append(pubs, publisherNamed(b, addr, fmt.Sprint("p", i)))
	}
	n := 0
	for b.Loop() {
		var wg sync.WaitGroup
		for p, publish := range pubs {
			wg.Go(func() {
				for i := range 250 {
					publish("lp/bus", fmt.Sprintf("bus,bus_id=B%d v=%di,speed=%d.5 %d", p, i, i%30, n+i))
				}
			})
		}
		wg.Wait()
		n += publishers * 250
		core.wait("all", func() bool { return len(core.rows) == n })
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "readings/s")
	s := a.Status()
	b.ReportMetric(float64(s.Received)/float64(s.Syncs), "readings/fsync")
}
