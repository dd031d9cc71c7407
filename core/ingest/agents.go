package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"signalbox/core/fsm"
	"signalbox/edge/wire"
)

// Bounds of the agent link.
const (
	MaxConnections   = 10_000                 // agents connected to one node
	MaxInFlightBytes = 64 << 20               // bodies of all agents that are proposed and not yet applied
	helloTimeout     = 10 * time.Second       // first message
	silenceTimeout   = 90 * time.Second       // a connection without any message is dead
	grantTimeout     = 10 * time.Second       // a Hello waits this long for a leader
	retryAfter       = 250 * time.Millisecond // asked of agents on overload or without a leader
	sendTimeout      = 10 * time.Second
	elsewhereAfter   = 5 * time.Second // without a leader for this long an agent is sent away: another node may see one
)

// Identity returns the agent's name from the transport (its certificate). ok = false when the transport
// carries none: then the Hello is believed, which is allowed on loopback only.
type Identity func(r *http.Request) (agent string, ok bool)

// AgentServer serves the agent link.
type AgentServer struct {
	Proposer *Proposer
	Log      Log
	Clock    func() time.Time
	Identity Identity

	mu       sync.Mutex
	sessions map[string]*session
	ousted   map[string][16]byte // by agent: the process whose session another one took over; at most MaxConnections
	closed   bool
	inFlight atomic.Int64
	stats    AgentStats
}

// AgentStats counts.
type AgentStats struct {
	Connections                          int
	InFlightBytes                        int64
	Accepted, Refused, SlowDowns, Fenced uint64
	Malformed                            uint64 // messages that could not be read
}

// Stats returns the counters.
func (s *AgentServer) Stats() AgentStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Connections, st.InFlightBytes = len(s.sessions), s.inFlight.Load()
	return st
}

func (s *AgentServer) count(c *uint64) {
	s.mu.Lock()
	*c++
	s.mu.Unlock()
}

// ServeHTTP accepts one agent.
func (s *AgentServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	full, closed := len(s.sessions) >= MaxConnections, s.closed
	s.mu.Unlock()
	if closed {
		http.Error(w, "this node is stopping", http.StatusServiceUnavailable)
		return
	}
	if full {
		s.count(&s.stats.Refused)
		w.Header().Set("Retry-After", "5")
		http.Error(w, "too many agents are connected to this node", http.StatusTooManyRequests)
		return
	}
	name, known := "", false
	if s.Identity != nil {
		name, known = s.Identity(r)
	}
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	conn.SetReadLimit(wire.MaxMessageBytes)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	x := &session{server: s, conn: conn, cancel: cancel, wake: make(chan struct{}, 1)}
	defer conn.CloseNow()
	bye := x.serve(ctx, name, known)
	if bye != nil {
		ctx, cancel := context.WithTimeout(context.Background(), sendTimeout)
		defer cancel()
		_ = conn.Write(ctx, websocket.MessageBinary, wire.AppendMessage(nil, bye))
		_ = conn.Close(websocket.StatusNormalClosure, "")
	}
}

// session is one agent's connection.
type session struct {
	server  *AgentServer
	conn    *websocket.Conn
	cancel  context.CancelFunc
	agent   string
	process [16]byte // random, of the agent's process
	coder   *wire.Coder
	epoch   uint64
	wake    chan struct{}
	beat    atomic.Bool // a heartbeat is under way: newer ones wait for the next

	mu       sync.Mutex
	acked    uint64
	ackDue   bool
	dups     uint64
	expected uint64    // last gap told, so that four batches in flight give one answer
	failing  time.Time // first batch since then that no leader took
	outbox   []wire.Message
	bye      *wire.Goodbye
}

// serve runs the connection and returns what to say at the end.
func (x *session) serve(ctx context.Context, name string, known bool) *wire.Goodbye {
	hello, bye := x.hello(ctx)
	if bye != nil {
		return bye
	}
	if known && name != hello.Agent {
		x.server.count(&x.server.stats.Refused)
		return &wire.Goodbye{Code: wire.GoodbyeRefused, Reason: fmt.Sprintf("the certificate is of agent %q, the hello of %q", name, hello.Agent)}
	}
	x.agent, x.process = hello.Agent, hello.Session
	if x.server.twin(x) {
		x.server.count(&x.server.stats.Refused)
		return &wire.Goodbye{Code: wire.GoodbyeRefused, Reason: fmt.Sprintf("two devices have the name %q: the other one is connected. Give each its own name (agent), or stop one", x.agent)}
	}
	grantCtx, cancel := context.WithTimeout(ctx, grantTimeout)
	defer cancel()
	res, err := x.server.Proposer.Submit(grantCtx, fsm.GrantItem(hello))
	switch {
	case err != nil:
		return &wire.Goodbye{Code: wire.GoodbyeNoLeader, Reason: err.Error()}
	case res.Welcome == nil:
		x.server.count(&x.server.stats.Refused)
		return &wire.Goodbye{Code: wire.GoodbyeRefused, Reason: res.Reason}
	}
	x.epoch, x.acked = res.Welcome.Epoch, res.Welcome.Applied
	if x.coder, err = wire.NewCoder(); err != nil {
		return &wire.Goodbye{Code: wire.GoodbyeShutdown, Reason: err.Error()}
	}
	x.server.enter(x)
	defer x.server.leave(x)
	if !x.server.Log.IsLeader() {
		_, res.Welcome.Leader = x.server.Log.Leader()
	}
	res.Welcome.Clock = x.server.Clock().UnixNano()
	if err := x.send(ctx, res.Welcome); err != nil {
		return nil
	}
	done := make(chan struct{})
	go func() { defer close(done); x.write(ctx) }()
	x.read(ctx)
	x.mu.Lock()
	ending := x.bye != nil
	x.mu.Unlock()
	if !ending { // otherwise the writer still has the goodbye to send
		x.cancel()
	}
	<-done
	return nil
}

