package core_test

import (
	"context"
	"strings"
	"testing"
	"time"
)

// An agent is retired over any node's API, by name, as often as one likes, and is expected again when it speaks.
func TestAnAgentIsRetiredOverTheAPI(t *testing.T) {
	c := newCluster(t, 3, nil)
	c.leader()
	c.apply(c.members[0], "p.sql", pipeline)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	now := time.Now().UnixMilli()
	var all []*agent
	for i, name := range []string{"depot/1", "depot/2"} {
		a := &agent{t: t, name: name, install: [16]byte{byte(i + 1)}, addrs: c.addrs()}
		a.seal("bus", 5, now-60_000)
		if err := a.run(ctx); err != nil {
			t.Fatal(err)
		}
		all = append(all, a)
	}
	expects := func(what string, n int, standing string) {
		t.Helper()
		for _, m := range c.members {
			c.poll(m.cfg.NodeID+": "+what, func() bool {
				s, err := c.status(m)
				return err == nil && len(s.Agents) == 2 && len(s.Streams) == 1 && s.Streams[0].Expected == n && (s.Agents[1].Standing == "retired") == (standing == "retired")
			})
		}
	}
	expects("both are expected", 2, "")
	for i, m := range c.members { // any node takes it; again changes nothing
		code, body := c.post(m, "/v1/agents/retire", map[string]string{"agent": "depot/2"})
		if code != 200 || !strings.Contains(body, `"agent":"depot/2"`) || (i > 0) != strings.Contains(body, "retired already") {
			t.Fatalf("time %d: %d %s", i, code, body)
		}
	}
	expects("one is expected", 1, "retired")
	for text, body := range map[string]any{"signalbox agents lists them": map[string]string{"agent": "nobody"}, "no agent is named": map[string]string{}, "unknown field": map[string]string{"name": "x"}} {
		if code, answer := c.post(c.members[1], "/v1/agents/retire", body); code != 400 || !strings.Contains(answer, text) {
			t.Errorf("%v: %d %s", body, code, answer)
		}
	}
	all[1].seal("bus", 5, now-50_000)
	if err := all[1].run(ctx); err != nil {
		t.Fatal(err)
	}
	expects("it speaks, and both are expected", 2, "")
	c.sameChain()
}
