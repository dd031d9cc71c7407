package load

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"signalbox/simulator/fleet"
)

// futureAfter is how far ahead of its receive time a reading may be; beyond it is refused as "future".
const futureAfter = 5 * time.Minute

// tally is what was published.
type tally struct {
	mu        sync.Mutex
	readings  int64
	copies    int64 // second copies among them
	malformed int64
	future    int64
	perBus    map[string]int64 // readings that are to be counted
}

func newTally() *tally { return &tally{perBus: map[string]int64{}} }

func (t *tally) add(d fleet.Delivery) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.readings++
	switch {
	case d.Malformed:
		t.malformed++
	case time.Duration(d.Reading.Time-d.At) > futureAfter:
		t.future++
	default:
		t.perBus[d.Reading.BusID]++
		if d.Duplicate {
			t.copies++
		}
	}
}

// state is what the system says about itself at one moment.
type state struct {
	applied, rejected, resent uint64
	late                      uint64
	perBus, once              map[string]int64
	cpu                       map[string]float64 // seconds, by process
	rss                       map[string]float64 // bytes, by process
	uplink                    float64            // bytes, all agents
	demoted                   float64            // readings that the agents sent as history, because they waited too long for the core
	leader                    string
}

func (l *load) state(ctx context.Context) (s state, err error) {
	st, err := l.core.Status(ctx)
	if err != nil {
		return s, err
	}
	s.applied, s.rejected, s.resent, s.late = st.Readings.Applied, st.Readings.Rejected, st.Readings.Duplicate, st.Readings.Late
	for _, n := range st.Nodes {
		if n.Leader {
			s.leader = n.ID
		}
	}
	if s.perBus, err = l.counts(ctx, "bus_count"); err != nil {
		return s, fmt.Errorf("%w\nthe cluster must have the load's pipeline: run once without --no-apply", err)
	}
	if l.opt.Duplicates {
		if s.once, err = l.counts(ctx, "bus_once"); err != nil {
			return s, err
		}
	}
	s.cpu, s.rss = map[string]float64{}, map[string]float64{}
	for i, a := range l.opt.Core {
		m, err := scrape(ctx, a)
		if err != nil {
			return s, err
		}
		s.process(fmt.Sprintf("core%d", i+1), m)
	}
	for i, a := range l.opt.Agents {
		m, err := scrape(ctx, a)
		if err != nil {
			return s, err
		}
		s.process(fmt.Sprintf("agent%d", i+1), m)
		s.uplink += m["signalbox_edge_uplink_bytes_total"]
		s.demoted += m["signalbox_edge_readings_demoted_total"]
	}
	return s, nil
}

func (s *state) process(name string, m map[string]float64) {
	s.cpu[name], s.rss[name] = m["process_cpu_seconds_total"], m["process_resident_memory_bytes"]
}

// counts reads a table of readings per bus.
func (l *load) counts(ctx context.Context, table string) (map[string]int64, error) {
	rows, err := l.core.Query(ctx, "SELECT bus_id, readings FROM "+table)
	if err != nil {
		return nil, err
	}
	out := map[string]int64{}
	for _, r := range rows {
		var bus string
		if err := json.Unmarshal(r[0], &bus); err != nil {
			return nil, err
		}
		if out[bus], err = strconv.ParseInt(string(r[1]), 10, 64); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// scrape reads the metrics without labels of a process.
func scrape(ctx context.Context, addr string) (map[string]float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("http://%s/metrics: %s", addr, res.Status)
	}
	out := map[string]float64{}
	in := bufio.NewScanner(res.Body)
	for in.Scan() {
		name, value, ok := strings.Cut(in.Text(), " ")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		if out[name], err = strconv.ParseFloat(value, 64); err != nil {
			return nil, fmt.Errorf("http://%s/metrics: %s: %w", addr, name, err)
		}
	}
	return out, in.Err()
}

// settle waits until everything published has been applied or rejected and every expected event has come, or
// until nothing has moved for a while. What is missing then is the report's business, not an error here.
func (l *load) settle(ctx context.Context) error {
	last, moved := "", time.Now()
	for time.Since(moved) < l.opt.Settle {
		st, err := l.core.Status(ctx)
		if err != nil {
			return err
		}
		done := st.Readings.Applied + st.Readings.Rejected - l.before.applied - l.before.rejected
		alerts, results := l.alerts.result().Missing, l.results.result().Missing
		if done >= uint64(l.sent.readings) && alerts == 0 && results == 0 {
			return nil
		}
		if now := fmt.Sprint(done, alerts, results); now != last {
			last, moved = now, time.Now()
		}
		if err := sleepUntil(ctx, time.Now().Add(50*time.Millisecond)); err != nil {
			return err
		}
	}
	return nil
}
