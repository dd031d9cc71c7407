// Package edge is the agent on a device or gateway: it reads MQTT, decodes into
// columns, makes them durable, and gets them to the core, each batch once.
//
// It promises that a message is acknowledged to the broker only after what it
// became is fsynced, that the spool forgets only what the core acknowledged,
// and that received = shipped + dropped + in flight at any time. It refuses to
// know what queries the core runs and how the core stores anything.
package edge

import (
	"context"
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"signalbox/edge/decode"
	"signalbox/edge/mqtt"
	"signalbox/edge/session"
	"signalbox/edge/spool"
	"signalbox/edge/wire"
	"signalbox/engine/column"
)

// eventQueue is how many events may wait for the loop; who posts more waits.
const eventQueue = 256

// stopTimeout bounds what Run does after its context ended.
const stopTimeout = 5 * time.Second

// Observer sees readings when they are decoded, before they are sent: the place
// of rules that the agent evaluates itself. It is called from one goroutine.
type Observer interface {
	// Observe returns true when the readings have to leave at once, whatever the linger.
	Observe(batches []*column.Batch, received int64) (urgent bool)
}

// Options are what is not configuration.
type Options struct {
	Logger   *slog.Logger // nil = slog.Default
	Observer Observer     // nil = none
	Version  string       // of the program, shown by the core
}

// Agent is the edge agent.
type Agent struct {
	cfg     Config
	log     *slog.Logger
	watch   Observer
	spool   *spool.Spool
	source  source
	decoder *decode.Decoder
	up      *uplink
	http    net.Listener
	events  chan func()
	stopped chan struct{}
	loop    loop
	metrics *metrics

	identity *identity // nil = none
}

// New opens the spool and everything else that can fail for a reason that the user should see at once.
func New(cfg Config, opt Options) (*Agent, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("edge: configuration: %w", err)
	}
	if err := nameAgent(&cfg); err != nil {
		return nil, err
	}
	a := &Agent{cfg: cfg, log: opt.Logger, watch: opt.Observer, events: make(chan func(), eventQueue), stopped: make(chan struct{})}
	if a.log == nil {
		a.log = slog.Default()
	}
	if err := a.open(opt); err != nil {
		a.closeAll()
		return nil, fmt.Errorf("edge: %w", err)
	}
	return a, nil
}

func nameAgent(cfg *Config) error {
	if cfg.Agent == "" {
		host, err := os.Hostname()
		if err != nil || host == "" {
			return errors.New("edge: agent is not set and the host has no name: set agent")
		}
		cfg.Agent = host
	}
	if cfg.MQTT.ClientID == "" {
		cfg.MQTT.ClientID = "signalbox-edge-" + cfg.Agent
	}
	return nil
}

func (a *Agent) open(opt Options) error {
	fs, err := spool.Dir(filepath.Join(a.cfg.DataDir, "spool"))
	if err != nil {
		return err
	}
	if a.spool, err = spool.Open(fs, a.cfg.Spool, random()); err != nil {
		return err
	}
	if a.decoder, err = decode.New(a.cfg.mappings()); err != nil {
		return err
	}
	src, err := mqtt.New(a.cfg.MQTT, a.decoder.Filters(), time.Now, newRand())
	if err != nil {
		return err
	}
	src.Watch, src.MaxPayload = a.brokerSeen, a.decoder.MaxBytes()
	st, number := a.spool.State(), a.spool.NextNumber()
	err = src.Remember(filepath.Join(a.cfg.DataDir, "receipts"), func(p mqtt.Place) bool {
		if p.Seq == 0 {
			return p.Number < number
		}
		return p.Epoch < st.Epoch || p.Epoch == st.Epoch && p.Seq < st.NextSeq
	})
	if err != nil {
		return err
	}
	a.source = src
	t, id, err := a.cfg.TLS.client()
	if err != nil {
		return err
	}
	a.identity = id
	a.up = &uplink{addrs: a.cfg.Core, tls: t, max: a.cfg.MaxBackoff, rand: newRand()}
	a.up.next = a.up.rand.IntN(len(a.cfg.Core)) // agents spread over the nodes
	if a.cfg.HTTP != "" {
		if a.http, err = net.Listen("tcp", a.cfg.HTTP); err != nil {
			return fmt.Errorf("http: %w: another agent on this host? set http", err)
		}
	}
	if err := a.initLoop(opt); err != nil {
		return err
	}
	a.metrics = newMetrics(a)
	return nil
}

func (a *Agent) closeAll() {
	if a.http != nil {
		a.http.Close()
	}
	if a.spool != nil {
		a.spool.Close()
	}
}

func random() (id [16]byte) {
	crand.Read(id[:]) // never fails
	return id
}

func newRand() *rand.Rand {
	id := random()
	return rand.New(rand.NewPCG(binary.LittleEndian.Uint64(id[:]), binary.LittleEndian.Uint64(id[8:])))
}

// HTTPAddr is where /metrics and /healthz are served, "" when they are not.
func (a *Agent) HTTPAddr() string {
	if a.http == nil {
		return ""
	}
	return a.http.Addr().String()
}