func (x *session) hello(ctx context.Context) (*wire.Hello, *wire.Goodbye) {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	_, msg, err := x.conn.Read(ctx)
	if err != nil {
		return nil, &wire.Goodbye{Code: wire.GoodbyeProtocol, Reason: "no hello"}
	}
	m, err := wire.DecodeMessage(msg)
	hello, ok := m.(*wire.Hello)
	switch {
	case err != nil || !ok:
		x.server.count(&x.server.stats.Malformed)
		return nil, &wire.Goodbye{Code: wire.GoodbyeProtocol, Reason: fmt.Sprintf("the first message must be a hello: %v", err)}
	case hello.Protocol != wire.Protocol:
		return nil, &wire.Goodbye{Code: wire.GoodbyeProtocol, Reason: fmt.Sprintf("this node speaks version %d, the agent %d", wire.Protocol, hello.Protocol)}
	}
	return hello, nil
}

// enter makes x the agent's only session on this node.
func (s *AgentServer) enter(x *session) {
	s.mu.Lock()
	if s.sessions == nil {
		s.sessions = map[string]*session{}
	}
	old := s.sessions[x.agent]
	if old != nil && old.process != x.process {
		if s.ousted == nil || len(s.ousted) >= MaxConnections {
			s.ousted = map[string][16]byte{}
		}
		s.ousted[x.agent] = old.process
	}
	s.sessions[x.agent] = x
	s.stats.Accepted++
	closed := s.closed
	s.mu.Unlock()
	if closed {
		x.end(wire.GoodbyeShutdown, "this node is stopping")
	}
	if old != nil {
		old.end(wire.GoodbyeFenced, "another session of this agent took over")
	}
}

// twin reports whether a process that lost its session to another one asks for it back while that one is connected: a process that
// ended does not come back, so there are two, and they would take it from each other for ever. The state machine knows it by the
// epoch; copies of one image share that until one of them has sent something.
func (s *AgentServer) twin(x *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	live := s.sessions[x.agent]
	return live != nil && live.process != x.process && s.ousted[x.agent] == x.process
}

func (s *AgentServer) leave(x *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions[x.agent] == x {
		delete(s.sessions, x.agent)
	}
}

// Close says goodbye to every agent and takes no more.
func (s *AgentServer) Close() {
	s.mu.Lock()
	s.closed = true
	var all []*session
	for _, x := range s.sessions {
		all = append(all, x)
	}
	s.mu.Unlock()
	for _, x := range all {
		x.end(wire.GoodbyeShutdown, "this node is stopping")
	}
}

func (x *session) end(code wire.GoodbyeCode, reason string) {
	x.mu.Lock()
	if x.bye == nil {
		x.bye = &wire.Goodbye{Code: code, Reason: reason}
	}
	x.mu.Unlock()
	x.notify()
}

