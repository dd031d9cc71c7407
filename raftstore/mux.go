package raftstore

import (
	"container/list"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// Channel is what a connection between nodes carries on the one port.
type Channel byte

// The channels. HTTP has no preamble: whatever does not start with one is HTTP.
const (
	ChannelRaft Channel = 'R' // hashicorp/raft RPCs of one group
	ChannelPeer Channel = 'P' // HTTP between nodes (forwarded proposals), never reachable from outside
)

// Limits of the port.
const (
	HandshakeTimeout  = 5 * time.Second // first byte, TLS handshake and preamble must arrive within it
	MaxHandshakes     = 512             // connections that have not yet said what they are; of more the oldest is closed
	MaxConnections    = 20_000          // HTTP connections, agents included; more are closed
	acceptBacklog     = 64              // connections routed but not yet accepted
	preambleVersion   = 1
	peerProtocol      = "signalbox-peer/1" // ALPN of node-to-node connections
	httpProtocol      = "http/1.1"
	preambleLen       = 10
	agentIdentityPath = "/agent/" // in a URI SAN: certificates of agents never open a peer channel
)

var preambleMagic = [4]byte{0, 'S', 'B', 'X'} // the zero byte starts neither HTTP nor a TLS record

// Mux shares one listener between Raft groups, node-to-node HTTP and everybody else's HTTP.
type Mux struct {
	listener  net.Listener
	advertise string
	server    *tls.Config // nil: plain transport
	client    *tls.Config
	nodes     []string // hosts of the members; nil: any
	http      *queue
	peer      *queue
	mu        sync.Mutex
	groups    map[uint32]*queue
	shaking   list.List // net.Conn that have not yet said what they are, the oldest first; under mu
	refused   atomic.Uint64
	open      atomic.Int64 // HTTP connections
	maxOpen   int64
	stall     time.Duration // see StallTimeout
	done      chan struct{}
	once      sync.Once
}

// TLS holds both directions of a node's transport security. The zero value is plain transport.
type TLS struct {
	Server *tls.Config // must verify client certificates when given
	Client *tls.Config
	// Nodes are the hosts of the members: a certificate that is for none of them opens no channel between nodes. Any client
	// of the same authority could otherwise write the log. nil = not looked at.
	Nodes []string
}

// NewMux starts to route connections of l. advertise is the address under which peers reach this node.
func NewMux(l net.Listener, advertise string, sec TLS) *Mux {
	m := &Mux{listener: l, advertise: advertise, groups: map[uint32]*queue{}, maxOpen: MaxConnections, stall: StallTimeout, done: make(chan struct{})}
	if sec.Server != nil {
		m.server, m.nodes = sec.Server.Clone(), sec.Nodes
		m.server.NextProtos = []string{peerProtocol, httpProtocol}
	}
	if sec.Client != nil {
		m.client = sec.Client.Clone()
		m.client.NextProtos = []string{peerProtocol}
	}
	m.http, m.peer = m.newQueue(), m.newQueue()
	go m.accept()
	return m
}

// HTTP is the listener of everything that is not node-to-node traffic.
func (m *Mux) HTTP() net.Listener { return m.http }

// Peer is the listener of node-to-node HTTP.
func (m *Mux) Peer() net.Listener { return m.peer }

// Refused counts connections closed because they were too many, too slow or had no right to a channel.
func (m *Mux) Refused() uint64 { return m.refused.Load() }

// Group returns the stream layer of one Raft group. Closing it leaves the port open.
func (m *Mux) Group(id uint32) raft.StreamLayer {
	m.mu.Lock()
	defer m.mu.Unlock()
	q, ok := m.groups[id]
	if !ok || q.isClosed() {
		q = m.newQueue()
		m.groups[id] = q
	}
	return &streamLayer{queue: q, mux: m, group: id}
}

// DialPeer opens a node-to-node HTTP connection, for http.Transport.DialContext.
func (m *Mux) DialPeer(ctx context.Context, addr string) (net.Conn, error) {
	return m.dial(ctx, addr, ChannelPeer, 0)
}

// Close closes the port and everything waiting on it.
func (m *Mux) Close() error {
	var err error
	m.once.Do(func() {
		close(m.done)
		err = m.listener.Close()
	})
	return err
}

func (m *Mux) accept() {
	for {
		c, err := m.listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				_ = m.Close()
				return
			}
			select { // out of descriptors, for example: give others time to close theirs
			case <-m.done:
				return
			case <-time.After(10 * time.Millisecond):
			}
			continue
		}
		begun := m.begin(c)
		go func() {
			m.route(c, sync.OnceFunc(func() { m.end(begun) }))
		}()
	}
}

// begin notes a connection that has not yet said what it is. When there are too many the oldest goes: who is honest needs
// a moment only, and connections that say nothing must not keep other nodes out.
func (m *Mux) begin(c net.Conn) *list.Element {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.shaking.Len() >= MaxHandshakes {
		_ = m.shaking.Remove(m.shaking.Front()).(net.Conn).Close() // its reader drops it
	}
	return m.shaking.PushBack(c)
}

// end notes that a connection has said what it is, or never will; Remove knows whether it is still in the list.
func (m *Mux) end(e *list.Element) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shaking.Remove(e)
}

func (m *Mux) drop(c net.Conn) {
	m.refused.Add(1)
	_ = c.Close()
}

