package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"signalbox/cmd/config"
	"signalbox/simulator/fleet"
	"signalbox/simulator/load"
	"signalbox/simulator/load/local"
)

type loadConfig struct {
	Rate       float64              `yaml:"rate" default:"10000" help:"readings per second; the buses report as often as it takes"`
	Duration   time.Duration        `yaml:"duration" default:"30s" help:"long enough for a thousand probes"`
	Runs       int                  `yaml:"runs" default:"1" help:"more than one prints every run and the medians"`
	PerMessage int                  `yaml:"readings_per_message" default:"20" help:"what a depot's gateway puts into one message: with the default rate and connections 125 messages a second and depot"`
	Fleet      fleetConfig          `yaml:"fleet"`
	MQTT       load.PublisherConfig `yaml:"mqtt" help:"the broker; %s in the topic is the depot"`
	Storm      time.Duration        `yaml:"storm" default:"0s" help:"cut and reopen every connection this often; 0 never"`
	Probes     int                  `yaml:"probes" default:"50" help:"buses that are full and empty in turn: they cause the alerts that are timed"`
	ProbeEvery time.Duration        `yaml:"probe_every" default:"1s" help:"time between two changes of one probe"`
	EventTopic string               `yaml:"event_topic" default:"signalbox/event/#" help:"where the core publishes transitions"`
	Core       []string             `yaml:"core" default:"127.0.0.1:7400" help:"every core node: results are taken from the first that shows them"`
	Agents     []string             `yaml:"agents" help:"host:port of the agents' /metrics, for processor time and uplink bytes; empty = not measured"`
	NoApply    bool                 `yaml:"no_apply" default:"false" help:"true when the cluster has the load's pipeline from an earlier run"`
	FloorDir   string               `yaml:"floor_dir" help:"a folder on the disk of the cores, where the floor's fsyncs go; empty = the temporary folder"`
	FloorEvery time.Duration        `yaml:"floor_every" default:"50ms" help:"twenty samples a second cost little and give a 99th percentile"`
	Settle     time.Duration        `yaml:"settle" default:"15s" help:"how long nothing may move at the end before the rest counts as lost"`
	Local      localConfig          `yaml:"local" help:"start everything here: nothing needs to run"`
}

type localConfig struct {
	Enabled  bool   `yaml:"enabled" default:"false" help:"true starts a broker, core nodes and an agent on loopback for the run"`
	Bin      string `yaml:"bin" default:"bin" help:"folder with signalbox-core and signalbox-edge"`
	Nodes    int    `yaml:"nodes" default:"3" help:"core nodes"`
	Linger   string `yaml:"linger" default:"0s" help:"of the agent: 0 is for a gateway under load"`
	Embedded bool   `yaml:"embedded_broker" default:"false" help:"true uses a broker inside the simulator even where mosquitto is installed"`
	Dir      string `yaml:"dir" help:"data and logs; empty = a temporary folder that is removed"`
}

func loadCommand() *cobra.Command {
	var cfg loadConfig
	cfg.Fleet.Buses, cfg.Fleet.Routes = 2000, 100 // the model user; run and generate begin smaller
	return config.Command("load", "Publish at a fixed rate, measure latency and cost, account for every reading", "SIGNALBOX_SIM_", &cfg, func(c *cobra.Command) error {
		if err := cfg.validate(); err != nil {
			return err
		}
		if !cfg.Local.Enabled {
			return runLoads(c.Context(), c.OutOrStdout(), cfg)
		}
		dir, done, err := workDir(cfg.Local.Dir, "signalbox-load-")
		if err != nil {
			return err
		}
		defer done()
		return localLoad(c.Context(), c.OutOrStdout(), cfg, dir)
	})
}

func (c *loadConfig) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Rate <= 0 || c.Duration <= 0 || c.Runs < 1 || c.PerMessage < 1 {
		bad("rate, duration, runs and readings_per_message must be above 0")
	}
	if c.Probes < 1 || c.ProbeEvery < time.Duration(c.Probes)*time.Microsecond || c.Duration < 2*c.ProbeEvery {
		bad("probes must be at least 1, probe_every at least 1 µs a probe, and duration at least twice probe_every")
	}
	if c.MQTT.Connections < 1 || c.MQTT.InFlight < 1 {
		bad("mqtt.connections and mqtt.in_flight must be at least 1")
	}
	if x := c.Fleet.Faults; x.Skewed > 0 && (x.Skew-5*time.Minute).Abs() < 30*time.Second {
		bad("fleet.faults.skew %s is so near to the limit of 5m that nobody can say which readings are refused; stay 30s away", x.Skew)
	}
	if c.FloorEvery <= 0 || c.Settle <= 0 {
		bad("floor_every and settle must be above 0")
	}
	return errors.Join(errs...)
}