func (x *session) notify() {
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

func (x *session) read(ctx context.Context) {
	var msg []byte // used again: what is kept of a message is a copy
	for {
		rctx, cancel := context.WithTimeout(ctx, silenceTimeout)
		var err error
		msg, err = readMessage(rctx, x.conn, msg)
		cancel()
		if err != nil {
			return
		}
		m, err := wire.DecodeMessage(msg)
		if err != nil {
			x.malformed(err)
			return
		}
		switch m := m.(type) {
		case *wire.BatchMessage:
			if !x.batch(m) {
				return
			}
		case *wire.Heartbeat:
			x.heartbeat(m)
		case *wire.Goodbye:
			return
		default:
			x.malformed(fmt.Errorf("a core takes no %T", m))
			return
		}
	}
}

func (x *session) malformed(err error) {
	x.server.count(&x.server.stats.Malformed)
	x.end(wire.GoodbyeProtocol, err.Error())
}

// batch checks size and hash and proposes. Its content is decoded after the log, once per node: a sealed batch
// that cannot be decoded must be set aside there, in its place in the sequence, or its agent would never get on.
func (x *session) batch(m *wire.BatchMessage) bool {
	body, err := x.coder.Body(m)
	if err != nil {
		x.malformed(err)
		return false
	}
	x.mu.Lock()
	if x.expected == m.Seq {
		x.expected = 0
	}
	x.mu.Unlock()
	size := int64(len(body))
	if x.server.inFlight.Add(size) > MaxInFlightBytes && x.server.inFlight.Load() > size {
		x.server.inFlight.Add(-size)
		x.slowDown(m.Seq, "too much is in flight")
		return true
	}
	it := fsm.BatchItem(wire.BatchID{Agent: x.agent, Epoch: m.Epoch, Seq: m.Seq}, m.Hash, body)
	seq := m.Seq
	err = x.server.Proposer.Enqueue(it, func(r fsm.Result, err error) {
		x.server.inFlight.Add(-size)
		x.settle(seq, r, err)
	})
	if err != nil {
		x.server.inFlight.Add(-size)
		x.slowDown(m.Seq, err.Error())
	}
	return true
}

func (x *session) heartbeat(m *wire.Heartbeat) {
	if !x.beat.CompareAndSwap(false, true) {
		return
	}
	err := x.server.Proposer.Enqueue(fsm.HeartbeatItem(x.agent, m), func(r fsm.Result, err error) {
		x.beat.Store(false)
		if err == nil && r.Verdict == fsm.Fenced {
			x.fenced()
		}
	})
	if err != nil {
		x.beat.Store(false) // the next heartbeat says the same and more
	}
}

func (x *session) fenced() {
	x.server.count(&x.server.stats.Fenced)
	x.end(wire.GoodbyeFenced, "the epoch is not the current one: say hello again")
}

func (x *session) slowDown(seq uint64, reason string) {
	x.server.count(&x.server.stats.SlowDowns)
	x.push(&wire.SlowDown{RetryAfter: int64(retryAfter), Seq: seq, Reason: reason})
}

func (x *session) push(m wire.Message) {
	x.mu.Lock()
	if len(x.outbox) < maxOutbox {
		x.outbox = append(x.outbox, m)
	}
	x.mu.Unlock()
	x.notify()
}

// maxOutbox bounds messages an agent does not read; acknowledgements do not count, the newest says all.
const maxOutbox = 64

// settle turns the outcome of a batch into what the agent is told.
func (x *session) settle(seq uint64, r fsm.Result, err error) {
	if err != nil {
		x.untaken(seq, err)
		return
	}
	x.mu.Lock()
	x.failing = time.Time{}
	x.mu.Unlock()
	switch r.Verdict {
	case fsm.Applied, fsm.Rejected, fsm.Duplicate:
		x.mu.Lock()
		x.acked, x.ackDue = max(x.acked, r.Seq), true
		if r.Verdict == fsm.Duplicate {
			x.dups++
		}
		x.expected = 0
		x.mu.Unlock()
		x.notify()
	case fsm.Gap:
		x.mu.Lock()
		told := x.expected == r.Seq
		x.expected = r.Seq
		x.mu.Unlock()
		if !told {
			x.push(&wire.Expect{Epoch: r.Epoch, Seq: r.Seq, Credit: wire.MaxInFlight})
		}
	case fsm.Conflict:
		x.push(&wire.Conflict{Epoch: r.Epoch, Seq: seq, Reason: r.Reason})
	case fsm.Fenced:
		x.fenced()
	default:
		x.end(wire.GoodbyeProtocol, r.Reason)
	}
}

// untaken asks for the batch again later, and ends the session when that has gone on for long: this node may be cut off
// from a majority that another node still reaches.
func (x *session) untaken(seq uint64, err error) {
	if errors.Is(err, ErrOverloaded) {
		x.slowDown(seq, "too much is waiting")
		return
	}
	now := x.server.Clock()
	x.mu.Lock()
	if x.failing.IsZero() {
		x.failing = now
	}
	long := now.Sub(x.failing) >= elsewhereAfter
	x.mu.Unlock()
	switch {
	case long:
		x.end(wire.GoodbyeNoLeader, "this node has known no leader for a while: try another")
	case errors.Is(err, ErrIndeterminate):
		x.slowDown(seq, "outcome unknown: send it again")
	default:
		x.slowDown(seq, "no leader takes it now")
	}
}

// write sends the newest acknowledgement and whatever else is waiting.
func (x *session) write(ctx context.Context) {
	for {
		select {
		case <-x.wake:
		case <-ctx.Done():
			return
		}
		x.mu.Lock()
		out := x.outbox
		x.outbox = nil
		if x.ackDue {
			out = append(out, &wire.Ack{Epoch: x.epoch, Applied: x.acked, Credit: wire.MaxInFlight, Duplicates: x.dups})
			x.ackDue = false
		}
		bye := x.bye
		x.mu.Unlock()
		if bye != nil {
			out = append(out, bye)
		}
		for _, m := range out {
			if x.send(ctx, m) != nil {
				x.cancel()
				return
			}
		}
		if bye != nil {
			_ = x.conn.Close(websocket.StatusNormalClosure, "")
			x.cancel()
			return
		}
	}
}

func (x *session) send(ctx context.Context, m wire.Message) error {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	return x.conn.Write(ctx, websocket.MessageBinary, wire.AppendMessage(nil, m))
}
