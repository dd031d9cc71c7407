package raftstore_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"signalbox/raftstore"
	"signalbox/raftstore/walstore"
)

// ledger remembers every entry it applied.
type ledger struct {
	mu      sync.Mutex
	entries []string
}

func (l *ledger) Apply(e raftstore.Entry) any {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, string(e.Data))
	return len(l.entries)
}

func (l *ledger) list() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.entries...)
}

type ledgerSnapshot []string

func (l *ledger) Snapshot() (raftstore.Snapshot, error) { return ledgerSnapshot(l.list()), nil }

func (s ledgerSnapshot) Write(w io.Writer) error {
	for _, e := range s {
		if _, err := w.Write(append(binary.LittleEndian.AppendUint32(nil, uint32(len(e))), e...)); err != nil {
			return err
		}
	}
	return nil
}

func (ledgerSnapshot) Release() {}

func (l *ledger) Restore(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	var out []string
	for len(b) > 0 {
		n := binary.LittleEndian.Uint32(b)
		out = append(out, string(b[4:4+n]))
		b = b[4+n:]
	}
	l.mu.Lock()
	l.entries = out
	l.mu.Unlock()
	return nil
}

type node struct {
	id    string
	dir   string
	addr  string
	mux   *raftstore.Mux
	store *raftstore.Store
	sm    *ledger
}

type cluster struct {
	t     *testing.T
	nodes []*node
	peers []raftstore.Peer
	snaps raftstore.Snapshots
}

func newCluster(t *testing.T, n int, snaps raftstore.Snapshots) *cluster {
	c := &cluster{t: t, snaps: snaps}
	for i := range n {
		l := listen(t, "127.0.0.1:0")
		nd := &node{id: fmt.Sprintf("n%d", i), dir: t.TempDir(), addr: l.Addr().String()}
		nd.mux = raftstore.NewMux(l, nd.addr, raftstore.TLS{})
		c.nodes = append(c.nodes, nd)
		c.peers = append(c.peers, raftstore.Peer{ID: nd.id, Addr: nd.addr})
	}
	for _, nd := range c.nodes {
		c.start(nd)
	}
	t.Cleanup(func() {
		for _, nd := range c.nodes {
			c.stop(nd)
		}
	})
	return c
}

func listen(t *testing.T, addr string) net.Listener {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (c *cluster) start(nd *node) {
	if nd.mux == nil {
		nd.mux = raftstore.NewMux(listen(c.t, nd.addr), nd.addr, raftstore.TLS{})
	}
	stores, err := walstore.Open(nd.dir, walstore.Options{SegmentBytes: 64 << 10})
	if err != nil {
		c.t.Fatal(err)
	}
	nd.sm = &ledger{}
	nd.store, err = raftstore.Open(raftstore.Options{
		NodeID: nd.id, Peers: c.peers, Stores: stores, Stream: nd.mux.Group(0), Snapshots: c.snaps,
		Timing: raftstore.Timing{Heartbeat: 200 * time.Millisecond},
		OnLeader: func(ctx context.Context, term uint64) error {
			_, err := nd.store.Propose(ctx, []byte("ready"))
			return err
		},
	}, nd.sm)
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) stop(nd *node) {
	if nd.store == nil {
		return
	}
	_ = nd.mux.Close()
	if err := nd.store.Close(); err != nil {
		c.t.Error(err)
	}
	nd.mux, nd.store = nil, nil
}

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// leader waits until one node is ready.
func (c *cluster) leader() *node {
	ctx := deadline(c.t)
	for {
		any := make(chan struct{}, len(c.nodes))
		for _, nd := range c.nodes {
			if nd.store == nil {
				continue
			}
			ch := nd.store.Changed()
			go func() {
				select {
				case <-ch:
					any <- struct{}{}
				case <-ctx.Done():
				}
			}()
			if nd.store.Ready() {
				return nd
			}
		}
		select {
		case <-any:
		case <-ctx.Done():
			c.t.Fatal("no leader within a minute")
		}
	}
}

func (c *cluster) propose(v string) {
	ctx := deadline(c.t)
	for {
		_, err := c.leader().store.Propose(ctx, []byte(v))
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			c.t.Fatalf("propose %s: %v", v, err)
		}
	}
}

// has waits until the node has applied v.
func (c *cluster) has(nd *node, v string) {
	ctx := deadline(c.t)
	for {
		ch := nd.store.Applied()
		l := nd.sm.list()
		for i := len(l) - 1; i >= 0; i-- {
			if l[i] == v {
				return
			}
		}
		select {
		case <-ch:
		case <-ctx.Done():
			c.t.Fatalf("node %s never applied %s", nd.id, v)
		}
	}
}

