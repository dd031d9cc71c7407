package core_test

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"signalbox/core"
)

// BenchmarkCluster sends typed batches of 1000 through three fsyncing nodes in one process, with two queries,
// dedup, outbox and sinks on, and reports readings per CPU-second of everything together, agents included.
func BenchmarkCluster(b *testing.B) {
	c := newCluster(b, 3, func(cfg *core.Config) { cfg.IdleTimeout = time.Hour; cfg.Heartbeat = time.Second })
	c.apply(c.leader(), "p.sql", pipeline+`CREATE STREAMING TABLE totals AS SELECT window.start AS start, sum(passengers) AS p FROM STREAM bus WATERMARK time DELAY OF INTERVAL 1 SECOND GROUP BY window(time, '1 minute');`)
	const agents, rows = 16, 1000
	batches := max(1, b.N/(agents*rows))
	lead := c.leader()
	base := time.Now().Add(-time.Hour).UnixMilli()
	var all []*agent
	for i := range agents {
		a := &agent{t: b, name: fmt.Sprint("bus", i), install: [16]byte{byte(i + 1)}, addrs: []string{lead.cfg.Listen}}
		for n := range batches {
			a.seal("bus", rows, base+int64(n*rows))
		}
		all = append(all, a)
	}
	before := cpu()
	b.ResetTimer()
	var wg sync.WaitGroup
	for _, a := range all {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if err := a.run(context.Background()); err != nil {
				b.Error(err)
			}
		}()
	}
	wg.Wait()
	for _, m := range c.members {
		c.poll("everything", func() bool {
			s, err := c.status(m)
			return err == nil && s.Readings.Applied == uint64(agents*batches*rows)
		})
	}
	b.StopTimer()
	used := cpu() - before
	b.ReportMetric(float64(agents*batches*rows)/used.Seconds(), "readings/cpu-s")
	b.ReportMetric(float64(agents*batches*rows)/b.Elapsed().Seconds(), "readings/s")
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
