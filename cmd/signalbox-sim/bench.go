package main

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"signalbox/cmd/config"
	"signalbox/simulator/w1"
)

type w1Config struct {
	Seconds int    `yaml:"seconds" default:"2500" help:"seconds of event time; 2500 gives 5,050,135 lines"`
	Buses   int    `yaml:"buses" default:"2000" help:"readings a second"`
	Routes  int    `yaml:"routes" default:"100" help:"groups of Q1"`
	Seed    uint64 `yaml:"seed" default:"1" help:"the seed of the quoted figures"`
}

func (c w1Config) workload() w1.Config {
	w := w1.Default()
	w.Seconds, w.Buses, w.Routes, w.Seed = c.Seconds, c.Buses, c.Routes, c.Seed
	return w
}

func w1Command() *cobra.Command {
	var cfg struct {
		W1     w1Config `yaml:"w1"`
		Output string   `yaml:"output" default:"-" help:"- is standard output"`
		Format string   `yaml:"format" default:"text" help:"text is line protocol; recording is columnar frames"`
	}
	return config.Command("w1", "Write benchmark workload W1", "SIGNALBOX_SIM_", &cfg, func(c *cobra.Command) error {
		write, ok := map[string]writeFunc{"text": w1.Write, "recording": w1.WriteRecording}[cfg.Format]
		if !ok {
			return fmt.Errorf("format %q: write text or recording", cfg.Format)
		}
		if cfg.Output == "-" {
			_, err := write(c.OutOrStdout(), cfg.W1.workload())
			return err
		}
		return writeWorkload(cfg.Output, cfg.W1.workload(), write)
	})
}

type writeFunc func(io.Writer, w1.Config) (int, error)

func writeWorkload(path string, c w1.Config, write writeFunc) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := write(f, c); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// loopCommand is the yardstick as a process of its own: the line-protocol library and a Go map.
func loopCommand() *cobra.Command {
	return &cobra.Command{Use: "w1-loop FILE", Short: "Decode FILE with the line-protocol library into a map", Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
		text, err := os.ReadFile(args[0])
		if err != nil {
			return err
		}
		n, sum, err := w1.LibraryLoop(text)
		fmt.Fprintln(c.OutOrStdout(), n, sum)
		return err
	}}
}

type replayConfig struct {
	W1        w1Config `yaml:"w1"`
	Runs      int      `yaml:"runs" default:"5" help:"pairs of runs per query; the median ratio counts on a noisy machine"`
	Signalbox string   `yaml:"signalbox" default:"bin/signalbox" help:"the program that is measured"`
}

// benchCommand measures everything; its two parts are commands of their own, with more to set.
func benchCommand() *cobra.Command {
	var cfg struct {
		W1        w1Config `yaml:"w1"`
		Runs      int      `yaml:"runs" default:"5" help:"of each measurement; the median counts on a noisy machine"`
		Signalbox string   `yaml:"signalbox" default:"bin/signalbox" help:"the replay that is measured"`
		Core      string   `yaml:"core" default:"bin/signalbox-core" help:"the core that is measured"`
	}
	all := config.Command("bench", "Measure signalbox replay and a cluster on W1 (also bench replay, bench cluster, bench frames: one of them)", "SIGNALBOX_SIM_", &cfg, func(c *cobra.Command) error {
		err := benchReplay(c.OutOrStdout(), replayConfig{cfg.W1, cfg.Runs, cfg.Signalbox})
		fmt.Fprintln(c.OutOrStdout())
		return errors.Join(err, benchCluster(c.Context(), c.OutOrStdout(), clusterConfig{W1: cfg.W1, Runs: cfg.Runs, Nodes: 3, Agents: 12, BatchSize: 1000, Core: cfg.Core}))
	})
	all.AddCommand(benchReplayCommand(), benchClusterCommand(), benchFramesCommand())
	return all
}

func benchReplayCommand() *cobra.Command {
	var cfg replayConfig
	return config.Command("replay", "Measure signalbox replay on W1 against a loop over the line-protocol library", "SIGNALBOX_SIM_", &cfg, func(c *cobra.Command) error {
		return benchReplay(c.OutOrStdout(), cfg)
	})
}

func benchReplay(out io.Writer, cfg replayConfig) error {
	dir, done, err := workDir("", "signalbox-bench-")
	if err != nil {
		return err
	}
	defer done()
	return bench(out, cfg, dir)
}

