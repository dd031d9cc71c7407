package edge

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"signalbox/edge/wire"
)

func TestFromMQTTToTheCore(t *testing.T) {
	addr, _ := broker(t)
	core := newFakeCore(t)
	a, stop := start(t, testConfig(t, addr, core.addr()))
	publish := publisher(t, addr)
	for i := range 50 {
		publish("lp/bus", fmt.Sprintf("bus,bus_id=B1 passengers=%di %d", i, 1767247200_000000000+int64(i)*1e9))
	}
	publish("json/7", `{"t":1767247200,"v":5}`)
	publish("json/7", `{"t":1767247200,"v":"many"}`)
	publish("lp/bus", "not line protocol")
	core.wait("53 readings", func() bool { return len(core.rows) == 53 })
	core.set(func() {
		for i := range 50 {
			if want := fmt.Sprintf("bus_id=B1 passengers=%d", i); !slices.ContainsFunc(core.rows, func(s string) bool { return strings.HasSuffix(s, want) }) {
				t.Errorf("%s did not come", want)
			}
		}
		all := strings.Join(core.rows, "\n")
		for _, want := range []string{"id=7 v=5", "reason=type", "reason=malformed", "topic=lp/bus"} {
			if !strings.Contains(all, want) {
				t.Errorf("%q is not in\n%s", want, all)
			}
		}
		last := core.batches[len(core.batches)-1]
		for _, f := range last.Frontiers {
			if f.Stream == "bus" && f.MaxTime != 1767247249_000000000 {
				t.Errorf("frontier %+v", f)
			}
		}
	})
	until(t, "acknowledged", func() bool { return a.Status().InFlight == 0 })
	page := get(t, "http://"+a.HTTPAddr()+"/metrics")
	for _, want := range []string{"signalbox_edge_readings_shipped_total 53", `signalbox_edge_readings_rejected_total{reason="type"} 1`, "signalbox_edge_up 1"} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not in /metrics", want)
		}
	}
	if h := get(t, "http://"+a.HTTPAddr()+"/healthz"); !strings.Contains(h, `"Shipped":53`) {
		t.Error(h)
	}
	stop()
	if s := a.Status(); s.Shipped != 53 || s.Received != 53 || s.Rejected["type"] != 1 || s.Rejected["malformed"] != 1 {
		t.Errorf("%+v", s)
	}
}