// route finds out what a connection is; known is called as soon as it has said so, before it waits for somebody to take it.
func (m *Mux) route(c net.Conn, known func()) {
	defer known()
	_ = c.SetDeadline(time.Now().Add(HandshakeTimeout))
	peerAllowed := true
	if m.server != nil {
		t := tls.Server(c, m.server)
		if err := t.Handshake(); err != nil {
			m.drop(c)
			return
		}
		peerAllowed = m.isNode(t.ConnectionState())
		c = t
	}
	var first [preambleLen]byte
	if _, err := io.ReadFull(c, first[:1]); err != nil {
		m.drop(c)
		return
	}
	if first[0] != preambleMagic[0] {
		if m.open.Add(1) > m.maxOpen {
			m.open.Add(-1)
			m.drop(c)
			return
		}
		_ = c.SetDeadline(time.Time{})
		known()
		m.http.push(&prefixConn{Conn: c, mux: m, first: first[0], pending: true})
		return
	}
	_, err := io.ReadFull(c, first[1:])
	known()
	if err != nil || !peerAllowed || !m.pushPeer(c, first) {
		m.drop(c)
	}
}

func (m *Mux) pushPeer(c net.Conn, p [preambleLen]byte) bool {
	if [4]byte(p[:4]) != preambleMagic || p[4] != preambleVersion {
		return false
	}
	_ = c.SetDeadline(time.Time{})
	switch Channel(p[5]) {
	case ChannelPeer:
		// net/http closes a *tls.Conn at once whose protocol it does not know, so it must not see that this is one.
		m.peer.push(struct{ net.Conn }{c})
		return true
	case ChannelRaft:
		m.mu.Lock()
		q := m.groups[binary.BigEndian.Uint32(p[6:])]
		m.mu.Unlock()
		if q == nil || q.isClosed() {
			return false
		}
		q.push(&steadyConn{Conn: c, stall: m.stall})
		return true
	}
	return false
}

// isNode reports whether a TLS connection may carry node-to-node traffic: a verified certificate for the address of a member,
// and not an agent's.
func (m *Mux) isNode(s tls.ConnectionState) bool {
	if s.NegotiatedProtocol != peerProtocol || len(s.VerifiedChains) == 0 {
		return false
	}
	for _, u := range s.PeerCertificates[0].URIs {
		if strings.HasPrefix(u.Path, agentIdentityPath) {
			return false
		}
	}
	return m.nodes == nil || slices.ContainsFunc(m.nodes, func(host string) bool { return s.PeerCertificates[0].VerifyHostname(host) == nil })
}

func (m *Mux) dial(ctx context.Context, addr string, ch Channel, group uint32) (net.Conn, error) {
	d := net.Dialer{Timeout: HandshakeTimeout}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("raftstore: peer %s: %w", addr, err)
	}
	_ = c.SetDeadline(time.Now().Add(HandshakeTimeout))
	if m.client != nil {
		conf := m.client.Clone()
		if conf.ServerName == "" {
			conf.ServerName, _, _ = net.SplitHostPort(addr)
		}
		t := tls.Client(c, conf)
		if err := t.HandshakeContext(ctx); err != nil {
			_ = c.Close()
			return nil, fmt.Errorf("raftstore: TLS with peer %s: %w", addr, err)
		}
		c = t
	}
	p := append(make([]byte, 0, preambleLen), preambleMagic[:]...)
	p = append(p, preambleVersion, byte(ch))
	p = binary.BigEndian.AppendUint32(p, group)
	if _, err := c.Write(p); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("raftstore: peer %s: %w", addr, err)
	}
	_ = c.SetDeadline(time.Time{})
	return c, nil
}

// streamLayer gives hashicorp/raft its connections.
type streamLayer struct {
	*queue
	mux   *Mux
	group uint32
}

func (s *streamLayer) Dial(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return s.mux.dial(ctx, string(addr), ChannelRaft, s.group)
}

// queue is a net.Listener fed by the mux.
type queue struct {
	mux   *Mux
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (m *Mux) newQueue() *queue {
	return &queue{mux: m, conns: make(chan net.Conn, acceptBacklog), done: make(chan struct{})}
}

func (q *queue) push(c net.Conn) {
	select {
	case q.conns <- c:
	case <-q.done:
		q.mux.drop(c)
	case <-q.mux.done:
		_ = c.Close()
	}
}

func (q *queue) isClosed() bool {
	select {
	case <-q.done:
		return true
	default:
		return false
	}
}

func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.done:
	case <-q.mux.done:
	}
	return nil, net.ErrClosed
}

func (q *queue) Close() error {
	q.once.Do(func() { close(q.done) })
	return nil
}

func (q *queue) Addr() net.Addr { return advertised(q.mux.advertise) }

type advertised string

func (advertised) Network() string  { return "tcp" }
func (a advertised) String() string { return string(a) }

// prefixConn gives back the byte that was read to tell the channels apart.
type prefixConn struct {
	net.Conn
	mux     *Mux
	first   byte
	pending bool
	once    sync.Once
}

// Close makes room for another connection.
func (c *prefixConn) Close() error {
	c.once.Do(func() { c.mux.open.Add(-1) })
	return c.Conn.Close()
}

func (c *prefixConn) Read(p []byte) (int, error) {
	if c.pending && len(p) > 0 {
		p[0], c.pending = c.first, false
		return 1, nil
	}
	return c.Conn.Read(p)
}

// ConnectionState lets HTTP handlers see the client certificate; ok is false on plain transport.
func (c *prefixConn) ConnectionState() (s tls.ConnectionState, ok bool) {
	if t, isTLS := c.Conn.(*tls.Conn); isTLS {
		return t.ConnectionState(), true
	}
	return s, false
}
