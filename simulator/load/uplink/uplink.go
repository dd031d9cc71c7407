// Package uplink is an agent without a bus: it speaks the agent link to a core
// node with batches that were sealed beforehand, so that what is measured is
// the cluster and nothing else.
//
// It promises the agent's side of the protocol: batches in order, at most as
// many in flight as the core gave credit for, sent again when the core asks,
// and done only when everything is acknowledged. It refuses to know spools,
// brokers and what the readings mean, and it does not survive a lost connection.
package uplink

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/coder/websocket"

	"signalbox/edge/wire"
)

// Batch is a sealed body.
type Batch struct {
	Body []byte
	Hash wire.Hash
}

// Agent is one connection. It is not safe for concurrent use.
type Agent struct {
	conn    *websocket.Conn
	coder   *wire.Coder
	welcome *wire.Welcome
	sealed  []Batch // sealed[i] has the sequence first+i
	first   uint64
	next    uint64 // sequence to send next
	acked   uint64
	credit  int
	pause   time.Time
	in      chan wire.Message
	failed  error // why in was closed
	sent    uint64
}

// Dial connects as a new install of the agent called name.
func Dial(ctx context.Context, addr, name string) (*Agent, error) {
	conn, _, err := websocket.Dial(ctx, "ws://"+addr+wire.Path, &websocket.DialOptions{CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return nil, fmt.Errorf("agent %s: connect to %s: %w", name, addr, err)
	}
	conn.SetReadLimit(wire.MaxMessageBytes)
	a := &Agent{conn: conn, in: make(chan wire.Message, 1024)}
	if a.coder, err = wire.NewCoder(); err != nil {
		return nil, errors.Join(err, conn.CloseNow())
	}
	if err := a.hello(ctx, name); err != nil {
		return nil, errors.Join(fmt.Errorf("agent %s: %w", name, err), conn.CloseNow())
	}
	go a.read(context.WithoutCancel(ctx))
	return a, nil
}

func (a *Agent) hello(ctx context.Context, name string) error {
	h := &wire.Hello{Protocol: wire.Protocol, Agent: name, NextSeq: 1, Version: "simulator"}
	for _, id := range [][]byte{h.Install[:], h.Session[:]} {
		if _, err := rand.Read(id); err != nil {
			return err
		}
	}
	if err := a.send(ctx, h); err != nil {
		return err
	}
	_, raw, err := a.conn.Read(ctx)
	if err != nil {
		return err
	}
	m, err := wire.DecodeMessage(raw)
	if err != nil {
		return err
	}
	w, ok := m.(*wire.Welcome)
	if !ok {
		return fmt.Errorf("hello was answered with %T %+v", m, m)
	}
	a.welcome, a.credit = w, int(w.Credit)
	a.acked, a.first, a.next = w.Applied, w.Applied+1, w.Applied+1
	return nil
}

func (a *Agent) send(ctx context.Context, m wire.Message) error {
	raw := wire.AppendMessage(nil, m)
	a.sent += uint64(len(raw))
	return a.conn.Write(ctx, websocket.MessageBinary, raw)
}

// read passes messages on until the connection ends; it ends with Close.
func (a *Agent) read(ctx context.Context) {
	defer close(a.in)
	for {
		_, raw, err := a.conn.Read(ctx)
		if err == nil {
			var m wire.Message
			if m, err = wire.DecodeMessage(raw); err == nil {
				a.in <- m
				continue
			}
		}
		a.failed = err
		return
	}
}

// Certify sends a heartbeat: the frontiers hold once everything pushed before is applied.
func (a *Agent) Certify(ctx context.Context, fs ...wire.Frontier) error {
	return a.send(ctx, &wire.Heartbeat{Epoch: a.welcome.Epoch, Sent: a.next - 1, Clock: time.Now().UnixNano(), Idle: true, Frontiers: fs})
}

// Push sends batches and returns when the core has acknowledged all of them.
func (a *Agent) Push(ctx context.Context, batches []Batch) error {
	a.sealed, a.first = batches, a.acked+1
	last := a.acked + uint64(len(batches))
	for a.acked < last {
		if err := a.pump(ctx, last); err != nil {
			return err
		}
		if err := a.hear(ctx); err != nil {
			return err
		}
	}
	return nil
}

// pump sends what credit allows.
func (a *Agent) pump(ctx context.Context, last uint64) error {
	for a.next <= last && int(a.next-a.acked) <= a.credit && time.Now().After(a.pause) {
		b := a.sealed[a.next-a.first]
		if err := a.send(ctx, a.coder.Pack(a.welcome.Epoch, a.next, b.Hash, b.Body)); err != nil {
			return err
		}
		a.next++
	}
	return nil
}

// hear waits for a message, or for the end of a pause.
func (a *Agent) hear(ctx context.Context) error {
	var over <-chan time.Time
	if d := time.Until(a.pause); d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		over = t.C
	}
	select {
	case m, ok := <-a.in:
		if !ok {
			return fmt.Errorf("link ended after batch %d was acknowledged: %w", a.acked, a.failed)
		}
		return a.handle(m)
	case <-over:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *Agent) handle(m wire.Message) error {
	switch m := m.(type) {
	case *wire.Ack:
		a.acked, a.credit = max(a.acked, m.Applied), int(m.Credit)
	case *wire.Expect:
		a.next, a.credit = m.Seq, int(m.Credit)
	case *wire.SlowDown:
		a.pause = time.Now().Add(time.Duration(m.RetryAfter))
		if m.Seq > a.acked && m.Seq < a.next {
			a.next = m.Seq
		}
	default:
		return fmt.Errorf("the core answered a batch with %T %+v", m, m)
	}
	return nil
}

// SentBytes counts the messages sent, without the framing of the WebSocket.
func (a *Agent) SentBytes() uint64 { return a.sent }

// Close says goodbye.
func (a *Agent) Close(ctx context.Context) error {
	err := a.send(ctx, &wire.Goodbye{Code: wire.GoodbyeShutdown})
	_ = a.conn.CloseNow() // the goodbye is said; what the core answers does not matter any more
	for range a.in {
	}
	return err
}
