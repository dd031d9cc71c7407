package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"signalbox/cmd/signalbox/client"
	"signalbox/core/api"
	devservices "signalbox/deploy/dev"
)

// coreNodes is how many nodes a test cluster has: the smallest number that survives a loss.
const coreNodes = 3

// cluster is a set of core processes and agents.
type cluster struct {
	t      testing.TB
	dir    string
	cores  []*process
	addrs  []string
	tls    *authority // nil: plain, on loopback
	lan    *lan       // nil: everything is on loopback
	agents []*process
	edges  []string // addresses of the agents' /healthz
	all    *client.Client
	one    []*client.Client // per node
}

// startCluster starts core nodes.
func startCluster(t testing.TB, nodes int, settings string) *cluster {
	t.Helper()
	c := newCluster(t, nodes)
	c.startCores(settings)
	return c
}

// newCluster chooses folder and addresses.
func newCluster(t testing.TB, nodes int) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir()}
	for range nodes {
		c.addrs = append(c.addrs, fmt.Sprintf("127.0.0.1:%d", devservices.FreePort(t)))
	}
	return c
}

// startCores starts the nodes with a configuration file each; settings is YAML that is the same on all.
func (c *cluster) startCores(settings string) {
	t := c.t
	t.Helper()
	var peers []string
	for i, addr := range c.addrs {
		peers = append(peers, fmt.Sprintf("core%d=%s", i+1, addr))
	}
	for i, addr := range c.addrs {
		name := fmt.Sprintf("core%d", i+1)
		text := fmt.Sprintf("node_id: %s\nlisten: %s\npeers: [%s]\ndata_dir: %s\n%s", name, addr, strings.Join(peers, ", "), filepath.Join(c.dir, name), settings)
		if c.tls != nil {
			text += c.tls.node(name, addr)
		}
		p := newProcess(t, name, "signalbox-core", c.dir, "--config", c.write(name+".yaml", text))
		if c.lan != nil {
			c.lan.place(p)
		}
		c.cores = append(c.cores, p)
		c.one = append(c.one, client.New(c.url(i)))
		p.start()
	}
	c.all = client.New(c.urls())
	eventually(t, time.Minute, "a leader", func(ctx context.Context) error {
		_, err := c.leader(ctx)
		return err
	})
}

// url is where a node's API is.
func (c *cluster) url(i int) string {
	if c.tls != nil {
		return "https://" + c.addrs[i]
	}
	return "http://" + c.addrs[i]
}

func (c *cluster) urls() string {
	var all []string
	for i := range c.addrs {
		all = append(all, c.url(i))
	}
	return strings.Join(all, ",")
}

func (c *cluster) write(name, text string) string {
	c.t.Helper()
	path := filepath.Join(c.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return path
}

// agent starts an agent; extra is YAML, args are further flags. It returns when the agent is subscribed.
func (c *cluster) agent(name, broker, extra string, args ...string) *process {
	c.t.Helper()
	addr := fmt.Sprintf("127.0.0.1:%d", devservices.FreePort(c.t))
	if c.tls != nil {
		extra += c.tls.agent(name)
	}
	if extra != "" {
		args = append(args, "--config", c.write(name+".yaml", extra))
	}
	args = append(args, "--agent", name, "--core", strings.Join(c.addrs, ","), "--data-dir", filepath.Join(c.dir, name), "--http", addr, "--mqtt-brokers", broker)
	p := newProcess(c.t, name, "signalbox-edge", c.dir, args...)
	p.start()
	c.agents, c.edges = append(c.agents, p), append(c.edges, addr)
	eventually(c.t, 30*time.Second, "agent "+name+" to subscribe", func(ctx context.Context) error {
		if !p.running() {
			return errors.New("it ended")
		}
		_, err := get(ctx, "http://"+addr+"/healthz")
		return err
	})
	return p
}

// apply loads files and tables with the operator's program.
func (c *cluster) apply(args ...string) {
	c.t.Helper()
	c.t.Log(strings.ReplaceAll(strings.TrimSpace(mustRun(c.t, "signalbox", append([]string{"apply", "--core", c.urls()}, args...)...)), "\n", "; "))
}

// leader returns the position of the leading node, as a node that knows says.
func (c *cluster) leader(ctx context.Context) (int, error) { return c.leaderBut(ctx, -1) }

// leaderBut asks every node but one, which would not answer.
func (c *cluster) leaderBut(ctx context.Context, silent int) (int, error) {
	err := errors.New("no node runs")
	for i := range c.cores {
		if i == silent || !c.cores[i].running() {
			continue
		}
		var s *api.Status
		if s, err = c.one[i].Status(ctx); err != nil {
			continue
		}
		err = fmt.Errorf("core%d knows no leader", i+1)
		for j, n := range s.Nodes {
			if n.Leader && c.cores[j].running() {
				return j, nil
			}
		}
	}
	return 0, err
}

// settled says whether the sinks of every node have taken everything.
func (c *cluster) settled(ctx context.Context) error {
	for i := range c.cores {
		s, err := c.one[i].Status(ctx)
		if err != nil {
			return err
		}
		for _, k := range s.Sinks {
			if k.Lag > 0 {
				return fmt.Errorf("core%d: sink %s is %d entries behind (%s)", i+1, k.Name, k.Lag, k.Error)
			}
			if k.Refused > 0 || k.Skipped > 0 {
				return fmt.Errorf("core%d: sink %s refused %d and skipped %d", i+1, k.Name, k.Refused, k.Skipped)
			}
		}
	}
	return nil
}

// agree says whether all nodes have the same state at the same log index.
func (c *cluster) agree(ctx context.Context) error {
	var first *api.Status
	for i := range c.cores {
		s, err := c.one[i].Status(ctx)
		switch {
		case err != nil:
			return err
		case first == nil:
			first = s
		case s.Index != first.Index:
			return fmt.Errorf("core%d is at index %d, core1 at %d: asked between two entries", i+1, s.Index, first.Index)
		case s.Chain != first.Chain:
			c.t.Fatalf("at index %d core%d has state hash %s, core1 %s", s.Index, i+1, s.Chain, first.Chain)
		}
	}
	return nil
}

// get reads a URL.
func get(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, res.Status, body)
	}
	return string(body), err
}

// metric returns the value of a series as /metrics prints it, or 0 when it is not there.
func metric(text, series string) float64 {
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(line, series+" "); ok {
			f, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
			if err == nil {
				return f
			}
		}
	}
	return 0
}
