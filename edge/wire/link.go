package wire

import (
	"encoding/binary"
	"fmt"
)

// Protocol is the version of the agent link that this program speaks. A core
// answers a Hello of another version with Goodbye{GoodbyeProtocol}.
const Protocol = 1

// Path is where the core accepts the agent link (WebSocket, binary messages).
const Path = "/v1/agent"

// Bounds of the agent link.
const (
	MaxInFlight     = 4                          // batches sent and not yet acknowledged
	MaxMessageBytes = MaxBatchBytes + (64 << 10) // one WebSocket message
	MaxHashes       = 64                         // applied or sealed hashes in Hello and Welcome; the core keeps as many per agent
	MaxTextBytes    = 1 << 10                    // a reason meant for people
)

// Message is one message of the agent link: *Hello, *Welcome, *BatchMessage,
// *Ack, *Expect, *Conflict, *Heartbeat, *SlowDown, *Redirect or *Goodbye.
type Message interface{ kind() byte }

// The first byte of a message. Append, never renumber.
const (
	kindHello byte = iota + 1
	kindWelcome
	kindBatch
	kindAck
	kindExpect
	kindConflict
	kindHeartbeat
	kindSlowDown
	kindRedirect
	kindGoodbye
)

// SeqHash names a batch by sequence and content.
type SeqHash struct {
	Seq  uint64
	Hash Hash
}

// Hello is the agent's first message on a connection. Epoch 0 asks for a new epoch
// (a new install, or after a conflict: then Install is new as well).
type Hello struct {
	Protocol uint32
	Agent    string
	Install  [16]byte // random, made once per spool directory
	Session  [16]byte // random, made once per process: two live sessions of one agent are a cloned device
	Epoch    uint64
	NextSeq  uint64    // the first sequence the agent has not sealed yet
	Sealed   []SeqHash // sealed and not acknowledged, oldest first
	Version  string    // of the agent's program, for people
}

// Welcome answers Hello. When Epoch differs from the Hello's, the agent numbers
// its batches from Applied+1 in the new epoch, after dropping every sealed batch whose hash is in Hashes.
type Welcome struct {
	Epoch      uint64
	Applied    uint64    // highest applied sequence of Epoch
	PrevEpoch  uint64    // epoch that Hashes belong to; equals Epoch when nothing changed
	Prev       uint64    // highest applied sequence of PrevEpoch
	Hashes     []SeqHash // last applied batches of PrevEpoch, oldest first
	Credit     uint32    // batches that may be in flight from now on, at most MaxInFlight
	Generation uint32
	Group      uint32
	Leader     string // host:port to prefer next time, "" = this node
	Clock      int64  // ns, the core's clock, for the agent's estimate of its offset
}

// BatchMessage carries one sealed batch. The agent's name is the connection's.
type BatchMessage struct {
	Epoch, Seq uint64
	Hash       Hash   // of the canonical body
	Coding     Coding // transport coding of Payload
	Size       uint32 // bytes of the body
	Payload    []byte // aliases the message after DecodeMessage; Body undoes the coding
}

// Ack acknowledges every sequence up to Applied: committed and applied, never to be sent again.
type Ack struct {
	Epoch, Applied uint64
	Credit         uint32
	Duplicates     uint64 // batches of this connection that were known already
}

// Expect answers a gap: the next sequence the core takes. Everything from there on is sent again.
type Expect struct {
	Epoch, Seq uint64
	Credit     uint32
}

// Conflict says that Seq is known with another content, or is older than the
// window of hashes. It is never acknowledged: the agent asks for a new epoch.
type Conflict struct {
	Epoch, Seq uint64
	Reason     string
}

// Queue is how much an agent has not sent yet.
type Queue struct {
	Readings, Bytes uint64
	Oldest          int64 // ns, receive time of the oldest, 0 = empty
}

// Heartbeat certifies frontiers while nothing else does, and tells how the agent is.
type Heartbeat struct {
	Epoch     uint64
	Sent      uint64 // highest sequence sent: the frontiers hold once this is applied
	Clock     int64  // ns, agent clock
	Idle      bool   // spool empty and no reading for the idle time: Frontiers' LowWater is clock minus delay
	Frontiers []Frontier
	Live      Queue
	Backlog   Queue
	Received  uint64 // readings since install, for the accounting identity
	Rejected  uint64
	Dropped   uint64
}

// SlowDown asks the agent to send no batch for RetryAfter. Nothing is lost: what was not acknowledged is sent again.
type SlowDown struct {
	RetryAfter int64  // ns
	Seq        uint64 // first sequence that was not taken; 0 = all that were sent are still being worked on
	Reason     string
}