// localLoad starts a broker, a cluster and an agent, and loads them.
func localLoad(ctx context.Context, out io.Writer, cfg loadConfig, dir string) (err error) {
	starting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	broker, err := local.StartBroker(starting, dir, cfg.Local.Embedded)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, broker.Stop()) }()
	cores, err := local.StartCores(starting, filepath.Join(cfg.Local.Bin, "signalbox-core"), dir, cfg.Local.Nodes, broker.URL)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cores.Stop()) }()
	agent, err := local.StartEdge(starting, filepath.Join(cfg.Local.Bin, "signalbox-edge"), dir, local.EdgeOptions{
		Name: "gateway", Broker: broker.URL, Topic: fmt.Sprintf(cfg.MQTT.Topic, "+"), Cores: cores.Addrs, Linger: cfg.Local.Linger})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, agent.Stop()) }()
	cfg.MQTT.Broker, cfg.Core, cfg.Agents = broker.URL, cores.Addrs, []string{agent.Metrics}
	if cfg.FloorDir == "" {
		cfg.FloorDir = dir
	}
	fmt.Fprintf(out, "%d core processes, 1 agent with linger %s, broker %s, %d readings a message, %d connections\n",
		cfg.Local.Nodes, cfg.Local.Linger, broker.Kind, cfg.PerMessage, cfg.MQTT.Connections)
	return runLoads(ctx, out, cfg)
}

// runLoads measures as often as asked; a run whose accounts do not come out is an error after it was printed.
func runLoads(ctx context.Context, out io.Writer, cfg loadConfig) error {
	var reports []*load.Report
	for i := range cfg.Runs {
		if cfg.Runs > 1 {
			fmt.Fprintf(out, "\nrun %d of %d: ", i+1, cfg.Runs)
		}
		r, err := loadOnce(ctx, cfg)
		if err != nil {
			return err
		}
		if err := r.Print(out); err != nil {
			return err
		}
		if err := r.Check(); err != nil {
			return fmt.Errorf("the accounts do not come out:\n%w", err)
		}
		cfg.NoApply = true // it is there now
		reports = append(reports, r)
	}
	if cfg.Runs > 1 {
		medians(out, reports)
	}
	return nil
}

func loadOnce(ctx context.Context, cfg loadConfig) (*load.Report, error) {
	bar := progress(int64(cfg.Rate*cfg.Duration.Seconds()), "publishing")
	defer func() { _ = bar.Finish() }() // a bar that cannot draw is no reason to fail
	fl := cfg.Fleet
	fl.Start = ""
	fl.Interval = time.Duration(float64(fl.Buses) / cfg.Rate * float64(time.Second))
	if _, err := fl.sender(time.Now()); err != nil {
		return nil, err
	}
	floorDir := cfg.FloorDir
	if floorDir == "" {
		floorDir = os.TempDir()
	}
	return load.Measure(ctx, load.Options{Publisher: cfg.MQTT, Core: cfg.Core, Agents: cfg.Agents, Rate: cfg.Rate, Duration: cfg.Duration, PerMessage: cfg.PerMessage,
		Storm: cfg.Storm, Probes: cfg.Probes, ProbeEvery: cfg.ProbeEvery, EventTopic: cfg.EventTopic, Apply: !cfg.NoApply, Duplicates: fl.Faults.Duplicates > 0,
		FloorDir: floorDir, FloorEvery: cfg.FloorEvery, Settle: cfg.Settle, Seed: fl.Seed,
		Fleet: func(start time.Time) *fleet.Sender {
			s, err := fl.sender(start)
			if err != nil {
				panic(err) // checked above
			}
			return s
		},
		Progress: func(n int) { _ = bar.Add(n) }})
}

// latencyBar is what is asked: the 99th percentile of publish to alert over the floor's.
const latencyBar = 4.0

func medians(out io.Writer, reports []*load.Report) {
	of := func(f func(*load.Report) float64) float64 {
		var v []float64
		for _, r := range reports {
			v = append(v, f(r))
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	millis := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	fmt.Fprintf(out, "\nmedian of %d runs: publish to alert p50 %.2f ms, p99 %.2f ms; floor p50 %.2f ms, p99 %.2f ms; p99 over the floor's p99 %.2f (asked: at most %.1f)\n", len(reports),
		of(func(r *load.Report) float64 { return millis(r.Alert.P50) }), of(func(r *load.Report) float64 { return millis(r.Alert.P99) }),
		of(func(r *load.Report) float64 { return millis(r.Floor.P50) }), of(func(r *load.Report) float64 { return millis(r.Floor.P99) }),
		of((*load.Report).Ratio), latencyBar)
}