// Run works until ctx ends (then it returns nil) or the disk fails. An Agent runs once.
func (a *Agent) Run(ctx context.Context) error {
	a.log.Info("edge agent starts", "agent", a.cfg.Agent, "core", a.cfg.Core, "brokers", a.cfg.MQTT.Brokers, "waiting", a.spool.Stats().Recovered)
	var wg sync.WaitGroup
	reading, stopReading := context.WithCancel(context.Background())
	linking, stopLinking := context.WithCancel(context.Background())
	var sourceErr error
	failed := make(chan struct{})
	wg.Go(func() {
		if sourceErr = a.source.Run(reading); sourceErr != nil {
			close(failed)
		}
	})
	linkDone := make(chan struct{})
	wg.Go(func() { defer close(linkDone); a.connect(linking) })
	serve := a.serveHTTP(&wg)

	err := a.work(ctx, failed)

	// In this order: what is durable is acknowledged to the broker while it is
	// still connected, and the core hears a goodbye.
	err = errors.Join(err, a.finish())
	stopReading()
	if a.loop.link != nil {
		a.loop.link.bye()
		a.drainUntil(linkGone(a), time.Second)
	}
	stopLinking()
	serve()
	close(a.stopped)
	wg.Wait()
	return errors.Join(err, sourceErr, a.spool.Close())
}

// source is where messages come from. It is an interface because the tests of what a stall does to alerts need a source
// whose clock they own; if it acknowledged by itself, what is not durable would be lost.
type source interface {
	Run(ctx context.Context) error
	Ready() <-chan struct{}
	Take(buf []mqtt.Message, limit, size int) []mqtt.Message
	Return(msgs []mqtt.Message)
	Receipt(msgs []mqtt.Message, at mqtt.Place)
	Ack(msgs []mqtt.Message)
	Stats() mqtt.Stats
}

func (a *Agent) brokerSeen(err error) {
	if err != nil {
		a.log.Warn("no broker; it keeps what is sent for this agent's session, the next attempt follows", "error", err)
		return
	}
	a.log.Info("subscribed to the broker", "brokers", a.cfg.MQTT.Brokers, "topics", a.decoder.Filters())
}

func linkGone(a *Agent) func() bool { return func() bool { return a.loop.link == nil } }

// work is the loop: everything that changes the agent's state happens here.
func (a *Agent) work(ctx context.Context, failed <-chan struct{}) error {
	l := &a.loop
	beat := time.NewTicker(a.cfg.Heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-failed:
			return nil // Run returns why
		case f := <-a.events:
			f()
		case <-a.source.Ready():
			l.ready = true
			a.ingest(false)
		case <-l.hold.C:
			a.ingest(true)
		case <-l.linger.C:
			l.due = true
			a.seal()
		case <-l.resume.C:
			a.ingest(false)
			a.seal()
			a.pump()
		case <-l.space:
			l.space = nil
			a.retry()
		case <-beat.C:
			a.beat()
		}
		if l.failed != nil {
			return l.failed
		}
	}
}

// post hands an event to the loop, from any other goroutine.
func (a *Agent) post(f func()) {
	select {
	case a.events <- f:
	case <-a.stopped:
	}
}

// finish waits for what is on its way to the disk, so that it is acknowledged.
func (a *Agent) finish() error {
	a.drainUntil(func() bool { return !a.loop.committing && a.loop.sealing == 0 || a.loop.failed != nil }, stopTimeout)
	return nil
}

func (a *Agent) drainUntil(done func() bool, timeout time.Duration) {
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	a.loop.closing = true
	for !done() {
		select {
		case f := <-a.events:
			f()
		case <-deadline.C:
			return
		}
	}
}

// connect runs the uplink; what it hears is posted to the loop.
func (a *Agent) connect(ctx context.Context) {
	a.up.up = func(l *link) { a.post(func() { a.linkUp(l) }) }
	a.up.message = func(l *link, m wire.Message) { a.post(func() { a.linkMessage(l, m) }) }
	a.up.down = func(l *link, err error) { a.post(func() { a.linkDown(l, err) }) }
	a.up.run(ctx)
}

func (a *Agent) initLoop(opt Options) error {
	coder, err := wire.NewCoder()
	if err != nil {
		return err
	}
	st := a.spool.State()
	l := &a.loop
	l.coder, l.bodies = coder, map[uint64]*spool.Sealed{}
	l.hold, l.linger, l.resume = stoppedTimer(), stoppedTimer(), stoppedTimer()
	l.session = session.New(session.Config{Agent: a.cfg.Agent, Install: st.Install, Session: random(), Version: opt.Version},
		st.Epoch, st.NextSeq, st.Applied, a.waiting())
	l.clock, l.lastReading = newClock(), time.Now()
	l.health.progress, l.health.applied = time.Now(), st.Applied
	l.recovered = a.spool.Stats().Recovered
	l.unsealed = a.spool.Stats().UnsealedReadings
	l.backlog = l.unsealed > 0
	return a.recall()
}

// recall puts what is young enough back into the live lane: a restart in the middle of a stall makes no history of it.
func (a *Agent) recall() error {
	now := time.Now()
	recent, err := a.spool.Recent(now.Add(-a.cfg.LiveWindow).UnixNano(), now.UnixNano(), a.cfg.LiveBytes/2)
	for i := range recent {
		d := &recent[i]
		a.loop.tail.add(part{number: d.Number, at: now.Add(time.Duration(d.Received - now.UnixNano())), received: d.Received,
			oldest: d.MinTime, rows: d.Readings, payload: d.Payload})
	}
	a.loop.due = len(recent) > 0
	return err
}

func stoppedTimer() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// waiting rebuilds what the session has to know of the spool's sealed batches.
func (a *Agent) waiting() []session.Item {
	clear(a.loop.bodies)
	var items []session.Item
	for _, b := range a.spool.Waiting() {
		a.loop.bodies[b.Seq] = b
		items = append(items, session.Item{Seq: b.Seq, Hash: b.Hash, Lane: b.Lane})
	}
	return items
}
