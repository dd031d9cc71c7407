package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gocql/gocql"

	"signalbox/deploy/bus"
	devservices "signalbox/deploy/dev"
	"signalbox/simulator/fleet"
	"signalbox/simulator/load"
	"signalbox/simulator/oracle"
	sinkmqtt "signalbox/sinks/mqtt"
)

// revised is route_load twice more: with late rows taken in afterwards, and with late rows refused, whatever the default is.
var revised = routeLoadAs("route_revised", "1 hour") + routeLoadAs("route_strict", "0 seconds")

func routeLoadAs(name, lateness string) string {
	return fmt.Sprintf(`CREATE STREAMING TABLE %s OPTIONS (allowed_lateness '%s') AS
SELECT window.start AS start, window.end AS end, route,
       count(*) AS readings, max(passengers) AS passengers_max, avg(passengers) AS passengers_avg,
       max(passengers / capacity) AS peak
FROM STREAM bus WATERMARK time DELAY OF INTERVAL 2 SECONDS
GROUP BY window(time, '10 seconds'), route;
`, name, lateness)
}

// standingFor is how long a bus has standing passengers before it is told.
const standingFor = 3 * time.Second

// rules are those of deploy/bus without keep_firing_for, so that the oracle can follow each transition.
const rules = `groups:
  - name: capacity
    rules:
      - alert: BusFull
        from: bus
        expr: passengers >= capacity
        resolve: passengers < 0.9 * capacity
        value: passengers
        by: [bus_id]
        labels: {severity: page}
        annotations: {summary: "Bus {{ $labels.bus_id }} is full: {{ $value }} on board"}
      - alert: StandingRoomOnly
        from: bus JOIN vehicle_types USING (vehicle_type)
        expr: passengers > seats
        value: passengers
        by: [bus_id]
        for: 3s
`

const keyspace = "e2e"

// sinkConfig names the sinks beside SQLite; Cassandra may be nil.
func sinkConfig(broker string, cassandra *devservices.CassandraNode) string {
	out := fmt.Sprintf("mqtt: {brokers: [%q]}\n", broker)
	if cassandra == nil {
		return out
	}
	return out + fmt.Sprintf(`cassandra:
  hosts: [%q]
  keyspace: %s
  create_schema: true
  consistency: QUORUM
  replication: "{'class': 'SimpleStrategy', 'replication_factor': 1}"
`, cassandra.Host, keyspace)
}

// agentConfig is patient about stalls of a busy machine: a reading that waited is still live, so that the
// alerts can be compared to the last one.
func agentConfig(depot int, linger string) string {
	return fmt.Sprintf("linger: %s\nheartbeat: 1s\nidle_after: 1s\nlive_window: 50s\nmax_backoff: 1s\nmappings:\n  - topic: fleet/depot%d/+\n", linger, depot)
}

// pipeline is a running system with a bus fleet.
type pipeline struct {
	*cluster
	*ledger
	broker    *devservices.Broker
	cassandra *devservices.CassandraNode // nil: not part of this run
	events    *watcher
}

// startPipeline starts cores and two agents beside the services, and applies the bus pipeline. settings are more lines of
// the cores' configuration.
func startPipeline(t *testing.T, nodes int, broker *devservices.Broker, cassandra *devservices.CassandraNode, settings ...string) *pipeline {
	t.Helper()
	return startPipelineOn(t, nil, nodes, broker, cassandra, settings...)
}

// startPipelineOn calls disks, unless nil, with the folder that holds the data folders before anything starts.
func startPipelineOn(t *testing.T, disks func(dir string), nodes int, broker *devservices.Broker, cassandra *devservices.CassandraNode, settings ...string) *pipeline {
	t.Helper()
	p := &pipeline{broker: broker, cassandra: cassandra}
	p.cluster = newCluster(t, nodes)
	if disks != nil {
		disks(p.dir)
	}
	p.startOn(t, settings...)
	return p
}

// startOn starts a pipeline whose folder and addresses are chosen.
func (p *pipeline) startOn(t *testing.T, settings ...string) {
	t.Helper()
	broker := p.broker.URL
	if p.lan != nil {
		broker = "tcp://" + p.lan.relay(strings.TrimPrefix(broker, "tcp://"))
	}
	p.startCores(sinkConfig(broker, p.cassandra) + strings.Join(settings, ""))
	p.apply(p.write("pipeline.sql", bus.Pipeline), p.write("revised.sql", revised), "vehicle_types="+p.write("vehicle_types.csv", bus.VehicleTypes))
	p.apply(p.write("rules.yaml", rules)) // after the table that a rule joins has its rows
	p.events = watch(t, p.broker.URL, "e2e-events", "signalbox/event/#")
	p.agent("depot1", p.broker.URL, agentConfig(1, "0s"))
	p.agent("depot2", p.broker.URL, agentConfig(2, "200ms"))
	p.ledger = newLedger(t, p.broker.URL)
}

