// Package corecmd turns the configuration of a core node into a running one:
// the only place that knows which sinks exist. It promises that every key has
// a default and a reason, and refuses to know how a node works.
package corecmd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"signalbox/cmd/config"
	"signalbox/cmd/datadir"
	"signalbox/core"
	"signalbox/core/page"
	"signalbox/sinks"
	"signalbox/sinks/cassandra"
	"signalbox/sinks/file"
	"signalbox/sinks/mqtt"
	"signalbox/sinks/sqlite"
)

// Config is the whole configuration of signalbox-core.
type Config struct {
	Core      core.Config     `yaml:",inline"`
	SQLite    sqliteConfig    `yaml:"sqlite" help:"every node's own copy of all results"`
	MQTT      mqttConfig      `yaml:"mqtt" help:"alert topics; off until a broker is named"`
	Cassandra cassandraConfig `yaml:"cassandra" help:"off until hosts are named"`
	Files     fileConfig      `yaml:"files" help:"results as files; off until a folder is named"`
}

type sqliteConfig struct {
	Enabled   bool          `yaml:"enabled" default:"true" help:"needs nothing installed"`
	Path      string        `yaml:"path" help:"the database; empty = results.db in data_dir"`
	Retention time.Duration `yaml:"retention" default:"720h" help:"30 days; negative keeps for ever"`
}

type mqttConfig struct {
	Brokers  []string  `yaml:"brokers" help:"for example tcp://127.0.0.1:1883; empty = no MQTT sink"`
	Prefix   string    `yaml:"prefix" default:"signalbox" help:"first topic levels: PREFIX/state/… and PREFIX/event/…"`
	ClientID string    `yaml:"client_id" default:"signalbox-alerts" help:"one per cluster, so that a new leader disconnects a stale one"`
	Username string    `yaml:"username" help:"none unless the broker asks for one"`
	Password string    `yaml:"password" secret:"true" help:"file:PATH or env:NAME"`
	Tables   []string  `yaml:"tables" help:"tables whose newest rows are published too"`
	TLS      clientTLS `yaml:"tls" help:"for ssl:// brokers"`
}

// clientTLS is the transport security of a connection that the core opens.
type clientTLS struct {
	CAFile   string `yaml:"ca_file" help:"authority of the server's certificate (PEM); setting it turns TLS on"`
	CertFile string `yaml:"cert_file" help:"client certificate (PEM), with key_file"`
	KeyFile  string `yaml:"key_file" help:"key of the client certificate (PEM)"`
}

// load reads the files; nil means plain transport.
func (t clientTLS) load() (*tls.Config, error) {
	if t.CAFile == "" {
		if t.CertFile != "" || t.KeyFile != "" {
			return nil, errors.New("tls.cert_file and tls.key_file need tls.ca_file")
		}
		return nil, nil
	}
	pem, err := os.ReadFile(t.CAFile)
	if err != nil {
		return nil, fmt.Errorf("tls.ca_file: %w", err)
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	if !out.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("tls.ca_file: %s holds no PEM certificate", t.CAFile)
	}
	if t.CertFile != "" || t.KeyFile != "" {
		cert, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("tls.cert_file: %w", err)
		}
		out.Certificates = []tls.Certificate{cert}
	}
	return out, nil
}

type cassandraConfig struct {
	Hosts        []string      `yaml:"hosts" help:"addresses of some nodes; empty = no Cassandra sink"`
	Port         int           `yaml:"port" default:"9042" help:"Cassandra's own default"`
	Keyspace     string        `yaml:"keyspace" default:"signalbox" help:"one for all result tables"`
	Replication  string        `yaml:"replication" default:"{'class': 'NetworkTopologyStrategy', 'replication_factor': 3}" help:"used when the keyspace is created"`
	CreateSchema bool          `yaml:"create_schema" default:"false" help:"true lets the core create keyspace and tables; else run signalbox schema cassandra"`
	Consistency  string        `yaml:"consistency" default:"LOCAL_QUORUM" help:"survives one replica of three"`
	LocalDC      string        `yaml:"local_dc" help:"prefer nodes of this data centre"`
	Username     string        `yaml:"username" help:"none unless the cluster asks for one"`
	Password     string        `yaml:"password" secret:"true" help:"file:PATH or env:NAME"`
	Bucket       time.Duration `yaml:"bucket" default:"24h" help:"time that one partition of an entity holds"`
	TTL          time.Duration `yaml:"ttl" default:"2160h" help:"90 days; negative keeps for ever"`
	Concurrency  int           `yaml:"concurrency" default:"64" help:"statements in flight"`
	TLS          clientTLS     `yaml:"tls" help:"for clusters that require it"`
}

type fileConfig struct {
	Dir          string `yaml:"dir" help:"empty = no files"`
	Format       string `yaml:"format" default:"jsonl" help:"jsonl or csv"`
	RangeEntries uint64 `yaml:"range_entries" default:"100000" help:"log entries per file"`
	KeepFiles    int    `yaml:"keep_files" default:"0" help:"finished files kept per table, the oldest go; 0 keeps all"`
}

// Command is signalbox-core, also used by the demo for its child processes.
func Command(use, version string) *cobra.Command {
	cfg := Config{}
	c := config.Command(use, "A core node of the cluster", "SIGNALBOX_CORE_", &cfg, func(c *cobra.Command) error {
		return Run(c.Context(), cfg, version, c.ErrOrStderr())
	})
	c.Version = version
	again := Config{}
	c.AddCommand(config.Command("rejoin", "Set this node's damaged data aside, so that it gets everything from the others", "SIGNALBOX_CORE_", &again, func(c *cobra.Command) error {
		return rejoin(c.Context(), again, use, c.OutOrStdout())
	}))
	return c
}

