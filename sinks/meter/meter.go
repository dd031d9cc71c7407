// Package meter turns the counters that a sink keeps into Prometheus metrics
// named signalbox_sink_…, with the sink's name as label.
//
// It promises to read the counters only when somebody looks, and refuses to
// know a registry: the node registers what Collectors of a sink returns.
package meter

import "github.com/prometheus/client_golang/prometheus"

// Counter is a metric that only grows.
func Counter(sink, name, help string, value func() float64) prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "signalbox_sink_" + name, Help: help,
		ConstLabels: prometheus.Labels{"sink": sink}}, value)
}

// Gauge is a metric that goes up and down.
func Gauge(sink, name, help string, value func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "signalbox_sink_" + name, Help: help,
		ConstLabels: prometheus.Labels{"sink": sink}}, value)
}