func get(t *testing.T, url string) string {
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// With linger 0 and credit, one fsync covers the readings and their batch.
func TestOneFsyncPerBatch(t *testing.T) {
	addr, _ := broker(t)
	core := newFakeCore(t)
	a, _ := start(t, testConfig(t, addr, core.addr()))
	until(t, "linked", func() bool { return a.Status().Connected })
	publish := publisher(t, addr)
	before := a.Status()
	for i := range 20 {
		publish("lp/bus", fmt.Sprintf("bus v=%di %d", i, i+1))
		core.wait("reading", func() bool { return len(core.rows) == i+1 })
	}
	after := a.Status()
	if syncs, batches := after.Syncs-before.Syncs, after.Batches-before.Batches; syncs > batches+1 || batches > 20 {
		t.Errorf("%d fsyncs for %d batches", syncs, batches)
	}
}

func TestOutageAndRestart(t *testing.T) {
	addr, _ := broker(t)
	core := newFakeCore(t)
	cfg := testConfig(t, addr, "127.0.0.1:1") // nobody there
	cfg.LiveWindow = time.Millisecond         // what is younger at the restart would go out as live
	a, stop := start(t, cfg)
	publish := publisher(t, addr)
	for i := range 300 {
		publish("lp/bus", fmt.Sprintf("bus,bus_id=B1 v=%di %d", i, 1000+i))
	}
	until(t, "300 in flight", func() bool { return a.Status().InFlight == 300 })
	stop()
	cfg.Core = []string{"127.0.0.1:1", core.addr()}
	a, stop = start(t, cfg)
	if s := a.Status(); s.Recovered != 300 {
		t.Fatalf("%+v", s)
	}
	core.wait("the backlog", func() bool { return len(core.rows) == 300 })
	publish("lp/bus", "bus,bus_id=B1 v=777i 5000")
	core.wait("a live reading", func() bool { return len(core.rows) == 301 })
	core.set(func() {
		if n := len(core.batches); n > 60 {
			t.Errorf("%d batches for 300 readings of backlog", n)
		}
		if core.batches[0].Lane != wire.Backlog || core.batches[len(core.batches)-1].Lane != wire.Live {
			t.Error("lanes are wrong")
		}
		seen := map[string]bool{}
		for _, r := range core.rows {
			if seen[r] {
				t.Errorf("%s came twice", r)
			}
			seen[r] = true
		}
		for _, b := range core.batches[:len(core.batches)-2] {
			for _, f := range b.Frontiers {
				if f.LowWater > 1299 {
					t.Errorf("certified %d while older readings were unsent", f.LowWater)
				}
			}
		}
	})
	stop()
}

func TestBadCore(t *testing.T) {
	addr, _ := broker(t)
	core := newFakeCore(t)
	n := 0
	core.answer = func(m *wire.BatchMessage) wire.Message {
		n++
		switch n % 7 {
		case 2:
			return &wire.SlowDown{RetryAfter: 5e6, Seq: m.Seq, Reason: "busy"}
		case 4:
			return &wire.Goodbye{Code: wire.GoodbyeNoLeader, Reason: "election"}
		case 6:
			return &wire.Expect{Epoch: core.epoch, Seq: core.applied + 1, Credit: 2}
		}
		return nil
	}
	follower := newFakeCore(t)
	follower.redirect = core.addr()
	a, stop := start(t, testConfig(t, addr, follower.addr()))
	publish := publisher(t, addr)
	for i := range 100 {
		publish("lp/bus", fmt.Sprintf("bus v=%di %d", i, 1000+i))
		if i%30 == 29 {
			core.cut()
		}
	}
	core.wait("100 readings", func() bool { return len(core.rows) == 100 })
	until(t, "acknowledged", func() bool { return a.Status().InFlight == 0 })
	stop()
	core.set(func() {
		slices.Sort(core.rows)
		if n := len(slices.Compact(core.rows)); n != 100 {
			t.Errorf("%d different readings of 100", n)
		}
	})
}

func TestConflictMakesANewInstall(t *testing.T) {
	addr, _ := broker(t)
	core := newFakeCore(t)
	once := true
	core.answer = func(m *wire.BatchMessage) wire.Message {
		if once {
			once = false
			return &wire.Conflict{Epoch: core.epoch, Seq: m.Seq, Reason: "another hash"}
		}
		return nil
	}
	a, _ := start(t, testConfig(t, addr, core.addr()))
	publisher(t, addr)("lp/bus", "bus v=1i 1000")
	core.wait("the reading", func() bool { return len(core.rows) == 1 })
	until(t, "acknowledged", func() bool { return a.Status().InFlight == 0 })
	if s := a.Status(); s.Epoch != 2 || s.Conflicts != 1 {
		t.Errorf("%+v", s)
	}
}

// An image that held unsent readings is restored after they were sent. The agent notices by the sequences, sends them again rather than lose
// what may be new, and says how many may count twice. Batches that the core knows are not sent again.
func TestARestoredImageIsNoticed(t *testing.T) {
	addr, _ := broker(t)
	core := newFakeCore(t)
	cfg := testConfig(t, addr, core.addr())
	publish := publisher(t, addr)
	a, stop := start(t, cfg)
	publish("lp/bus", "bus v=0i 1000")
	core.wait("the first reading", func() bool { return len(core.rows) == 1 })
	until(t, "acknowledged", func() bool { return a.Status().InFlight == 0 })
	stop()
	cfg.Core = []string{"127.0.0.1:1"}
	a, stop = start(t, cfg)
	for i := range 20 {
		publish("lp/bus", fmt.Sprintf("bus v=%di %d", i+1, 2000+i))
	}
	until(t, "20 unsent", func() bool { return a.Status().InFlight == 20 })
	stop()
	image := t.TempDir()
	if err := os.CopyFS(filepath.Join(image, "edge"), os.DirFS(cfg.DataDir)); err != nil {
		t.Fatal(err)
	}
	cfg.Core = []string{core.addr()}
	a, stop = start(t, cfg)
	core.wait("21 readings", func() bool { return len(core.rows) == 21 })
	until(t, "acknowledged", func() bool { return a.Status().InFlight == 0 })
	if s := a.Status(); s.Restored != 0 || len(s.Warnings) != 0 {
		t.Errorf("not restored, but %+v", s)
	}
	stop()
	cfg.DataDir = filepath.Join(image, "edge")
	a, _ = start(t, cfg)
	core.wait("41 readings", func() bool { return len(core.rows) == 41 })
	until(t, "acknowledged", func() bool { return a.Status().InFlight == 0 })
	if s := a.Status(); s.Epoch != 2 || s.Restored != 20 || len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], "20 readings") {
		t.Errorf("%+v", s)
	}
}

