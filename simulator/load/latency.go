package load

import (
	"encoding/json"
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

// alertEvent is what the load reads of a published transition.
type alertEvent struct {
	State  string            `json:"state"`
	At     time.Time         `json:"at"`
	Labels map[string]string `json:"labels"`
}

// alertKey identifies the transition that a probe reading must cause.
type alertKey struct {
	bus string
	at  int64 // µs
}

// alertWatch matches published transitions with the probes that caused them.
type alertWatch struct {
	mu      sync.Mutex
	due     map[alertKey]time.Time // intended send time
	seen    map[alertKey]int
	latency *Histogram
	foreign int
}

func newAlertWatch() *alertWatch {
	return &alertWatch{due: map[alertKey]time.Time{}, seen: map[alertKey]int{}, latency: NewHistogram()}
}

// expect is called before the probe is published.
func (w *alertWatch) expect(bus string, at, intended time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.due[alertKey{bus, at.UnixMicro()}] = intended
}

func (w *alertWatch) message(_ mqtt.Client, m mqtt.Message) {
	now := time.Now()
	var e alertEvent
	if err := json.Unmarshal(m.Payload(), &e); err != nil {
		return
	}
	k := alertKey{e.Labels["bus_id"], e.At.UnixMicro()}
	w.mu.Lock()
	defer w.mu.Unlock()
	intended, ok := w.due[k]
	if !ok {
		w.foreign++
		return
	}
	if w.seen[k]++; w.seen[k] == 1 {
		w.latency.Record(now.Sub(intended))
	}
}

// missing returns how many expected transitions have not been published, and how many came more than once.
func (w *alertWatch) missing() (missing, twice int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for k := range w.due {
		switch n := w.seen[k]; {
		case n == 0:
			missing++
		case n > 1:
			twice++
		}
	}
	return missing, twice
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
	f, err := os.Create(filepath.Join(dir, "floor"))
	if err != nil {
		return nil, err
	}
	fl := &floor{client: client, topic: fmt.Sprintf("signalbox-floor/%d", os.Getpid()), file: f, echo: make(chan struct{}, 1), hist: NewHistogram()}
	t := client.Subscribe(fl.topic, 1, func(mqtt.Client, mqtt.Message) {
		select {
		case fl.echo <- struct{}{}:
		default:
		}
	})
	t.Wait()
	return fl, t.Error()
}

// sample takes one measurement.
func (f *floor) sample() error {
	begin := time.Now()
	if t := f.client.Publish(f.topic, 1, false, "x"); t.WaitTimeout(10*time.Second) && t.Error() != nil {
		return t.Error()
	}
	select {
	case <-f.echo:
	case <-time.After(10 * time.Second):
		return fmt.Errorf("no MQTT echo within 10 s")
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
	f.hist.Record(time.Since(begin))
	return nil
}

func (f *floor) close() {
	f.client.Unsubscribe(f.topic).WaitTimeout(time.Second)
	name := f.file.Name()
	f.file.Close()
	os.Remove(name)
}