// applied returns how many readings the cluster has applied, as any node says.
func (p *pipeline) applied(ctx context.Context) (uint64, error) {
	s, err := p.all.Status(ctx)
	if err != nil {
		return 0, err
	}
	return s.Readings.Applied, nil
}

// untilApplied waits until so many more readings have been applied.
func (p *pipeline) untilApplied(more uint64) {
	p.cluster.t.Helper()
	var from uint64
	begun := false
	eventually(p.cluster.t, 90*time.Second, fmt.Sprintf("%d more readings", more), func(ctx context.Context) error {
		n, err := p.applied(ctx)
		if err != nil {
			return err
		}
		if !begun {
			from, begun = n, true
		}
		if n < from+more {
			return fmt.Errorf("%d so far", n-from)
		}
		return nil
	})
}

func TestPipelineWithKills(t *testing.T) {
	p := startPipeline(t, coreNodes, devservices.Mosquitto(t), devservices.Cassandra(t))
	seed := uint64(20260302)
	t.Logf("seed %d", seed)
	f := fleet.New(fleet.Config{Seed: seed, Buses: 60, Routes: 6, Start: time.Now(), Interval: 200 * time.Millisecond, Pace: 12, Crowding: 0.06})
	s := fleet.NewSender(f, fleet.Faults{Seed: seed, Duplicates: 0.02, Disorder: 0.01, MaxDelay: 1500 * time.Millisecond, Skewed: 0.05})
	published := make(chan error, 1)
	go func() {
		n := 0
		published <- load.Run(t.Context(), p.pub, s, load.RunConfig{Speed: 1, Duration: 40 * time.Second, Topic: busTopic, Sent: func(d fleet.Delivery) {
			p.sent(d)
			if n++; n%1500 == 0 {
				p.mischief()
			}
			if n > 9000 && n%200 == 0 {
				p.tardy(28 * time.Second)
			}
		}})
	}()
	p.untilApplied(1500)
	killed := p.killLeader(t)
	p.killAndRestart(t, "the leader", killed, 1000)
	p.killAndRestart(t, "a follower", p.killFollower(t, killed), 1000)
	if err := <-published; err != nil {
		t.Fatal(err)
	}
	if err := p.pub.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.reconcile(t)
	if late := p.compare(t); late == 0 {
		t.Error("no row was late: nothing tells route_strict from route_revised")
	}
	p.checkAlerts(t)
	p.checkRejected(t)
}

func (p *pipeline) killLeader(t *testing.T) int {
	t.Helper()
	i, err := p.leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p.cores[i].kill()
	return i
}

// killFollower kills a follower, not the node that was killed before unless that is the only choice.
func (p *pipeline) killFollower(t *testing.T, before int) int {
	t.Helper()
	leader, err := p.leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := (leader + 1) % coreNodes
	if i == before {
		i = (leader + 2) % coreNodes
	}
	p.cores[i].kill()
	return i
}

// killAndRestart lets the others work for a while before the killed node comes back, and waits until it has caught up.
func (p *pipeline) killAndRestart(t *testing.T, what string, i int, readings uint64) {
	t.Helper()
	t.Logf("killed %s, core%d", what, i+1)
	p.untilApplied(readings)
	p.cores[i].start()
	eventually(t, time.Minute, fmt.Sprintf("core%d to be ready again", i+1), func(ctx context.Context) error {
		_, err := get(ctx, p.url(i)+"/readyz")
		return err
	})
	t.Logf("core%d is back", i+1)
}

