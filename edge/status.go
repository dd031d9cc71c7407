package edge

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

var (
	errGoodbye  = errors.New("edge: the core said goodbye")
	errConflict = errors.New("edge: conflict, a new epoch is needed")
	errRefused  = errors.New("edge: the core refuses this agent")
	errSilent   = errors.New("edge: the core does not answer")
)

// Status is how the agent is doing. Counts are readings since the process started;
// Received + Recovered = Shipped + Dropped + InFlight, and rejected readings are shipped like others.
type Status struct {
	Agent       string
	Connected   bool // to the core
	Broker      bool // to the broker
	Epoch       uint64
	Applied     uint64 // highest acknowledged sequence
	Received    uint64
	Recovered   uint64 // found in the spool at the start
	Shipped     uint64 // acknowledged by the core
	Rejected    map[string]uint64
	Dropped     map[string]uint64
	InFlight    uint64 // durable or about to be, and not acknowledged
	Redelivered uint64 // messages that the broker sent again and that were here
	Demoted     uint64 // waited longer than live_window and go out as history: they alert nobody now
	Duplicates  uint64 // batches of this connection that the core knew
	Batches     uint64 // sealed
	Conflicts   uint64
	SlowDowns   uint64
	SpoolBytes  int64
	Syncs       uint64
	DiskWaits   uint64  // writes that found the disk full and were tried again
	Refusals    uint64  // by the core: another agent of this name, a certificate of another one, …
	ClockOffset float64 // s, the core's clock less this device's, as of the last connection
	Restored    uint64  // readings of a restored image that may have been sent before
	Queue       Queue   // what came from the broker beside readings
	Error       string  `json:",omitempty"`

	NotReady []string `json:",omitempty"` // why not, in words; none = ready
	Warnings []string `json:",omitempty"`
}

// Queue counts messages of the broker.
type Queue struct {
	Waiting  int    // received and not yet decoded
	Retained uint64 // dropped because a new subscription brought them again
	Overflow uint64 // of QoS 0, dropped because too many waited
}

// Status asks the loop. After Run ended it returns what holds then.
func (a *Agent) Status() Status {
	out := make(chan Status, 1)
	select {
	case a.events <- func() { out <- a.status() }:
	case <-a.stopped:
		return a.status()
	}
	select {
	case s := <-out:
		return s
	case <-a.stopped:
		return a.status()
	}
}

func (a *Agent) status() Status {
	a.look()
	l, sp, src := &a.loop, a.spool.Stats(), a.source.Stats()
	s := Status{Agent: a.cfg.Agent, Connected: l.link != nil && l.session.Up(), Broker: src.Connected, Epoch: l.session.Epoch(), Applied: l.session.Applied(),
		Received: l.received, Recovered: l.recovered, Shipped: l.shipped, Rejected: map[string]uint64{}, Dropped: sp.Dropped, Redelivered: src.Redelivered,
		Duplicates: l.session.Duplicates(), Batches: l.batches, Conflicts: l.conflicts, Demoted: l.demoted, SlowDowns: l.slowdowns, SpoolBytes: sp.Bytes, Syncs: sp.Syncs, Error: src.LastError,
		DiskWaits: sp.DiskFull, Refusals: l.health.refusals, Restored: l.restored, ClockOffset: l.health.offset.Seconds(), Queue: Queue{src.Queued, src.Retained, src.Overflow}, NotReady: a.notReady(), Warnings: a.warnings()}
	for why, n := range a.decoder.Refused() {
		s.Rejected[string(why)] = n
	}
	s.InFlight = sp.UnsealedReadings + sp.WaitingReadings
	if l.blocked != nil {
		s.InFlight += uint64(l.blocked.part.rows)
	}
	return s
}

type metrics struct {
	registry *prometheus.Registry
	agent    *Agent
	desc     map[string]*prometheus.Desc
}

