// Package cluster measures what a cluster of real processes spends on a reading:
// three nodes with their disks, typed batches of workload W1 pushed over the
// agent link, two queries, and every node's SQLite compared with the answers
// computed the slow way.
//
// It promises that the processor time is that of the whole processes, from
// start to clean stop, and that a figure is only given for right answers. It
// refuses to count the time of its own side.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"sync"
	"time"

	"signalbox/core/catalog"
	"signalbox/edge/wire"
	"signalbox/engine/column"
	"signalbox/simulator/load"
	"signalbox/simulator/load/local"
	"signalbox/simulator/load/uplink"
	"signalbox/simulator/w1"
)

// Config of a run.
type Config struct {
	Program   string // signalbox-core
	Dir       string // for data and logs; on the disk that is to be measured
	Nodes     int
	Agents    int
	BatchSize int // readings
	Work      w1.Config
	CoreArgs  []string // more flags for every node
	Serving   func(addrs []string)
}

// Result of a run.
type Result struct {
	Readings  int
	Batches   int
	SentBytes uint64 // over the agent links
	Wall      time.Duration
	Nodes     []local.Usage
	Q1, Q2    int // rows, equal on every node to the slow answers
}

// CPU is user and system time of all nodes.
func (r Result) CPU() (sum time.Duration) {
	for _, u := range r.Nodes {
		sum += u.CPU()
	}
	return sum
}

// PerSecond is readings per second of processor time of the whole cluster.
func (r Result) PerSecond() float64 { return float64(r.Readings) / r.CPU().Seconds() }

// Work is what the agents push and what has to come out; it is computed once for several runs.
type Work struct {
	readings int
	parts    [][]uplink.Batch // by agent
	first    []int64          // ns, by agent: no reading is older
	last     int64            // ns: no reading is newer
	answers  map[string][]string
}

// Prepare generates the workload, deals its batches out to the agents and seals them.
func Prepare(cfg Config) (*Work, error) {
	w := &Work{parts: make([][]uplink.Batch, cfg.Agents), answers: w1.Answers(cfg.Work)}
	dealt := make([][]frame, cfg.Agents)
	n := 0
	for b := range w1.Batches(cfg.Work, cfg.BatchSize) {
		f, err := encode(b)
		if err != nil {
			return nil, err
		}
		dealt[n%cfg.Agents] = append(dealt[n%cfg.Agents], f)
		w.last = max(w.last, f.newest)
		w.readings += b.Len
		n++
	}
	for i, frames := range dealt {
		sealed, oldest, err := seal(frames)
		if err != nil {
			return nil, err
		}
		w.parts[i], w.first = sealed, append(w.first, oldest)
	}
	return w, nil
}

// frame is a batch before it is sealed.
type frame struct {
	bytes          []byte
	oldest, newest int64 // ns
}

func encode(b *column.Batch) (frame, error) {
	f := frame{oldest: math.MaxInt64, newest: math.MinInt64}
	for _, t := range b.Cols[0].I64 {
		f.oldest, f.newest = min(f.oldest, t), max(f.newest, t)
	}
	var err error
	f.bytes, err = wire.EncodeFrame(nil, b)
	return f, err
}

// seal turns the frames of one agent into bodies. Each certifies what an agent may: no reading
// older than the oldest of those that are still to come.
func seal(frames []frame) ([]uplink.Batch, int64, error) {
	out := make([]uplink.Batch, len(frames))
	oldest, newest := int64(math.MaxInt64), int64(math.MinInt64)
	maxima := make([]int64, len(frames))
	for i, f := range frames {
		newest = max(newest, f.newest)
		maxima[i] = newest
	}
	now := time.Now().UnixNano()
	for i := len(frames) - 1; i >= 0; i-- {
		front := wire.Frontier{Stream: "bus", MaxTime: maxima[i], LowWater: min(oldest, maxima[i])}
		body, err := wire.AppendBatch(nil, &wire.Batch{Sealed: now, Received: now, Frontiers: []wire.Frontier{front}, Frames: [][]byte{frames[i].bytes}})
		if err != nil {
			return nil, 0, err
		}
		out[i] = uplink.Batch{Body: body, Hash: wire.HashBody(body)}
		oldest = min(oldest, frames[i].oldest)
	}
	return out, oldest, nil
}

