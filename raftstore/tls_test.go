package raftstore

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"testing"
	"time"
)

// issuer is a certificate authority of a test.
type issuer struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	next int64
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{t: t, key: key, next: 1}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	i.cert = i.sign(c, c, key)
	return i
}

func (i *issuer) sign(c, parent *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	i.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, i.key)
	if err != nil {
		i.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		i.t.Fatal(err)
	}
	return cert
}

func (i *issuer) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(i.cert)
	return p
}

// issue returns a certificate for an address ("" = none) and an identity ("" = none).
func (i *issuer) issue(ip, identity string, until time.Time) tls.Certificate {
	i.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		i.t.Fatal(err)
	}
	i.next++
	c := &x509.Certificate{SerialNumber: big.NewInt(i.next), NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	if ip != "" {
		c.IPAddresses = []net.IP{net.ParseIP(ip)}
	}
	if identity != "" {
		c.URIs = []*url.URL{{Scheme: "spiffe", Host: "test", Path: identity}}
	}
	return tls.Certificate{Certificate: [][]byte{i.sign(c, i.cert, key).Raw}, PrivateKey: key}
}

// With TLS a node takes from other nodes what it takes without, and from nobody else.
func TestWhoOpensWhichChannel(t *testing.T) {
	ours, foreign := newIssuer(t), newIssuer(t)
	later, past := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	node := ours.issue("127.0.0.1", "/node/core1", later)
	m := NewMux(l, l.Addr().String(), TLS{Nodes: []string{"127.0.0.1"},
		Server: &tls.Config{Certificates: []tls.Certificate{node}, ClientCAs: ours.pool(), ClientAuth: tls.VerifyClientCertIfGiven, MinVersion: tls.VersionTLS13},
		Client: &tls.Config{Certificates: []tls.Certificate{node}, RootCAs: ours.pool(), MinVersion: tls.VersionTLS13}})
	raftConns := m.Group(0)
	go func() { // what a Raft node would do with the connection: answer
		for {
			c, err := raftConns.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "raft")
			_ = c.Close()
		}
	}()
	quiet := log.New(io.Discard, "", 0)
	public := &http.Server{ErrorLog: quiet, Handler: answer("public")}
	peer := &http.Server{ErrorLog: quiet, Handler: answer("peer")}
	go func() { _ = public.Serve(m.HTTP()) }()
	go func() { _ = peer.Serve(m.Peer()) }()
	t.Cleanup(func() { _ = m.Close(); _ = public.Close(); _ = peer.Close() })

	for _, c := range []struct {
		who                string
		certs              []tls.Certificate
		trusts             *x509.CertPool
		raft, peer, public bool
	}{
		{"a node", []tls.Certificate{ours.issue("127.0.0.1", "/node/core2", later)}, ours.pool(), true, true, true},
		{"a node whose certificate says no more than its address", []tls.Certificate{ours.issue("127.0.0.1", "", later)}, ours.pool(), true, true, true},
		{"an agent", []tls.Certificate{ours.issue("", "/agent/depot1", later)}, ours.pool(), false, false, true},
		{"an agent on the address of a node", []tls.Certificate{ours.issue("127.0.0.1", "/agent/depot1", later)}, ours.pool(), false, false, true},
		{"another server of the same authority", []tls.Certificate{ours.issue("127.0.0.9", "", later)}, ours.pool(), false, false, true},
		{"nobody", nil, ours.pool(), false, false, true},
		{"a node that expired", []tls.Certificate{ours.issue("127.0.0.1", "/node/core2", past)}, ours.pool(), false, false, false},
		{"a node of another authority", []tls.Certificate{foreign.issue("127.0.0.1", "/node/core2", later)}, ours.pool(), false, false, false},
		{"a node that trusts another authority", []tls.Certificate{ours.issue("127.0.0.1", "/node/core2", later)}, foreign.pool(), false, false, false},
	} {
		other := &Mux{client: &tls.Config{Certificates: c.certs, RootCAs: c.trusts, MinVersion: tls.VersionTLS13, NextProtos: []string{peerProtocol}}}
		addr := l.Addr().String()
		check := func(what string, want bool, err error) {
			t.Helper()
			if (err == nil) != want {
				t.Errorf("%s, %s: want %v, got %v", c.who, what, want, err)
			}
		}
		conn, err := other.dial(t.Context(), addr, ChannelRaft, 0)
		if err == nil {
			_ = conn.SetDeadline(time.Now().Add(time.Minute))
			var text []byte
			if text, err = io.ReadAll(conn); err == nil && string(text) != "raft" {
				err = fmt.Errorf("the connection said %q", text)
			}
			_ = conn.Close()
		}
		check("Raft", c.raft, err)
		check("requests between nodes", c.peer, fetch(t.Context(), "http://"+addr, "peer", &http.Transport{DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) { return other.DialPeer(ctx, addr) }}))
		check("requests", c.public, fetch(t.Context(), "https://"+addr, "public", &http.Transport{TLSClientConfig: &tls.Config{Certificates: c.certs, RootCAs: c.trusts}}))
	}
	if err := fetch(t.Context(), "http://"+l.Addr().String(), "public", &http.Transport{}); err == nil {
		t.Error("plain text was answered on a port with TLS")
	}
}

type answer string

func (a answer) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, string(a))
}

// fetch wants an answer.
func fetch(ctx context.Context, url, want string, tr *http.Transport) error {
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := (&http.Client{Transport: tr, Timeout: time.Minute}).Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && string(text) != want {
		err = errors.New(string(text))
	}
	return err
}
