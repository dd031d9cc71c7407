package core

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"signalbox/core/api"
	"signalbox/core/outbox"
	"signalbox/raftstore"
)

// Config is a node's configuration. Every key has a default that is right for a single node on loopback.
type Config struct {
	NodeID  string   `yaml:"node_id" default:"core1" help:"name of this node; one of peers"`
	Listen  string   `yaml:"listen" default:"127.0.0.1:7400" help:"the one port: agents, API, page and Raft; loopback until TLS is configured"`
	Peers   []string `yaml:"peers" default:"" help:"the cluster as id=host:port, three of them, the same on every node; empty = a cluster of one"`
	DataDir string   `yaml:"data_dir" default:"signalbox-data" help:"log, snapshots and spilled output; must survive a restart"`

	TLSCert string `yaml:"tls_cert" default:"" help:"certificate of this node (PEM), for both directions; needed to listen beyond loopback"`
	TLSKey  string `yaml:"tls_key" default:"" help:"its private key (PEM)"`
	TLSCA   string `yaml:"tls_ca" default:"" help:"certificates that sign nodes and agents (PEM)"`

	Heartbeat       time.Duration `yaml:"heartbeat" default:"500ms" help:"a follower that hears nothing for one to two times this starts an election: about a second of outage when a leader dies"`
	TickEvery       time.Duration `yaml:"tick_every" default:"500ms" help:"how often time passes in a cluster without readings: idle agents and absent alerts are noticed this late"`
	IdleTimeout     time.Duration `yaml:"idle_timeout" default:"30s" help:"an agent silent for this long no longer holds watermarks; equal on all nodes"`
	MaxAgents       int           `yaml:"max_agents" default:"100000" help:"agents the cluster remembers, about 2 KB each; equal on all nodes"`
	MaxKeys         int           `yaml:"max_keys" default:"1048576" help:"keys of one query: beyond it rows of new keys are rejected as state_limit and the old ones go on; a key costs about 300 bytes, twice that before garbage is collected; equal on all nodes"`
	OutboxBytes     int64         `yaml:"outbox_bytes" default:"1073741824" help:"results kept for a sink that does not take them, then the oldest are dropped and counted; equal on all nodes"`
	SnapshotEntries uint64        `yaml:"snapshot_entries" default:"8192" help:"log entries between snapshots: more means a longer replay after a crash"`
	SnapshotEvery   time.Duration `yaml:"snapshot_every" default:"30s" help:"how often it is looked whether there are so many entries, give or take as much again"`
	TrailingEntries uint64        `yaml:"trailing_entries" default:"4096" help:"log entries kept after a snapshot for followers that are a little behind"`
	QueryConcurrent int           `yaml:"query_concurrent" default:"4" help:"queries worked on at once on this node, 64 more wait; each may hold query_bytes"`
	QueryTimeout    time.Duration `yaml:"query_timeout" default:"30s" help:"for one query; readings and alerts never wait for it"`
	QueryRows       int           `yaml:"query_rows" default:"5000000" help:"rows that an operator of one query may hold"`
	QueryBytes      int64         `yaml:"query_bytes" default:"536870912" help:"memory that one query may hold, estimated"`
	AllowedHosts    []string      `yaml:"allowed_hosts" default:"" help:"further names under which the API and page are opened without TLS, such as a proxy's; addresses, localhost and the names in listen and peers are always right"`
	Generation      uint32        `yaml:"generation" default:"0" help:"generation of the cluster; raised when a backup is restored"`
}

// Defaults returns the configuration with every default filled in.
func Defaults() Config {
	queries := api.DefaultQueryLimits()
	return Config{NodeID: "core1", Listen: "127.0.0.1:7400", DataDir: "signalbox-data", Heartbeat: 500 * time.Millisecond,
		TickEvery: 500 * time.Millisecond, IdleTimeout: 30 * time.Second, MaxAgents: 100_000, MaxKeys: 1 << 20, OutboxBytes: outbox.DefaultMaxBytes,
		SnapshotEntries: 8192, SnapshotEvery: 30 * time.Second, TrailingEntries: 4096,
		QueryConcurrent: queries.Concurrent, QueryTimeout: queries.Timeout, QueryRows: queries.Rows, QueryBytes: queries.Bytes}
}