func newMetrics(a *Agent) *metrics {
	m := &metrics{registry: prometheus.NewRegistry(), agent: a, desc: map[string]*prometheus.Desc{}}
	for name, d := range map[string]struct{ help, label string }{
		"up":                          {"1 while the core has welcomed the link", ""},
		"broker_up":                   {"1 while subscribed", ""},
		"readings_received_total":     {"readings decoded, rejected ones included", ""},
		"readings_recovered":          {"readings found in the spool at the start", ""},
		"readings_shipped_total":      {"readings acknowledged by the core", ""},
		"readings_rejected_total":     {"readings refused; they are shipped to $rejected", "reason"},
		"readings_dropped_total":      {"readings given up by policy or lost to damage", "reason"},
		"readings_in_flight":          {"readings durable here and not acknowledged by the core", ""},
		"readings_demoted_total":      {"readings that waited for the core longer than live_window, or did not fit live_bytes: sent as history, they alert nobody now", ""},
		"messages_redelivered_total":  {"messages that the broker sent again and that were here", ""},
		"batches_sealed_total":        {"batches sealed", ""},
		"batches_duplicate_total":     {"batches of this connection that the core knew", ""},
		"ready":                       {"1 while /healthz answers 200", ""},
		"messages_waiting":            {"messages received and not yet decoded", ""},
		"messages_retained_total":     {"retained messages that a new subscription brought again: dropped", ""},
		"messages_overflow_total":     {"messages of QoS 0 dropped because too many waited", ""},
		"disk_full_total":             {"writes that found the disk full and were tried again", ""},
		"refusals_total":              {"connections that the core refused: another agent of this name, a certificate of another one", ""},
		"restored_readings_total":     {"readings of a restored image that may have been sent before", ""},
		"clock_offset_seconds":        {"the core's clock less this device's, as of the last connection", ""},
		"certificate_expires_seconds": {"end of the certificate, seconds since 1970; 0 = none", ""},
		"conflicts_total":             {"conflicts about a sequence: cloned or restored device", ""},
		"slowdowns_total":             {"pauses that the core asked for", ""},
		"spool_bytes":                 {"disk used by the spool", ""},
		"spool_syncs_total":           {"fsyncs", ""},
		"uplink_bytes_total":          {"bytes sent to the core: messages and their WebSocket framing", ""},
	} {
		var labels []string
		if d.label != "" {
			labels = []string{d.label}
		}
		m.desc[name] = prometheus.NewDesc("signalbox_edge_"+name, d.help, labels, nil)
	}
	m.registry.MustRegister(m, collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Describe sends what may be collected.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range m.desc {
		ch <- d
	}
}

// Collect sends one consistent status.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	s := m.agent.Status()
	gauge := func(name string, v float64) {
		ch <- prometheus.MustNewConstMetric(m.desc[name], prometheus.GaugeValue, v)
	}
	count := func(name string, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(m.desc[name], prometheus.CounterValue, float64(v), labels...)
	}
	gauge("up", bit(s.Connected))
	gauge("broker_up", bit(s.Broker))
	gauge("ready", bit(len(s.NotReady) == 0))
	gauge("messages_waiting", float64(s.Queue.Waiting))
	gauge("clock_offset_seconds", s.ClockOffset)
	gauge("certificate_expires_seconds", m.agent.expiry())
	count("messages_overflow_total", s.Queue.Overflow)
	count("messages_retained_total", s.Queue.Retained)
	count("disk_full_total", s.DiskWaits)
	count("refusals_total", s.Refusals)
	count("restored_readings_total", s.Restored)
	gauge("readings_recovered", float64(s.Recovered))
	gauge("readings_in_flight", float64(s.InFlight))
	gauge("spool_bytes", float64(s.SpoolBytes))
	count("readings_received_total", s.Received)
	count("readings_shipped_total", s.Shipped)
	count("readings_demoted_total", s.Demoted)
	count("messages_redelivered_total", s.Redelivered)
	count("batches_sealed_total", s.Batches)
	count("batches_duplicate_total", s.Duplicates)
	count("conflicts_total", s.Conflicts)
	count("slowdowns_total", s.SlowDowns)
	count("uplink_bytes_total", m.agent.up.sent.Load())
	count("spool_syncs_total", s.Syncs)
	for why, n := range s.Rejected {
		count("readings_rejected_total", n, why)
	}
	for why, n := range s.Dropped {
		count("readings_dropped_total", n, why)
	}
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// serveHTTP serves /metrics and /healthz and returns how to stop.
func (a *Agent) serveHTTP(wg *sync.WaitGroup) (stop func()) {
	if a.http == nil {
		return func() {}
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", a.healthz)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	wg.Go(func() { _ = srv.Serve(a.http) }) // ends with Shutdown
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if srv.Shutdown(ctx) != nil {
			srv.Close()
		}
	}
}

// healthz answers 200 while the agent does its work, and 503 with the reasons in NotReady when it does not.
func (a *Agent) healthz(w http.ResponseWriter, r *http.Request) {
	s := a.Status()
	w.Header().Set("Content-Type", "application/json")
	if len(s.NotReady) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(s)
}

func (a *Agent) expiry() float64 {
	if end := a.identity.expires(); !end.IsZero() {
		return float64(end.Unix())
	}
	return 0
}
