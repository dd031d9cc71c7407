package main

import (
	"path/filepath"
	"strings"
	"testing"

	"signalbox/cmd/config"
	"signalbox/cmd/corecmd"
	"signalbox/edge"
	"signalbox/simulator/load"
)

// The examples under deploy/ are what people copy: they must load, and fit each other and the simulator.
func TestBusExampleLoads(t *testing.T) {
	var e edge.Config
	if err := config.Load(&e, config.Source{File: filepath.Join("..", "..", "deploy", "bus", "edge.yaml")}); err != nil {
		t.Fatal(err)
	}
	if err := e.Validate(); err != nil {
		t.Error(err)
	}
	var c corecmd.Config
	if err := config.Load(&c, config.Source{File: filepath.Join("..", "..", "deploy", "bus", "core.yaml")}); err != nil {
		t.Fatal(err)
	}
	if err := c.Core.Validate(); err != nil {
		t.Error(err)
	}
	if len(c.Core.Peers) != 3 {
		t.Errorf("%d peers, want 3", len(c.Core.Peers))
	}
	for i, p := range c.Core.Peers {
		if _, addr, _ := strings.Cut(p, "="); i >= len(e.Core) || e.Core[i] != addr {
			t.Errorf("peer %s is not node %d of the agent's list %v", p, i, e.Core)
		}
	}
	var p load.PublisherConfig
	if err := config.Load(&p, config.Source{}); err != nil {
		t.Fatal(err)
	}
	if len(e.Mappings) != 1 || strings.Replace(p.Topic, "%s", "{bus}", 1) != e.Mappings[0].Topic {
		t.Errorf("the simulator publishes to %s, the agent reads %+v", p.Topic, e.Mappings)
	}
	if p.Broker != e.MQTT.Brokers[0] || p.Broker != c.MQTT.Brokers[0] {
		t.Errorf("brokers differ: simulator %s, agent %v, core %v", p.Broker, e.MQTT.Brokers, c.MQTT.Brokers)
	}
	if strings.HasPrefix(e.Mappings[0].Topic, c.MQTT.Prefix+"/") {
		t.Errorf("the agent reads %s, where the core publishes alerts", e.Mappings[0].Topic)
	}
}
