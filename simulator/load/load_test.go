package load_test

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"signalbox/simulator/fleet"
	"signalbox/simulator/load"
	"signalbox/simulator/load/local"
)

// system is a broker, three core processes and an agent process.
func system(t *testing.T) load.Options {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes")
	}
	ctx, dir := context.Background(), t.TempDir()
	if out, err := exec.Command("go", "build", "-o", dir, "signalbox/cmd/signalbox-core", "signalbox/cmd/signalbox-edge").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	broker, err := local.StartBroker(ctx, dir, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, broker.Stop) })
	cores, err := local.StartCores(ctx, filepath.Join(dir, "signalbox-core"), dir, 3, broker.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, cores.Stop) })
	edge, err := local.StartEdge(ctx, filepath.Join(dir, "signalbox-edge"), dir, local.EdgeOptions{
		Name: "gateway", Broker: broker.URL, Topic: "fleet/+/telemetry", Cores: cores.Addrs, Linger: "0s"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, edge.Stop) })
	return load.Options{Core: cores.Addrs, Agents: []string{edge.Metrics}, Rate: 500, Duration: 3 * time.Second, PerMessage: 10, Probes: 10, ProbeEvery: 500 * time.Millisecond,
		EventTopic: "signalbox/event/#", Apply: true, FloorDir: dir, FloorEvery: 100 * time.Millisecond, Settle: 20 * time.Second, Seed: 3,
		Publisher: load.PublisherConfig{Broker: broker.URL, ClientID: "load-test", Topic: "fleet/%s/telemetry", Connections: 2, InFlight: 64, Timeout: 30 * time.Second},
		Fleet: func(start time.Time) *fleet.Sender {
			return fleet.NewSender(fleet.New(fleet.Config{Seed: 3, Buses: 50, Start: start, Interval: 100 * time.Millisecond}), fleet.Faults{})
		}}
}

func stop(t *testing.T, f func() error) {
	if err := f(); err != nil {
		t.Error(err)
	}
}

func TestEveryReadingIsAccountedFor(t *testing.T) {
	o := system(t)
	r, err := load.Measure(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := r.Print(&text); err != nil {
		t.Error(err)
	}
	if err := r.Check(); err != nil {
		t.Errorf("%v\n%s", err, text.String())
	}
	if r.Published < 1500 || r.Alerts.Expected != 60 || r.Results.Expected != 30 || r.Alert.Count != 60 || r.Result.Count != 30 || r.Floor.Count == 0 {
		t.Errorf("%+v", r)
	}
	if r.CPU["core1"] <= 0 || r.CPU["agent1"] <= 0 || r.UplinkBytes <= 0 {
		t.Errorf("nothing scraped: %v, %v bytes", r.CPU, r.UplinkBytes)
	}
	for _, w := range []string{"publish to alert", "publish to committed result", "floor", "bytes per reading"} {
		if !strings.Contains(text.String(), w) {
			t.Errorf("the report lacks %q:\n%s", w, text.String())
		}
	}

	// The same system again, with everything that goes wrong on the way; the counts of the first run are its baseline.
	o.Duplicates, o.Storm, o.Publisher.ClientID = true, 700*time.Millisecond, "load-test-2"
	o.Fleet = func(start time.Time) *fleet.Sender {
		return fleet.NewSender(fleet.New(fleet.Config{Seed: 4, Buses: 50, Start: start, Interval: 100 * time.Millisecond}), fleet.Faults{Seed: 4,
			Duplicates: 0.05, Disorder: 0.1, MaxDelay: time.Second, Outages: 60, OutageFor: time.Second, Skewed: 0.1, Skew: 10 * time.Minute, Malformed: 0.02})
	}
	r, err = load.Measure(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	text.Reset()
	if err := r.Print(&text); err != nil {
		t.Error(err)
	}
	if err := r.Check(); err != nil {
		t.Errorf("with faults: %v\n%s", err, text.String())
	}
	if r.Copies == 0 || r.Malformed == 0 || r.Future == 0 || r.Recognised != r.Copies {
		t.Errorf("the faults did not happen:\n%s", text.String())
	}
}
