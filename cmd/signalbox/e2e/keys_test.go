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

// TestChaosManyKeys sends readings of ever new buses and routes: a device that puts its clock into its name. Queries stop
// taking new keys at their bound, count what they refuse, and go on with the keys they have; memory stays where the bound puts it.
func TestChaosManyKeys(t *testing.T) {
	chaosOnly(t)
	const messages, lines, bound = 400, 500, 50_000
	const most = 900 << 20 // bytes of a core process: six queries of 50,000 keys, log, caches, SQLite; without a bound it is above
	p := startPipeline(t, coreNodes, devservices.Mosquitto(t), nil, fmt.Sprintf("max_keys: %d\n", bound))
	begun := time.Now()
	for m := range messages {
		p.publish(strangers(m*lines, lines))
		if m%50 == 0 {
			p.sizes(t, begun)
		}
	}
	p.publish(strangers(0, lines)) // old keys go on
	if err := p.pub.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Minute, "everything to be accounted for", func(ctx context.Context) error {
		s, err := p.all.Status(ctx)
		if err == nil && s.Readings.Applied != (messages+1)*lines {
			err = fmt.Errorf("%+v", s.Readings)
		}
		return err
	})
	p.sizes(t, begun)
	eventually(t, time.Minute, "all nodes at one index", p.agree)
	for i := range p.one {
		s, err := p.one[i].Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n := s.Rejected["state_limit"]; n < messages*lines-bound {
			t.Errorf("core%d counts %d rows that were refused for their keys", i+1, n)
		}
		if got := p.number(t, i, "SELECT count(*) FROM bus_count"); got != bound {
			t.Errorf("core%d has %d keys, the bound is %d", i+1, got, bound)
		}
		if got := p.number(t, i, "SELECT count(*) FROM bus_count WHERE readings = 2"); got != lines {
			t.Errorf("core%d: %d of %d old keys went on", i+1, got, lines)
		}
		if got := p.cores[i].rss(); got > most {
			t.Errorf("core%d uses %d MiB", i+1, got>>20)
		}
	}
}

// strangers are lines of n buses, from the one with number first.
func strangers(first, n int) []byte {
	var b strings.Builder
	at := time.Now().UnixNano()
	for i := range n {
		fmt.Fprintf(&b, "bus,bus_id=stranger-%08d,route=Route-%d,vehicle_type=C passengers=%di,capacity=78i,seq=1i %d\n", first+i, first+i, i%70, at+int64(i)*1000)
	}
	return []byte(b.String())
}

// number asks a node for one number.
func (p *pipeline) number(t *testing.T, node int, query string) int {
	t.Helper()
	rows, err := p.one[node].Query(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(string(rows.Rows[0][0]))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (p *pipeline) sizes(t *testing.T, begun time.Time) {
	var b strings.Builder
	for _, x := range append(append([]*process(nil), p.cores...), p.agents...) {
		fmt.Fprintf(&b, " %s %d MiB", x.name, x.rss()>>20)
	}
	t.Logf("%5.1fs:%s", time.Since(begun).Seconds(), b.String())
}
