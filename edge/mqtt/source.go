// Package mqtt subscribes to a broker with QoS 1 and a persistent session and
// hands messages over in a queue; each is acknowledged when its owner says so.
//
// It promises that a message is acknowledged only by Ack, that a message which
// the broker sends again on a new connection because its acknowledgement did
// not arrive is not queued twice while this process lives, nor by the next one
// when Receipt noted where it is and it is there, and that the handler never
// blocks. It refuses to know what messages mean and what durable is.
package mqtt

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/zeebo/xxh3"
)

// Bounds of the queue. A broker has at most 65,535 messages of QoS 1 in flight;
// their bytes are what needs a limit. Beyond it the connection is closed until half is worked off.
const (
	maxQueueBytes    = 32 << 20
	maxQueueMessages = 1 << 17
	maxTopics        = 1 << 14 // whose last payload is remembered, to know a retained message again
	subscribeTimeout = 10 * time.Second
	firstBackoff     = 250 * time.Millisecond
	manyShort        = 3 // connections in a row that were lost soon: somebody else takes them
)

// Message is a received message.
type Message struct {
	Topic    string
	Payload  []byte
	Received int64     // ns, wall clock
	At       time.Time // the same moment, for durations: a clock that is set does not change them
	entry    *entry
}

// entry is a message of QoS 1 until its packet id is used for another one.
type entry struct {
	id   uint16
	hash uint64
	conn uint64 // connection that ack belongs to
	ack  func()
	told bool      // ack was called on a connection that stood: it may have arrived
	done time.Time // when Ack was called; zero = not yet

	receipt uint64 // its number, 0 = none
}

// Stats are counts since New.
type Stats struct {
	Connected   bool
	Connects    uint64
	Received    uint64 // messages, redeliveries not counted
	Redelivered uint64 // dropped because they are here already, and acknowledged anew
	Retained    uint64 // dropped because a new subscription brought them again
	Overflow    uint64 // messages of QoS 0 dropped because the queue was full
	Acked       uint64
	Queued      int
	Fights      int // connections in a row that were lost soon: from manyShort on somebody else seems to take them
	LastError   string
}

// Source is a subscription. Its methods are safe for concurrent use.
type Source struct {
	// Watch, when set before Run, hears of every connection (nil) and of every one that failed or was lost.
	Watch func(err error)
	// MaxPayload, when set before Run, is how much of a payload anybody wants: of a larger one the beginning is delivered, one byte more
	// than this. 0 = all of it.
	MaxPayload int

	cfg     Config
	filters []string
	now     func() time.Time
	rand    *rand.Rand

	mu       sync.Mutex
	queue    []Message
	bytes    int
	entries  map[uint16]*entry
	acked    []*entry // the last ackedKept that Ack was called for, a ring
	ackedAt  int
	receipts *receipts // nil = none
	scratch  []byte
	owed     map[uint64][]*entry // of connections that are gone, by hash: never acknowledged, so the broker has to send them again
	topics   map[uint64]uint64   // hash of a topic -> hash of the last message on it
	conn     uint64
	full     bool
	acks     []func()      // to be called by the acker
	acking   bool          // the acker has taken acks and is not through
	toAck    chan struct{} // 1 deep: acks is not empty
	idle     sync.Cond     // acks is empty and the acker is through
	ready    chan struct{} // 1 deep: something is queued
	drained  chan struct{} // 1 deep: the queue is half empty again
	stats    Stats

	connected time.Time
}

// New returns a subscription to topic filters.
func New(cfg Config, filters []string, now func() time.Time, r *rand.Rand) (*Source, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if len(filters) == 0 {
		return nil, errors.New("mqtt: no topics to subscribe to")
	}
	s := &Source{cfg: cfg, filters: filters, now: now, rand: r, entries: map[uint16]*entry{}, topics: map[uint64]uint64{},
		ready: make(chan struct{}, 1), drained: make(chan struct{}, 1), toAck: make(chan struct{}, 1)}
	s.idle.L = &s.mu
	return s, nil
}

