package load

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// Histogram records latencies from 1 µs to 10 min with three digits.
type Histogram struct {
	mu sync.Mutex
	h  *hdrhistogram.Histogram
}

// NewHistogram returns an empty histogram.
func NewHistogram() *Histogram {
	return &Histogram{h: hdrhistogram.New(1, int64(10*time.Minute/time.Microsecond), 3)}
}

// Record adds one latency; what is beyond ten minutes counts as ten minutes.
func (h *Histogram) Record(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	us := min(max(d.Microseconds(), 1), h.h.HighestTrackableValue())
	if err := h.h.RecordValue(us); err != nil {
		panic(err) // the value is within the bounds
	}
}

// Summary is what people read of a histogram.
type Summary struct {
	Count               int64
	P50, P90, P99, P999 time.Duration
	Max                 time.Duration
}

// Summary returns the percentiles.
func (h *Histogram) Summary() Summary {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := func(q float64) time.Duration { return time.Duration(h.h.ValueAtQuantile(q)) * time.Microsecond }
	return Summary{h.h.TotalCount(), at(50), at(90), at(99), at(99.9), time.Duration(h.h.Max()) * time.Microsecond}
}

func (s Summary) String() string {
	return fmt.Sprintf("n %d  p50 %s  p90 %s  p99 %s  p99.9 %s  max %s", s.Count, s.P50, s.P90, s.P99, s.P999, s.Max)
}

// probeKey identifies what a probe reading must cause.
type probeKey struct {
	bus string
	at  int64 // µs: the reading's own time
}

// watch matches what comes out with the probes that caused it.
type watch struct {
	mu      sync.Mutex
	due     map[probeKey]time.Time // intended send time
	seen    map[probeKey]uint64    // sources that showed it, a bit each
	latency *Histogram
	seqs    map[probeKey]uint64 // state sequence of the transition, where there is one
	foreign int                 // what no probe caused
	repeats int                 // what one source showed more than once
	again   int                 // the same transition delivered again, with its sequence: a sink that promises at least once may
}

func newWatch() *watch {
	return &watch{due: map[probeKey]time.Time{}, seen: map[probeKey]uint64{}, seqs: map[probeKey]uint64{}, latency: NewHistogram()}
}

// expect is called before the probe is published.
func (w *watch) expect(bus string, at, intended time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.due[probeKey{bus, at.UnixMicro()}] = intended
}

// observe notes what a source showed, seq being a transition's state sequence or 0; the first sight of a probe is its latency.
func (w *watch) observe(source int, bus string, at, now time.Time, seq uint64) {
	k := probeKey{bus, at.UnixMicro()}
	w.mu.Lock()
	defer w.mu.Unlock()
	intended, ok := w.due[k]
	if !ok {
		w.foreign++
		return
	}
	before, bit := w.seen[k], uint64(1)<<source
	switch {
	case before&bit == 0:
	case seq != 0 && w.seqs[k] == seq:
		w.again++
		return
	default:
		w.repeats++
		return
	}
	w.seen[k] = before | bit
	if seq != 0 {
		w.seqs[k] = seq
	}
	if before == 0 {
		w.latency.Record(now.Sub(intended))
	}
}

// Seen says what became of the probes.
type Seen struct {
	Expected, Missing, Twice int
	Again                    int    // delivered again with the same sequence: whoever listens drops them
	Others                   int    // caused by buses that are no probes
	Example                  string // of what is missing
}

func (w *watch) result() Seen {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := Seen{Expected: len(w.due), Missing: len(w.due) - len(w.seen), Twice: w.repeats, Again: w.again, Others: w.foreign}
	if out.Missing == 0 {
		return out
	}
	first, last := probeKey{}, probeKey{}
	for k := range w.due {
		if w.seen[k] != 0 {
			continue
		}
		if first.at == 0 || k.at < first.at {
			first = k
		}
		if k.at > last.at {
			last = k
		}
	}
	at := func(k probeKey) string { return k.bus + " at " + time.UnixMicro(k.at).UTC().Format("15:04:05.000000") }
	out.Example = fmt.Sprintf("from %s to %s", at(first), at(last))
	return out
}

// floor measures, in the same run, what nothing can beat: an MQTT echo through
// the same broker and two serial fsyncs on the same disk.
type floor struct {
	client mqtt.Client
	topic  string
	file   *os.File
	echo   chan struct{}
	hist   *Histogram
}

func newFloor(client mqtt.Client, dir string) (*floor, error) {
	f, err := os.CreateTemp(dir, "floor-")
	if err != nil {
		return nil, err
	}
	fl := &floor{client: client, topic: fmt.Sprintf("floor/%s", filepath.Base(f.Name())), file: f, echo: make(chan struct{}, 1), hist: NewHistogram()}
	t := client.Subscribe(fl.topic, 1, func(mqtt.Client, mqtt.Message) {
		select {
		case fl.echo <- struct{}{}:
		default:
		}
	})
	t.Wait()
	return fl, t.Error()
}

// echoWithin is how long an echo may take before the run is given up.
const echoWithin = 10 * time.Second

// sample takes one measurement, counted from the time it was due.
func (f *floor) sample(due time.Time) error {
	token := f.client.Publish(f.topic, 1, false, "x")
	select {
	case <-f.echo:
	case <-time.After(echoWithin):
		return fmt.Errorf("floor: no MQTT echo within %s: %v", echoWithin, token.Error())
	}
	var block [512]byte
	for range 2 {
		if _, err := f.file.Write(block[:]); err != nil {
			return err
		}
		if err := f.file.Sync(); err != nil {
			return err
		}
	}
	f.hist.Record(time.Since(due))
	return nil
}

func (f *floor) close() {
	f.client.Unsubscribe(f.topic).WaitTimeout(time.Second)
	name := f.file.Name()
	f.file.Close()
	os.Remove(name)
}
