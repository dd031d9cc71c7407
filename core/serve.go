package core

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"signalbox/core/api"
	"signalbox/core/deliver"
	"signalbox/core/ingest"
	"signalbox/raftstore"
)

// HTTP timeouts; the agent link and events are long-lived and have their own.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 64 << 10
	bodyTimeout   = 5 * time.Minute  // the body of a request: the largest, a static table, needs 1 MB/s
	copyTimeout   = 10 * time.Minute // a sink's database from another node, which may freeze meanwhile
)

type tlsState struct{}

// servers are the public API, and what only other nodes reach.
func (n *Node) servers(p *parts) (public, peer *http.Server) {
	reg := prometheus.NewRegistry()
	reg.MustRegister(&collector{n: n, p: p}, collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, s := range n.opts.Sinks {
		if m, ok := s.(interface{ Collectors() []prometheus.Collector }); ok {
			reg.MustRegister(m.Collectors()...)
		}
	}
	s := &api.Server{
		State: p.machine, Queries: p.queries, Hosts: n.hosts(), Catalog: p.catalog, Events: p.events, Agents: p.agents, Page: n.opts.Page,
		Metrics: promhttp.HandlerFor(reg, promhttp.HandlerOpts{}),
		Status:  func() api.Status { return n.status(p) },
		Ready:   func() error { return ready(p) },
	}
	inner := http.NewServeMux()
	inner.Handle(ingest.ForwardPath, p.proposer.ForwardHandler())
	inner.HandleFunc("GET "+clockPath, n.serveClock)
	inner.HandleFunc("GET /sink/{name}", func(w http.ResponseWriter, r *http.Request) { n.serveCopy(p, w, r) })
	withTLS := func(ctx context.Context, c net.Conn) context.Context {
		if s, ok := c.(interface {
			ConnectionState() (tls.ConnectionState, bool)
		}); ok {
			if st, ok := s.ConnectionState(); ok {
				return context.WithValue(ctx, tlsState{}, st)
			}
		}
		return ctx
	}
	public = &http.Server{Handler: boundedBodies(s.Handler(), bodyTimeout), ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader, ConnContext: withTLS}
	peer = &http.Server{Handler: inner, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader}
	return public, peer
}

// hosts are the names under which this node may be opened; nil with TLS, where a name without a certificate opens nothing.
func (n *Node) hosts() *api.Hosts {
	if n.tls.Server != nil {
		return nil
	}
	h := &api.Hosts{Names: n.cfg.AllowedHosts}
	for _, addr := range append([]string{n.cfg.Listen}, addresses(n.peers)...) {
		if host, _, err := net.SplitHostPort(addr); err == nil {
			h.Names = append(h.Names, host)
		}
	}
	return h
}

func addresses(peers []raftstore.Peer) (out []string) {
	for _, p := range peers {
		out = append(out, p.Addr)
	}
	return out
}

// boundedBodies ends a request whose body does not come to its end. The agent link has none, and is not touched.
func boundedBodies(h http.Handler, limit time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != nil && r.Body != http.NoBody {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(limit)) // of this request only
		}
		h.ServeHTTP(w, r)
	})
}

// identity takes an agent's name from its certificate: the URI SAN …/agent/NAME. Without TLS (loopback) the hello is believed.
func (n *Node) identity() ingest.Identity {
	if n.tls.Server == nil {
		return nil
	}
	return func(r *http.Request) (string, bool) {
		st, _ := r.Context().Value(tlsState{}).(tls.ConnectionState)
		if len(st.VerifiedChains) == 0 {
			return "", true // no certificate: no name fits
		}
		for _, u := range st.PeerCertificates[0].URIs {
			if _, name, ok := strings.Cut(u.Path, "/agent/"); ok {
				return name, true
			}
		}
		return "", true
	}
}

func ready(p *parts) error {
	if _, addr := p.store.Leader(); addr == "" {
		return errors.New("no leader is known")
	}
	if f := p.store.Status().Fault; f != "" {
		return errors.New(f)
	}
	if d := p.machine.Diverged(); d != "" {
		return errors.New(d)
	}
	return nil
}

// serveCopy gives another node a copy of a sink's database.
func (n *Node) serveCopy(p *parts, w http.ResponseWriter, r *http.Request) {
	s, ok := p.delivery.Sink(r.PathValue("name"))
	c, can := s.(deliver.Copier)
	if !ok || !can {
		http.Error(w, "no such sink, or it cannot be copied", http.StatusNotFound)
		return
	}
	dir, err := os.MkdirTemp(n.cfg.DataDir, "copy-")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "copy")
	if _, err := c.CopyTo(r.Context(), path); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	http.ServeFile(w, r, path)
}

// dropCopies removes copies of databases, each as large as the database, that a killed process left in the middle.
func dropCopies(dir string) {
	left, _ := filepath.Glob(filepath.Join(dir, "copy-*")) // the pattern is well formed
	for _, path := range left {
		if name := strings.TrimPrefix(filepath.Base(path), "copy-"); strings.Trim(name, "0123456789") == "" {
			_ = os.RemoveAll(path) // what cannot go now goes at the next start
		}
	}
}

// fetchCopy brings the leader's copy of a sink, or to the leader the first that another node gives, into data_dir, which is
// on one file system with the sink's own files.
func (n *Node) fetchCopy(ctx context.Context, p *parts, sink string) (string, error) {
	id, addr := p.store.Leader()
	if addr == "" {
		return "", errors.New("no node leads now")
	}
	if id != n.cfg.NodeID {
		return n.fetchFrom(ctx, p, addr, sink)
	}
	err := errors.New("there is no other node")
	for _, peer := range n.peers {
		if peer.ID == n.cfg.NodeID {
			continue
		}
		var path string
		if path, err = n.fetchFrom(ctx, p, peer.Addr, sink); err == nil {
			return path, nil
		}
	}
	return "", err
}

func (n *Node) fetchFrom(ctx context.Context, p *parts, addr, sink string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, copyTimeout)
	defer cancel()
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, a string) (net.Conn, error) { return p.mux.DialPeer(ctx, a) }}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/sink/"+sink, nil)
	if err != nil {
		return "", err
	}
	res, err := (&http.Client{Transport: tr}).Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answers %s", addr, res.Status)
	}
	f, err := os.CreateTemp(n.cfg.DataDir, "copy-*")
	if err != nil {
		return "", err
	}
	_, err = io.Copy(f, res.Body)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(f.Name())
		return "", err
	}
	return f.Name(), nil
}
