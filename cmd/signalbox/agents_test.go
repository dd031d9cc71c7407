package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"signalbox/core/api"
)

func TestAgentsSayWhoIsMissing(t *testing.T) {
	var asked []string
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/status" {
			_ = json.NewEncoder(w).Encode(api.Status{Agents: []api.AgentStatus{{ID: "depot-1", Standing: "live", Epoch: 2, LowWater: "2026-01-01T00:00:10Z", Lag: "1s"}, {ID: "depot-2", Standing: "offline", Epoch: 1}},
				Streams: []api.StreamStatus{{Stream: "bus", LowWater: "2026-01-01T00:00:10Z", Complete: 1, Expected: 2, Missing: "depot-2 (offline)"}}})
			return
		}
		var req api.RetireRequest
		_ = json.NewDecoder(r.Body).Decode(&req)
		asked = append(asked, r.Method+" "+r.URL.Path+" "+req.Agent)
		if req.Agent == "nobody" {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintln(w, `{"error":"there is no agent \"nobody\""}`)
			return
		}
		fmt.Fprintln(w, `{"agent":"depot-2","index":77,"note":"it spoke 3 s ago: when it speaks again it is expected again"}`)
	}))
	defer node.Close()
	out, failure := command(t, "agents", "--core", node.URL)
	if failure != "" || !strings.Contains(out, "stream bus: 1 of 2 agents certify up to 2026-01-01T00:00:10Z; missing: depot-2 (offline)") || !strings.Contains(out, "depot-1  live      2") {
		t.Errorf("agents: %s%s", out, failure)
	}
	if out, failure := command(t, "agents", "retire", "depot-2", "--core", node.URL); failure != "" || out != "depot-2: retired at log index 77; it spoke 3 s ago: when it speaks again it is expected again\n" {
		t.Errorf("retire: %q %s", out, failure)
	}
	if _, failure := command(t, "agents", "retire", "nobody", "--core", node.URL); !strings.Contains(failure, `there is no agent "nobody"`) {
		t.Errorf("an unknown agent: %s", failure)
	}
	if _, failure := command(t, "agents", "retire", "--core", node.URL); !strings.Contains(failure, "Usage: signalbox agents retire NAME") {
		t.Errorf("no name: %s", failure)
	}
	if len(asked) != 2 || asked[0] != "POST /v1/agents/retire depot-2" {
		t.Errorf("asked %q", asked)
	}
}
