package session

import (
	"math"
	"slices"
	"strings"

	"signalbox/edge/wire"
)

// maxStreams bounds the streams whose frontiers are kept; further streams certify nothing.
const maxStreams = wire.MaxFrontiers

// MaxFuture is how far, in ns, an event time may be ahead of the clock before it is
// not believed: it never moves a frontier. The core rejects the reading.
const MaxFuture = int64(5 * 60 * 1e9)

// Frontiers keeps, per stream, the newest event time seen.
type Frontiers struct {
	list []wire.Frontier // sorted by stream; LowWater is the highest that was certified
}

// Note takes the newest event time of readings; it must be at most MaxFuture ahead of the clock.
func (f *Frontiers) Note(stream string, maxTime int64) {
	i, found := slices.BinarySearchFunc(f.list, stream, func(a wire.Frontier, s string) int { return strings.Compare(a.Stream, s) })
	switch {
	case found:
		f.list[i].MaxTime = max(f.list[i].MaxTime, maxTime)
	case len(f.list) < maxStreams:
		f.list = slices.Insert(f.list, i, wire.Frontier{Stream: stream, MaxTime: maxTime, LowWater: math.MinInt64})
	}
}

// Certify returns what holds once everything sent so far has arrived. unsent is the oldest event time that is durable
// but in no batch yet (some = there is one). idle, when not 0, is the clock of an agent that has
// nothing to send and hears nothing: then time itself is the certificate.
func (f *Frontiers) Certify(unsent int64, some bool, idle int64) []wire.Frontier {
	out := make([]wire.Frontier, len(f.list))
	for i := range f.list {
		fr := f.list[i]
		low := fr.MaxTime
		if idle != 0 && !some {
			low = max(low, idle)
		}
		if some {
			low = min(low, unsent)
		}
		fr.LowWater = low
		out[i] = fr
	}
	return out
}
