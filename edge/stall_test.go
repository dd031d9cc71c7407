package edge

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"signalbox/edge/wire"
)

// A core that does not answer for less than max_alert_age costs no transition, and none comes twice.
func TestAStallBelowMaxAlertAgeLosesNoTransition(t *testing.T) {
	for _, c := range []struct {
		name          string
		stall         int // seconds
		buses, period int
		every         time.Duration
		perBatch      time.Duration
		linger        time.Duration
	}{
		{name: "3 s", stall: 3, buses: 20, period: 2},
		{name: "8 s", stall: 8, buses: 20, period: 2},
		{name: "8 s, 10,000 readings/s", stall: 8, buses: 10000, period: 2, every: 100 * time.Millisecond},
		{name: "12 s", stall: 12, buses: 20, period: 3},
		{name: "12 s, a slow core", stall: 12, buses: 20, period: 3, perBatch: 300 * time.Millisecond},
		{name: "12 s with linger", stall: 12, buses: 20, period: 3, linger: time.Second},
		{name: "45 s", stall: 45, buses: 20, period: 5},
		{name: "58 s", stall: 58, buses: 20, period: 5},
		{name: "58 s, 1,000 readings/s", stall: 58, buses: 1000, period: 7, every: 100 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				cfg := stallConfig(dir)
				cfg.Linger = c.linger
				s := newStalls(t, cfg)
				s.perBatch.Store(int64(c.perBatch))
				stop := s.boot(cfg)
				if c.every == 0 {
					c.every = time.Second / 4
				}
				i := 0
				for ; i < 3; i++ {
					s.second(i, c.buses, c.period, c.every)
				}
				s.hold(true)
				for ; i < 3+c.stall; i++ {
					s.second(i, c.buses, c.period, c.every)
				}
				s.hold(false)
				for ; i < 8+c.stall; i++ {
					s.second(i, c.buses, c.period, c.every)
				}
				s.settle()
				stop()
				got, want := names(s.core.live), names(s.oracle.live)
				if !slices.Equal(got, want) {
					missing, extra := difference(want, got), difference(got, want)
					t.Errorf("%d transitions of %d are missing, %d came that should not; %d as history; batches by lane %v\nmissing %.300q\nextra %.300q",
						len(missing), len(want), len(extra), len(s.core.past), s.lanes, missing, extra)
				}
				if len(want) < 2*c.buses {
					t.Errorf("only %d transitions", len(want))
				}
				if s.src.acked == 0 || s.core.worst > time.Minute {
					t.Errorf("%d messages acknowledged, oldest alert %v", s.src.acked, s.core.worst)
				}
			})
		})
	}
}

// live runs an agent for as many seconds as the script has letters: h = the core does not answer, any other = it does.
func (s *stalls) live(buses, period int, every time.Duration, script string) {
	for i, c := range script {
		s.hold(c == 'h')
		s.second(i, buses, period, every)
	}
	s.hold(false)
	s.settle()
}

// After an outage beyond max_alert_age nothing fires or resolves that is older, and what does not is counted and is history.
func TestBacklogOfAnOutageIsHistory(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cfg := stallConfig(dir)
		s := newStalls(t, cfg)
		s.perBatch.Store(int64(50 * time.Millisecond))
		stop := s.boot(cfg)
		s.live(20, 20, time.Second, ".."+strings.Repeat("h", 180)+"..........")
		demoted := s.a.Status().Demoted
		stop()
		if s.core.worst > time.Minute {
			t.Errorf("a transition of now is %v old", s.core.worst)
		}
		live, past, all := names(s.core.live), names(s.core.past), names(s.oracle.live)
		recent := 0
		for _, tr := range s.oracle.live { // those of the last minute before the core came back, and later
			if tr.At >= time.Date(2000, 1, 1, 0, 3, 2, 0, time.UTC).Add(-29*time.Second).UnixMicro() {
				recent++
			}
		}
		// A bus that was full when the live readings begin is told at its first one.
		if len(live) < recent || len(difference(all, live)) > len(past)+20 || len(past) == 0 {
			t.Errorf("%d transitions: %d as now (%d are recent), %d as history", len(all), len(live), recent, len(past))
		}
		if demoted < 20*(180-62) || demoted > 20*(180-20) || s.core.e.AlertStats().Historical < demoted {
			t.Errorf("%d readings demoted, %d evaluated as history", demoted, s.core.e.AlertStats().Historical)
		}
	})
}

// A new reading overtakes the backlog: with a slow core it is applied long before the backlog is through.
func TestLiveOvertakesBacklog(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cfg := stallConfig(dir)
		cfg.BatchReadings = 100
		s := newStalls(t, cfg)
		s.perBatch.Store(int64(400 * time.Millisecond))
		stop := s.boot(cfg)
		s.hold(true)
		for i := range 1200 {
			s.second(i, 20, 100, time.Second)
		}
		s.hold(false)
		back := time.Now()
		seen := time.Duration(0)
		for i := 1200; seen == 0; i++ {
			if i == 1400 {
				t.Fatal("no alert of a reading that was published after the core came back")
			}
			s.second(i, 20, 1, time.Second)
			s.mu.Lock()
			for _, tr := range s.core.live {
				if tr.At > back.UnixMicro() && seen == 0 {
					seen = time.Since(back)
				}
			}
			backlog := s.sent - s.rows
			s.mu.Unlock()
			if seen != 0 && backlog < 2000 {
				t.Errorf("only %d readings waited when the first new one was there", backlog)
			}
		}
		if seen > 20*time.Second {
			t.Errorf("the first new alert took %v", seen)
		}
		s.settle()
		stop()
	})
}