// rejoin prepares a node that cannot use its data any more.
func rejoin(ctx context.Context, cfg Config, use string, out io.Writer) error {
	if err := cfg.Core.Validate(); err != nil {
		return err
	}
	release, err := datadir.Lock(cfg.Core.DataDir, "core node "+cfg.Core.NodeID)
	if err != nil {
		return err
	}
	defer release()
	aside, err := core.Rejoin(ctx, cfg.Core)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "what %s had is in %s now; start %s as always: it gets everything from the other nodes\nwhen signalbox status shows it without a fault, that folder may be removed\n", cfg.Core.NodeID, aside, use)
	return nil
}

// Run serves until ctx ends.
func Run(ctx context.Context, cfg Config, version string, log io.Writer) error {
	if err := cfg.Core.Validate(); err != nil { // before anything is written
		return err
	}
	limitMemory()
	release, err := datadir.Lock(cfg.Core.DataDir, "core node "+cfg.Core.NodeID)
	if err != nil {
		return err
	}
	defer release()
	opened, err := openSinks(cfg)
	if err != nil {
		return err
	}
	n, err := core.New(cfg.Core, core.Options{Sinks: opened, Page: page.Handler(), Version: version, LogOutput: newQuiet(log, time.Now)})
	if err != nil {
		for _, s := range opened {
			err = errors.Join(err, s.Close())
		}
		return err
	}
	go func() {
		select {
		case <-n.Started():
			fmt.Fprint(log, greeting(cfg, version, opened))
		case <-ctx.Done():
		}
	}()
	return n.Run(ctx)
}

// greeting says where everything is, for whoever starts a node by hand.
func greeting(cfg Config, version string, opened []sinks.Sink) string {
	names := make([]string, len(opened))
	for i, s := range opened {
		names[i] = s.Name()
	}
	scheme, results := "http", "none"
	if cfg.Core.TLSCert != "" {
		scheme = "https"
	}
	if len(names) > 0 {
		results = strings.Join(names, ", ")
	}
	return fmt.Sprintf("signalbox-core %s: %s listens on %s\n  live page, API  %s://%s\n  data            %s\n  results go to   %s\n",
		version, cfg.Core.NodeID, cfg.Core.Listen, scheme, cfg.Core.Listen, cfg.Core.DataDir, results)
}

// openSinks opens what is configured. A sink that is configured and cannot be
// opened is an error of the configuration; one whose server is away is not.
func openSinks(cfg Config) (out []sinks.Sink, err error) {
	defer func() {
		if err != nil {
			for _, s := range out {
				err = errors.Join(err, s.Close())
			}
		}
	}()
	openers := []struct {
		wanted bool
		open   func() (sinks.Sink, error)
	}{
		{cfg.SQLite.Enabled, func() (sinks.Sink, error) { return openSQLite(cfg) }},
		{cfg.Files.Dir != "", func() (sinks.Sink, error) { return openFiles(cfg.Files) }},
		{len(cfg.MQTT.Brokers) > 0, func() (sinks.Sink, error) { return openMQTT(cfg.MQTT) }},
		{len(cfg.Cassandra.Hosts) > 0, func() (sinks.Sink, error) { return openCassandra(cfg.Cassandra) }},
	}
	for _, o := range openers {
		if !o.wanted {
			continue
		}
		s, err := o.open()
		if err != nil {
			return out, err
		}
		out = append(out, s)
	}
	return out, nil
}

func openSQLite(cfg Config) (sinks.Sink, error) {
	path := cfg.SQLite.Path
	if path == "" {
		path = filepath.Join(cfg.Core.DataDir, "results.db")
	}
	return sqlite.Open(sqlite.Options{Path: path, Retention: cfg.SQLite.Retention})
}

func openFiles(c fileConfig) (sinks.Sink, error) {
	return file.Open(file.Options{Dir: c.Dir, Format: file.Format(c.Format), RangeEntries: c.RangeEntries, KeepFiles: c.KeepFiles})
}

func openMQTT(c mqttConfig) (sinks.Sink, error) {
	for _, b := range c.Brokers {
		if u, err := url.Parse(b); err != nil || u.Host == "" {
			return nil, fmt.Errorf("mqtt.brokers: %q is not an address: write for example tcp://127.0.0.1:1883 or ssl://broker:8883", b)
		}
	}
	secure, err := c.TLS.load()
	if err != nil {
		return nil, fmt.Errorf("mqtt: %w", err)
	}
	return mqtt.Open(mqtt.Options{TLS: secure, Brokers: c.Brokers, Prefix: c.Prefix, ClientID: c.ClientID, Username: c.Username, Password: c.Password, Tables: c.Tables})
}

func openCassandra(c cassandraConfig) (sinks.Sink, error) {
	secure, err := c.TLS.load()
	if err != nil {
		return nil, fmt.Errorf("cassandra: %w", err)
	}
	return cassandra.Open(cassandra.Options{TLS: secure, Hosts: c.Hosts, Port: c.Port, SchemaOptions: c.schema(), AutoSchema: c.CreateSchema,
		Consistency: c.Consistency, LocalDC: c.LocalDC, Username: c.Username, Password: c.Password, Concurrency: c.Concurrency})
}

func (c cassandraConfig) schema() cassandra.SchemaOptions {
	return cassandra.SchemaOptions{Keyspace: c.Keyspace, Replication: c.Replication, Bucket: c.Bucket, TTL: c.TTL}
}
