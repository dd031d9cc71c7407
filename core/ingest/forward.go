package ingest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"

	"signalbox/core/codec"
	"signalbox/core/fsm"
	"signalbox/raftstore"
)

// ForwardPath is where a node takes items from other nodes, on the peer channel of the port only.
const ForwardPath = "/forward"

// Bounds of a forwarding connection.
const (
	maxForwardBytes = 8 << 20
	dialTimeout     = 3 * time.Second
	answerTimeout   = 30 * time.Second // a leader that has not answered by then is cut off, whatever Raft believes of it
)

// How a forwarded request ended.
const (
	forwardOK byte = iota
	forwardNotLeader
	forwardOverloaded
	forwardIndeterminate
)

// Forwarder sends items to the leader over one ordered connection.
type Forwarder struct {
	dial func(ctx context.Context, addr string) (net.Conn, error)
	mu   sync.Mutex
	link *link
}

// NewForwarder returns a forwarder; dial opens a peer channel.
func NewForwarder(dial func(ctx context.Context, addr string) (net.Conn, error)) *Forwarder {
	return &Forwarder{dial: dial}
}

// link is one connection to one leader.
type link struct {
	addr    string
	conn    *websocket.Conn
	cancel  context.CancelFunc
	ctx     context.Context
	mu      sync.Mutex
	next    uint64
	pending map[uint64]pending
	dead    bool
}

// pending is a request that waits for its answer.
type pending struct {
	done  func([]fsm.Result, error)
	alarm *time.Timer
}

// Send implements Remote.
func (f *Forwarder) Send(addr string, items []fsm.Item, done func([]fsm.Result, error)) {
	l, err := f.connect(addr)
	if err != nil {
		done(nil, fmt.Errorf("%w: %v", ErrNoLeader, err))
		return
	}
	l.send(items, done)
}

// Follow implements Remote: what another node was sent and has not answered is given up. A frozen or cut off leader
// neither answers nor closes, and its followers' agents must not wait for it.
func (f *Forwarder) Follow(addr string) {
	f.mu.Lock()
	l := f.link
	f.mu.Unlock()
	if l != nil && l.addr != addr {
		l.fail(errors.New("it does not lead any more"))
	}
}

func (f *Forwarder) connect(addr string) (*link, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.link != nil && f.link.addr == addr && !f.link.isDead() {
		return f.link, nil
	}
	if f.link != nil {
		f.link.fail(errors.New("the leader changed"))
	}
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	tr := &http.Transport{DialContext: func(ctx context.Context, _, a string) (net.Conn, error) { return f.dial(ctx, a) }}
	conn, _, err := websocket.Dial(ctx, "http://"+addr+ForwardPath, &websocket.DialOptions{HTTPClient: &http.Client{Transport: tr}})
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(maxForwardBytes)
	l := &link{addr: addr, conn: conn, pending: map[uint64]pending{}}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	go l.read()
	f.link = l
	return l, nil
}

// Close ends the connection.
func (f *Forwarder) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.link != nil {
		f.link.fail(ErrClosed)
	}
}

func (l *link) isDead() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead
}

func (l *link) send(items []fsm.Item, done func([]fsm.Result, error)) {
	l.mu.Lock()
	if l.dead {
		l.mu.Unlock()
		done(nil, fmt.Errorf("%w: connection to %s is gone", ErrNoLeader, l.addr))
		return
	}
	l.next++
	id := l.next
	l.pending[id] = pending{done, time.AfterFunc(answerTimeout, func() { l.fail(fmt.Errorf("no answer within %s", answerTimeout)) })}
	l.mu.Unlock()
	size := 2 * binary.MaxVarintLen64
	for _, it := range items {
		size += 1 + binary.MaxVarintLen64 + len(it.Data)
	}
	msg := binary.AppendUvarint(make([]byte, 0, size), id)
	msg = binary.AppendUvarint(msg, uint64(len(items)))
	for _, it := range items {
		msg = codec.AppendBytes(append(msg, byte(it.Kind)), it.Data)
	}
	if err := l.conn.Write(l.ctx, websocket.MessageBinary, msg); err != nil {
		l.fail(err)
	}
}

// fail answers everything that is under way: it may have been committed, nobody here knows.
func (l *link) fail(err error) {
	l.mu.Lock()
	l.dead = true
	given := l.pending
	l.pending = map[uint64]pending{}
	l.mu.Unlock()
	l.cancel()
	_ = l.conn.CloseNow()
	for _, p := range given {
		p.alarm.Stop()
		p.done(nil, fmt.Errorf("%w: forwarded to %s: %v", ErrIndeterminate, l.addr, err))
	}
}

