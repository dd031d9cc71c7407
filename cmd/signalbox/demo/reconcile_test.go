package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"signalbox/cmd/signalbox/client"
	"signalbox/core/api"
)

// cluster answers like a core node that has counted these readings.
func cluster(t *testing.T, counted api.Readings, perBus map[string]int) *httptest.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(api.Status{Readings: counted})
	})
	mux.HandleFunc("POST /v1/query", func(w http.ResponseWriter, r *http.Request) {
		var q struct{ Query string }
		_ = json.NewDecoder(r.Body).Decode(&q)
		rows := []string{"[3]"}
		if strings.Contains(q.Query, "bus_count") {
			rows = nil
			for bus, n := range perBus {
				rows = append(rows, fmt.Sprintf("[%q,%d]", bus, n))
			}
		}
		fmt.Fprintf(w, `{"index":1,"columns":[],"rows":[%s]}`, strings.Join(rows, ","))
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// TestReconcileCatches plants what must not happen; each must make the demo fail.
func TestReconcileCatches(t *testing.T) {
	for _, c := range []struct {
		name    string
		counted api.Readings
		perBus  map[string]int
		summary string // part of the last line
		good    bool
	}{
		{"nothing wrong", api.Readings{Applied: 10, Duplicate: 4}, map[string]int{"a": 6, "b": 4}, "sent again and recognised 4; lost 0, counted twice 0; buses that differ 0", true},
		{"one lost", api.Readings{Applied: 9}, map[string]int{"a": 6, "b": 3}, "lost 1, counted twice 0", false},
		{"one twice", api.Readings{Applied: 11}, map[string]int{"a": 6, "b": 5}, "lost 0, counted twice 1; buses that differ 1", false},
		{"one lost and another twice", api.Readings{Applied: 10}, map[string]int{"a": 7, "b": 3}, "lost 0, counted twice 0; buses that differ 2", false},
		{"a bus from nowhere", api.Readings{Applied: 10}, map[string]int{"a": 6, "b": 4, "c": 1}, "buses that differ 1", false},
		{"one refused", api.Readings{Applied: 9, Rejected: 1}, map[string]int{"a": 6, "b": 4}, "rejected 1", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			w := &world{opt: Options{Out: &out}, core: client.New(cluster(t, c.counted, c.perBus).URL),
				sent: tally{messages: 10, readings: 10, perBus: map[string]int64{"a": 6, "b": 4}}}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // readings that never come are waited for so long
			defer cancel()
			if err := w.reconcile(ctx); (err == nil) != c.good {
				t.Errorf("error %v, want none: %v", err, c.good)
			}
			if !strings.Contains(out.String(), c.summary) {
				t.Errorf("summary %q, want %q in it", out.String(), c.summary)
			}
		})
	}
}
