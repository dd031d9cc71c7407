package demo

import (
	"fmt"
	"io"
	"log/slog"
	"net"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
)

// startBroker runs an MQTT broker inside the demo, on loopback. It is for the
// demo only: a broker for work saves what it acknowledges.
func startBroker() (*mochi.Server, string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	caps := mochi.NewDefaultServerCapabilities()
	caps.MaximumClientWritesPending = 1 << 16
	caps.MaximumInflight = 1 << 14
	caps.ReceiveMaximum = 1 << 14
	s := mochi.New(&mochi.Options{Capabilities: caps, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err := s.AddHook(new(auth.AllowHook), nil); err != nil {
		return nil, "", err
	}
	if err := s.AddListener(listeners.NewNet("demo", l)); err != nil {
		return nil, "", err
	}
	if err := s.Serve(); err != nil {
		return nil, "", fmt.Errorf("embedded MQTT broker: %w", err)
	}
	return s, "tcp://" + l.Addr().String(), nil
}
