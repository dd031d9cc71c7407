package edge

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"signalbox/edge/mqtt"
	"signalbox/edge/spool"
	"signalbox/edge/wire"
)

// healthOf asks /healthz.
func healthOf(t *testing.T, a *Agent) (code int, s Status) {
	t.Helper()
	resp, err := http.Get("http://" + a.HTTPAddr() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, s
}

// says waits until /healthz answers 503 with a reason, and /metrics agrees.
func says(t *testing.T, a *Agent, why string) {
	t.Helper()
	until(t, why, func() bool {
		code, s := healthOf(t, a)
		return code == http.StatusServiceUnavailable && strings.Contains(strings.Join(s.NotReady, "\n"), why)
	})
	if page := get(t, "http://"+a.HTTPAddr()+"/metrics"); !strings.Contains(page, "signalbox_edge_ready 0") {
		t.Errorf("%s: not in the metrics", why)
	}
}

func isReady(t *testing.T, a *Agent) {
	t.Helper()
	until(t, "ready", func() bool { code, s := healthOf(t, a); return code == 200 && len(s.NotReady) == 0 })
}

func TestHealthSaysThatTheBrokerIsAway(t *testing.T) {
	addr, stopBroker := broker(t)
	core := newFakeCore(t)
	a, _ := start(t, testConfig(t, addr, core.addr()))
	isReady(t, a)
	stopBroker()
	says(t, a, "no broker: mqtt: ")
}

// Another device has the name: the agent says so, asks rarely, and goes on when it may.
func TestHealthSaysThatTheCoreRefuses(t *testing.T) {
	addr, _ := broker(t)
	core := newFakeCore(t)
	var refuse atomic.Bool
	hellos := atomic.Int64{}
	core.greet = func(*wire.Hello) wire.Message {
		hellos.Add(1)
		if refuse.Load() {
			return &wire.Goodbye{Code: wire.GoodbyeRefused, Reason: `two devices have the name "bus-1"`}
		}
		return nil
	}
	refuse.Store(true)
	cfg := testConfig(t, addr, core.addr())
	cfg.MaxBackoff = 2 * time.Second
	a, _ := start(t, cfg)
	began := time.Now()
	says(t, a, `refused by the core: goodbye 3: two devices have the name "bus-1"`)
	until(t, "a second refusal", func() bool { return a.Status().Refusals >= 2 })
	if n, spent := hellos.Load(), time.Since(began); float64(n) > 2+spent.Seconds() {
		t.Errorf("asked %d times in %v", n, spent)
	}
	publisher(t, addr)("lp/bus", "bus v=1i 1000")
	refuse.Store(false)
	core.wait("the reading", func() bool { return len(core.rows) == 1 })
	isReady(t, a)
}

func TestHealthSaysThatTheSpoolIsFull(t *testing.T) {
	for policy, why := range map[spool.Policy]string{spool.StopAcknowledging: "the broker keeps what comes", spool.DropNew: "readings are dropped, policy drop_new", spool.DropOldest: "readings are dropped, policy drop_oldest"} {
		addr, _ := broker(t)
		cfg := testConfig(t, addr, "127.0.0.1:1")
		cfg.Spool.QuotaBytes, cfg.Spool.Policy = 1<<20, policy
		cfg.LiveWindow = time.Millisecond
		a, stop := start(t, cfg)
		publish := publisher(t, addr)
		big := strings.Repeat("x", 30000)
		for i := range 60 {
			publish("lp/bus", fmt.Sprintf("bus,id=%d text=\"%s%d\" %d", i, big, i, 1000+i))
		}
		says(t, a, why)
		stop()
	}
}

// A core that is away for a minute, or that welcomes and takes nothing, is named, and so is the end of it.
func TestHealthSaysThatTheCoreIsAway(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := newStalls(t, stallConfig(dir))
		stop := s.boot(stallConfig(dir))
		run := func(n int, want string) {
			t.Helper()
			for i := range n {
				s.second(i, 5, 5, time.Second)
			}
			if got := strings.Join(s.a.Status().NotReady, "; "); want == "" && got != "" || !strings.Contains(got, want) {
				t.Errorf("says %q, want %q", got, want)
			}
		}
		run(10, "")
		s.hold(true)
		run(55, "")
		run(20, "no core for 1m")
		s.hold(false)
		run(15, "")
		stop()
	})
}

// A disk that is slow or full is named while it is.
func TestHealthSaysThatTheDiskIsFull(t *testing.T) {
	a := &Agent{cfg: DefaultConfig(), source: &memorySource{}}
	sp, fs := fullDisk(t)
	a.spool = sp
	a.loop.health.progress = time.Now()
	done := make(chan error, 1)
	fs.full.Store(true)
	if err := sp.Append(spool.Data{Readings: 1, Payload: []byte("x")}, func(_ uint64, err error) { done <- err }); err != nil {
		t.Fatal(err)
	}
	until(t, "named", func() bool { return strings.Contains(strings.Join(a.notReady(), ";"), "disk full") })
	fs.full.Store(false)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	until(t, "ready again", func() bool { return len(a.notReady()) == 0 })
	a.loop.committing, a.loop.health.committed = true, time.Now().Add(-11*time.Second)
	if why := a.notReady(); len(why) != 1 || !strings.Contains(why[0], "takes 11s for one write") {
		t.Errorf("a slow disk: %q", why)
	}
	a.loop.committing = false
	a.source = fought{}
	if why := a.notReady(); len(why) != 1 || !strings.Contains(why[0], "does another client use the id") {
		t.Errorf("a taken client id: %q", why)
	}
}

type fought struct{ *memorySource }

func (fought) Stats() mqtt.Stats { return mqtt.Stats{Connected: true, Fights: 5} }

// fullFS is a disk that can be full.
type fullFS struct {
	spool.FS
	full atomic.Bool
}

type fullFile struct {
	spool.File
	fs *fullFS
}

func (f *fullFS) Create(name string) (spool.File, error) {
	if f.full.Load() {
		return nil, &os.PathError{Op: "open", Path: name, Err: syscall.ENOSPC}
	}
	x, err := f.FS.Create(name)
	return fullFile{x, f}, err
}

func (f fullFile) WriteAt(b []byte, off int64) (int, error) {
	if f.fs.full.Load() {
		return 0, syscall.ENOSPC
	}
	return f.File.WriteAt(b, off)
}

func fullDisk(t *testing.T) (*spool.Spool, *fullFS) {
	dir, err := spool.Dir(filepath.Join(t.TempDir(), "spool"))
	if err != nil {
		t.Fatal(err)
	}
	fs := &fullFS{FS: dir}
	sp, err := spool.Open(fs, spool.DefaultConfig(), [16]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sp.Close() })
	return sp, fs
}
