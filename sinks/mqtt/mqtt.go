// Package mqtt publishes alerts, and on request the newest rows of tables, to
// an MQTT broker.
//
// It promises at least once, in order per alert: Write returns nil only after
// the broker has acknowledged every message (PUBACK), counted by ourselves,
// because the client library calls a message delivered that was in flight when
// the connection broke. It refuses to promise more than the broker does: an
// acknowledgement of mosquitto is not a promise of its disk.
//
// Topics below the prefix (default "signalbox"); levels are escaped with %XX
// where they contain one of / + # % or a control character, and an empty level is "%00":
//
//	PREFIX/state/GROUP/RULE/ID    retained: the newest state of the alert, for whoever asks now; a resolved alert stays,
//	                              with state "resolved". Of transitions that arrive together only the newest is shown.
//	                              Shown again from time to time, with "from" as "state": a broker may have forgotten it.
//	PREFIX/event/GROUP/RULE/ID    not retained: each transition
//	PREFIX/history/GROUP/RULE/ID  not retained: what would have fired, found in a backlog
//	PREFIX/table/TABLE/KEY…       retained: the newest row of each entity of a table named in Options.Tables
//
// One client id per cluster and sink: a new leader that connects makes the
// broker disconnect a stale one, which does not come back, because connecting
// happens only inside Write.
package mqtt

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/prometheus/client_golang/prometheus"

	"signalbox/sinks"
	"signalbox/sinks/meter"
)

// Options of the sink. The zero value of each field takes its default.
type Options struct {
	Name           string // default "mqtt"
	Brokers        []string
	ClientID       string // one per cluster and sink; default "signalbox-" + Name
	Username       string
	Password       string
	TLS            *tls.Config
	Prefix         string        // first topic levels; default "signalbox"
	Pending        bool          // also publish pending alerts
	Tables         []string      // tables whose newest rows are published
	ConnectTimeout time.Duration // default 5 s
	AckTimeout     time.Duration // how long to wait for a PUBACK before the connection is given up; default 10 s
	InFlight       int           // messages published and not yet acknowledged; default 20, the window of a default mosquitto
	BackoffMin     time.Duration // default 100 ms
	BackoffMax     time.Duration // default 10 s
	MaxTry         time.Duration // how long one Write keeps trying before it reports the error; default 30 s
	Rand           *rand.Rand    // jitter; default seeded from the system
}

