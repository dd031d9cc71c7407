package devservices

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// Broker is a running mosquitto with deploy/dev/mosquitto/safe.conf.in.
type Broker struct {
	server
	Host string
	Port int
	URL  string // tcp://127.0.0.1:PORT
	Dir  string
}

// Mosquitto starts a broker that lives as long as the test.
func Mosquitto(t testing.TB) *Broker {
	t.Helper()
	dir, err := scripts()
	Require(t, "deploy/dev", err)
	Require(t, "mosquitto", found("mosquitto"))
	var last error
	for range 5 { // between finding a free port and taking it somebody else may be quicker
		b := newBroker(t, filepath.Join(dir, "mosquitto", "broker.sh"))
		if last = b.start(); last == nil {
			if last = b.Wait(); last == nil {
				t.Cleanup(b.Kill)
				return b
			}
			b.Kill()
		}
	}
	t.Fatal(last)
	return nil
}

func newBroker(t testing.TB, script string) *Broker {
	b := &Broker{Host: "127.0.0.1", Port: FreePort(t), Dir: t.TempDir()}
	b.URL = fmt.Sprintf("tcp://%s:%d", b.Host, b.Port)
	b.server = server{t: t, addr: net.JoinHostPort(b.Host, strconv.Itoa(b.Port)), patience: 30 * time.Second,
		logs: []string{filepath.Join(b.Dir, "mosquitto.log"), filepath.Join(b.Dir, "stdout.log")},
		command: func() *exec.Cmd {
			return exec.Command("bash", script, "run", b.Dir, strconv.Itoa(b.Port), b.Host)
		}}
	return b
}

// FreePort returns a TCP port on 127.0.0.1 that nobody uses now.
func FreePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// found looks for programs, also where only root has its path.
func found(programs ...string) error {
	for _, p := range programs {
		if _, err := exec.LookPath(p); err == nil {
			continue
		}
		if !exists(filepath.Join("/usr/sbin", p)) && !exists(filepath.Join("/usr/local/sbin", p)) {
			return fmt.Errorf("no %s in %s", p, os.Getenv("PATH"))
		}
	}
	return nil
}