// A core that takes less than comes in still alerts on what is young: the queue must not stand at the age at which nothing counts.
func TestASlowCoreStillAlerts(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cfg := stallConfig(dir)
		cfg.BatchReadings = 50
		s := newStalls(t, cfg)
		s.perBatch.Store(int64(2 * time.Second))
		stop := s.boot(cfg)
		for i := range 300 {
			s.second(i, 100, 3, time.Second/4)
		}
		st := s.a.Status()
		s.mu.Lock()
		fresh := 0
		for _, tr := range s.core.live {
			if tr.At > time.Date(2000, 1, 1, 0, 2, 0, 0, time.UTC).UnixMicro() {
				fresh++
			}
		}
		s.mu.Unlock()
		s.perBatch.Store(int64(0))
		s.settle()
		stop()
		if st.Demoted == 0 || fresh < 1000 || s.core.worst > time.Minute {
			t.Errorf("%d readings demoted, %d transitions of the last three minutes came as now, the oldest after %v", st.Demoted, fresh, s.core.worst)
		}
	})
}

// An agent that is more than ten seconds behind with its live readings says so, and windows do not wait for it. One that only lingers is not behind.
func TestWhoLingersIsNotBehind(t *testing.T) {
	for _, c := range []struct {
		linger time.Duration
		script string
		slow   time.Duration
		behind bool
	}{{0, "..............................", 0, false}, {30 * time.Second, strings.Repeat(".", 70), 0, false}, {0, "..hhhhh...", 0, false}, {0, strings.Repeat(".", 40), 4 * time.Second, true}} {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			cfg := stallConfig(dir)
			cfg.Linger = c.linger
			if c.slow > 0 {
				cfg.BatchReadings = 1
			}
			s := newStalls(t, cfg)
			s.perBatch.Store(int64(c.slow))
			stop := s.boot(cfg)
			s.live(5, 5, time.Second, c.script)
			stop()
			if s.behind > 0 != c.behind {
				t.Errorf("linger %v, %s: %d readings named as backlog", c.linger, c.script, s.behind)
			}
		})
	}
}

// A restart in the middle of a stall makes no history of what waits.
func TestARestartInAStallLosesNoTransition(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cfg := stallConfig(dir)
		s := newStalls(t, cfg)
		stop := s.boot(cfg)
		i := 0
		run := func(n int) {
			for end := i + n; i < end; i++ {
				s.second(i, 20, 4, time.Second/4)
			}
		}
		run(5)
		s.hold(true)
		run(20)
		stop()
		time.Sleep(2 * time.Second)
		stop = s.boot(cfg)
		run(10)
		s.hold(false)
		run(5)
		s.settle()
		stop()
		if got, want := names(s.core.live), names(s.oracle.live); !slices.Equal(got, want) {
			t.Errorf("missing %.500q, extra %.500q, %d as history", difference(want, got), difference(got, want), len(s.core.past))
		}
	})
}

// A device whose clock is a year off, or stands at its first day, has devices behind it that know the time. Their readings are neither of the
// future nor of the past, whether they are sent at once, after a stall, or from the disk.
func TestAClockThatIsYearsOff(t *testing.T) {
	for _, skew := range []time.Duration{365 * 24 * time.Hour, -365 * 24 * time.Hour, 26 * 365 * 24 * time.Hour, -30 * 365 * 24 * time.Hour, 2 * time.Hour} {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			cfg := stallConfig(dir)
			s := newStalls(t, cfg)
			s.core.skew, s.oracle.skew = skew, skew
			s.hold(true) // readings come before the core told its time
			stop := s.boot(cfg)
			s.live(10, 10, time.Second, strings.Repeat("h", 90)+"....."+strings.Repeat("h", 20)+"....."+strings.Repeat("h", 100)+".....")
			offset, lanes := s.a.loop.health.offset, s.lanes
			stop()
			if s.late > 2*time.Second || s.core.worst > time.Minute+time.Second || lanes[wire.Backlog] == 0 || lanes[wire.Live] == 0 {
				t.Errorf("skew %v: receipt is off by %v, a transition of now was %v old, lanes %v", skew, s.late, s.core.worst, lanes)
			}
			if len(s.core.live) == 0 || (offset-skew).Abs() > time.Second {
				t.Errorf("skew %v: %d transitions, offset %v", skew, len(s.core.live), offset)
			}
		})
	}
}

// difference returns what a has more often than b.
func difference(a, b []string) []string {
	n := map[string]int{}
	for _, x := range b {
		n[x]++
	}
	var out []string
	for _, x := range a {
		if n[x]--; n[x] < 0 {
			out = append(out, x)
		}
	}
	return out
}
