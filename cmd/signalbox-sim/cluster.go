package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"signalbox/cmd/config"
	"signalbox/simulator/load/cluster"
)

type clusterConfig struct {
	W1        w1Config `yaml:"w1"`
	Runs      int      `yaml:"runs" default:"3" help:"the median counts on a noisy machine"`
	Nodes     int      `yaml:"nodes" default:"3" help:"the smallest cluster that survives a loss"`
	Agents    int      `yaml:"agents" default:"12" help:"four batches in flight each: enough that entries hold many batches"`
	BatchSize int      `yaml:"batch_readings" default:"1000" help:"the default of the agents"`
	Core      string   `yaml:"core" default:"bin/signalbox-core" help:"the program that is measured"`
	Dir       string   `yaml:"dir" help:"where logs and databases go; empty = a temporary folder that is removed"`
}

func benchClusterCommand() *cobra.Command {
	var cfg clusterConfig
	return config.Command("cluster", "Measure readings per second of processor time of three fsyncing core processes", "SIGNALBOX_SIM_", &cfg, func(c *cobra.Command) error {
		return benchCluster(c.Context(), c.OutOrStdout(), cfg)
	})
}

func benchCluster(ctx context.Context, out io.Writer, cfg clusterConfig) error {
	if cfg.Nodes < 1 || cfg.Agents < 1 || cfg.Runs < 1 || cfg.BatchSize < 1 {
		return fmt.Errorf("nodes, agents, runs and batch_readings must be at least 1")
	}
	dir, done, err := workDir(cfg.Dir, "signalbox-cluster-")
	if err != nil {
		return err
	}
	defer done()
	c := cluster.Config{Program: cfg.Core, Nodes: cfg.Nodes, Agents: cfg.Agents, BatchSize: cfg.BatchSize, Work: cfg.W1.workload()}
	work, err := cluster.Prepare(c)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "W1: seed %d, %d s, %d buses; %d core processes that fsync, Q1 and Q2, dedup, outbox, SQLite; %d agents, batches of %d\n",
		c.Work.Seed, c.Work.Seconds, c.Work.Buses, cfg.Nodes, cfg.Agents, cfg.BatchSize)
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "run\treadings\twall s\tcluster CPU s\tof it system\tM readings/cluster CPU-s\tasked\tbytes/reading on the links\tanswers on every node")
	var rates []float64
	for i := range cfg.Runs {
		c.Dir = filepath.Join(dir, fmt.Sprintf("run%d", i+1))
		if err := os.MkdirAll(c.Dir, 0o700); err != nil {
			return err
		}
		r, err := cluster.Run(ctx, c, work)
		if err != nil {
			return err
		}
		rates = append(rates, r.PerSecond()/1e6)
		fmt.Fprintln(t, clusterLine(i+1, r))
		if cfg.Dir == "" {
			if err := os.RemoveAll(c.Dir); err != nil {
				return err
			}
		}
	}
	fmt.Fprintf(t, "median\t\t\t\t\t%.2f\t%.1f\n", median(rates), clusterBar)
	return t.Flush()
}

// clusterBar is what is asked, in million readings per second of processor time of the cluster.
const clusterBar = 1.0

func clusterLine(run int, r cluster.Result) string {
	var system float64
	for _, u := range r.Nodes {
		system += u.System.Seconds()
	}
	return fmt.Sprintf("%d\t%d\t%.1f\t%.2f\t%.2f\t%.2f\t%.1f\t%.1f\tequal, %d and %d rows", run, r.Readings, r.Wall.Seconds(), r.CPU().Seconds(),
		system, r.PerSecond()/1e6, clusterBar, float64(r.SentBytes)/float64(r.Readings), r.Q1, r.Q2)
}

// workDir returns a folder, temporary when none is named, and what removes it.
func workDir(dir, prefix string) (string, func(), error) {
	if dir != "" {
		return dir, func() {}, os.MkdirAll(dir, 0o700)
	}
	dir, err := os.MkdirTemp("", prefix)
	return dir, func() { os.RemoveAll(dir) }, err
}
