package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// inNetwork is set in the process that inOwnNetwork starts.
const inNetwork = "SIGNALBOX_E2E_IN_NETWORK"

// inOwnNetwork runs the calling test again in a process with a network of its own, where it may cut what it likes, and
// returns false to the caller, which is done then. The kernel removes that network with its last process.
func inOwnNetwork(t *testing.T, seed uint64) bool {
	t.Helper()
	if os.Getenv(inNetwork) != "" {
		mustExec(t, "ip", "link", "set", "lo", "up")
		return true
	}
	if os.Geteuid() != 0 {
		notTested(t, "cutting a network needs root")
	}
	if out, err := exec.Command("unshare", "-n", "nft", "list", "ruleset").CombinedOutput(); err != nil {
		notTested(t, "no network of our own with nft in it can be made here: %v: %s; run deploy/dev/install.sh", err, out)
	}
	again := exec.CommandContext(t.Context(), "unshare", "-n", os.Args[0], "-test.v", "-test.count=1", "-test.timeout=15m", "-test.run=^"+t.Name()+"$")
	again.Env = append(os.Environ(), inNetwork+"=1", fmt.Sprintf("SIGNALBOX_CHAOS_SEED=%d", seed))
	again.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := again.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatalf("in its own network: %v", err)
	}
	return false
}

func mustExec(t testing.TB, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
}

// lan is a switch with a machine for each core; the test, the broker and the agents are on the switch itself.
type lan struct {
	t    *testing.T
	pids map[string]int // of the process that holds a machine's network
	ips  map[string]string
}

const lanPrefix = "10.77.0."

func newLAN(t *testing.T, machines ...string) *lan {
	t.Helper()
	l := &lan{t: t, pids: map[string]int{}, ips: map[string]string{}}
	mustExec(t, "ip", "link", "add", "switch", "type", "bridge")
	mustExec(t, "ip", "addr", "add", lanPrefix+"1/24", "dev", "switch")
	mustExec(t, "ip", "link", "set", "switch", "up")
	for i, name := range machines {
		l.machine(name, fmt.Sprint(lanPrefix, 11+i))
	}
	return l
}

func (l *lan) machine(name, ip string) {
	l.t.Helper()
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		l.t.Fatal(err)
	}
	hold := exec.Command("unshare", "-n", "sleep", "infinity")
	hold.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := hold.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		_ = hold.Process.Kill()
		_ = hold.Wait()
	})
	pid := hold.Process.Pid
	eventually(l.t, 10*time.Second, "a network for "+name, func(context.Context) error {
		ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
		if err == nil && ns == own {
			err = fmt.Errorf("still in %s", ns)
		}
		return err
	})
	l.pids[name], l.ips[name] = pid, ip
	mustExec(l.t, "ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", fmt.Sprint(pid))
	mustExec(l.t, "ip", "link", "set", name, "master", "switch", "up")
	l.in(name, "ip", "addr", "add", ip+"/24", "dev", "eth0")
	l.in(name, "ip", "link", "set", "eth0", "up")
	l.in(name, "ip", "link", "set", "lo", "up")
	l.in(name, "nft", "add table inet test; add chain inet test in { type filter hook input priority 0; }")
}

// in runs a command on a machine.
func (l *lan) in(machine string, command ...string) {
	l.t.Helper()
	mustExec(l.t, "nsenter", append([]string{"-t", fmt.Sprint(l.pids[machine]), "-n", "--"}, command...)...)
}

// place makes a process, not yet started, run on the machine of its name.
func (l *lan) place(p *process) {
	p.args = append([]string{"-t", fmt.Sprint(l.pids[p.name]), "-n", "--", p.bin}, p.args...)
	p.bin = "nsenter"
}

// drop loses everything that comes to a machine from another one; "" is everybody else.
func (l *lan) drop(from, to string) {
	l.t.Helper()
	rule := "add rule inet test in iifname eth0 "
	if from != "" {
		rule += "ip saddr " + l.ips[from] + " "
	}
	l.in(to, "nft", rule+"drop")
}

// heal ends every loss.
func (l *lan) heal() {
	l.t.Helper()
	for name := range l.pids {
		l.in(name, "nft", "flush chain inet test in")
	}
}

// hostOf is the address without its port.
func hostOf(addr string) net.IP {
	host, _, _ := net.SplitHostPort(addr)
	return net.ParseIP(host)
}

// relay makes an address on loopback reachable for the machines, and returns its address for them.
func (l *lan) relay(to string) string {
	l.t.Helper()
	in, err := net.Listen("tcp", lanPrefix+"1:0")
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = in.Close() })
	go func() {
		for {
			a, err := in.Accept()
			if err != nil {
				return
			}
			go pipe(a, to)
		}
	}()
	return in.Addr().String()
}

func pipe(a net.Conn, to string) {
	defer a.Close()
	b, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer b.Close()
	done := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
		go func() {
			_, _ = io.Copy(way[0], way[1])
			done <- struct{}{}
		}()
	}
	<-done
}
