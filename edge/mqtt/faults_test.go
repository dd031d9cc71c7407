package mqtt

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// script is a broker that does what it is told: what a real one does rarely, or only when it is broken.
type script struct {
	t    *testing.T
	ln   net.Listener
	mu   sync.Mutex
	conn net.Conn
	n    int            // connections
	acks map[uint16]int // PUBACK and PUBCOMP, by packet id
	have bool           // says that it has a session
	deaf bool           // reads no acknowledgements
	on   func()         // after each acknowledgement
}

func newScript(t *testing.T) *script {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &script{t: t, ln: ln, acks: map[uint16]int{}}
	t.Cleanup(func() { ln.Close(); s.cut() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go s.serve(c)
		}
	}()
	return s
}

func (s *script) serve(c net.Conn) {
	defer c.Close()
	for {
		p, err := packets.ReadPacket(c)
		if err != nil {
			return
		}
		s.mu.Lock()
		switch p := p.(type) {
		case *packets.ConnectPacket:
			a := packets.NewControlPacket(packets.Connack).(*packets.ConnackPacket)
			a.SessionPresent = s.have
			a.Write(c)
		case *packets.SubscribePacket:
			a := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
			a.MessageID, a.ReturnCodes = p.MessageID, []byte{1}
			a.Write(c)
			s.conn = c
			s.n++
		case *packets.PubackPacket:
			if !s.deaf {
				s.acks[p.MessageID]++
			}
		case *packets.PubrecPacket:
			a := packets.NewControlPacket(packets.Pubrel).(*packets.PubrelPacket)
			a.MessageID = p.MessageID
			a.Write(c)
		case *packets.PubcompPacket:
			s.acks[p.MessageID]++
		case *packets.PingreqPacket:
			packets.NewControlPacket(packets.Pingresp).Write(c)
		}
		on := s.on
		s.mu.Unlock()
		if on != nil {
			on()
		}
	}
}

func (s *script) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		s.conn.Close()
	}
}

type flags struct {
	qos         byte
	dup, retain bool
	topic       string
}

func (s *script) send(id uint16, payload string, f flags) {
	p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	p.MessageID, p.Payload, p.TopicName, p.Qos, p.Dup, p.Retain = id, []byte(payload), "a", f.qos, f.dup, f.retain
	if f.topic != "" {
		p.TopicName = f.topic
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := p.Write(s.conn); err != nil {
		s.t.Error(err)
	}
}

// again breaks the connection and waits for the next one.
func (s *script) again(src *Source) {
	s.mu.Lock()
	n := s.n
	s.mu.Unlock()
	s.cut()
	until(s.t, "another connection", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.n > n
	})
	until(s.t, "subscribed", func() bool { return src.Stats().Connected && src.Stats().Connects > uint64(n) })
}

func (s *script) acked(ids ...uint16) {
	s.t.Helper()
	until(s.t, fmt.Sprint("acknowledgements of ", ids), func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, id := range ids {
			if s.acks[id] == 0 {
				return false
			}
		}
		return true
	})
}

func (s *script) start() *Source {
	src, _ := start(s.t, "tcp://"+s.ln.Addr().String(), "a")
	until(s.t, "subscribed", func() bool { return src.Stats().Connected })
	return src
}

// A broker that was started anew gives new packet ids to what was not acknowledged. Equal messages stay as many as they were.
func TestRedeliveryUnderOtherPacketIDs(t *testing.T) {
	b := newScript(t)
	s := b.start()
	for i, x := range []string{"same", "same", "other"} {
		b.send(uint16(i+1), x, flags{qos: 1})
	}
	got := take(t, s, 3)
	b.have = true
	b.again(s)
	s.Ack(got[:1])                                                // of a connection that is gone: it cannot be told
	for i, x := range []string{"other", "same", "same", "same"} { // one more is new, though it carries the flag: it never came
		b.send(uint16(11+i), x, flags{qos: 1, dup: true})
	}
	more := take(t, s, 1)
	until(t, "all seen", func() bool { return s.Stats().Redelivered == 3 })
	if string(more[0].Payload) != "same" || s.Stats().Received != 4 {
		t.Errorf("%s, %+v", texts(more), s.Stats())
	}
	s.Ack(got[1:])
	s.Ack(more)
	b.acked(11, 12, 13, 14)
}