func TestHeartbeatsCertifyTime(t *testing.T) {
	addr, _ := broker(t)
	core := newFakeCore(t)
	cfg := testConfig(t, addr, core.addr())
	cfg.IdleAfter = 100 * time.Millisecond
	start(t, cfg)
	at := time.Now().Add(-time.Hour).UnixNano()
	publisher(t, addr)("lp/bus", fmt.Sprintf("bus v=1i %d", at))
	core.wait("a certificate of the time", func() bool {
		if len(core.beats) == 0 {
			return false
		}
		b := core.beats[len(core.beats)-1]
		return b.Idle && len(b.Frontiers) == 1 && b.Frontiers[0].MaxTime == at && b.Frontiers[0].LowWater > at+int64(59*time.Minute)
	})
	core.set(func() {
		for _, b := range core.beats {
			for _, f := range b.Frontiers {
				if f.LowWater > b.Clock {
					t.Errorf("certified the future: %+v", b)
				}
			}
		}
	})
}

func TestAFutureReadingMovesNothing(t *testing.T) {
	addr, _ := broker(t)
	core := newFakeCore(t)
	start(t, testConfig(t, addr, core.addr()))
	publisher(t, addr)("lp/bus", fmt.Sprintf("bus v=1i %d", time.Now().Add(24*time.Hour).UnixNano()))
	core.wait("the reading", func() bool { return len(core.rows) == 1 })
	core.set(func() {
		if f := core.batches[0].Frontiers; len(f) != 0 {
			t.Errorf("frontiers %+v", f)
		}
	})
}

func TestLingerGathers(t *testing.T) {
	addr, _ := broker(t)
	core := newFakeCore(t)
	cfg := testConfig(t, addr, core.addr())
	cfg.Linger = 300 * time.Millisecond
	a, _ := start(t, cfg)
	until(t, "linked", func() bool { return a.Status().Connected })
	publish := publisher(t, addr)
	for i := range 10 {
		publish("lp/bus", fmt.Sprintf("bus,bus_id=B1 v=%di %d", i, 1000+i))
	}
	core.wait("10 readings", func() bool { return len(core.rows) == 10 })
	core.set(func() {
		if len(core.batches) > 3 || len(core.batches[0].Frames) != 1 {
			t.Errorf("%d batches, the first of %d frames", len(core.batches), len(core.batches[0].Frames))
		}
	})
}

// A spool that is full stops acknowledging; when the core is back, everything arrives.
func TestFullSpool(t *testing.T) {
	addr, _ := broker(t)
	core := newFakeCore(t)
	cfg := testConfig(t, addr, "127.0.0.1:1")
	cfg.Spool.QuotaBytes = 1 << 20
	a, stop := start(t, cfg)
	publish := publisher(t, addr)
	big := strings.Repeat("x", 30000)
	for i := range 60 {
		publish("lp/bus", fmt.Sprintf("bus,id=%d text=\"%s%d\" %d", i, big, i, 1000+i))
	}
	until(t, "full", func() bool {
		s := a.Status()
		return s.SpoolBytes > 500000 && s.InFlight < 60
	})
	stop()
	if s := a.Status(); s.InFlight >= 60 || s.SpoolBytes > cfg.Spool.QuotaBytes {
		t.Fatalf("not full: %+v", s)
	}
	cfg.Core = []string{core.addr()}
	a, _ = start(t, cfg)
	core.wait("everything", func() bool { return len(core.rows) == 60 })
	until(t, "acknowledged", func() bool { return a.Status().InFlight == 0 })
}