func (o Options) withDefaults() (Options, error) {
	if len(o.Brokers) == 0 {
		return o, errors.New("mqtt: no broker: set brokers, for example tcp://127.0.0.1:1883")
	}
	setDefault(&o.Name, "mqtt")
	setDefault(&o.ClientID, "signalbox-"+o.Name)
	setDefault(&o.Prefix, "signalbox")
	setDefault(&o.ConnectTimeout, 5*time.Second)
	setDefault(&o.AckTimeout, 10*time.Second)
	setDefault(&o.InFlight, 20)
	setDefault(&o.BackoffMin, 100*time.Millisecond)
	setDefault(&o.BackoffMax, 10*time.Second)
	setDefault(&o.MaxTry, 30*time.Second)
	if o.InFlight < 0 || o.BackoffMax < o.BackoffMin {
		return o, fmt.Errorf("mqtt: in-flight %d must not be negative and the backoff must grow (%s to %s)", o.InFlight, o.BackoffMin, o.BackoffMax)
	}
	if o.Rand == nil {
		o.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	return o, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Stats counts what the sink did since it was opened.
type Stats struct {
	Published    uint64 // messages acknowledged by the broker
	Connects     uint64
	Disconnects  uint64 // connections lost, also to a newer leader
	Retries      uint64 // attempts of Write that did not get all acknowledgements
	Unselected   uint64 // rows and transitions that nobody asked to publish
	SinceSuccess time.Duration
}

// Sink publishes to one broker. Its methods may be called from several goroutines; writes are serial.
type Sink struct {
	opt    Options
	tables map[string]bool

	write sync.Mutex // one Write at a time
	conn  *connection
	acked map[string]bool // messages acknowledged since the last Write that succeeded; bounded by maxAcked

	mu      sync.Mutex // guards the rest
	stats   Stats
	success time.Time
	closed  bool
}

// maxAcked bounds the memory of what was acknowledged; when it is full it is
// forgotten, and the worst that follows is a message published once more.
const maxAcked = 100_000

// Open makes the sink; it does not connect.
func Open(o Options) (*Sink, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Sink{opt: o, tables: map[string]bool{}, acked: map[string]bool{}, success: time.Now()}
	for _, t := range o.Tables {
		s.tables[t] = true
	}
	return s, nil
}

// Name returns the name of the sink.
func (s *Sink) Name() string { return s.opt.Name }

// Scope returns Leader: one publisher per cluster.
func (s *Sink) Scope() sinks.Scope { return sinks.Leader }

// Prepare has nothing to prepare: topics need no declaration.
func (s *Sink) Prepare(context.Context, []sinks.Table) error { return nil }

// Cursor says that the caller keeps the cursor.
func (s *Sink) Cursor(context.Context) (uint64, bool, error) { return 0, false, nil }

// Stats returns the counters.
func (s *Sink) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.stats
	out.SinceSuccess = time.Since(s.success)
	return out
}

// Collectors returns the metrics of the sink.
func (s *Sink) Collectors() []prometheus.Collector {
	counter := func(name, help string, f func(Stats) uint64) prometheus.Collector {
		return meter.Counter(s.opt.Name, name, help, func() float64 { return float64(f(s.Stats())) })
	}
	return []prometheus.Collector{
		counter("published_total", "Messages acknowledged by the broker.", func(t Stats) uint64 { return t.Published }),
		counter("connects_total", "Connections made.", func(t Stats) uint64 { return t.Connects }),
		counter("disconnects_total", "Connections lost, also to a newer leader.", func(t Stats) uint64 { return t.Disconnects }),
		counter("retries_total", "Attempts that did not get all acknowledgements.", func(t Stats) uint64 { return t.Retries }),
		counter("unselected_total", "Rows and transitions that nobody asked to publish.", func(t Stats) uint64 { return t.Unselected }),
		meter.Gauge(s.opt.Name, "since_success_seconds", "Time since the last success.", func() float64 { return s.Stats().SinceSuccess.Seconds() }),
	}
}

func (s *Sink) count(f func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.stats)
}

// Close disconnects.
func (s *Sink) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.write.Lock()
	defer s.write.Unlock()
	s.disconnect()
	return nil
}

func (s *Sink) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

var errClosed = errors.New("mqtt: the sink is closed")

// connection is one life of a client: a paho client is never reused after it lost its connection.
type connection struct {
	client paho.Client
	lost   chan struct{} // closed when the connection is gone
	why    error         // set before lost is closed
}

func (s *Sink) connect(ctx context.Context) (*connection, error) {
	c := &connection{lost: make(chan struct{})}
	o := paho.NewClientOptions()
	for _, b := range s.opt.Brokers {
		o.AddBroker(b)
	}
	o.SetClientID(s.opt.ClientID).SetUsername(s.opt.Username).SetPassword(s.opt.Password)
	o.SetCleanSession(true).SetAutoReconnect(false).SetConnectRetry(false)
	o.SetConnectTimeout(s.opt.ConnectTimeout).SetWriteTimeout(s.opt.AckTimeout)
	o.SetKeepAlive(10 * time.Second).SetPingTimeout(5 * time.Second).SetOrderMatters(true)
	if s.opt.TLS != nil {
		o.SetTLSConfig(s.opt.TLS)
	}
	o.SetConnectionLostHandler(func(_ paho.Client, err error) {
		c.why = err
		close(c.lost)
		s.count(func(st *Stats) { st.Disconnects++ })
	})
	c.client = paho.NewClient(o)
	token := c.client.Connect()
	select {
	case <-token.Done():
	case <-ctx.Done():
		c.client.Disconnect(0)
		return nil, ctx.Err()
	}
	if err := token.Error(); err != nil {
		c.client.Disconnect(0)
		return nil, fmt.Errorf("connect to %v: %w", s.opt.Brokers, err)
	}
	s.count(func(st *Stats) { st.Connects++ })
	return c, nil
}

func (s *Sink) disconnect() {
	if s.conn != nil {
		s.conn.client.Disconnect(50) // ms that a last packet may take
		s.conn = nil
	}
}
