package config

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

type broker struct {
	URL      string        `yaml:"url" default:"tcp://127.0.0.1:1883" help:"the usual local broker"`
	Password string        `yaml:"password" secret:"true" help:"file: or env: reference"`
	Wait     time.Duration `yaml:"wait" default:"10s" help:"longer than a mobile hand-over"`
}

type mapping struct {
	Topic  string `yaml:"topic"`
	Format string `yaml:"format" default:"line" help:"the densest text"`
}

type place struct {
	Depot string `yaml:"depot" default:"north" help:"inline"`
}

type sample struct {
	Place    place             `yaml:",inline"`
	Listen   string            `yaml:"listen" default:"127.0.0.1:7400" help:"loopback until TLS is set"`
	Peers    []string          `yaml:"peers"`
	Limit    int64             `yaml:"limit_bytes" default:"1_024" help:"small"`
	On       bool              `yaml:"on"`
	Broker   broker            `yaml:"broker" help:"where readings come from"`
	Mappings []mapping         `yaml:"mappings"`
	Labels   map[string]string `yaml:"labels"`
}

func write(t *testing.T, text string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPrecedence(t *testing.T) {
	var c sample
	err := Load(&c, Source{
		File:      write(t, "listen: 127.0.0.1:1\nlimit_bytes: 5\nbroker:\n  wait: 2s\nmappings:\n  - topic: x\nlabels: {depot: north}\ndepot: south\n"),
		EnvPrefix: "SB_", Environ: environ("SB_BROKER_WAIT=3s", "SB_LISTEN=127.0.0.1:2", "SB_PEERS=a, b"),
		Flags: map[string]string{"listen": "127.0.0.1:3", "on": "true"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != "127.0.0.1:3" || c.Broker.Wait != 3*time.Second || c.Limit != 5 || !c.On || len(c.Peers) != 2 || c.Peers[1] != "b" {
		t.Fatalf("wrong precedence: %+v", c)
	}
	if c.Broker.URL != "tcp://127.0.0.1:1883" || c.Mappings[0].Format != "line" || c.Labels["depot"] != "north" || c.Place.Depot != "south" {
		t.Fatalf("defaults or nested values lost: %+v", c)
	}
}

func environ(pairs ...string) func() []string { return func() []string { return pairs } }

// A variable that does nothing because it is misspelt must not pass in silence; what others put there must.
func TestUnknownVariablesAreRefused(t *testing.T) {
	for pair, want := range map[string]string{
		"SIGNALBOX_CORE_LISEN=127.0.0.1:2":                "environment SIGNALBOX_CORE_LISEN: there is no such key; did you mean SIGNALBOX_CORE_LISTEN?",
		"SIGNALBOX_CORE_BROKER_URI=x":                     "did you mean SIGNALBOX_CORE_BROKER_URL?",
		"SIGNALBOX_COER_LISTEN=127.0.0.1:2":               "did you mean SIGNALBOX_CORE_LISTEN?",
		"SIGNALBOX_CORE_SHARDS=7":                         "there is no such key",
		"SIGNALBOX_CORE_LISTENER_PORT=7400":               "there is no such key",
		"SIGNALBOX_CORE_PORT=tcp://10.0.0.1:7400":         "", // what Kubernetes adds for a service signalbox-core
		"SIGNALBOX_CORE_PORT_7400_TCP_ADDR=10.0.0.1":      "",
		"SIGNALBOX_CORE_SERVICE_PORT_HTTP=7400":           "",
		"SIGNALBOX_CORE_0_PORT_7400_TCP=tcp://10.0.0.1:1": "",
		"SIGNALBOX_EDGE_LISTEN=127.0.0.1:2":               "",
		"SIGNALBOX_DATA=/data":                            "",
		"SIGNALBOX_CORE_MY_SECRET=hidden":                 "",
		"LISEN=127.0.0.1:2":                               "",
	} {
		var c sample
		c.Broker.Password = "env:SIGNALBOX_CORE_MY_SECRET"
		t.Setenv("SIGNALBOX_CORE_MY_SECRET", "hidden")
		err := Load(&c, Source{EnvPrefix: "SIGNALBOX_CORE_", Environ: environ(pair)})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want …%s…", pair, err, want)
		}
	}
}

func TestErrorsNameThePlace(t *testing.T) {
	for text, want := range map[string]string{
		"lisen: x\n":                          `:1:1: unknown key "lisen"; did you mean "listen"?`,
		"broker:\n  wiat: 1s\n":               `:2:3: unknown key "broker.wiat"; did you mean "wait"?`,
		"broker: 5\n":                         `broker must be a mapping`,
		"limit_bytes: many\n":                 `:1:14: limit_bytes: "many" is not a whole number`,
		"broker:\n  wait: 10\n":               `is not a duration`,
		"mappings:\n  - topic: a\n    fmt: x": `:3:5: unknown key "mappings[0].fmt"`,
		"peers: a\n":                          `peers must be a list`,
	} {
		var c sample
		err := Load(&c, Source{File: write(t, text)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want …%s…", text, err, want)
		}
	}
}

func TestSecretsAreResolvedAndNeverPrinted(t *testing.T) {
	secretFile := write(t, "canary-4711\n")
	var c sample
	if err := Load(&c, Source{File: write(t, "broker:\n  password: file:"+secretFile+"\n")}); err != nil {
		t.Fatal(err)
	}
	if c.Broker.Password != "canary-4711" {
		t.Fatalf("secret not resolved: %q", c.Broker.Password)
	}
	var out bytes.Buffer
	Print(&out, &c)
	if strings.Contains(out.String(), "canary") || !strings.Contains(out.String(), "password: (set)") {
		t.Fatalf("secret leaked or missing:\n%s", out.String())
	}
	if !strings.Contains(out.String(), `listen: "127.0.0.1:7400" # default 127.0.0.1:7400; loopback until TLS is set`) {
		t.Fatalf("default or reason missing:\n%s", out.String())
	}
}

func TestCommandFlags(t *testing.T) {
	var c sample
	ran := false
	cmd := Command("x", "", "SB_TEST_", &c, func(*cobra.Command) error { ran = true; return nil })
	cmd.SetArgs([]string{"--broker-wait", "7s", "--on"})
	if err := cmd.Execute(); err != nil || !ran || c.Broker.Wait != 7*time.Second || !c.On {
		t.Fatalf("err=%v ran=%v %+v", err, ran, c)
	}
}