// Validate checks everything and reports all problems together.
func (c *Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("core: "+format, args...)) }
	if c.NodeID == "" || strings.ContainsAny(c.NodeID, "=@, ") {
		bad("node_id %q: want a name without spaces, '=', '@' and ','", c.NodeID)
	}
	if c.DataDir == "" {
		bad("data_dir is empty")
	}
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		bad("listen %q: want host:port: %v", c.Listen, err)
	}
	tlsFiles := 0
	for _, f := range []string{c.TLSCert, c.TLSKey, c.TLSCA} {
		if f != "" {
			tlsFiles++
		}
	}
	switch {
	case tlsFiles != 0 && tlsFiles != 3:
		bad("tls_cert, tls_key and tls_ca must be given together")
	case err == nil && tlsFiles == 0 && !isLoopback(host):
		bad("listen %s: plain transport is allowed on loopback only; set tls_cert, tls_key and tls_ca, or listen on 127.0.0.1", c.Listen)
	}
	if peers, err := c.peers(); err != nil {
		errs = append(errs, err)
	} else {
		for _, p := range peers {
			h, _, err := net.SplitHostPort(p.Addr)
			if err != nil {
				bad("peers: %s=%s: want id=host:port", p.ID, p.Addr)
			} else if tlsFiles == 0 && !isLoopback(h) {
				bad("peers: %s=%s is not on loopback and there is no TLS: set tls_cert, tls_key and tls_ca", p.ID, p.Addr)
			}
		}
	}
	for _, d := range []struct {
		key      string
		v, least time.Duration
	}{{"heartbeat", c.Heartbeat, 20 * time.Millisecond}, {"tick_every", c.TickEvery, 10 * time.Millisecond}, {"idle_timeout", c.IdleTimeout, time.Second}, {"snapshot_every", c.SnapshotEvery, 50 * time.Millisecond}} {
		if d.v < d.least {
			bad("%s %s: at least %s", d.key, d.v, d.least)
		}
	}
	if c.QueryConcurrent < 1 || c.QueryRows < 1 || c.QueryBytes < 1<<20 || c.QueryTimeout < time.Second {
		bad("query_concurrent and query_rows must be at least 1, query_bytes at least 1048576, query_timeout at least 1s")
	}
	if c.MaxAgents < 1 || c.MaxKeys < 1 || c.OutboxBytes < 1<<20 || c.SnapshotEntries < 1 {
		bad("max_agents, max_keys and snapshot_entries must be at least 1, outbox_bytes at least 1048576")
	}
	return errors.Join(errs...)
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// peers are the members in order; a cluster of one when none are configured.
func (c *Config) peers() ([]raftstore.Peer, error) {
	var out []raftstore.Peer
	self := false
	for _, p := range c.Peers {
		if strings.TrimSpace(p) == "" {
			continue
		}
		id, addr, ok := strings.Cut(strings.TrimSpace(p), "=")
		if !ok || id == "" || addr == "" {
			return nil, fmt.Errorf("core: peers: %q: want id=host:port", p)
		}
		out = append(out, raftstore.Peer{ID: id, Addr: addr})
		self = self || id == c.NodeID
	}
	switch {
	case len(out) == 0:
		return []raftstore.Peer{{ID: c.NodeID, Addr: c.Listen}}, nil
	case !self:
		return nil, fmt.Errorf("core: peers: node_id %s is not among them", c.NodeID)
	case len(out)%2 == 0:
		return nil, fmt.Errorf("core: peers: %d nodes: an even number survives no more failures than one less; use 1 or 3", len(out))
	}
	return out, nil
}

// transport reads the certificates. The zero value is plain transport.
func (c *Config) transport() (raftstore.TLS, error) {
	if c.TLSCert == "" {
		return raftstore.TLS{}, nil
	}
	cert, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
	if err != nil {
		return raftstore.TLS{}, fmt.Errorf("core: tls_cert %s: %w", c.TLSCert, err)
	}
	pem, err := os.ReadFile(c.TLSCA)
	if err != nil {
		return raftstore.TLS{}, fmt.Errorf("core: tls_ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return raftstore.TLS{}, fmt.Errorf("core: tls_ca %s: no certificate in it", c.TLSCA)
	}
	certs := []tls.Certificate{cert}
	peers, err := c.peers()
	if err != nil {
		return raftstore.TLS{}, err
	}
	nodes := make([]string, len(peers))
	for i, p := range peers {
		if nodes[i], _, err = net.SplitHostPort(p.Addr); err != nil {
			return raftstore.TLS{}, fmt.Errorf("core: peers: %w", err)
		}
	}
	if own, err := x509.ParseCertificate(cert.Certificate[0]); err != nil {
		return raftstore.TLS{}, fmt.Errorf("core: tls_cert %s: %w", c.TLSCert, err)
	} else if host := nodes[slices.IndexFunc(peers, func(p raftstore.Peer) bool { return p.ID == c.NodeID })]; len(peers) > 1 && own.VerifyHostname(host) != nil {
		return raftstore.TLS{}, fmt.Errorf("core: tls_cert %s is not for %s, the address of %s in peers: the other nodes would refuse it; it needs a subject alternative name", c.TLSCert, host, c.NodeID)
	}
	return raftstore.TLS{
		Nodes:  nodes,
		Server: &tls.Config{Certificates: certs, ClientCAs: pool, ClientAuth: tls.VerifyClientCertIfGiven, MinVersion: tls.VersionTLS13},
		Client: &tls.Config{Certificates: certs, RootCAs: pool, MinVersion: tls.VersionTLS13},
	}, nil
}
