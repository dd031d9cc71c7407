package edge

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// writeCertificate makes a certificate that ends at a time, in the files that cfg names.
func writeCertificate(t *testing.T, cfg *TLS, serial int64, end time.Time) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "bus-1"}, NotBefore: end.Add(-time.Hour), NotAfter: end}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]*pem.Block{cfg.KeyFile: {Type: "PRIVATE KEY", Bytes: secret}, cfg.CertFile: {Type: "CERTIFICATE", Bytes: der}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	at := time.Now().Add(time.Duration(serial) * time.Minute) // two writes in one tick of the file system's clock are two versions
	if err := os.Chtimes(cfg.CertFile, at, at); err != nil {
		t.Fatal(err)
	}
}

// A certificate that is renewed is used without a restart; one that is half written, or not there for a moment, changes nothing; one that
// has expired is a reason not to be ready.
func TestARenewedCertificateIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	cfg := TLS{CAFile: filepath.Join(dir, "cert.pem"), CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}
	writeCertificate(t, &cfg, 1, time.Now().Add(time.Hour))
	conf, id, err := cfg.client()
	if err != nil {
		t.Fatal(err)
	}
	serial := func() int64 {
		t.Helper()
		c, err := conf.GetClientCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		return c.Leaf.SerialNumber.Int64()
	}
	a := &Agent{cfg: DefaultConfig(), identity: id, source: fought{}}
	a.cfg.TLS = cfg
	sp, _ := fullDisk(t)
	a.spool, a.loop.health.progress = sp, time.Now()
	if n := serial(); n != 1 || len(a.warnings()) != 1 || !strings.Contains(a.warnings()[0], "expires at") {
		t.Errorf("certificate %d, warnings %q", n, a.warnings())
	}
	writeCertificate(t, &cfg, 2, time.Now().Add(1000*time.Hour))
	if n := serial(); n != 2 || len(a.warnings()) != 0 {
		t.Errorf("certificate %d after the renewal, warnings %q", n, a.warnings())
	}
	if err := os.WriteFile(cfg.CertFile, []byte("-----BEGIN CERT"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n := serial(); n != 2 {
		t.Errorf("certificate %d while the file is half written", n)
	}
	os.Remove(cfg.CertFile)
	if n := serial(); n != 2 {
		t.Errorf("certificate %d while the file is away", n)
	}
	writeCertificate(t, &cfg, 3, time.Now().Add(-time.Minute))
	if why := strings.Join(a.notReady(), ";"); serial() != 3 || !strings.Contains(why, "expired at") || a.expiry() == 0 {
		t.Errorf("an expired certificate: %q", why)
	}
	cfg.CertFile = filepath.Join(dir, "none.pem")
	if _, _, err := cfg.client(); err == nil || !strings.Contains(err.Error(), "tls.cert_file") {
		t.Errorf("no certificate at the start: %v", err)
	}
}
