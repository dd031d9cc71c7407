package edge

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// mosquitto starts the real broker with its default limits (20 messages in flight). kill ends it without a word.
func mosquitto(t *testing.T, port int) (addr string, kill func()) {
	bin, err := exec.LookPath("mosquitto")
	if err != nil {
		if bin = "/usr/sbin/mosquitto"; func() bool { _, err := os.Stat(bin); return err != nil }() {
			if os.Getenv("CI") == "true" {
				t.Fatal("mosquitto is not installed")
			}
			t.Skip("NOT TESTED: mosquitto is not installed")
		}
	}
	conf := filepath.Join(t.TempDir(), "m.conf")
	if err := os.WriteFile(conf, []byte(fmt.Sprintf("listener %d 127.0.0.1\nallow_anonymous true\n", port)), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "-c", conf)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() { cmd.Process.Kill(); cmd.Wait() })
	t.Cleanup(kill)
	addr = fmt.Sprintf("127.0.0.1:%d", port)
	until(t, "mosquitto listens", func() bool {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			return false
		}
		c.Close()
		return true
	})
	return "tcp://" + addr, kill
}

func freePort(t *testing.T) int {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// A broker that is killed forgets session and subscription; the agent subscribes anew and goes on.
func TestRealMosquitto(t *testing.T) {
	port := freePort(t)
	addr, kill := mosquitto(t, port)
	core := newFakeCore(t)
	cfg := testConfig(t, addr, core.addr())
	a, _ := start(t, cfg)
	for round := range 2 {
		var wg sync.WaitGroup
		for p := range 4 {
			publish := publisherNamed(t, addr, fmt.Sprintf("p%d-%d", round, p))
			wg.Go(func() {
				for i := range 250 {
					publish("lp/bus", fmt.Sprintf("bus,bus_id=B%d round=%di,v=%di %d", p, round, i, 1000+i))
				}
			})
		}
		wg.Wait()
		core.wait("a round of 1000", func() bool { return len(core.rows) == 1000*(round+1) })
		until(t, "acknowledged", func() bool { return a.Status().InFlight == 0 })
		if round == 0 {
			kill()
			until(t, "the loss noticed", func() bool { return !a.Status().Broker })
			mosquitto(t, port)
			until(t, "subscribed again", func() bool { return a.Status().Broker })
		}
	}
}