func bench(out io.Writer, cfg replayConfig, dir string) error {
	workload := cfg.W1.workload()
	input := filepath.Join(dir, "w1.lp")
	if err := writeWorkload(input, workload, w1.Write); err != nil {
		return err
	}
	frames := filepath.Join(dir, "w1.rec")
	if err := writeWorkload(frames, workload, w1.WriteRecording); err != nil {
		return err
	}
	schema := filepath.Join(dir, "schema.sql")
	if err := os.WriteFile(schema, []byte(w1.Schema), 0o600); err != nil {
		return err
	}
	answers := w1.Answers(workload)
	self, err := os.Executable()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "W1: seed %d, %d s, %d buses; CPU = user + system of the whole process, median of %d pairs\n", workload.Seed, workload.Seconds, workload.Buses, cfg.Runs)
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "query\twhat\tloop M lines/CPU-s\treplay M lines/CPU-s\tratio\tasked\tanswers")
	b := bencher{cfg: cfg, dir: dir, self: self, schema: schema, text: input}
	for _, q := range w1.Queries() {
		line, err := b.query(q, input, answers[q.Name])
		if err != nil {
			return errors.Join(fmt.Errorf("%s: %w", q.Name, err), t.Flush())
		}
		fmt.Fprintln(t, line)
	}
	q1 := w1.Queries()[0]
	q1.What, q1.Bar = "window per route, from frames", framesBar
	line, err := b.query(q1, frames, answers[q1.Name])
	if err != nil {
		return fmt.Errorf("Q1 from frames: %w", err)
	}
	fmt.Fprintln(t, line)
	return t.Flush()
}

// framesBar is the ratio asked of Q1 when it reads columnar frames instead of text.
const framesBar = 8.5

// bencher holds what every query of one bench shares.
type bencher struct {
	cfg                     replayConfig
	dir, self, schema, text string
}

func (b bencher) query(q w1.Query, input string, want []string) (string, error) {
	cfg := b.cfg
	file := filepath.Join(b.dir, q.Name+".sql")
	if err := os.WriteFile(file, []byte(q.SQL), 0o600); err != nil {
		return "", err
	}
	var ratios, loops, replays []float64
	var rows []byte
	for range cfg.Runs {
		loop, text, err := cpu(b.self, "w1-loop", b.text)
		if err != nil {
			return "", err
		}
		var lines float64
		if _, err := fmt.Sscan(string(text), &lines); err != nil {
			return "", err
		}
		replay, csvText, err := cpu(cfg.Signalbox, "replay", "--schema", b.schema, "--query", file, "--input", input, "--format", "csv")
		if err != nil {
			return "", err
		}
		rows = csvText
		loops, replays = append(loops, lines/loop.Seconds()/1e6), append(replays, lines/replay.Seconds()/1e6)
		ratios = append(ratios, loop.Seconds()/replay.Seconds())
	}
	return fmt.Sprintf("%s\t%s\t%.2f\t%.2f\t%.2f\t%.1f\t%s", q.Name, q.What, median(loops), median(replays), median(ratios), q.Bar, compare(q.Name, rows, want)), nil
}

// cpu runs a command and returns the processor time of the whole process, and its output.
func cpu(name string, args ...string) (time.Duration, []byte, error) {
	var stdout, stderr bytes.Buffer
	c := exec.Command(name, args...)
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Run(); err != nil {
		return 0, nil, fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, stderr.String())
	}
	return c.ProcessState.UserTime() + c.ProcessState.SystemTime(), stdout.Bytes(), nil
}

func median(v []float64) float64 {
	s := slices.Clone(v)
	slices.Sort(s)
	return s[len(s)/2]
}

// compare holds the rows against the slow answers, as multisets.
func compare(query string, text []byte, want []string) string {
	records, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil || len(records) == 0 {
		return fmt.Sprintf("UNREADABLE (%v)", err)
	}
	got := make([]string, 0, len(records))
	for _, r := range records[1:] {
		if query == "Q3" { // start, bus, avg, max: the oracle leaves the average out
			r = []string{r[0], r[1], r[3]}
		}
		got = append(got, strings.Join(r, ","))
	}
	sort.Strings(got)
	if slices.Equal(got, want) {
		return fmt.Sprintf("equal, %d rows", len(got))
	}
	for i := range got {
		if i >= len(want) || got[i] != want[i] {
			return fmt.Sprintf("DIFFERENT: %d rows, want %d; first difference: got %q", len(got), len(want), got[i])
		}
	}
	return fmt.Sprintf("DIFFERENT: %d rows, want %d", len(got), len(want))
}