// Run keeps the subscription until ctx ends. It returns an error only for a configuration that can never work.
func (s *Source) Run(ctx context.Context) error {
	opts, err := s.options()
	if err != nil {
		return err
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		s.acker(stop)
	}()
	defer func() { close(stop); <-stopped }()
	backoff := firstBackoff
	for ctx.Err() == nil {
		started := time.Now()
		err := s.connection(ctx, *opts)
		if ctx.Err() != nil {
			break
		}
		s.mu.Lock()
		lasted := time.Since(started) > 2*s.cfg.MaxBackoff
		switch {
		case lasted:
			s.stats.Fights = 0
		case s.stats.Connected:
			s.stats.Fights++
		}
		if n := s.stats.Fights; n >= manyShort {
			err = fmt.Errorf("%w: the broker ended %d connections soon after they were made: does another client use the id %q? Give each agent its own name, or set mqtt.client_id", err, n, s.cfg.ClientID)
		}
		s.stats.Connected = false
		if err != nil {
			s.stats.LastError = err.Error()
		}
		s.mu.Unlock()
		if err != nil {
			s.tell(err)
		}
		if lasted {
			backoff = firstBackoff
		}
		wait := backoff/2 + time.Duration(s.rand.Int64N(int64(backoff))) // jitter: a depot's agents do not return in step
		backoff = min(2*backoff, s.cfg.MaxBackoff)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	return nil
}

func (s *Source) tell(err error) {
	if s.Watch != nil {
		s.Watch(err)
	}
}

func (s *Source) options() (*paho.ClientOptions, error) {
	t, err := s.cfg.tls()
	if err != nil {
		return nil, err
	}
	o := paho.NewClientOptions().SetClientID(s.cfg.ClientID).SetUsername(s.cfg.Username).SetPassword(s.cfg.Password).SetTLSConfig(t).
		SetCleanSession(false).SetAutoAckDisabled(true).SetOrderMatters(true).SetAutoReconnect(false).SetConnectRetry(false).
		SetKeepAlive(s.cfg.KeepAlive).SetWriteTimeout(s.cfg.WriteTimeout).SetConnectTimeout(10 * time.Second).SetPingTimeout(s.cfg.KeepAlive / 2)
	if open := s.opener(); open != nil {
		o.SetCustomOpenConnectionFn(open)
	}
	for _, b := range s.cfg.Brokers {
		o.AddBroker(b)
	}
	return o, nil
}

// connection lives from a connect to the loss of it. One paho client per
// connection: a used one is not safe to use again.
func (s *Source) connection(ctx context.Context, o paho.ClientOptions) error {
	if err := s.waitDrained(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	s.conn++
	conn := s.conn
	for id, e := range s.entries { // acknowledgements of long ago have arrived: their ids may carry other messages by now
		if !e.done.IsZero() && s.now().Sub(e.done) > 2*s.cfg.KeepAlive && s.stats.Connects > 0 {
			delete(s.entries, id)
		}
	}
	s.owed = map[uint64][]*entry{}
	for _, e := range s.entries {
		if !e.told {
			s.owed[e.hash] = append(s.owed[e.hash], e)
		}
	}
	s.mu.Unlock()
	lost := make(chan error, 2)
	handler := func(_ paho.Client, m paho.Message) {
		if !s.receive(conn, m) {
			select {
			case lost <- errors.New("mqtt: queue is full: the disk or the core is too slow"):
			default:
			}
		}
	}
	// The handler is set before connecting: queued messages come before the subscription is repeated.
	o.SetDefaultPublishHandler(handler)
	o.SetConnectionLostHandler(func(_ paho.Client, err error) { lost <- err })
	c := paho.NewClient(&o)
	defer c.Disconnect(250)
	token := c.Connect()
	select {
	case <-token.Done():
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := token.Error(); err != nil {
		return fmt.Errorf("mqtt: connect to %v: %w", s.cfg.Brokers, err)
	}
	if ct, ok := token.(*paho.ConnectToken); ok && !ct.SessionPresent() {
		s.forgetBefore(conn)
	}
	if err := s.subscribe(ctx, c); err != nil {
		return err
	}
	s.mu.Lock()
	s.stats.Connected, s.stats.LastError, s.connected = true, "", s.now()
	s.stats.Connects++
	s.mu.Unlock()
	s.tell(nil)
	select {
	case err := <-lost:
		return fmt.Errorf("mqtt: connection lost: %w", err)
	case <-ctx.Done():
		s.flush()
		// paho hands acknowledgements from goroutine to goroutine and would overtake them with the disconnect. A round trip
		// that changes nothing lets them pass; without it the broker sends again what is durable here.
		c.Unsubscribe("signalbox/none").WaitTimeout(time.Second)
		return ctx.Err()
	}
}

// acker calls the acknowledgements: paho writes them to the network one by one and may
// block for write_timeout, which neither the caller of Ack nor the handler may do.
func (s *Source) acker(stop <-chan struct{}) {
	for {
		select {
		case <-s.toAck:
		case <-stop:
			return
		}
		s.mu.Lock()
		acks := s.acks
		s.acks, s.acking = nil, true
		s.mu.Unlock()
		for _, ack := range acks {
			ack()
		}
		s.mu.Lock()
		s.acking = false
		s.idle.Broadcast()
		s.mu.Unlock()
	}
}

// flush waits until what was acknowledged is written: paho gives up by itself after write_timeout.
func (s *Source) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.acks) > 0 || s.acking {
		s.idle.Wait()
	}
}

// subscribe repeats the subscription: a broker that was killed has forgotten it.
func (s *Source) subscribe(ctx context.Context, c paho.Client) error {
	filters := map[string]byte{}
	for _, f := range s.filters {
		filters[f] = 1
	}
	token := c.SubscribeMultiple(filters, nil)
	select {
	case <-token.Done():
	case <-time.After(subscribeTimeout):
		return errors.New("mqtt: subscribe: no answer from the broker")
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := token.Error(); err != nil {
		return fmt.Errorf("mqtt: subscribe: %w", err)
	}
	if st, ok := token.(*paho.SubscribeToken); ok {
		for f, code := range st.Result() {
			if code == 0x80 {
				return fmt.Errorf("mqtt: the broker refuses the subscription to %s: check its access rules", f)
			}
		}
	}
	return nil
}

// receive queues a message. It returns false when the queue is full and the message has to come again.
func (s *Source) receive(conn uint64, m paho.Message) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if conn != s.conn {
		return true // a late message of a connection that is gone: it comes again
	}
	topic := xxh3.HashString(m.Topic())
	hash := xxh3.Hash(m.Payload()) ^ topic
	if m.Retained() && s.topics[topic] == hash { // the answer to a subscription: what was here already is no second reading
		s.stats.Retained++
		s.acknowledge(m.Ack)
		return true
	}
	at := s.now()
	msg := Message{Topic: m.Topic(), Payload: m.Payload(), Received: at.UnixNano(), At: at}
	if m.Qos() > 0 {
		if e := s.known(m, hash); e != nil {
			s.stats.Redelivered++
			e.conn = conn
			if e.done.IsZero() {
				e.ack = m.Ack
			} else {
				e.told = true
				s.acknowledge(m.Ack) // the first acknowledgement was lost
			}
			return true
		}
		if s.bytes > maxQueueBytes || len(s.queue) >= maxQueueMessages {
			s.full = true
			return false
		}
		msg.entry = &entry{id: m.MessageID(), hash: hash, conn: conn, ack: m.Ack}
		if old := s.entries[m.MessageID()]; old != nil && s.receipts != nil && s.receipts.current(old.receipt) {
			b, _ := s.receipts.add(nil, old.id, receiptVoid, 0, Place{})
			s.writeReceipts(b)
		}
		s.entries[m.MessageID()] = msg.entry
	} else if s.bytes > maxQueueBytes || len(s.queue) >= maxQueueMessages {
		s.stats.Overflow++
		return true
	}
	s.stats.Received++
	if _, ok := s.topics[topic]; !ok && len(s.topics) >= maxTopics {
		clear(s.topics)
	}
	s.topics[topic] = hash
	s.queue = append(s.queue, msg)
	s.bytes += len(msg.Payload) + len(msg.Topic)
	signal(s.ready)
	return true
}

// known returns the message that a redelivery repeats: the one of its packet id or, for a broker that gives new ids after it
// was started anew, an equal one that was never acknowledged. Two equal messages are two redeliveries.
func (s *Source) known(m paho.Message, hash uint64) *entry {
	if !m.Duplicate() {
		return nil
	}
	if e := s.entries[m.MessageID()]; e != nil && e.hash == hash {
		return e
	}
	for list := s.owed[hash]; len(list) > 0; list = s.owed[hash] {
		e := list[0]
		s.owed[hash] = list[1:]
		if e.conn == s.conn || e.told { // it came under its own id
			continue
		}
		if s.entries[e.id] == e {
			delete(s.entries, e.id)
		}
		e.id = m.MessageID()
		s.entries[e.id] = e
		return e
	}
	return nil
}

// acknowledge hands an acknowledgement to the acker. mu is held.
func (s *Source) acknowledge(ack func()) {
	s.acks = append(s.acks, ack)
	signal(s.toAck)
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// forgetBefore drops what is known of earlier connections: the broker has a new session, its packet ids start anew.
func (s *Source) forgetBefore(conn uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, e := range s.entries {
		if e.conn < conn {
			delete(s.entries, id)
		}
	}
	s.owed = nil
}

func (s *Source) waitDrained(ctx context.Context) error {
	for {
		s.mu.Lock()
		full := s.full
		s.mu.Unlock()
		if !full {
			return nil
		}
		select {
		case <-s.drained:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Ready delivers when messages are queued.
func (s *Source) Ready() <-chan struct{} { return s.ready }

// Take moves queued messages to buf: at most limit, and at most size bytes unless one alone is larger.
func (s *Source) Take(buf []Message, limit, size int) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, m := range s.queue[:min(limit, len(s.queue))] {
		if size -= len(m.Payload); size < 0 && n > 0 {
			break
		}
		s.bytes -= len(m.Payload) + len(m.Topic)
		n++
	}
	buf = append(buf, s.queue[:n]...)
	s.queue = append(s.queue[:0], s.queue[n:]...)
	s.settle()
	return buf
}

// Return puts messages back that were taken last.
func (s *Source) Return(msgs []Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range msgs {
		s.bytes += len(m.Payload) + len(m.Topic)
	}
	s.queue = append(append([]Message(nil), msgs...), s.queue...)
	s.settle()
}

func (s *Source) settle() {
	if len(s.queue) > 0 {
		signal(s.ready)
	} else if cap(s.queue) > 4096 {
		s.queue = nil
	}
	if s.full && s.bytes < maxQueueBytes/2 {
		s.full = false
		signal(s.drained)
	}
}

// ackedKept is how many acknowledged messages are remembered, in case the acknowledgement was lost: more than a
// broker has in flight, and more than have a receipt.
const ackedKept = receiptsKept + 1024

// keepAcked remembers an acknowledged message, and forgets the one before the last ackedKept.
func (s *Source) keepAcked(e *entry) {
	if len(s.acked) < ackedKept {
		s.acked = append(s.acked, e)
		return
	}
	old := s.acked[s.ackedAt]
	if s.entries[old.id] == old && old != e {
		delete(s.entries, old.id)
	}
	s.acked[s.ackedAt] = e
	s.ackedAt = (s.ackedAt + 1) % ackedKept
}

// Ack acknowledges messages, on the connection that delivered them last; it does not wait for the network. What
// was received on a connection that is gone is acknowledged when the broker sends it again.
func (s *Source) Ack(msgs []Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range msgs {
		e := msgs[i].entry
		if e == nil {
			continue
		}
		e.done = s.now()
		s.stats.Acked++
		if e.conn == s.conn && e.ack != nil {
			s.acks = append(s.acks, e.ack)
			e.told = true
		}
		e.ack = nil // it holds the whole message, and the entry stays for a while
		s.keepAcked(e)
		msgs[i].entry = nil
	}
	if len(s.acks) > 0 {
		signal(s.toAck)
	}
}

// Remember opens the file of receipts, before Run and before anything new comes to the disk: what is noted there, and durable
// says is there, is not taken again.
func (s *Source) Remember(path string, durable func(Place) bool) error {
	r, known, err := openReceipts(path, durable)
	if err != nil {
		return fmt.Errorf("mqtt: receipts: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.receipts = r // to the end of the process
	for id, e := range known {
		e.done = s.now()
		s.entries[id] = e
	}
	return nil
}

// Receipt notes where messages are on their way to. It does not acknowledge them.
func (s *Source) Receipt(msgs []Message, at Place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.receipts == nil {
		return
	}
	s.scratch = s.scratch[:0]
	for i := range msgs {
		if e := msgs[i].entry; e != nil {
			s.scratch, e.receipt = s.receipts.add(s.scratch, e.id, receiptGiven, e.hash, at)
		}
	}
	s.writeReceipts(s.scratch)
}

// writeReceipts goes on without them when they cannot be written: then a message may count again after a crash.
func (s *Source) writeReceipts(b []byte) {
	if len(b) == 0 {
		return
	}
	if err := s.receipts.write(b); err != nil {
		s.stats.LastError = "receipts: " + err.Error()
	}
}

// Fought reports whether another client seems to take the connections.
func (st *Stats) Fought() bool { return st.Fights >= manyShort }

// Stats returns counts.
func (s *Source) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	if st.Connected && s.now().Sub(s.connected) > 2*s.cfg.MaxBackoff {
		st.Fights = 0
	}
	st.Queued = len(s.queue)
	return st
}
