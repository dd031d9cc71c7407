// Package session decides what an agent says to the core: which batch to send,
// to send again, to forget, and when a new one may be sealed.
//
// It promises to send sealed batches in order of sequence, at most as many in
// flight as the core gave credit for, to send again whatever a connection lost,
// to forget a batch only when the core acknowledged it, and never to certify
// more than was sent. It refuses to know sockets, disks, clocks and goroutines:
// time is an argument, and every call returns at once.
package session

import (
	"fmt"

	"signalbox/edge/wire"
)

// Bounds.
const (
	maxSlowDown  = int64(60e9) // ns, the longest pause that a core may ask for
	expectQuiet  = int64(1e9)  // ns in which the same Expect is not obeyed twice: each batch behind a gap causes one
	ackTimeout   = int64(15e9) // ns without a word from the core while batches are in flight
	liveInARow   = 3           // live batches after which a waiting backlog gets one
	backlogBytes = 8 << 10     // size of a backlog batch while live readings wait
)

// BacklogBytes is how large a backlog batch should be: small while live readings
// wait, so that these never queue long behind it.
func BacklogBytes(liveWaiting bool) int {
	if liveWaiting {
		return backlogBytes
	}
	return 8 * backlogBytes
}

// Config names the agent. It does not change while the process lives, but for Install.
type Config struct {
	Agent   string
	Install [16]byte
	Session [16]byte // random, of this process
	Version string
}

// Item is a sealed batch that is not acknowledged.
type Item struct {
	Seq  uint64
	Hash wire.Hash
	Lane wire.Lane
}

// Session is not safe for concurrent use.
type Session struct {
	cfg     Config
	epoch   uint64
	nextSeq uint64
	applied uint64
	queue   []Item // sealed and not acknowledged, by sequence
	sent    int    // of the queue, on this connection
	up      bool   // welcomed
	credit  int
	pause   int64 // ns: nothing is sent before
	heard   int64 // last word from the core, ns
	expect  struct {
		seq uint64
		at  int64
	}
	live       int // live batches sealed since the last backlog batch
	duplicates uint64
}

// New returns a session that continues what the spool holds.
func New(cfg Config, epoch, nextSeq, applied uint64, queue []Item) *Session {
	return &Session{cfg: cfg, epoch: epoch, nextSeq: nextSeq, applied: applied, queue: queue}
}

// Connect starts a connection and returns its first message. A new Install asks for a new epoch.
func (s *Session) Connect(now int64) *wire.Hello {
	s.Disconnect()
	s.heard = now
	h := &wire.Hello{Protocol: wire.Protocol, Agent: s.cfg.Agent, Install: s.cfg.Install, Session: s.cfg.Session,
		Epoch: s.epoch, NextSeq: s.nextSeq, Version: s.cfg.Version}
	for _, it := range s.queue[:min(len(s.queue), wire.MaxHashes)] {
		h.Sealed = append(h.Sealed, wire.SeqHash{Seq: it.Seq, Hash: it.Hash})
	}
	return h
}

// Disconnect forgets the connection; what was sent on it and not acknowledged is sent again on the next.
func (s *Session) Disconnect() {
	s.up, s.sent, s.credit, s.pause = false, 0, 0, 0
	s.expect.seq = 0
}

// Effects is what the caller has to do after a message.
type Effects struct {
	Acked    bool   // forget batches up to Applied in the spool
	Applied  uint64 //
	Grant    *Grant // give the spool the new epoch, then call Granted
	Conflict string // not empty: become a new install (Renew), and connect again
	Redirect string // not empty: connect there
	Close    string // not empty: the core says goodbye; connect again later
	Refused  bool   // with Close: trying again soon is of no use
	Clock    int64  // not 0: the core's clock
}

// Grant is an epoch that differs from the one the spool has.
type Grant struct {
	Epoch, Applied uint64
	Known          map[wire.Hash]bool // applied in the epoch before: not to be sent again
	Restored       bool               // the core has more of the epoch before than this spool sealed: it is an old image, or a copy
}