// reconcile waits until everything published has been accounted for: 0 lost, 0 twice.
func (p *pipeline) reconcile(t *testing.T) {
	t.Helper()
	acked, failed := p.pub.Counts()
	if failed > 0 {
		t.Fatalf("the broker did not take %d of %d messages", failed, acked+failed)
	}
	good, bad := p.counts()
	for i := range p.one {
		eventually(t, 90*time.Second, fmt.Sprintf("core%d to account for everything", i+1), func(ctx context.Context) error {
			s, err := p.one[i].Status(ctx)
			if err != nil {
				return err
			}
			r := s.Readings
			if r.Received != r.Applied+r.Duplicate+r.Rejected {
				t.Fatalf("core%d: received %d is not applied %d + duplicate %d + rejected %d", i+1, r.Received, r.Applied, r.Duplicate, r.Rejected)
			}
			if r.Applied > uint64(good) || r.Rejected > uint64(bad) {
				t.Fatalf("core%d counted twice: applied %d of %d, rejected %d of %d", i+1, r.Applied, good, r.Rejected, bad)
			}
			if r.Applied < uint64(good) || r.Rejected < uint64(bad) {
				return fmt.Errorf("applied %d of %d, rejected %d of %d", r.Applied, good, r.Rejected, bad)
			}
			t.Logf("core%d: published %d = applied %d + rejected %d; %d sent again by agents and recognised; 0 lost, 0 twice", i+1, good+bad, r.Applied, r.Rejected, r.Duplicate)
			return nil
		})
	}
}

// compare holds every result table on every node, in its SQLite and in Cassandra to the oracle. It returns how many rows were late.
func (p *pipeline) compare(t *testing.T) (late int) {
	t.Helper()
	all := p.readings()
	var want map[string][]string
	eventually(t, 90*time.Second, "all windows to close and be revised", func(ctx context.Context) error {
		late, err := lateRows(ctx, p.all)
		if err != nil {
			return err
		}
		if want, err = expected(all, late); err != nil {
			return err
		}
		for _, r := range p.comparable(ctx) {
			got, err := fromAPI(ctx, p.all, r)
			if err != nil {
				return err
			}
			if d := difference(got, want[r.name]); d != "" {
				return fmt.Errorf("%s: %s", r.name, d)
			}
		}
		return nil
	})
	late = len(all) - sum(want["route_strict"], 3)
	t.Logf("%d late rows in bus$late, in route_revised as revisions", late)
	eventually(t, 90*time.Second, "all sinks to take everything", p.settled)
	eventually(t, time.Minute, "all nodes at one index", p.agree)
	var session *gocql.Session
	if p.cassandra != nil {
		session = cassandraSession(t, p.cassandra.Host)
	}
	for _, r := range p.comparable(t.Context()) {
		for i := range p.one {
			rows, err := fromAPI(t.Context(), p.one[i], r)
			p.same(t, fmt.Sprintf("%s asked of core%d", r.name, i+1), rows, err, want[r.name])
			rows, err = fromSQLite(t.Context(), filepath.Join(p.dir, fmt.Sprintf("core%d", i+1), "results.db"), r)
			p.same(t, fmt.Sprintf("%s in SQLite of core%d", r.name, i+1), rows, err, want[r.name])
		}
		and := ""
		if session != nil {
			rows, err := fromCassandra(t.Context(), session, keyspace, r)
			p.same(t, r.name+" in Cassandra", rows, err, want[r.name])
			and = " and in Cassandra"
		}
		t.Logf("%s: %d rows equal the oracle in the API and SQLite of %d nodes%s", r.name, len(want[r.name]), len(p.one), and)
	}
	return late
}

// comparable leaves out the windows that may refuse late rows when more rows were late than a node remembers: then nobody can say which.
func (p *pipeline) comparable(ctx context.Context) []resultTable {
	s, err := p.all.Status(ctx)
	if err == nil && s.Readings.Late > lateKept {
		return compared[2:]
	}
	return compared
}

// sum adds up a column of counts.
func sum(rows []string, column int) (n int) {
	for _, r := range rows {
		v, err := strconv.Atoi(strings.Split(r, "|")[column])
		if err != nil {
			panic(err) // we wrote the lines ourselves
		}
		n += v
	}
	return n
}

func (p *pipeline) same(t *testing.T, what string, got []string, err error, want []string) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
	} else if d := difference(got, want); d != "" {
		t.Errorf("%s: %s", what, d)
	}
}

