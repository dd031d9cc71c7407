package e2e

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	devservices "signalbox/deploy/dev"
)

// rss is the memory of a process that is in use now, in bytes.
func (p *process) rss() int64 {
	p.mu.Lock()
	pid := p.cmd.Process.Pid
	p.mu.Unlock()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseInt(strings.Fields(v)[0], 10, 64)
			if err != nil {
				return 0
			}
			return kb << 10
		}
	}
	return 0
}

// TestChaosManyKeys sends a million readings, each of a bus and a route that nobody has seen.
func TestChaosManyKeys(t *testing.T) {
	chaosOnly(t)
	const messages, lines = 2000, 500
	p := startPipeline(t, coreNodes, devservices.Mosquitto(t), nil)
	begun := time.Now()
	for m := range messages {
		var b strings.Builder
		at := time.Now().UnixNano()
		for i := range lines {
			n := m*lines + i
			fmt.Fprintf(&b, "bus,bus_id=stranger-%08d,route=Route-%d,vehicle_type=C passengers=%di,capacity=78i,seq=1i %d\n", n, n, n%90, at+int64(i)*1000)
		}
		p.publish([]byte(b.String()))
		if m%100 == 0 {
			p.sizes(t, begun)
		}
	}
	if err := p.pub.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Minute, "everything to be accounted for", func(ctx context.Context) error {
		p.sizes(t, begun)
		s, err := p.all.Status(ctx)
		if err != nil {
			return err
		}
		if s.Readings.Applied+s.Readings.Rejected < messages*lines {
			pass(ctx, time.Second)
			return fmt.Errorf("%+v", s.Readings)
		}
		t.Logf("%+v %+v", s.Readings, s.Rejected)
		return nil
	})
	for range 30 {
		pass(t.Context(), time.Second)
		p.sizes(t, begun)
	}
	for _, tb := range []string{"bus_now", "bus_count", "route_load"} {
		out, errs, err := run(t, "signalbox", "query", "--core", p.addrs[0], "SELECT count(*) FROM "+tb)
		t.Logf("%s: %s %s %v", tb, out, errs, err)
	}
	out, _, _ := run(t, "signalbox", "status", "--core", p.addrs[0])
	t.Log(out)
}

func (p *pipeline) sizes(t *testing.T, begun time.Time) {
	var b strings.Builder
	for _, x := range append(append([]*process(nil), p.cores...), p.agents...) {
		fmt.Fprintf(&b, " %s %d MiB", x.name, x.rss()>>20)
	}
	s, err := p.all.Status(t.Context())
	if err != nil {
		t.Log(err)
		return
	}
	text, _ := get(t.Context(), "http://"+p.addrs[0]+"/metrics")
	t.Logf("%5.1fs applied %d rejected %d late %d keys %v state %v outbox %v:%s", time.Since(begun).Seconds(), s.Readings.Applied, s.Readings.Rejected, s.Readings.Late,
		metric(text, "signalbox_core_engine_keys"), metric(text, "signalbox_core_engine_state_bytes"), metric(text, "signalbox_core_outbox_bytes"), b.String())
}