// Handle takes a message of the core. An error means that the core makes no sense: close the connection.
func (s *Session) Handle(m wire.Message, now int64) (Effects, error) {
	s.heard = now
	if w, ok := m.(*wire.Welcome); ok {
		return s.welcome(w)
	}
	switch m := m.(type) {
	case *wire.Redirect:
		return Effects{Redirect: m.Leader}, nil
	case *wire.Goodbye:
		return Effects{Close: fmt.Sprintf("goodbye %d: %s", m.Code, m.Reason), Refused: m.Code == wire.GoodbyeRefused || m.Code == wire.GoodbyeProtocol}, nil
	}
	if !s.up {
		return Effects{}, fmt.Errorf("session: %T before the welcome", m)
	}
	switch m := m.(type) {
	case *wire.Ack:
		return s.ack(m)
	case *wire.Expect:
		return s.expected(m, now)
	case *wire.SlowDown:
		return s.slowDown(m, now), nil
	case *wire.Conflict:
		if m.Epoch != s.epoch {
			return Effects{}, nil
		}
		return Effects{Conflict: fmt.Sprintf("batch %d: %s", m.Seq, m.Reason)}, nil
	}
	return Effects{}, fmt.Errorf("session: a core does not send %T", m)
}

func (s *Session) welcome(w *wire.Welcome) (Effects, error) {
	if s.up {
		return Effects{}, fmt.Errorf("session: welcomed twice")
	}
	s.credit = int(min(w.Credit, wire.MaxInFlight))
	fx := Effects{Clock: w.Clock, Redirect: ""}
	if w.Epoch == 0 || w.Epoch < s.epoch {
		return fx, fmt.Errorf("session: the core grants epoch %d, this agent is in %d: is it a core of another cluster?", w.Epoch, s.epoch)
	}
	if w.Epoch != s.epoch {
		fx.Grant = &Grant{Epoch: w.Epoch, Applied: w.Applied, Known: map[wire.Hash]bool{}, Restored: s.epoch != 0 && w.PrevEpoch == s.epoch && w.Prev >= s.nextSeq}
		for _, h := range w.Hashes {
			fx.Grant.Known[h.Hash] = true
		}
		return fx, nil // up after Granted
	}
	if w.Applied >= s.nextSeq {
		return fx, fmt.Errorf("session: the core has applied %d, this agent has sealed up to %d in epoch %d", w.Applied, s.nextSeq-1, s.epoch)
	}
	s.up = true
	s.forget(w.Applied)
	fx.Acked, fx.Applied = true, s.applied
	return fx, nil
}

// Granted is called when the spool has taken a Grant: queue is what it still holds, with the new sequences.
func (s *Session) Granted(g *Grant, nextSeq uint64, queue []Item) {
	s.epoch, s.applied, s.nextSeq = g.Epoch, g.Applied, nextSeq
	s.queue, s.sent, s.up = queue, 0, true
}

// Renew makes the session a new install after a conflict.
func (s *Session) Renew(install [16]byte) {
	s.cfg.Install = install // the epoch stays until a higher one is granted
	s.Disconnect()
}

func (s *Session) forget(applied uint64) {
	n := 0
	for n < len(s.queue) && s.queue[n].Seq <= applied {
		n++
	}
	s.queue = append(s.queue[:0:0], s.queue[n:]...)
	s.sent = max(0, s.sent-n)
	s.applied = max(s.applied, applied)
}

func (s *Session) ack(m *wire.Ack) (Effects, error) {
	if m.Epoch != s.epoch {
		return Effects{}, nil // of a batch before the epoch changed
	}
	if m.Applied >= s.nextSeq {
		return Effects{}, fmt.Errorf("session: the core acknowledges %d, but %d is not sealed yet", m.Applied, s.nextSeq)
	}
	s.credit = int(min(m.Credit, wire.MaxInFlight))
	s.duplicates = m.Duplicates
	s.forget(m.Applied)
	return Effects{Acked: true, Applied: s.applied}, nil
}