func TestLeaderKilledAndNodesRestartedFromDisk(t *testing.T) {
	c := newCluster(t, 3, raftstore.Snapshots{})
	for i := range 20 {
		c.propose(fmt.Sprint("a", i))
	}
	first := c.leader()
	c.stop(first)
	for i := range 20 {
		c.propose(fmt.Sprint("b", i))
	}
	c.start(first)
	c.has(first, "b19")
	for _, nd := range c.nodes {
		c.stop(nd)
	}
	for _, nd := range c.nodes {
		c.start(nd)
	}
	c.propose("c0")
	for _, nd := range c.nodes {
		c.has(nd, "c0")
		if got, want := withoutReady(nd.sm.list()), withoutReady(c.nodes[0].sm.list()); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("node %s applied %v, node %s %v", nd.id, got, c.nodes[0].id, want)
		}
	}
	if got := len(withoutReady(c.nodes[0].sm.list())); got != 41 {
		t.Errorf("%d entries applied, 41 proposed", got)
	}
}

func withoutReady(in []string) (out []string) {
	for _, e := range in {
		if e != "ready" {
			out = append(out, e)
		}
	}
	return out
}

// padding makes the entries fill several log segments: truncated entries of the newest one stay readable.
var padding = strings.Repeat("x", 8<<10)

func TestLaggingFollowerGetsSnapshot(t *testing.T) {
	c := newCluster(t, 3, raftstore.Snapshots{Entries: 10, Trailing: 2, Interval: time.Hour})
	c.propose("first")
	lead := c.leader()
	var lag *node
	for _, nd := range c.nodes {
		if nd != lead {
			lag = nd
		}
	}
	c.has(lag, "first")
	c.stop(lag)
	for i := range 50 {
		c.propose(fmt.Sprint("x", i, " ", padding))
	}
	for _, nd := range c.nodes {
		if nd.store != nil {
			c.has(nd, fmt.Sprint("x49 ", padding))
			if err := nd.store.Snapshot(); err != nil {
				t.Fatal(err)
			}
		}
	}
	c.propose("after snapshot")
	c.start(lag)
	c.has(lag, "after snapshot")
	got := withoutReady(lag.sm.list())
	if len(got) != 52 || got[0] != "first" {
		t.Errorf("follower restored by snapshot has %d entries", len(got))
	}
	if lag.store.Status().Entries > 20 {
		t.Errorf("follower applied %d entries one by one: no snapshot was installed", lag.store.Status().Entries)
	}
}

func TestProposeOnFollowerIsRefused(t *testing.T) {
	c := newCluster(t, 3, raftstore.Snapshots{})
	c.propose("x")
	lead := c.leader()
	for _, nd := range c.nodes {
		if nd == lead {
			continue
		}
		c.has(nd, "x")
		if _, err := nd.store.Propose(deadline(t), []byte("y")); !errors.Is(err, raftstore.ErrNotLeader) {
			t.Errorf("propose on a follower: %v", err)
		}
		if id, addr := nd.store.Leader(); id != lead.id || addr != lead.addr {
			t.Errorf("follower knows leader %s at %s, it is %s at %s", id, addr, lead.id, lead.addr)
		}
	}
	if _, err := lead.store.Propose(deadline(t), make([]byte, raftstore.MaxEntryBytes+1)); err == nil {
		t.Error("an entry over the bound was accepted")
	}
}

func TestOnePortServesHTTPAndPeersBesideRaft(t *testing.T) {
	c := newCluster(t, 1, raftstore.Snapshots{})
	nd := c.nodes[0]
	answer := func(s string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, s) })
	}
	pub, peer := &http.Server{Handler: answer("public")}, &http.Server{Handler: answer("peer")}
	go func() { _ = pub.Serve(nd.mux.HTTP()) }()
	go func() { _ = peer.Serve(nd.mux.Peer()) }()
	t.Cleanup(func() { _ = pub.Close(); _ = peer.Close() })
	get := func(c *http.Client) string {
		r, err := c.Get("http://" + nd.addr + "/")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, _ := io.ReadAll(r.Body)
		return string(b)
	}
	if got := get(&http.Client{Transport: &http.Transport{}}); got != "public" {
		t.Errorf("plain connection reached %q", got)
	}
	tr := &http.Transport{DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) { return nd.mux.DialPeer(ctx, addr) }}
	if got := get(&http.Client{Transport: tr}); got != "peer" {
		t.Errorf("peer connection reached %q", got)
	}
	c.propose("raft still works")
	if bytes.Count([]byte(fmt.Sprint(nd.sm.list())), []byte("raft still works")) != 1 {
		t.Error("entry not applied once")
	}
}
