package edge

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync"
	"time"
)

// identity is the agent's certificate. It is read again when its file changed, so that a renewal needs no restart: the
// connection that stands is not touched, the next one has the new certificate.
type identity struct {
	certFile, keyFile string

	mu       sync.Mutex
	modified time.Time
	cert     *tls.Certificate
}

func newIdentity(certFile, keyFile string) (*identity, error) {
	if certFile == "" {
		return nil, nil
	}
	id := &identity{certFile: certFile, keyFile: keyFile}
	if err := id.read(); err != nil {
		return nil, fmt.Errorf("tls.cert_file: %w", err)
	}
	return id, nil
}

// read looks at the files; what cannot be read (a renewal that is half done) leaves the certificate as it was.
func (id *identity) read() error {
	st, err := os.Stat(id.certFile)
	if err != nil || st.ModTime().Equal(id.modified) {
		return err
	}
	cert, err := tls.LoadX509KeyPair(id.certFile, id.keyFile)
	if err != nil {
		return err
	}
	if cert.Leaf, err = x509.ParseCertificate(cert.Certificate[0]); err != nil {
		return err
	}
	id.cert, id.modified = &cert, st.ModTime()
	return nil
}

// get is called for each handshake.
func (id *identity) get(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	id.mu.Lock()
	defer id.mu.Unlock()
	_ = id.read()
	return id.cert, nil
}

// expires returns the end of the certificate, zero when there is none.
func (id *identity) expires() time.Time {
	if id == nil {
		return time.Time{}
	}
	id.mu.Lock()
	defer id.mu.Unlock()
	_ = id.read()
	return id.cert.Leaf.NotAfter
}
