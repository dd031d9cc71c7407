// Package demo runs all of Signalbox on one machine with nothing installed: an
// embedded broker, three core nodes as processes of their own with real Raft
// and real disks, agents, and buses. It promises to clean up after itself and
// to say at the end whether every reading was counted exactly once; it refuses
// to be a way to run Signalbox for work.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"signalbox/cmd/signalbox/client"
	"signalbox/core/catalog"
	"signalbox/edge"
	"signalbox/simulator/fleet"
	"signalbox/simulator/load"
	"signalbox/simulator/load/local"
)

// Options of a demo.
type Options struct {
	Duration time.Duration // 0 = until the context ends
	Headless bool          // one summary line at the end, nothing else on Out but progress
	Listen   string        // address of the live page
	Agents   int
	Buses    int
	Seed     uint64
	Dir      string // data; "" = a temporary folder that is removed
	Kill     bool   // kill -9 a core node half-way, the leader
	Pipeline []catalog.Document
	Vehicles string // CSV of vehicle_types
	Version  string
	Out      io.Writer
}

// coreNodes is how many core processes run: the smallest number that survives a loss.
const coreNodes = 3

// world is everything that the demo started.
type world struct {
	opt    Options
	dir    string
	broker string
	cores  []*child
	addrs  []string
	core   *client.Client
	agents []*edge.Agent
	page   string
	begun  time.Time

	mu   sync.Mutex
	sent tally
}

// tally is what the simulator knows it published.
type tally struct {
	messages, readings int64
	perBus             map[string]int64
}

// Run runs a demo until its duration is over or the context ends, and
// reconciles what was published with what the cluster applied.
func Run(ctx context.Context, opt Options) (err error) {
	w := &world{opt: opt, dir: opt.Dir, begun: time.Now(), sent: tally{perBus: map[string]int64{}}}
	if w.dir == "" {
		if w.dir, err = os.MkdirTemp("", "signalbox-demo-"); err != nil {
			return fmt.Errorf("no temporary folder: %w; choose a folder with --data", err)
		}
		defer os.RemoveAll(w.dir)
	}
	if err := writable(w.dir); err != nil { // its children would say so again and again
		return fmt.Errorf("%w; choose a folder that this user may write with --data", err)
	}
	broker, address, err := startBroker()
	if err != nil {
		return err
	}
	defer broker.Close()
	w.broker = address
	stopped, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	if err := w.startAll(ctx, stopped, &wg); err != nil {
		if ctx.Err() != nil { // what failed, failed because it was told to stop
			return errors.New("stopped before everything was up")
		}
		return err
	}
	w.announce()
	if err := w.drive(ctx); err != nil {
		return err
	}
	return w.reconcile(context.WithoutCancel(ctx))
}

// writable makes a folder, unless it is there, and writes to it.
func writable(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "try-")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

func (w *world) startAll(ctx, stopped context.Context, wg *sync.WaitGroup) error {
	if err := w.startCores(stopped, wg); err != nil {
		return err
	}
	if err := w.load(ctx); err != nil {
		return err
	}
	if err := w.startAgents(stopped, wg); err != nil {
		return err
	}
	return w.startPage(stopped, wg)
}

func (w *world) say(format string, args ...any) { fmt.Fprintf(w.opt.Out, format+"\n", args...) }

func (w *world) startCores(ctx context.Context, wg *sync.WaitGroup) error {
	var err error
	if w.addrs, err = local.FreeAddresses(coreNodes); err != nil {
		return err
	}
	peers := make([]string, coreNodes)
	for i, a := range w.addrs {
		peers[i] = fmt.Sprintf("core%d=%s", i+1, a)
	}
	for i, a := range w.addrs {
		name := fmt.Sprintf("core%d", i+1)
		c := newChild(name, w.dir, "core", "--node-id", name, "--listen", a, "--peers", strings.Join(peers, ","),
			"--data-dir", filepath.Join(w.dir, name), "--mqtt-brokers", w.broker)
		w.cores = append(w.cores, c)
		wg.Add(1)
		go func() {
			defer wg.Done()
			if err := c.run(ctx, func(text string) { w.say("  %s", text) }); err != nil {
				w.say("  %v", err)
			}
		}()
	}
	w.core = client.New(strings.Join(w.addrs, ","))
	return nil
}

// load waits for a leader and gives the cluster its pipeline, rules and static table.
func (w *world) load(ctx context.Context) error {
	err := w.eventually(ctx, 45*time.Second, "the cluster to elect a leader and take the pipeline", func(ctx context.Context) error {
		res, err := w.core.Apply(ctx, w.opt.Pipeline, false)
		if err == nil && res.Error != "" {
			err = errors.New(res.Error)
		}
		return err
	})
	if err != nil {
		return err
	}
	file := filepath.Join(w.dir, "vehicle_types.csv")
	if err := os.WriteFile(file, []byte(w.opt.Vehicles), 0o600); err != nil {
		return err
	}
	return w.eventually(ctx, 15*time.Second, "the static table", func(ctx context.Context) error {
		return w.core.Upload(ctx, "vehicle_types", file)
	})
}