// A message that came again under its own id does not stand for an equal one as well.
func TestAnEqualMessageIsNotARedelivery(t *testing.T) {
	b := newScript(t)
	s := b.start()
	b.send(1, "same", flags{qos: 1})
	b.send(3, "told", flags{qos: 1})
	got := take(t, s, 2)
	s.Ack(got[1:])
	b.acked(3)
	b.have = true
	b.again(s)
	b.send(1, "same", flags{qos: 1, dup: true})
	b.send(2, "same", flags{qos: 1, dup: true})
	b.send(4, "told", flags{qos: 1, dup: true})
	more := take(t, s, 2)
	s.Ack(append(got[:1], more...))
	b.acked(1, 2, 4)
	if st := s.Stats(); st.Redelivered != 1 || texts(more) != "a=same a=told" {
		t.Errorf("%s %+v", texts(more), st)
	}
}

// An acknowledgement that the broker did not read before it went is given again, and the message counts once.
func TestBrokerGoesInMidAcknowledgement(t *testing.T) {
	b := newScript(t)
	s := b.start()
	b.deaf, b.have = true, true
	b.send(7, "x", flags{qos: 1})
	s.Ack(take(t, s, 1))
	until(t, "acknowledged", func() bool { return s.Stats().Acked == 1 })
	b.again(s)
	b.mu.Lock()
	b.deaf = false
	b.mu.Unlock()
	b.send(7, "x", flags{qos: 1, dup: true})
	b.acked(7)
	if st := s.Stats(); st.Received != 1 || st.Redelivered != 1 {
		t.Errorf("%+v", st)
	}
	// The id carries another message now.
	b.send(7, "y", flags{qos: 1})
	if got := take(t, s, 1); string(got[0].Payload) != "y" {
		t.Error(texts(got))
	}
}

// A broker that forgot its session knows no duplicates: an equal message under an old id is a new one.
func TestAForgottenSessionHasNoRedeliveries(t *testing.T) {
	b := newScript(t)
	s := b.start()
	b.send(1, "x", flags{qos: 1})
	first := take(t, s, 1)
	b.again(s) // have is false
	b.send(1, "x", flags{qos: 1})
	second := take(t, s, 1)
	s.Ack(first)
	s.Ack(second)
	b.acked(1)
	if st := s.Stats(); st.Received != 2 {
		t.Errorf("%+v", st)
	}
}

// Each new subscription brings the retained messages again: what is here already is dropped, what changed is not.
func TestRetainedMessagesCountOnce(t *testing.T) {
	b := newScript(t)
	s := b.start()
	b.send(1, "first", flags{qos: 1, retain: true})
	b.send(2, "live", flags{qos: 1, topic: "b"})
	s.Ack(take(t, s, 2))
	b.acked(1, 2)
	b.have = true
	b.again(s)
	b.send(11, "first", flags{qos: 1, retain: true})
	b.send(12, "live", flags{qos: 1, retain: true, topic: "b"})
	b.send(0, "first", flags{retain: true})
	until(t, "dropped", func() bool { return s.Stats().Retained == 3 })
	b.acked(11, 12)
	b.send(13, "second", flags{qos: 1, retain: true})
	b.send(14, "live", flags{qos: 1, topic: "b"}) // an equal reading that is new: not retained
	if got := take(t, s, 2); texts(got) != "a=second b=live" {
		t.Error(texts(got))
	}
}

// Other qualities of service than the one asked for, and a message far beyond every limit.
func TestOtherQualities(t *testing.T) {
	b := newScript(t)
	s := b.start()
	b.send(0, "zero", flags{})
	b.send(5, "two", flags{qos: 2})
	b.send(6, string(bytes.Repeat([]byte("x"), 10<<20)), flags{qos: 1})
	var got []Message
	until(t, "three messages", func() bool { got = s.Take(got, 3, 64<<20); return len(got) == 3 })
	if string(got[0].Payload) != "zero" || string(got[1].Payload) != "two" || len(got[2].Payload) != 10<<20 {
		t.Errorf("%.100s", texts(got))
	}
	s.Ack(got)
	b.acked(5, 6)
}

