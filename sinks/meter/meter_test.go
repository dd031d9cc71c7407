package meter

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestMetricsOfTwoSinksLiveInOneRegistry(t *testing.T) {
	r := prometheus.NewRegistry()
	for _, sink := range []string{"a", "b"} {
		r.MustRegister(Counter(sink, "rows_total", "Rows.", func() float64 { return 2 }), Gauge(sink, "age_seconds", "Age.", func() float64 { return 3 }))
	}
	families, err := r.Gather()
	if err != nil || len(families) != 2 || families[1].GetName() != "signalbox_sink_rows_total" || len(families[1].GetMetric()) != 2 {
		t.Errorf("got %v, %v", families, err)
	}
}
