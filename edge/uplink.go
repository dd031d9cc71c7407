package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"signalbox/edge/wire"
)

// Bounds of the link.
const (
	dialTimeout   = 10 * time.Second
	writeTimeout  = 10 * time.Second
	firstBackoff  = 200 * time.Millisecond
	sendQueue     = 4 * wire.MaxInFlight // messages; more means that the connection is stuck
	maxRedirects  = 4                    // in a row, then the backoff holds again
	lastingAtMost = 10 * time.Second     // a connection that lasted longer starts the backoff anew
)

// uplink keeps one connection to one of the core nodes. It decides where to
// connect and when; what is said is the session's business.
type uplink struct {
	addrs  []string
	leader string // preferred, remembered over connections
	tls    *tls.Config
	max    time.Duration
	rand   *rand.Rand
	next   int
	sent   atomic.Uint64 // bytes, framing included
	client *http.Client
	// up is called with a new connection, down after its end; message for what it receives. All from run's goroutine.
	up      func(*link)
	message func(*link, wire.Message)
	down    func(*link, error)
}

// link is one connection.
type link struct {
	addr     string
	out      chan []byte
	cancel   context.CancelCauseFunc
	redirect chan string // 1 deep
}

var errRedirect = errors.New("redirected")

// send queues a message; when the queue is full the connection is given up.
func (l *link) send(m wire.Message) {
	select {
	case l.out <- wire.AppendMessage(nil, m):
	default:
		l.cancel(fmt.Errorf("edge: %s takes no messages", l.addr))
	}
}

// close ends the connection, for a reason or to go to another node.
func (l *link) close(err error) { l.cancel(err) }

func (l *link) redirectTo(addr string) {
	l.prefer(addr)
	l.cancel(errRedirect)
}

// prefer remembers where to connect next time.
func (l *link) prefer(addr string) {
	select {
	case <-l.redirect:
	default:
	}
	select {
	case l.redirect <- addr:
	default:
	}
}

// bye tells the core that this end is going, after everything that is queued.
func (l *link) bye() {
	l.send(&wire.Goodbye{Code: wire.GoodbyeShutdown})
	select {
	case l.out <- nil:
	default:
		l.cancel(errors.New("edge: stopping"))
	}
}

func (u *uplink) run(ctx context.Context) {
	backoff, redirects := firstBackoff, 0
	for ctx.Err() == nil {
		started := time.Now()
		err := u.connection(ctx, u.choose())
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errRedirect) && redirects < maxRedirects {
			redirects++
			continue
		}
		redirects = 0
		switch {
		case errors.Is(err, errRefused): // it will say the same: do not ask often
			backoff = u.max
		case time.Since(started) > lastingAtMost:
			backoff = firstBackoff
		}
		wait := backoff/2 + time.Duration(u.rand.Int64N(int64(backoff)))
		backoff = min(2*backoff, u.max)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// choose prefers the remembered leader, once; if that fails the nodes take turns.
func (u *uplink) choose() string {
	if u.leader != "" {
		return u.leader
	}
	addr := u.addrs[u.next%len(u.addrs)]
	u.next++
	return addr
}

func (u *uplink) connection(ctx context.Context, addr string) error {
	dialing, done := context.WithTimeout(ctx, dialTimeout)
	conn, err := u.dial(dialing, addr)
	done()
	if err != nil {
		u.leader = ""
		u.down(nil, err)
		return err
	}
	conn.SetReadLimit(wire.MaxMessageBytes)
	running, cancel := context.WithCancelCause(ctx)
	l := &link{addr: addr, out: make(chan []byte, sendQueue), cancel: cancel, redirect: make(chan string, 1)}
	defer cancel(nil)
	writer := make(chan struct{})
	go func() {
		defer close(writer)
		u.write(running, conn, l)
	}()
	u.up(l)
	err = u.read(running, conn, l)
	cancel(err)
	<-writer
	if cause := context.Cause(running); cause != nil && ctx.Err() == nil {
		err = cause
	}
	select { // a node that failed is not preferred, unless it named another one
	case u.leader = <-l.redirect:
	default:
		u.leader = ""
	}
	u.down(l, err)
	return err
}

func (u *uplink) dial(ctx context.Context, addr string) (*websocket.Conn, error) {
	url := "ws://" + addr + wire.Path
	if u.tls != nil {
		url = "wss://" + addr + wire.Path
	}
	if u.client == nil {
		u.client = &http.Client{Transport: &http.Transport{TLSClientConfig: u.tls, Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}}
	}
	conn, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPClient: u.client, CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return nil, fmt.Errorf("edge: connect to %s: %w", addr, err)
	}
	return conn, nil
}

func (u *uplink) read(ctx context.Context, conn *websocket.Conn, l *link) error {
	defer conn.CloseNow()
	for {
		kind, raw, err := conn.Read(ctx)
		if err != nil {
			return fmt.Errorf("edge: link to %s: %w", l.addr, err)
		}
		if kind != websocket.MessageBinary {
			return fmt.Errorf("edge: link to %s: a text message", l.addr)
		}
		m, err := wire.DecodeMessage(raw)
		if err != nil {
			return fmt.Errorf("edge: link to %s: %w", l.addr, err)
		}
		u.message(l, m)
	}
}

func (u *uplink) write(ctx context.Context, conn *websocket.Conn, l *link) {
	for {
		select {
		case raw := <-l.out:
			if raw == nil { // bye
				_ = conn.Close(websocket.StatusNormalClosure, "")
				return
			}
			deadline, cancel := context.WithTimeout(ctx, writeTimeout)
			err := conn.Write(deadline, websocket.MessageBinary, raw)
			cancel()
			if err != nil {
				l.cancel(fmt.Errorf("edge: link to %s: %w", l.addr, err))
				return
			}
			u.sent.Add(uint64(len(raw) + framing(len(raw))))
		case <-ctx.Done():
			return
		}
	}
}

// framing is what a WebSocket client adds to a message: head, length and mask (RFC 6455, 5.2).
func framing(n int) int {
	switch {
	case n < 126:
		return 2 + 4
	case n < 1<<16:
		return 4 + 4
	}
	return 10 + 4
}