// checkAlerts compares what came on the alert topics with the oracle, transition by transition.
func (p *pipeline) checkAlerts(t *testing.T) {
	t.Helper()
	want := map[string]bool{}
	last := map[string]string{}
	for _, x := range oracle.Alerts(p.readings()) {
		state := map[bool]string{true: "firing", false: "resolved"}[x.Firing]
		want[fmt.Sprintf("%s %s %s", x.BusID, state, micros(x.Time/1000))] = true
		last[x.BusID] = state
	}
	if len(want) < 4 {
		t.Fatalf("only %d transitions: the fleet has too few crowds to test alerts", len(want))
	}
	eventually(t, 30*time.Second, "all alerts on the event topics", func(context.Context) error {
		got, err := p.full(t, p.events)
		if err != nil {
			return err
		}
		for k := range want {
			if !got[k] {
				return fmt.Errorf("%s was not published", k)
			}
		}
		for k := range got {
			if !want[k] {
				t.Fatalf("invented: %s", k)
			}
		}
		return nil
	})
	late := watch(t, p.broker.URL, "e2e-late", "signalbox/state/capacity/BusFull/#")
	eventually(t, 30*time.Second, "the retained states", func(context.Context) error { return retained(late, last) })
	t.Logf("%d transitions of %d buses equal the oracle, %d messages on the event topics", len(want), len(last), len(p.events.all()))
}

// full returns the BusFull transitions, and checks the others for what can be said of them.
func (p *pipeline) full(t *testing.T, w *watcher) (map[string]bool, error) {
	all, err := w.transitions()
	if err != nil {
		t.Fatal(err)
	}
	out, standing := map[string]bool{}, 0
	for _, a := range all {
		if a.Rule == "BusFull" {
			out[fmt.Sprintf("%s %s %s", a.Labels.Get("bus_id"), a.State, a.At)] = true
			continue
		}
		if a.State != "firing" {
			continue
		}
		standing++
		checkStanding(t, a)
	}
	if standing == 0 {
		return nil, errors.New("no StandingRoomOnly alert, the rule with a static join")
	}
	return out, nil
}

func checkStanding(t *testing.T, a sinkmqtt.AlertPayload) {
	t.Helper()
	began, err1 := time.Parse(time.RFC3339Nano, a.Episode)
	fired, err2 := time.Parse(time.RFC3339Nano, a.At)
	load, err3 := strconv.Atoi(a.Value)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	if fired.Sub(began) < standingFor || load <= 15 { // 15 seats: the smallest vehicle
		t.Errorf("StandingRoomOnly on %s with %d on board fired %s after %s", a.Labels.Get("bus_id"), load, fired.Sub(began), began)
	}
}

// retained compares the retained state of each alert with the last transition of its bus.
func retained(w *watcher, last map[string]string) error {
	got, kept := map[string]string{}, map[string]bool{}
	for _, m := range w.all() {
		var a sinkmqtt.AlertPayload
		if err := json.Unmarshal(m.payload, &a); err != nil {
			return err
		}
		if kept[m.topic] = kept[m.topic] || m.retained; !kept[m.topic] { // what is shown again comes live to who is subscribed
			return fmt.Errorf("%s is not retained", m.topic)
		}
		got[a.Labels.Get("bus_id")] = string(a.State)
	}
	for bus, state := range last {
		if got[bus] != state {
			return fmt.Errorf("bus %s: retained state %q, want %q", bus, got[bus], state)
		}
	}
	if len(got) != len(last) {
		return fmt.Errorf("%d retained states, want %d", len(got), len(last))
	}
	return nil
}

// checkRejected wants each bad input as a row of $rejected with its reason, and counted in /metrics.
func (p *pipeline) checkRejected(t *testing.T) {
	t.Helper()
	for i := range p.one {
		rows, err := p.one[i].Query(t.Context(), "SELECT reason, count(*) AS n FROM `$rejected` GROUP BY reason")
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, r := range rows.Rows {
			got[string(r[0])] = string(r[1])
		}
		text, err := get(t.Context(), p.url(i)+"/metrics")
		if err != nil {
			t.Fatal(err)
		}
		for reason, n := range p.bad {
			if got[strconv.Quote(reason)] != strconv.Itoa(n) {
				t.Errorf("core%d: $rejected has %s rows with reason %s, want %d", i+1, got[strconv.Quote(reason)], reason, n)
			}
			if v := metric(text, fmt.Sprintf("signalbox_core_rejected_readings_total{reason=%q}", reason)); v != float64(n) {
				t.Errorf("core%d: /metrics counts %v of reason %s, want %d", i+1, v, reason, n)
			}
		}
		if len(got) != len(p.bad) {
			t.Errorf("core%d: $rejected has reasons %v, want %v", i+1, got, p.bad)
		}
	}
	t.Logf("refused: %v", p.bad)
}
