package edge

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"signalbox/edge/decode"
	"signalbox/edge/mqtt"
	"signalbox/edge/spool"
	"signalbox/edge/wire"
)

// Config of an agent.
type Config struct {
	Agent         string           `yaml:"agent" default:"" help:"name of this agent, unique in the cluster; empty = the host's name"`
	Core          []string         `yaml:"core" default:"127.0.0.1:7400" help:"core nodes, host:port; any will do, the leader is found and remembered"`
	DataDir       string           `yaml:"data_dir" default:"./data/edge" help:"the spool; what was acknowledged to the broker lives here until the core has it"`
	Linger        time.Duration    `yaml:"linger" default:"1s" help:"how long readings wait for others in a batch: 1s saves uplink on a device, 0 is for a gateway (readings gather while the disk is busy)"`
	BatchReadings int              `yaml:"batch_readings" default:"1000" help:"a batch with so many readings is sealed at once"`
	Heartbeat     time.Duration    `yaml:"heartbeat" default:"5s" help:"certifies to the core what has been sent when nothing else does"`
	IdleAfter     time.Duration    `yaml:"idle_after" default:"5s" help:"with nothing to send and no reading for so long, time itself is certified"`
	LiveWindow    time.Duration    `yaml:"live_window" default:"60s" help:"readings that could not be sent for so long are backlog: sent beside live ones, never alerted on as now; the core's max_alert_age, beyond which it would not alert either"`
	LiveBytes     int              `yaml:"live_bytes" default:"33554432" help:"memory for live readings while the core takes none; 32 MiB are about a minute of 20,000 readings/s. The oldest beyond it are backlog, counted as demoted"`
	HoldDelay     time.Duration    `yaml:"hold_delay" default:"20ms" help:"with linger 0: longest time a reading waits for credit, so that one fsync covers reading and batch"`
	MaxBackoff    time.Duration    `yaml:"max_backoff" default:"30s" help:"longest wait between two attempts to reach the core, with jitter"`
	HTTP          string           `yaml:"http" default:"127.0.0.1:7480" help:"address of /metrics and /healthz, empty = none"`
	TLS           TLS              `yaml:"tls"`
	MQTT          mqtt.Config      `yaml:"mqtt"`
	Spool         spool.Config     `yaml:"spool"`
	Mappings      []decode.Mapping `yaml:"mappings" help:"topics and how to read them; none = line protocol on fleet/+/telemetry, where signalbox-sim run publishes"`
}

// TLS of the link to the core.
type TLS struct {
	CAFile   string `yaml:"ca_file" default:"" help:"authority of the core's certificates; setting it turns TLS on"`
	CertFile string `yaml:"cert_file" default:"" help:"this agent's certificate: the core takes its name from it"`
	KeyFile  string `yaml:"key_file" default:"" help:"key of the certificate"`
}

// DefaultConfig returns the defaults of the tags.
func DefaultConfig() Config {
	return Config{Core: []string{"127.0.0.1:7400"}, DataDir: "./data/edge", Linger: time.Second, BatchReadings: 1000, Heartbeat: 5 * time.Second,
		IdleAfter: 5 * time.Second, LiveWindow: time.Minute, LiveBytes: 32 << 20, HoldDelay: 20 * time.Millisecond, MaxBackoff: 30 * time.Second, HTTP: "127.0.0.1:7480",
		MQTT: mqtt.DefaultConfig(), Spool: spool.DefaultConfig()}
}

// Validate returns everything that is wrong with the configuration.
func (c *Config) Validate() error {
	var errs []error
	if len(c.Core) == 0 {
		errs = append(errs, errors.New("core is empty: name at least one node as host:port"))
	}
	for _, node := range c.Core {
		if _, _, err := net.SplitHostPort(node); err != nil {
			errs = append(errs, fmt.Errorf("core: %q is not host:port, for example 10.0.0.1:7400", node))
		}
	}
	if len(c.Agent) > wire.MaxNameBytes {
		errs = append(errs, fmt.Errorf("agent is %d bytes long, at most %d are allowed", len(c.Agent), wire.MaxNameBytes))
	}
	if c.DataDir == "" {
		errs = append(errs, errors.New("data_dir is empty: the spool needs a directory"))
	}
	if c.Linger < 0 || c.Linger > time.Hour {
		errs = append(errs, fmt.Errorf("linger is %v, it must be 0 to 1h", c.Linger))
	}
	if c.BatchReadings < 1 || c.BatchReadings > 10000 {
		errs = append(errs, fmt.Errorf("batch_readings is %d, it must be 1 to 10000", c.BatchReadings))
	}
	for name, d := range map[string]time.Duration{"heartbeat": c.Heartbeat, "idle_after": c.IdleAfter, "live_window": c.LiveWindow, "hold_delay": c.HoldDelay, "max_backoff": c.MaxBackoff} {
		if d < time.Millisecond {
			errs = append(errs, fmt.Errorf("%s is %v, at least 1ms is needed", name, d))
		}
	}
	if c.LiveBytes < 1<<16 {
		errs = append(errs, fmt.Errorf("live_bytes is %d, at least 65536 is needed", c.LiveBytes))
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") || c.TLS.CertFile != "" && c.TLS.CAFile == "" {
		errs = append(errs, errors.New("tls.cert_file needs tls.key_file and tls.ca_file"))
	}
	_, err := decode.New(c.mappings())
	return errors.Join(append(errs, c.MQTT.Validate(), c.Spool.Validate(), err)...)
}

func (c *Config) mappings() []decode.Mapping {
	if len(c.Mappings) == 0 {
		return []decode.Mapping{{Topic: "fleet/+/telemetry"}}
	}
	return c.Mappings
}

// client returns the TLS configuration of the link, nil = plain, and the certificate that it shows, nil = none.
func (t *TLS) client() (*tls.Config, *identity, error) {
	if t.CAFile == "" {
		return nil, nil, nil
	}
	pem, err := os.ReadFile(t.CAFile)
	if err != nil {
		return nil, nil, fmt.Errorf("tls.ca_file: %w", err)
	}
	out := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: x509.NewCertPool()}
	if !out.RootCAs.AppendCertsFromPEM(pem) {
		return nil, nil, fmt.Errorf("tls.ca_file: %s holds no PEM certificate", t.CAFile)
	}
	id, err := newIdentity(t.CertFile, t.KeyFile)
	if id != nil {
		out.GetClientCertificate = id.get
	}
	return out, id, err
}