// eventually tries until it works, the limit is over, or the API says that trying again is no use.
func (w *world) eventually(ctx context.Context, limit time.Duration, what string, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		var refused *client.StatusError
		if errors.As(err, &refused) && refused.Code == http.StatusBadRequest {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited %s for %s: %w", limit, what, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (w *world) startAgents(ctx context.Context, wg *sync.WaitGroup) error {
	for i := range w.opt.Agents {
		cfg := edge.DefaultConfig()
		cfg.Agent = fmt.Sprintf("depot%d", i+1)
		cfg.Core = w.addrs
		cfg.DataDir = filepath.Join(w.dir, cfg.Agent)
		cfg.Linger = 0
		cfg.HTTP = ""
		cfg.Heartbeat, cfg.IdleAfter = time.Second, time.Second
		cfg.MQTT.Brokers = []string{w.broker}
		cfg.Mappings = append(cfg.Mappings, lineProtocol(fmt.Sprintf("fleet/%s/+", cfg.Agent)))
		log, err := os.Create(filepath.Join(w.dir, cfg.Agent+".log"))
		if err != nil {
			return err
		}
		a, err := edge.New(cfg, edge.Options{Logger: slog.New(slog.NewTextHandler(log, nil)), Version: w.opt.Version})
		if err != nil {
			log.Close()
			return err
		}
		w.agents = append(w.agents, a)
		wg.Add(1)
		go func() {
			defer wg.Done()
			defer log.Close()
			if err := a.Run(ctx); err != nil && ctx.Err() == nil {
				w.say("  agent %s: %v", cfg.Agent, err)
			}
		}()
	}
	return nil
}

func (w *world) startPage(ctx context.Context, wg *sync.WaitGroup) error {
	l, err := net.Listen("tcp", w.opt.Listen)
	if err != nil {
		return fmt.Errorf("live page: %w; choose another address with --listen", err)
	}
	w.page = "http://" + l.Addr().String()
	s := &http.Server{Handler: newPage(w.addrs), ReadHeaderTimeout: 5 * time.Second}
	wg.Add(2)
	go func() {
		defer wg.Done()
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			w.say("  live page: %v", err)
		}
	}()
	go func() {
		defer wg.Done()
		<-ctx.Done()
		s.Close()
	}()
	return nil
}

func (w *world) announce() {
	w.say("\nSignalbox demo: %d core nodes, %d agents, %d buses, running after %s\n", coreNodes, w.opt.Agents, w.opt.Buses, time.Since(w.begun).Round(100*time.Millisecond))
	w.say("  live page   %s", w.page)
	for _, c := range w.cores {
		pid, _ := c.pid()
		w.say("  %s       pid %d", c.name, pid)
	}
	w.say("  data, logs  %s\n", w.dir)
	if w.opt.Headless {
		return
	}
	pid, _ := w.cores[0].pid()
	w.say(`Try, in another terminal:
  bin/signalbox status --core %[1]s
  bin/signalbox query  --core %[1]s "SELECT * FROM fleet_now"
  bin/signalbox query  --core %[1]s "SELECT bus_id, passengers, capacity FROM bus_now ORDER BY passengers / capacity DESC LIMIT 5"
  bin/signalbox query  --core %[1]s "SELECT * FROM alerts"
  kill -9 %[2]d        # a core node: the page goes on, the node comes back after %[3]s, nothing is lost
ctrl-C stops everything and says whether each reading was counted exactly once.
`, w.page, pid, restartAfter)
}

// drive publishes the fleet until the end.
func (w *world) drive(ctx context.Context) error {
	run := ctx
	if w.opt.Duration > 0 {
		var cancel context.CancelFunc
		run, cancel = context.WithTimeout(ctx, w.opt.Duration)
		defer cancel()
	}
	p, err := load.Connect(ctx, load.PublisherConfig{Broker: w.broker, ClientID: "demo-buses", Topic: "%s", Connections: w.opt.Agents, InFlight: 64, Timeout: 30 * time.Second})
	if err != nil {
		return err
	}
	f := fleet.New(fleet.Config{Seed: w.opt.Seed, Buses: w.opt.Buses, Routes: 6, Start: time.Now(), Interval: 500 * time.Millisecond, Pace: 8, Crowding: 0.06})
	if w.opt.Kill {
		go w.killLeader(run)
	}
	s := fleet.NewSender(f, fleet.Faults{Seed: w.opt.Seed, Disorder: 0.01, MaxDelay: 1500 * time.Millisecond})
	err = w.publish(run, p, s)
	return errors.Join(err, p.Close(context.WithoutCancel(ctx)))
}

func (w *world) publish(ctx context.Context, p *load.Publisher, s *fleet.Sender) error {
	topic := func(r fleet.Reading) string { return fmt.Sprintf("fleet/depot%d/%s", r.Bus%w.opt.Agents+1, r.BusID) }
	return load.Run(ctx, p, s, load.RunConfig{Speed: 1, Topic: topic, Sent: func(d fleet.Delivery) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.sent.messages++
		w.sent.readings++
		w.sent.perBus[d.Reading.BusID]++
	}})
}

// killLeader kills the leading core process half-way through a timed run.
func (w *world) killLeader(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(w.opt.Duration / 2):
	}
	s, err := w.core.Status(ctx)
	if err != nil {
		w.say("  no node to kill: %v", err)
		return
	}
	for i, n := range s.Nodes {
		if n.Leader {
			w.say("  kill -9 the leader, %s", n.ID)
			if err := w.cores[i].kill(); err != nil {
				w.say("  %v", err)
			}
		}
	}
}
