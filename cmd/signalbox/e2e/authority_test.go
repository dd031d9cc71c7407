package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// authority signs the certificates of a test cluster.
type authority struct {
	t    testing.TB
	dir  string
	name string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	next int64
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir(), name: name, next: 1}
	a.key = a.newKey()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.write("ca.pem", "CERTIFICATE", der)
	return a
}

func (a *authority) newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return key
}

func (a *authority) path(file string) string { return filepath.Join(a.dir, file) }

func (a *authority) write(file, kind string, der []byte) {
	a.t.Helper()
	if err := os.WriteFile(a.path(file), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// issue signs a certificate for a name of the kind "node" or "agent", and returns the paths of it and of its key.
func (a *authority) issue(kind, name string, ip net.IP, until time.Time) (cert, key string) {
	a.t.Helper()
	a.next++
	template := &x509.Certificate{SerialNumber: big.NewInt(a.next), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	if kind != "" {
		template.URIs = []*url.URL{{Scheme: "spiffe", Host: "test", Path: "/" + kind + "/" + name}}
	}
	if ip != nil {
		template.IPAddresses = []net.IP{ip}
	}
	k := a.newKey()
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &k.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		a.t.Fatal(err)
	}
	file := fmt.Sprintf("%s-%s-%d", kind, name, a.next)
	a.write(file+".pem", "CERTIFICATE", der)
	a.write(file+".key", "EC PRIVATE KEY", private)
	return a.path(file + ".pem"), a.path(file + ".key")
}

// node is what a core node's configuration says of its certificate.
func (a *authority) node(name, addr string) string {
	cert, key := a.issue("node", name, hostOf(addr), time.Now().Add(time.Hour))
	return fmt.Sprintf("tls_cert: %s\ntls_key: %s\ntls_ca: %s\n", cert, key, a.path("ca.pem"))
}

// agent is what an agent's configuration says of its certificate.
func (a *authority) agent(name string) string {
	cert, key := a.issue("agent", name, nil, time.Now().Add(time.Hour))
	return fmt.Sprintf("tls: {ca_file: %s, cert_file: %s, key_file: %s}\n", a.path("ca.pem"), cert, key)
}

// believe makes this process, and the programs it starts, believe the authority.
func (a *authority) believe(t *testing.T) {
	t.Helper()
	t.Setenv("SSL_CERT_FILE", a.path("ca.pem"))
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	old := http.DefaultTransport
	http.DefaultTransport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, MaxIdleConnsPerHost: 4}
	t.Cleanup(func() { http.DefaultTransport = old })
}