// expected goes back to the sequence that the core wants next.
func (s *Session) expected(m *wire.Expect, now int64) (Effects, error) {
	if m.Epoch != s.epoch {
		return Effects{}, nil
	}
	if m.Seq <= s.applied || m.Seq > s.nextSeq {
		return Effects{}, fmt.Errorf("session: the core expects %d, but %d is acknowledged and %d not sealed yet", m.Seq, s.applied, s.nextSeq)
	}
	s.credit = int(min(m.Credit, wire.MaxInFlight))
	s.forget(m.Seq - 1)
	if s.expect.seq != m.Seq || now-s.expect.at >= expectQuiet {
		s.expect.seq, s.expect.at = m.Seq, now
		s.sent = 0
	}
	return Effects{Acked: true, Applied: s.applied}, nil
}

func (s *Session) slowDown(m *wire.SlowDown, now int64) Effects {
	s.pause = now + min(max(m.RetryAfter, 0), maxSlowDown)
	if m.Seq == 0 {
		return Effects{}
	}
	for s.sent > 0 && s.queue[s.sent-1].Seq >= m.Seq {
		s.sent--
	}
	s.expect.seq = 0
	return Effects{}
}

// Sealed takes a batch that is durable now. Its sequence is the NextSeq.
func (s *Session) Sealed(it Item) {
	s.queue = append(s.queue, it)
	s.nextSeq = it.Seq + 1
	if it.Lane == wire.Live {
		s.live++
	} else {
		s.live = 0
	}
}

// Next returns the batch to send now, if there is one, and counts it as sent.
func (s *Session) Next(now int64) (Item, bool) {
	if !s.up || now < s.pause || s.sent >= len(s.queue) || s.sent >= s.credit {
		return Item{}, false
	}
	it := s.queue[s.sent]
	s.sent++
	return it, true
}

// CanSeal reports whether a batch that is sealed now could be sent at once; sealing is how many are on their way to Sealed.
func (s *Session) CanSeal(now int64, sealing int) bool {
	return s.up && now >= s.pause && len(s.queue)+sealing < s.credit
}

// Lane chooses what to seal next of what waits: live first, a backlog batch after
// every few live ones, and never two backlog batches in flight while live readings wait.
func (s *Session) Lane(liveWaiting, backlogWaiting bool) (wire.Lane, bool) {
	switch {
	case !backlogWaiting:
		return wire.Live, liveWaiting
	case !liveWaiting:
		return wire.Backlog, true
	case s.live < liveInARow:
		return wire.Live, true
	}
	for _, it := range s.queue {
		if it.Lane == wire.Backlog {
			return wire.Live, true
		}
	}
	return wire.Backlog, true
}

// Epoch, Applied and InFlight tell where the session is.
func (s *Session) Epoch() uint64 { return s.epoch }

// Applied is the highest acknowledged sequence.
func (s *Session) Applied() uint64 { return s.applied }

// Sent is the highest sequence that was sealed and handed to Next on this connection or acknowledged.
func (s *Session) Sent() uint64 {
	if s.sent > 0 {
		return s.queue[s.sent-1].Seq
	}
	return s.applied
}

// Up reports whether the core has welcomed this connection.
func (s *Session) Up() bool { return s.up }

// Waiting is the number of sealed batches that are not acknowledged, InFlight those of them that were sent.
func (s *Session) Waiting() int { return len(s.queue) }

// InFlight is the number of batches sent on this connection and not acknowledged.
func (s *Session) InFlight() int { return s.sent }

// Duplicates is what the core last said about batches it knew already.
func (s *Session) Duplicates() uint64 { return s.duplicates }

// Paused returns until when the core wants quiet, 0 when it does not.
func (s *Session) Paused(now int64) int64 {
	if now < s.pause {
		return s.pause
	}
	return 0
}

// Stalled reports whether the core has said nothing for too long although it owes an answer: connect again.
func (s *Session) Stalled(now int64) bool {
	return (s.sent > 0 || !s.up) && now-s.heard > ackTimeout
}
