package api

import (
	"cmp"
	"net/http"
	"slices"

	"signalbox/engine/alert"
	"signalbox/sinks/row"
)

// Status is what GET /v1/status answers.
type Status struct {
	Node      string            `json:"node"`
	Version   string            `json:"version"`
	Role      string            `json:"role"`
	Ready     bool              `json:"ready"`
	Term      uint64            `json:"term"`
	Index     uint64            `json:"index"`
	Commit    uint64            `json:"commit"`
	Time      string            `json:"time"` // replicated hybrid time of the last entry
	Chain     string            `json:"chain"`
	Fault     string            `json:"fault,omitempty"`
	Nodes     []NodeStatus      `json:"nodes"`
	Agents    []AgentStatus     `json:"agents"`
	Streams   []StreamStatus    `json:"streams"`
	Sinks     []SinkStatus      `json:"sinks"`
	Tables    []TableStatus     `json:"tables"`
	Readings  Readings          `json:"readings"`
	Documents []string          `json:"documents"` // applied scripts and rule files, by name
	Rejected  map[string]uint64 `json:"rejected"`  // by reason
	Outbox    OutboxStatus      `json:"outbox"`
}

// NodeStatus is a member of the cluster as this node sees it.
type NodeStatus struct {
	ID        string `json:"id"`
	Address   string `json:"address"`
	Leader    bool   `json:"leader"`
	Self      bool   `json:"self,omitempty"`
	Reachable *bool  `json:"reachable,omitempty"` // from the node that answers; not there for itself
	Clock     string `json:"clock,omitempty"`     // "1h0m0s ahead" of the other nodes' when it is wrong
}

// AgentStatus is an agent.
type AgentStatus struct {
	ID         string `json:"id"`
	Version    string `json:"version,omitempty"`
	Standing   string `json:"standing"` // live, backlog, offline or retired
	Epoch      uint64 `json:"epoch"`
	AppliedSeq uint64 `json:"applied_seq"`
	LastSeen   string `json:"last_seen,omitempty"`
	Frontier   string `json:"frontier,omitempty"` // newest event time it told of
	LowWater   string `json:"low_water,omitempty"`
	Lag        string `json:"lag,omitempty"` // tick time minus low water
	Waiting    uint64 `json:"waiting"`       // readings in its spool
	Received   uint64 `json:"received"`
	Applied    uint64 `json:"applied"`
	Duplicate  uint64 `json:"duplicate"`
	Rejected   uint64 `json:"rejected"`
	Dropped    uint64 `json:"dropped"` // by the agent itself, by declared policy
}

// StreamStatus is a stream's certified watermark.
type StreamStatus struct {
	Stream   string `json:"stream"`
	LowWater string `json:"low_water,omitempty"`
	Complete int    `json:"agents_complete"` // have certified up to low_water
	Expected int    `json:"agents_expected"`
	Holder   string `json:"holder,omitempty"`
	Missing  string `json:"missing,omitempty"` // agents that have not certified up to low_water, with reasons
}

// SinkStatus is a sink on this node.
type SinkStatus struct {
	Name    string `json:"name"`
	Scope   string `json:"scope"`
	Active  bool   `json:"active"`
	UpTo    uint64 `json:"up_to"`
	Lag     uint64 `json:"lag"` // entries
	Rows    uint64 `json:"rows"`
	Refused uint64 `json:"refused"`
	Retries uint64 `json:"retries"`
	Skipped uint64 `json:"skipped"`
	Error   string `json:"error,omitempty"`
}

// TableStatus is a relation of the catalog.
type TableStatus struct {
	Name      string `json:"name"`
	Kind      string `json:"kind"`
	Rows      int    `json:"rows"`
	Version   uint64 `json:"version"`
	Watermark string `json:"watermark,omitempty"`
}

// Readings is the accounting identity: received = applied + duplicate + rejected.
type Readings struct {
	Received  uint64 `json:"received"`
	Applied   uint64 `json:"applied"`
	Duplicate uint64 `json:"duplicate"`
	Rejected  uint64 `json:"rejected"`
	Late      uint64 `json:"late"` // of the applied ones, rows that a query found too late
}

// OutboxStatus is what waits for sinks.
type OutboxStatus struct {
	Bytes   int64  `json:"bytes"`
	Records int    `json:"records"`
	Dropped uint64 `json:"dropped"`
	Error   string `json:"error,omitempty"`
}

// Timestamp writes µs since the epoch as RFC 3339, and nothing for zero.
func Timestamp(us int64) string {
	if us <= 0 {
		return ""
	}
	return row.Timestamp(us)
}

// Alert is one alert of GET /v1/alerts.
type Alert struct {
	ID          string            `json:"id"`
	State       string            `json:"state"`
	Group       string            `json:"group"`
	Rule        string            `json:"rule"`
	By          map[string]string `json:"by"` // its labels
	Annotations map[string]string `json:"annotations,omitempty"`
	Since       string            `json:"since,omitempty"`   // of the last transition
	Episode     string            `json:"episode,omitempty"` // of the first true reading
	Seq         uint64            `json:"seq"`
	Value       string            `json:"value"`
}

// AlertsResponse is what GET /v1/alerts answers.
type AlertsResponse struct {
	Index    uint64  `json:"index"`
	Alerts   []Alert `json:"alerts"`
	Resolved []Alert `json:"resolved"` // the latest MaxResolved that are over
}

// MaxResolved is how many alerts that are over are shown.
const MaxResolved = 20

// alerts lists what is pending, firing or without data, firing ones first, the newest first.
func (s *Server) alerts(w http.ResponseWriter, _ *http.Request) {
	active, over, index := s.State.Alerts(MaxResolved)
	slices.SortStableFunc(active, func(a, b alert.Active) int {
		if fa, fb := a.State == alert.Firing, b.State == alert.Firing; fa != fb {
			if fa {
				return -1
			}
			return 1
		}
		return cmp.Compare(b.Since, a.Since)
	})
	reply(w, http.StatusOK, AlertsResponse{Index: index, Alerts: shown(active), Resolved: shown(over)})
}

func shown(list []alert.Active) []Alert {
	out := []Alert{}
	for _, a := range list {
		out = append(out, Alert{ID: a.ID, State: string(a.State), Group: a.Group, Rule: a.Rule, By: labels(a.Labels),
			Annotations: labels(a.Annotations), Since: Timestamp(a.Since), Episode: Timestamp(a.Episode), Seq: a.Seq, Value: a.Value})
	}
	return out
}

func labels(ls []alert.Label) map[string]string {
	out := map[string]string{}
	for _, l := range ls {
		out[l.Name] = l.Value
	}
	return out
}
