package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"signalbox/cmd/config"
	"signalbox/simulator/fleet"
	"signalbox/simulator/load"
)

// fleetConfig is the fleet as keys of the configuration.
type fleetConfig struct {
	Seed     uint64        `yaml:"seed" default:"1" help:"the same seed gives the same readings on every machine"`
	Buses    int           `yaml:"buses" default:"200" help:"a small operator"`
	Routes   int           `yaml:"routes" default:"20" help:"ten buses a route"`
	Start    string        `yaml:"start" help:"RFC 3339 event time of the first reading; empty = now for run, 2026-01-01T07:00:00Z for generate"`
	Interval time.Duration `yaml:"interval" default:"1s" help:"the position interval of the Helsinki recordings"`
	Pace     float64       `yaml:"pace" default:"1" help:"how much quicker than life stops follow each other"`
	Crowding float64       `yaml:"crowding" default:"0.01" help:"full buses are rare: crowds are injected, or no alert ever fires"`
	NoFix    float64       `yaml:"no_fix" default:"0.25" help:"share without position, as in the Helsinki recordings"`
	Faults   faultConfig   `yaml:"faults" help:"what goes wrong on the way; none by default"`
}

type faultConfig struct {
	Duplicates float64       `yaml:"duplicates" default:"0" help:"share of messages sent twice"`
	Disorder   float64       `yaml:"disorder" default:"0" help:"share of messages sent late"`
	MaxDelay   time.Duration `yaml:"max_delay" default:"5s" help:"how late at most"`
	Outages    float64       `yaml:"outages" default:"0" help:"per bus and hour"`
	OutageFor  time.Duration `yaml:"outage_for" default:"30s" help:"a tunnel"`
	Skewed     float64       `yaml:"skewed" default:"0" help:"share of buses with a wrong clock"`
	Skew       time.Duration `yaml:"skew" default:"10m" help:"how wrong; beyond 5m ahead readings are refused"`
	Malformed  float64       `yaml:"malformed" default:"0" help:"share of payloads cut in half"`
}

func (c fleetConfig) sender(defaultStart time.Time) (*fleet.Sender, error) {
	start := defaultStart
	if c.Start != "" {
		var err error
		if start, err = time.Parse(time.RFC3339Nano, c.Start); err != nil {
			return nil, fmt.Errorf("start: %q is not RFC 3339, for example 2026-01-01T07:00:00Z", c.Start)
		}
	}
	if c.Buses < 1 || c.Routes < 1 || c.Interval <= 0 || c.Pace <= 0 {
		return nil, fmt.Errorf("buses, routes, interval and pace must be above 0")
	}
	f := fleet.New(fleet.Config{Seed: c.Seed, Buses: c.Buses, Routes: c.Routes, Start: start, Interval: c.Interval, Pace: c.Pace, Crowding: c.Crowding, NoFix: c.NoFix})
	x := c.Faults
	return fleet.NewSender(f, fleet.Faults{Seed: c.Seed, Duplicates: x.Duplicates, Disorder: x.Disorder, MaxDelay: x.MaxDelay,
		Outages: x.Outages, OutageFor: x.OutageFor, Skewed: x.Skewed, Skew: x.Skew, Malformed: x.Malformed}), nil
}

type generateConfig struct {
	Fleet    fleetConfig `yaml:"fleet"`
	Readings int64       `yaml:"readings" default:"100000" help:"messages to write"`
	Output   string      `yaml:"output" default:"-" help:"- is standard output"`
	Vehicles string      `yaml:"vehicles" help:"also write the static table vehicle_types.csv here"`
}

func generateCommand() *cobra.Command {
	var cfg generateConfig
	return config.Command("generate", "Write line protocol to a file, the same for the same seed", "SIGNALBOX_SIM_", &cfg, func(c *cobra.Command) error {
		s, err := cfg.Fleet.sender(time.Date(2026, 1, 1, 7, 0, 0, 0, time.UTC))
		if err != nil {
			return err
		}
		if cfg.Vehicles != "" {
			if err := os.WriteFile(cfg.Vehicles, fleet.VehicleTypesCSV(), 0o644); err != nil {
				return err
			}
		}
		return generate(c.OutOrStdout(), cfg, s)
	})
}

func generate(stdout io.Writer, cfg generateConfig, s *fleet.Sender) (err error) {
	out := stdout
	if cfg.Output != "-" {
		f, err := os.Create(cfg.Output)
		if err != nil {
			return err
		}
		defer func() {
			if cerr := f.Close(); err == nil {
				err = cerr
			}
		}()
		out = f
	}
	w := bufio.NewWriterSize(out, 1<<20)
	bar := progress(cfg.Readings, "writing")
	for range cfg.Readings {
		if _, err := w.Write(s.Next().Payload); err != nil {
			return err
		}
		_ = bar.Add(1) // a bar that cannot draw is no reason to stop
	}
	_ = bar.Finish()
	return w.Flush()
}

// progress draws on a terminal and nowhere else.
func progress(total int64, what string) *progressbar.ProgressBar {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return progressbar.DefaultSilent(total, what)
	}
	return progressbar.NewOptions64(total, progressbar.OptionSetDescription(what), progressbar.OptionSetWriter(os.Stderr),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
}

type runConfig struct {
	Fleet    fleetConfig          `yaml:"fleet"`
	MQTT     load.PublisherConfig `yaml:"mqtt" help:"the broker"`
	Speed    float64              `yaml:"speed" default:"1" help:"event time per wall time: 1 is real time"`
	Duration time.Duration        `yaml:"duration" default:"0s" help:"wall time; 0 runs until ctrl-C"`
	Storm    time.Duration        `yaml:"storm" default:"0s" help:"cut and reopen every connection this often; 0 never"`
}

func runCommand() *cobra.Command {
	var cfg runConfig
	return config.Command("run", "Publish a fleet in real time, or faster", "SIGNALBOX_SIM_", &cfg, func(c *cobra.Command) error {
		s, err := cfg.Fleet.sender(time.Now())
		if err != nil {
			return err
		}
		if cfg.Speed <= 0 {
			return fmt.Errorf("speed must be above 0")
		}
		p, err := load.Connect(c.Context(), cfg.MQTT)
		if err != nil {
			return err
		}
		bar := progress(-1, "publishing")
		runErr := load.Run(c.Context(), p, s, load.RunConfig{Speed: cfg.Speed, Duration: cfg.Duration, Storm: cfg.Storm, Sent: func(fleet.Delivery) { _ = bar.Add(1) }})
		closeErr := p.Close(c.Context())
		_ = bar.Finish()
		acked, failed := p.Counts()
		fmt.Fprintf(c.OutOrStdout(), "published %d messages, %d failed\n", acked, failed)
		if runErr != nil {
			return runErr
		}
		if failed > 0 {
			return fmt.Errorf("%d messages were not acknowledged by the broker", failed)
		}
		if c.Context().Err() != nil {
			return nil
		}
		return closeErr
	})
}
