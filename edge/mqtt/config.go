package mqtt

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"time"
)

// Config of the subscription.
type Config struct {
	Brokers      []string      `yaml:"brokers" default:"tcp://127.0.0.1:1883" help:"tried in turn: tcp://, ssl://, ws:// or wss://"`
	ClientID     string        `yaml:"client_id" default:"" help:"stable, or the broker keeps no session; empty = signalbox-edge-AGENT. Two clients with one id disconnect each other for ever"`
	Username     string        `yaml:"username" default:"" help:"empty = anonymous"`
	Password     string        `yaml:"password" default:"" secret:"true" help:"value, file:PATH or env:NAME"`
	CAFile       string        `yaml:"ca_file" default:"" help:"PEM file of the authority that signed the broker's certificate; empty = the system's"`
	CertFile     string        `yaml:"cert_file" default:"" help:"client certificate, with key_file"`
	KeyFile      string        `yaml:"key_file" default:"" help:"key of the client certificate"`
	KeepAlive    time.Duration `yaml:"keep_alive" default:"30s" help:"a dead connection is noticed after one and a half of it"`
	WriteTimeout time.Duration `yaml:"write_timeout" default:"10s" help:"without it a dead peer blocks writers for ever"`
	MaxBackoff   time.Duration `yaml:"max_backoff" default:"30s" help:"longest wait between two attempts to connect, with jitter"`
}

// DefaultConfig returns the defaults of the tags.
func DefaultConfig() Config {
	return Config{Brokers: []string{"tcp://127.0.0.1:1883"}, KeepAlive: 30 * time.Second, WriteTimeout: 10 * time.Second, MaxBackoff: 30 * time.Second}
}

// Validate returns what is wrong with the configuration.
func (c *Config) Validate() error {
	for _, b := range c.Brokers {
		if u, err := url.Parse(b); err != nil || u.Host == "" {
			return fmt.Errorf("mqtt.brokers: %q is not an address: write for example tcp://127.0.0.1:1883 or ssl://broker:8883", b)
		}
	}
	switch {
	case len(c.Brokers) == 0:
		return fmt.Errorf("mqtt.brokers is empty: name at least one, like tcp://127.0.0.1:1883")
	case (c.CertFile == "") != (c.KeyFile == ""):
		return fmt.Errorf("mqtt.cert_file and mqtt.key_file go together")
	case c.KeepAlive < time.Second || c.WriteTimeout < time.Second || c.MaxBackoff < time.Second:
		return fmt.Errorf("mqtt.keep_alive, write_timeout and max_backoff must be at least 1s")
	}
	return nil
}

// tls returns the TLS configuration for ssl:// and wss:// brokers.
func (c *Config) tls() (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("mqtt.ca_file: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("mqtt.ca_file: %s holds no PEM certificate", c.CAFile)
		}
	}
	if c.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("mqtt.cert_file: %w", err)
		}
		t.Certificates = []tls.Certificate{cert}
	}
	return t, nil
}