func (l *link) read() {
	var msg []byte // used again: results are copies
	for {
		var err error
		msg, err = readMessage(l.ctx, l.conn, msg)
		if err != nil {
			l.fail(err)
			return
		}
		r := codec.NewReader(msg, "forward answer")
		id, status, text := r.Uvarint(), r.Byte(), r.String()
		var res []fsm.Result
		for range r.Count() {
			one, err := fsm.DecodeResult(r.Bytes())
			if err != nil {
				r.Fail("%v", err)
			}
			res = append(res, one)
		}
		if err := r.End(); err != nil {
			l.fail(err)
			return
		}
		l.mu.Lock()
		p, waits := l.pending[id]
		delete(l.pending, id)
		l.mu.Unlock()
		if waits {
			p.alarm.Stop()
			p.done(res, statusError(status, text))
		}
	}
}

func statusError(status byte, text string) error {
	switch status {
	case forwardOK:
		return nil
	case forwardNotLeader:
		return fmt.Errorf("%w: %s", ErrNoLeader, text)
	case forwardOverloaded:
		return fmt.Errorf("%w: %s", ErrOverloaded, text)
	}
	return fmt.Errorf("%w: %s", ErrIndeterminate, text)
}

// ForwardHandler takes items from other nodes and proposes them here, when this node leads.
func (p *Proposer) ForwardHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		conn.SetReadLimit(maxForwardBytes)
		defer conn.CloseNow()
		ctx, cancel := context.WithCancel(p.ctx)
		defer cancel()
		answers := make(chan []byte, 1024)
		go func() {
			defer cancel()
			for {
				select {
				case msg := <-answers:
					if conn.Write(ctx, websocket.MessageBinary, msg) != nil {
						return
					}
				case <-ctx.Done():
					return
				}
			}
		}()
		last := 0
		for {
			msg, err := readMessage(ctx, conn, roomFor(last)) // its items go into the log as they are
			if err != nil {
				return
			}
			last = len(msg)
			if err := p.takeForwarded(ctx, msg, answers); err != nil {
				_ = conn.Close(websocket.StatusProtocolError, "bad message")
				return
			}
		}
	})
}

// forwarded collects the results of one request.
type forwarded struct {
	mu      sync.Mutex
	id      uint64
	left    int
	results []fsm.Result
	err     error
}

func (p *Proposer) takeForwarded(ctx context.Context, msg []byte, answers chan<- []byte) error {
	r := codec.NewReader(msg, "forward")
	f := &forwarded{id: r.Uvarint()}
	var items []fsm.Item
	for range r.Count() {
		items = append(items, fsm.Item{Kind: fsm.ItemKind(r.Byte()), Data: r.Bytes()})
	}
	if err := r.End(); err != nil {
		return err
	}
	answer := func(b []byte) {
		select {
		case answers <- b:
		case <-ctx.Done():
		}
	}
	f.results, f.left = make([]fsm.Result, len(items)), len(items)
	if !p.opts.Log.Ready() || len(items) == 0 {
		f.err = raftstore.ErrNotLeader
		answer(f.encode())
		return nil
	}
	for i, it := range items {
		one := func(res fsm.Result, err error) {
			if f.one(i, res, err) {
				go answer(f.encode()) // done must not block
			}
		}
		if err := p.Enqueue(it, one); err != nil {
			one(fsm.Result{}, err)
		}
	}
	return nil
}

func (f *forwarded) one(i int, res fsm.Result, err error) (last bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.results[i] = res
	// The worst outcome speaks for the request: when any item's is unknown, all are sent again.
	if err != nil && (f.err == nil || errors.Is(err, ErrIndeterminate)) {
		f.err = err
	}
	f.left--
	return f.left == 0
}

func (f *forwarded) encode() []byte {
	b := binary.AppendUvarint(nil, f.id)
	switch {
	case f.err == nil:
		b = codec.AppendString(append(b, forwardOK), "")
		b = binary.AppendUvarint(b, uint64(len(f.results)))
		for i := range f.results {
			b = codec.AppendBytes(b, fsm.AppendResult(nil, &f.results[i]))
		}
		return b
	case errors.Is(f.err, raftstore.ErrNotLeader), errors.Is(f.err, ErrNoLeader):
		b = append(b, forwardNotLeader)
	case errors.Is(f.err, ErrOverloaded):
		b = append(b, forwardOverloaded)
	default:
		b = append(b, forwardIndeterminate)
	}
	return binary.AppendUvarint(codec.AppendString(b, f.err.Error()), 0)
}