// Redirect names the leader; the agent reconnects there and remembers it.
type Redirect struct{ Leader string }

// GoodbyeCode says why a side closes.
type GoodbyeCode uint8

// The codes. Append, never renumber.
const (
	GoodbyeShutdown GoodbyeCode = iota // the process stops; reconnect to another
	GoodbyeProtocol                    // version not spoken, or a message that makes no sense
	GoodbyeFenced                      // another session of this agent took over, or the epoch is old
	GoodbyeRefused                     // identity not allowed
	GoodbyeTooLarge                    // a bound was exceeded
	GoodbyeNoLeader                    // no majority now: retry later
)

// Goodbye is the last message of a side before it closes.
type Goodbye struct {
	Code   GoodbyeCode
	Reason string
}

func (*Hello) kind() byte        { return kindHello }
func (*Welcome) kind() byte      { return kindWelcome }
func (*BatchMessage) kind() byte { return kindBatch }
func (*Ack) kind() byte          { return kindAck }
func (*Expect) kind() byte       { return kindExpect }
func (*Conflict) kind() byte     { return kindConflict }
func (*Heartbeat) kind() byte    { return kindHeartbeat }
func (*SlowDown) kind() byte     { return kindSlowDown }
func (*Redirect) kind() byte     { return kindRedirect }
func (*Goodbye) kind() byte      { return kindGoodbye }

// AppendMessage appends the encoding of m to dst.
func AppendMessage(dst []byte, m Message) []byte {
	dst = append(dst, m.kind())
	switch m := m.(type) {
	case *Hello:
		dst = appendHello(dst, m)
	case *Welcome:
		dst = appendWelcome(dst, m)
	case *BatchMessage:
		dst = appendUvarints(dst, m.Epoch, m.Seq, uint64(m.Coding), uint64(m.Size))
		dst = append(dst, m.Hash[:]...)
		dst = append(dst, m.Payload...) // last: the message ends where the payload ends
	case *Ack:
		dst = appendUvarints(dst, m.Epoch, m.Applied, uint64(m.Credit), m.Duplicates)
	case *Expect:
		dst = appendUvarints(dst, m.Epoch, m.Seq, uint64(m.Credit))
	case *Conflict:
		dst = appendUvarints(dst, m.Epoch, m.Seq)
		dst = appendText(dst, m.Reason)
	case *Heartbeat:
		dst = appendHeartbeat(dst, m)
	case *SlowDown:
		dst = binary.AppendVarint(dst, m.RetryAfter)
		dst = appendUvarints(dst, m.Seq)
		dst = appendText(dst, m.Reason)
	case *Redirect:
		dst = appendText(dst, m.Leader)
	case *Goodbye:
		dst = append(dst, byte(m.Code))
		dst = appendText(dst, m.Reason)
	}
	return dst
}

