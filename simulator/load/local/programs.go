package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
)

// Cores is a cluster of core processes.
type Cores struct {
	Addrs []string // host:port
	Nodes []*Process
	Dirs  []string // data of each node; results.db is in it
}

// StartCores starts n nodes of the program and waits until their ports answer; broker "" = no MQTT sink.
func StartCores(ctx context.Context, program, dir string, n int, broker string, more ...string) (*Cores, error) {
	addrs, err := FreeAddresses(n)
	if err != nil {
		return nil, err
	}
	var peers []string
	for i, a := range addrs {
		peers = append(peers, fmt.Sprintf("core%d=%s", i+1, a))
	}
	c := &Cores{Addrs: addrs}
	for i, a := range addrs {
		name := fmt.Sprintf("core%d", i+1)
		data := filepath.Join(dir, name)
		args := []string{"--node-id", name, "--listen", a, "--peers", strings.Join(peers, ","), "--data-dir", data}
		if broker != "" {
			args = append(args, "--mqtt-brokers", broker)
		}
		p, err := Start(dir, name, program, append(args, more...)...)
		if err != nil {
			return nil, errors.Join(err, c.Stop())
		}
		c.Nodes, c.Dirs = append(c.Nodes, p), append(c.Dirs, data)
	}
	for i, p := range c.Nodes {
		if err := answers(ctx, p, addrs[i]); err != nil {
			return nil, errors.Join(err, c.Stop())
		}
	}
	return c, nil
}

// Stop ends all nodes.
func (c *Cores) Stop() (err error) {
	for _, p := range c.Nodes {
		err = errors.Join(err, p.Stop())
	}
	return err
}

// Edge is an agent process.
type Edge struct {
	*Process
	Metrics string // address of its /metrics
}

// EdgeOptions say what the agent reads and where it sends.
type EdgeOptions struct {
	Name, Broker, Topic string
	Cores               []string
	Linger              string // a duration
}

// StartEdge starts an agent that reads line protocol from a topic.
func StartEdge(ctx context.Context, program, dir string, o EdgeOptions) (*Edge, error) {
	addrs, err := FreeAddresses(1)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, o.Name+".yaml")
	text := fmt.Sprintf("agent: %s\ncore: [%s]\ndata_dir: %s\nlinger: %s\nhttp: %s\nmqtt:\n  brokers: [%q]\nmappings:\n  - topic: %q\n    format: line_protocol\n    unit: ns\n",
		o.Name, strings.Join(o.Cores, ", "), filepath.Join(dir, o.Name), o.Linger, addrs[0], o.Broker, o.Topic)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	p, err := Start(dir, o.Name, program, "--config", file)
	if err != nil {
		return nil, err
	}
	if err := answers(ctx, p, addrs[0]); err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return &Edge{Process: p, Metrics: addrs[0]}, nil
}

// Broker is an MQTT broker: mosquitto where it is installed, else one inside this process.
type Broker struct {
	URL  string
	Kind string // mosquitto or embedded

	process  *Process
	embedded *mochi.Server
}

// StartBroker starts a broker with its data in dir. Its windows are wide enough for a load:
// mosquitto's default of 20 messages in flight would measure mosquitto's default.
func StartBroker(ctx context.Context, dir string, embedded bool) (*Broker, error) {
	if program := findMosquitto(); program != "" && !embedded {
		return startMosquitto(ctx, program, dir)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	caps := mochi.NewDefaultServerCapabilities()
	caps.MaximumClientWritesPending = 1 << 16
	caps.MaximumInflight = 1 << 14
	caps.ReceiveMaximum = 1 << 14
	s := mochi.New(&mochi.Options{Capabilities: caps, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err := errors.Join(s.AddHook(new(auth.AllowHook), nil), s.AddListener(listeners.NewNet("load", l)), s.Serve()); err != nil {
		return nil, errors.Join(fmt.Errorf("embedded MQTT broker: %w", err), l.Close())
	}
	return &Broker{URL: "tcp://" + l.Addr().String(), Kind: "embedded", embedded: s}, nil
}

// findMosquitto looks for the program, also where only root has its path.
func findMosquitto() string {
	for _, name := range []string{"mosquitto", "/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

func startMosquitto(ctx context.Context, program, dir string) (*Broker, error) {
	addrs, err := FreeAddresses(1)
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(addrs[0])
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "mosquitto.conf")
	text := fmt.Sprintf("user root\nlistener %s %s\nallow_anonymous true\nmax_inflight_messages 1000\nmax_queued_messages 0\nmax_queued_bytes 268435456\nset_tcp_nodelay true\n", port, host)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	p, err := Start(dir, "mosquitto", program, "-c", file)
	if err != nil {
		return nil, err
	}
	if err := answers(ctx, p, addrs[0]); err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return &Broker{URL: "tcp://" + addrs[0], Kind: "mosquitto", process: p}, nil
}

// Stop ends the broker.
func (b *Broker) Stop() error {
	if b.embedded != nil {
		return b.embedded.Close()
	}
	return b.process.Stop()
}