// Run starts a cluster, pushes the work, waits until everything is stored, stops the cluster and compares.
func Run(ctx context.Context, cfg Config, w *Work) (res Result, err error) {
	// The readings are of a day long past: the usual retention would delete their results again.
	args := append([]string{"--sqlite-retention", "-1h"}, cfg.CoreArgs...)
	cores, err := local.StartCores(ctx, cfg.Program, cfg.Dir, cfg.Nodes, "", args...)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, cores.Stop()) }()
	if cfg.Serving != nil {
		cfg.Serving(cores.Addrs)
	}
	api := load.NewCore(cores.Addrs)
	if err := api.Apply(ctx, catalog.Document{Name: "w1.sql", Kind: catalog.SQL, Text: script()}); err != nil {
		return res, err
	}
	begin := time.Now()
	if res.SentBytes, err = push(ctx, cores.Addrs, w); err != nil {
		return res, err
	}
	if err := stored(ctx, api, len(cores.Addrs), w); err != nil {
		return res, err
	}
	res.Wall = time.Since(begin)
	if err := cores.Stop(); err != nil {
		return res, err
	}
	for _, p := range cores.Nodes {
		res.Nodes = append(res.Nodes, p.Usage())
	}
	res.Readings = w.readings
	for _, p := range w.parts {
		res.Batches += len(p)
	}
	for _, dir := range cores.Dirs {
		if res.Q1, res.Q2, err = compare(ctx, filepath.Join(dir, "results.db"), w); err != nil {
			return res, fmt.Errorf("%s: %w", dir, err)
		}
	}
	return res, nil
}

// script declares the stream and the two queries as tables.
func script() string {
	text := w1.Schema
	for _, q := range w1.Queries()[:2] {
		text += fmt.Sprintf("CREATE STREAMING TABLE %s AS %s;\n", q.Name, q.SQL)
	}
	return text
}

// push runs the agents, spread over the nodes, and returns the bytes they sent.
func push(ctx context.Context, addrs []string, w *Work) (sent uint64, err error) {
	agents := make([]*uplink.Agent, len(w.parts))
	for i := range agents {
		if agents[i], err = uplink.Dial(ctx, addrs[i%len(addrs)], fmt.Sprintf("agent%02d", i+1)); err != nil {
			return 0, err
		}
		// Known from the beginning, or the windows of those that came first would not wait for it.
		if err := agents[i].Certify(ctx, wire.Frontier{Stream: "bus", MaxTime: w.first[i], LowWater: w.first[i]}); err != nil {
			return 0, err
		}
	}
	errs := make([]error, len(agents))
	var wg sync.WaitGroup
	for i, a := range agents {
		wg.Go(func() {
			errs[i] = a.Push(ctx, w.parts[i])
		})
	}
	wg.Wait()
	end := w.last + int64(time.Hour) // every window is over
	for i, a := range agents {
		if errs[i] == nil {
			errs[i] = a.Certify(ctx, wire.Frontier{Stream: "bus", MaxTime: w.last, LowWater: end})
		}
		sent += a.SentBytes()
	}
	err = errors.Join(errs...)
	if err == nil {
		err = closed(ctx, addrs, len(w.answers["Q1"]))
	}
	for _, a := range agents {
		err = errors.Join(err, a.Close(ctx))
	}
	return sent, err
}

// closed waits until every window has been emitted.
func closed(ctx context.Context, addrs []string, windows int) error {
	api := load.NewCore(addrs)
	return load.Eventually(ctx, time.Minute, fmt.Sprintf("%d windows to close", windows), func(ctx context.Context) (bool, error) {
		rows, err := api.Query(ctx, "SELECT count(*) FROM Q1")
		if err != nil {
			return false, err
		}
		if n := string(rows[0][0]); n != fmt.Sprint(windows) {
			return false, fmt.Errorf("%s so far", n)
		}
		return true, nil
	})
}

// stored waits until every node has everything in its own database.
func stored(ctx context.Context, api *load.Core, nodes int, w *Work) error {
	return load.Eventually(ctx, time.Minute, "every node to store everything", func(ctx context.Context) (bool, error) {
		for i := range nodes {
			s, err := api.StatusOf(ctx, i)
			if err != nil {
				return false, err
			}
			if got := s.Readings; got.Applied != uint64(w.readings) {
				return false, fmt.Errorf("%s: applied %d of %d, rejected %d", s.Node, got.Applied, w.readings, got.Rejected)
			}
			if s.Outbox.Records > 0 {
				return false, fmt.Errorf("%s: %d records wait for sinks", s.Node, s.Outbox.Records)
			}
		}
		return true, nil
	})
}
