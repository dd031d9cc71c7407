// Package cassandra writes results and alerts to Apache Cassandra, effectively once.
//
// It promises that a row written again, or out of order, ends as its newest
// revision: every statement is an upsert of a whole row under its own primary
// key with USING TIMESTAMP = the replicated time of the log entry, so Cassandra
// itself keeps the newest, and no row is touched twice in one Write. NULLs are
// left unset where nothing can be stored yet, so a stream of sparse rows leaves no
// tombstones; a later revision that takes a value away writes the NULL.
// It refuses to know Raft: the caller keeps the cursor.
//
// Cassandra may be away at start or for hours: Write reports the error after
// MaxTry and is called again. A session that had no success for WatchdogAfter is
// thrown away and made anew, names resolved afresh.
//
// What is stored, beside the columns of package row (see Schema for the tables):
// TIMESTAMP as timestamp, which has milliseconds, with the microseconds beyond in
// the smallint _us_COLUMN where there are any; DECIMAL as decimal; INTERVAL as bigint
// (microseconds, months); ARRAY, STRUCT and MAP as JSON text.
package cassandra

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/gocql/gocql"
	"github.com/prometheus/client_golang/prometheus"

	"signalbox/sinks"
	"signalbox/sinks/meter"
)

// Options of the sink. The zero value of each field takes its default.
type Options struct {
	Name  string   // default "cassandra"
	Hosts []string // required: addresses of some nodes; the others are found
	Port  int      // default 9042
	SchemaOptions
	AutoSchema  bool   // create keyspace, tables and columns; otherwise they must be there
	Consistency string // ONE, QUORUM, LOCAL_QUORUM, …; default LOCAL_QUORUM
	LocalDC     string // prefer nodes of this data centre
	Username    string
	Password    string
	TLS         *tls.Config

	Concurrency    int           // statements in flight; default 64
	Timeout        time.Duration // of one statement; default 5 s
	ConnectTimeout time.Duration // default 5 s
	DDLTimeout     time.Duration // of a statement that changes the schema; default 30 s
	BackoffMin     time.Duration // default 100 ms
	BackoffMax     time.Duration // default 10 s
	MaxTry         time.Duration // how long one Write keeps trying before it reports the error; default 30 s
	WatchdogAfter  time.Duration // without success for so long a failing session is replaced; default 2 minutes
	Logger         gocql.StdLogger
	Rand           *rand.Rand // jitter; default seeded from the system
}

func setDefault[T comparable](field *T, value T) {
	var none T
	if *field == none {
		*field = value
	}
}

func (o Options) withDefaults() (Options, gocql.Consistency, error) {
	setDefault(&o.Name, "cassandra")
	setDefault(&o.Port, 9042)
	setDefault(&o.Consistency, "LOCAL_QUORUM")
	setDefault(&o.Concurrency, 64)
	setDefault(&o.Timeout, 5*time.Second)
	setDefault(&o.ConnectTimeout, 5*time.Second)
	setDefault(&o.DDLTimeout, 30*time.Second)
	setDefault(&o.BackoffMin, 100*time.Millisecond)
	setDefault(&o.BackoffMax, 10*time.Second)
	setDefault(&o.MaxTry, 30*time.Second)
	setDefault(&o.WatchdogAfter, 2*time.Minute)
	o.SchemaOptions = o.SchemaOptions.withDefaults()
	if o.Rand == nil {
		o.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	if o.Logger == nil {
		o.Logger = silent{}
	}
	level, err := gocql.ParseConsistencyWrapper(o.Consistency)
	switch {
	case len(o.Hosts) == 0:
		return o, level, errors.New("cassandra: no hosts: name at least one node")
	case err != nil:
		return o, level, fmt.Errorf("cassandra: consistency %q: use ONE, QUORUM, LOCAL_QUORUM or another level of Cassandra", o.Consistency)
	case o.Concurrency < 1 || o.BackoffMax < o.BackoffMin:
		return o, level, fmt.Errorf("cassandra: concurrency %d must be positive and the backoff must grow (%s to %s)", o.Concurrency, o.BackoffMin, o.BackoffMax)
	}
	return o, level, nil
}

// silent drops what the driver would log: its errors come back to us anyway.
type silent struct{}

func (silent) Print(...any)          {}
func (silent) Printf(string, ...any) {}
func (silent) Println(...any)        {}

// Stats counts what the sink did since it was opened.
type Stats struct {
	Rows         uint64 // statements acknowledged: rows, deletions, alerts
	Superseded   uint64 // changes not sent because a later one of the same row was in the same Write
	Failed       uint64 // statements that failed and were tried again
	Refused      uint64 // writes refused for good
	Sessions     uint64 // sessions made
	Watchdog     uint64 // sessions thrown away because nothing succeeded
	SinceSuccess time.Duration
}

// Sink writes to one cluster. Its methods may be called from several goroutines; writes are serial.
type Sink struct {
	opt   Options
	level gocql.Consistency

	work     sync.Mutex // one Write or Prepare at a time; guards session and ensured
	session  *gocql.Session
	ensured  map[string]map[string]bool // table -> columns known to be there
	keyspace bool                       // known to exist

	mu      sync.Mutex // guards the rest
	stats   Stats
	success time.Time
	closed  bool
}

// Open makes the sink; it does not connect.
func Open(o Options) (*Sink, error) {
	o, level, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Sink{opt: o, level: level, ensured: map[string]map[string]bool{}, success: time.Now()}, nil
}

// Name returns the name of the sink.
func (s *Sink) Name() string { return s.opt.Name }

// Scope returns Leader: one writer per cluster.
func (s *Sink) Scope() sinks.Scope { return sinks.Leader }

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
		counter("rows_total", "Rows and deletions acknowledged by the receiver.", func(t Stats) uint64 { return t.Rows }),
		counter("superseded_total", "Changes not sent because a later one of the same row was at hand.", func(t Stats) uint64 { return t.Superseded }),
		counter("failed_statements_total", "Statements that failed and were tried again.", func(t Stats) uint64 { return t.Failed }),
		counter("refused_total", "Writes refused for good.", func(t Stats) uint64 { return t.Refused }),
		counter("sessions_total", "Sessions made.", func(t Stats) uint64 { return t.Sessions }),
		counter("watchdog_total", "Sessions thrown away because nothing succeeded.", func(t Stats) uint64 { return t.Watchdog }),
		meter.Gauge(s.opt.Name, "since_success_seconds", "Time since the last success.", func() float64 { return s.Stats().SinceSuccess.Seconds() }),
	}
}