// DecodeMessage reads one message. A BatchMessage's payload aliases src.
func DecodeMessage(src []byte) (Message, error) {
	if len(src) > MaxMessageBytes {
		return nil, fmt.Errorf("%w: message of %d bytes, at most %d are allowed", ErrCorrupt, len(src), MaxMessageBytes)
	}
	r := reader{b: src, what: "message"}
	var m Message
	switch k := r.byte(); k {
	case kindHello:
		m = r.hello()
	case kindWelcome:
		m = r.welcome()
	case kindBatch:
		m = r.batchMessage()
	case kindAck:
		m = &Ack{Epoch: r.uvarint(), Applied: r.uvarint(), Credit: r.uint32(), Duplicates: r.uvarint()}
	case kindExpect:
		m = &Expect{Epoch: r.uvarint(), Seq: r.uvarint(), Credit: r.uint32()}
	case kindConflict:
		m = &Conflict{Epoch: r.uvarint(), Seq: r.uvarint(), Reason: r.string(MaxTextBytes, "reason")}
	case kindHeartbeat:
		m = r.heartbeat()
	case kindSlowDown:
		m = &SlowDown{RetryAfter: r.varint(), Seq: r.uvarint(), Reason: r.string(MaxTextBytes, "reason")}
	case kindRedirect:
		m = &Redirect{Leader: r.string(MaxTextBytes, "leader")}
	case kindGoodbye:
		m = &Goodbye{Code: GoodbyeCode(r.byte()), Reason: r.string(MaxTextBytes, "reason")}
	default:
		r.fail("unknown kind %d", k)
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	return m, nil
}

func appendUvarints(dst []byte, vs ...uint64) []byte {
	for _, v := range vs {
		dst = binary.AppendUvarint(dst, v)
	}
	return dst
}

// appendText cuts a text for people to its bound rather than fail a message for it.
func appendText(dst []byte, s string) []byte {
	if len(s) > MaxTextBytes {
		s = s[:MaxTextBytes]
	}
	return appendString(dst, s)
}

func appendHello(dst []byte, m *Hello) []byte {
	dst = appendUvarints(dst, uint64(m.Protocol))
	dst = appendString(dst, m.Agent)
	dst = append(dst, m.Install[:]...)
	dst = append(dst, m.Session[:]...)
	dst = appendUvarints(dst, m.Epoch, m.NextSeq)
	dst = appendHashes(dst, m.Sealed)
	return appendText(dst, m.Version)
}

func (r *reader) hello() *Hello {
	m := &Hello{Protocol: r.uint32(), Agent: r.string(MaxNameBytes, "agent")}
	copy(m.Install[:], r.take(16))
	copy(m.Session[:], r.take(16))
	m.Epoch, m.NextSeq = r.uvarint(), r.uvarint()
	m.Sealed = r.hashes()
	m.Version = r.string(MaxTextBytes, "version")
	return m
}

func appendWelcome(dst []byte, m *Welcome) []byte {
	dst = appendUvarints(dst, m.Epoch, m.Applied, m.PrevEpoch, m.Prev)
	dst = appendHashes(dst, m.Hashes)
	dst = appendUvarints(dst, uint64(m.Credit), uint64(m.Generation), uint64(m.Group))
	dst = appendText(dst, m.Leader)
	return binary.AppendVarint(dst, m.Clock)
}

func (r *reader) welcome() *Welcome {
	m := &Welcome{Epoch: r.uvarint(), Applied: r.uvarint(), PrevEpoch: r.uvarint(), Prev: r.uvarint()}
	m.Hashes = r.hashes()
	m.Credit, m.Generation, m.Group = r.uint32(), r.uint32(), r.uint32()
	m.Leader, m.Clock = r.string(MaxTextBytes, "leader"), r.varint()
	return m
}

func (r *reader) batchMessage() *BatchMessage {
	m := &BatchMessage{Epoch: r.uvarint(), Seq: r.uvarint()}
	coding := r.uvarint()
	if coding > uint64(Zstd) {
		r.fail("unknown transport coding %d", coding)
	}
	m.Coding, m.Size = Coding(coding), r.uint32()
	if m.Size > MaxBatchBytes {
		r.fail("batch of %d bytes, at most %d are allowed", m.Size, MaxBatchBytes)
	}
	copy(m.Hash[:], r.take(16))
	m.Payload = r.take(r.left())
	return m
}

func appendHeartbeat(dst []byte, m *Heartbeat) []byte {
	dst = appendUvarints(dst, m.Epoch, m.Sent)
	dst = binary.AppendVarint(dst, m.Clock)
	idle := byte(0)
	if m.Idle {
		idle = 1
	}
	dst = append(dst, idle)
	dst = appendFrontiers(dst, m.Frontiers)
	for _, q := range [...]Queue{m.Live, m.Backlog} {
		dst = appendUvarints(dst, q.Readings, q.Bytes)
		dst = binary.AppendVarint(dst, q.Oldest)
	}
	return appendUvarints(dst, m.Received, m.Rejected, m.Dropped)
}

func (r *reader) heartbeat() *Heartbeat {
	m := &Heartbeat{Epoch: r.uvarint(), Sent: r.uvarint(), Clock: r.varint()}
	idle := r.byte()
	if idle > 1 {
		r.fail("idle flag %d", idle)
	}
	m.Idle = idle == 1
	m.Frontiers = r.frontiers()
	m.Live = Queue{Readings: r.uvarint(), Bytes: r.uvarint(), Oldest: r.varint()}
	m.Backlog = Queue{Readings: r.uvarint(), Bytes: r.uvarint(), Oldest: r.varint()}
	m.Received, m.Rejected, m.Dropped = r.uvarint(), r.uvarint(), r.uvarint()
	return m
}

func appendHashes(dst []byte, hs []SeqHash) []byte {
	dst = appendUvarints(dst, uint64(len(hs)))
	for _, h := range hs {
		dst = appendUvarints(dst, h.Seq)
		dst = append(dst, h.Hash[:]...)
	}
	return dst
}

func (r *reader) hashes() []SeqHash {
	n := r.count(MaxHashes, "hashes")
	if n == 0 {
		return nil
	}
	hs := make([]SeqHash, n)
	for i := range hs {
		hs[i].Seq = r.uvarint()
		copy(hs[i].Hash[:], r.take(16))
	}
	return hs
}