// What the declared policy drops is acknowledged, counted, and reported to the core as gaps.
func TestDropOldestReportsGaps(t *testing.T) {
	addr, _ := broker(t)
	core := newFakeCore(t)
	cfg := testConfig(t, addr, "127.0.0.1:1")
	cfg.Spool.QuotaBytes, cfg.Spool.Policy = 1<<20, "drop_oldest"
	cfg.LiveWindow = time.Millisecond
	a, stop := start(t, cfg)
	publish := publisher(t, addr)
	big := strings.Repeat("x", 30000)
	for i := range 100 {
		publish("lp/bus", fmt.Sprintf("bus,id=%d text=\"%s%d\" %d", i, big, i, 1000+i))
	}
	until(t, "all received", func() bool { s := a.Status(); return s.Received == 100 && s.Dropped["drop_oldest"] > 0 })
	stop()
	cfg.Core = []string{core.addr()}
	a, _ = start(t, cfg)
	publish("lp/bus", "bus,id=last v=1i 2000")
	gaps := func() (n uint64) {
		for _, b := range core.batches {
			for _, g := range b.Gaps {
				n += g.Readings
			}
		}
		return n
	}
	core.wait("readings and gaps", func() bool { return uint64(len(core.rows))+gaps() == 101 })
	until(t, "acknowledged", func() bool { return a.Status().InFlight == 0 })
	core.set(func() {
		for _, b := range core.batches {
			for _, g := range b.Gaps {
				if g.Reason != "drop_oldest" || g.From < 1000 || g.To > 1099 || g.From > g.To {
					t.Errorf("%+v", g)
				}
			}
		}
		if !strings.HasPrefix(core.rows[len(core.rows)-1], "bus") || len(core.rows) < 10 {
			t.Errorf("%d rows", len(core.rows))
		}
	})
}

func TestNoGoroutineStays(t *testing.T) {
	addr, stopBroker := broker(t)
	core := newFakeCore(t)
	before := runtime.NumGoroutine()
	_, stop := start(t, testConfig(t, addr, core.addr()))
	core.wait("heartbeats", func() bool { return len(core.beats) > 1 })
	stop()
	stopBroker()
	core.cut()
	until(t, "goroutines gone", func() bool { return runtime.NumGoroutine() <= before })
}

func TestBadConfiguration(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"core is empty":          func(c *Config) { c.Core = nil },
		"is not host:port":       func(c *Config) { c.Core = []string{"nonsense"} },
		"is not an address":      func(c *Config) { c.MQTT.Brokers = []string{"foo"} },
		"batch_readings is 0":    func(c *Config) { c.BatchReadings = 0 },
		"spool.policy":           func(c *Config) { c.Spool.Policy = "lose" },
		"mqtt.brokers":           func(c *Config) { c.MQTT.Brokers = nil },
		"data_dir is empty":      func(c *Config) { c.DataDir = "" },
		"linger is":              func(c *Config) { c.Linger = -1 },
		"tls.cert_file needs":    func(c *Config) { c.TLS.CertFile = "x" },
		"heartbeat is":           func(c *Config) { c.Heartbeat = 0 },
		"decode: mapping 1":      func(c *Config) { c.Mappings = c.mappings(); c.Mappings[0].Format = "xml" },
		"agent is 300 bytes":     func(c *Config) { c.Agent = strings.Repeat("a", 300) },
		"mqtt.cert_file and mqt": func(c *Config) { c.MQTT.KeyFile = "k" },
	} {
		cfg := DefaultConfig()
		change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	cfg := DefaultConfig()
	if err := cfg.Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
}