func (s *Sink) count(f func(*Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.stats)
}

func (s *Sink) succeeded() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.success = time.Now()
}

// Close ends the session.
func (s *Sink) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.work.Lock()
	defer s.work.Unlock()
	s.dropSession()
	return nil
}

var errClosed = errors.New("cassandra: the sink is closed")

func (s *Sink) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

func (s *Sink) dropSession() {
	if s.session != nil {
		s.session.Close()
		s.session = nil
	}
	clear(s.ensured) // a node that comes back may have lost what it was told without durability
	s.keyspace = false
}

// connect makes the session when there is none.
func (s *Sink) connect(ctx context.Context) error {
	if s.session != nil {
		return nil
	}
	if s.opt.AutoSchema && !s.keyspace {
		if err := s.createKeyspace(ctx); err != nil {
			return err
		}
	}
	session, err := s.newSession(ctx, s.opt.SchemaOptions.keyspace())
	if err != nil {
		return fmt.Errorf("connect to %v, keyspace %s: %w", s.opt.Hosts, s.opt.Keyspace, err)
	}
	s.session = session
	return nil
}

func (s *Sink) createKeyspace(ctx context.Context) error {
	admin, err := s.newSession(ctx, "")
	if err != nil {
		return fmt.Errorf("connect to %v: %w", s.opt.Hosts, err)
	}
	defer admin.Close()
	if err := s.ddl(ctx, admin, s.opt.createKeyspace()); err != nil {
		return fmt.Errorf("create keyspace %s: %w", s.opt.Keyspace, err)
	}
	s.keyspace = true
	return nil
}

// newSession connects. The driver does not take a context here, so a session
// that comes too late is closed when it comes.
func (s *Sink) newSession(ctx context.Context, keyspace string) (*gocql.Session, error) {
	c := gocql.NewCluster(s.opt.Hosts...)
	c.Port, c.Keyspace, c.Consistency = s.opt.Port, keyspace, s.level
	c.ProtoVersion = 4
	c.Timeout, c.WriteTimeout, c.ConnectTimeout = s.opt.Timeout, s.opt.Timeout, s.opt.ConnectTimeout
	c.ReconnectInterval = 5 * time.Second
	c.ReconnectionPolicy = &gocql.ConstantReconnectionPolicy{MaxRetries: 3, Interval: time.Second}
	c.RetryPolicy = nil // the driver's policies walk the hosts once and stop: we retry ourselves
	c.DefaultIdempotence = true
	c.WriteCoalesceWaitTime = 0
	c.Logger = s.opt.Logger
	policy := gocql.RoundRobinHostPolicy()
	if s.opt.LocalDC != "" {
		policy = gocql.DCAwareRoundRobinPolicy(s.opt.LocalDC)
	}
	c.PoolConfig.HostSelectionPolicy = gocql.TokenAwareHostPolicy(policy, gocql.ShuffleReplicas())
	if s.opt.Username != "" {
		c.Authenticator = gocql.PasswordAuthenticator{Username: s.opt.Username, Password: s.opt.Password}
	}
	if s.opt.TLS != nil {
		c.SslOpts = &gocql.SslOptions{Config: s.opt.TLS, EnableHostVerification: !s.opt.TLS.InsecureSkipVerify}
	}
	type result struct {
		session *gocql.Session
		err     error
	}
	done := make(chan result, 1)
	go func() {
		session, err := c.CreateSession()
		done <- result{session, err}
	}()
	select {
	case r := <-done:
		if r.err == nil {
			s.count(func(t *Stats) { t.Sessions++ })
		}
		return r.session, r.err
	case <-ctx.Done():
		go func() {
			if r := <-done; r.session != nil {
				r.session.Close()
			}
		}()
		return nil, ctx.Err()
	}
}
