package mqtt

import (
	"math/rand/v2"
	"testing"
	"time"
)

type message struct {
	id  uint16
	dup bool
}

func (m message) Duplicate() bool   { return m.dup }
func (m message) Qos() byte         { return 1 }
func (m message) Retained() bool    { return false }
func (m message) Topic() string     { return "fleet/1/telemetry" }
func (m message) MessageID() uint16 { return m.id }
func (m message) Payload() []byte   { return []byte{byte(m.id), byte(m.id >> 8)} }
func (m message) Ack()              {}

// What was acknowledged is remembered for as long as its acknowledgement may have been lost, and not until its packet id comes round.
func TestAcknowledgedMessagesAreForgotten(t *testing.T) {
	s, err := New(Config{Brokers: []string{"tcp://127.0.0.1:1"}, ClientID: "a", KeepAlive: time.Minute, WriteTimeout: time.Minute, MaxBackoff: time.Minute}, []string{"fleet/#"}, time.Now, rand.New(rand.NewPCG(1, 1)))
	if err != nil {
		t.Fatal(err)
	}
	s.conn = 1
	for i := range 60_000 {
		if !s.receive(1, message{id: uint16(i + 1)}) {
			t.Fatal("not taken")
		}
		s.Ack(s.Take(nil, 10, 1<<20))
	}
	if n := len(s.entries); n != ackedKept {
		t.Errorf("%d messages are remembered, want %d", n, ackedKept)
	}
	for _, id := range []uint16{60_000, 60_000 - ackedKept + 1} {
		if s.receive(1, message{id: id, dup: true}); len(s.queue) != 0 {
			t.Errorf("message %d is taken twice", id)
		}
	}
}