// Of a payload that nobody wants only the beginning is kept, whatever its size, its topic and how the bytes come; what follows it is whole.
func TestALargePayloadTakesNoMemory(t *testing.T) {
	for _, limit := range []int{1, 100, 5000} {
		for _, n := range []int{0, 1, limit - 1, limit, limit + 1, limit + 2, 130, 16384, 300000} {
			for _, qos := range []byte{0, 1, 2} {
				var wire bytes.Buffer
				write := func(payload string, topic string) {
					p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
					p.MessageID, p.Payload, p.TopicName, p.Qos = 7, []byte(payload), topic, qos
					if err := p.Write(&wire); err != nil {
						t.Fatal(err)
					}
				}
				long := strings.Repeat("t", 200)
				payload := strings.Repeat("x", n)
				write(payload, "a")
				packets.NewControlPacket(packets.Pingresp).Write(&wire)
				write(payload, long)
				write("z", "b")
				c := newBounded(fakeConn{r: iotest.OneByteReader(&wire)}, limit)
				want := payload[:min(n, limit+1)]
				for _, w := range []struct{ topic, payload string }{{"a", want}, {}, {long, want}, {"b", "z"}} {
					got, err := packets.ReadPacket(c)
					if err != nil {
						t.Fatalf("limit %d, %d bytes, QoS %d: %v", limit, n, qos, err)
					}
					if p, ok := got.(*packets.PublishPacket); ok != (w.topic != "") || ok && (p.TopicName != w.topic || string(p.Payload) != w.payload || p.Qos != qos || qos > 0 && p.MessageID != 7) {
						t.Fatalf("limit %d, %d bytes, QoS %d: %v", limit, n, qos, got)
					}
				}
			}
		}
	}
	for _, bad := range []string{"\x30\xff\xff\xff\xff\x7f", "\x32\x80\x01\xff\xff" + strings.Repeat("x", 200), "\x30"} {
		if _, err := packets.ReadPacket(newBounded(fakeConn{r: strings.NewReader(bad)}, 10)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
	b := newScript(t)
	cfg := DefaultConfig()
	cfg.Brokers, cfg.ClientID = []string{"tcp://" + b.ln.Addr().String()}, "agent"
	s, err := New(cfg, []string{"a"}, time.Now, rand.New(rand.NewPCG(1, 2)))
	if err != nil {
		t.Fatal(err)
	}
	s.MaxPayload = 1 << 16
	run(t, s)
	b.send(6, strings.Repeat("x", 40<<20), flags{qos: 1})
	b.send(7, "after", flags{qos: 1})
	got := take(t, s, 2)
	if len(got[0].Payload) != 1<<16+1 || string(got[1].Payload) != "after" {
		t.Errorf("%d bytes, %d bytes", len(got[0].Payload), len(got[1].Payload))
	}
	s.Ack(got)
	b.acked(6, 7)
}

type fakeConn struct {
	net.Conn
	r io.Reader
}

func (c fakeConn) Read(p []byte) (int, error) { return c.r.Read(p) }

// A broker with one message in flight waits for each acknowledgement: none may depend on the next message.
func TestOneInFlight(t *testing.T) {
	b := newScript(t)
	s := b.start()
	for i := range 50 {
		b.send(1, fmt.Sprint(i), flags{qos: 1})
		got := take(t, s, 1)
		if string(got[0].Payload) != fmt.Sprint(i) {
			t.Fatal(texts(got))
		}
		s.Ack(got)
		until(t, "acknowledged", func() bool {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.acks[1] == i+1
		})
	}
}

// Two agents of one name take the connection from each other: both say so, and do it ever more rarely.
func TestTwoClientsOfOneName(t *testing.T) {
	addr, _ := broker(t)
	one, _ := start(t, addr, "a")
	other, _ := start(t, addr, "a")
	until(t, "named", func() bool {
		for _, s := range []*Source{one, other} {
			if st := s.Stats(); st.Fought() && (st.Connected || strings.Contains(st.LastError, `another client use the id "agent"`)) {
				return true
			}
		}
		return false
	})
}
