package fleet

import (
	"container/heap"
	"math/rand/v2"
	"time"
)

// Faults describe what goes wrong between a bus and the broker. All shares are
// of readings; the zero value is a perfect world.
type Faults struct {
	Seed       uint64
	Duplicates float64       // share of readings sent twice, byte for byte
	Disorder   float64       // share sent later than their turn
	MaxDelay   time.Duration // how much later at most; default 5 s
	Outages    float64       // per bus and hour: silent for a while, then all at once
	OutageFor  time.Duration // how long; default 30 s
	Skewed     float64       // share of buses whose clock is wrong
	Skew       time.Duration // by this much; default 10 min ahead
	Malformed  float64       // share of payloads garbled
}

func (f Faults) withDefaults() Faults {
	if f.MaxDelay == 0 {
		f.MaxDelay = 5 * time.Second
	}
	if f.OutageFor == 0 {
		f.OutageFor = 30 * time.Second
	}
	if f.Skew == 0 {
		f.Skew = 10 * time.Minute
	}
	return f
}

// Delivery is one message on its way to the broker.
type Delivery struct {
	At        int64 // ns: when it is to be sent, on the clock of the readings
	Reading   Reading
	Duplicate bool // the second copy
	Malformed bool // the payload is not the reading's line
	Payload   []byte
	order     uint64
}

// Sender puts the readings of a fleet in the order in which they are sent.
type Sender struct {
	fleet   *Fleet
	faults  Faults
	rng     *rand.Rand
	skewed  []bool
	silent  []int64 // per bus: silent until this time
	pending deliveries
	horizon int64 // every reading up to here is in pending
	order   uint64
}

// NewSender joins a fleet with its faults.
func NewSender(f *Fleet, faults Faults) *Sender {
	s := &Sender{fleet: f, faults: faults.withDefaults(), rng: rand.New(rand.NewPCG(faults.Seed, 0xfa017)),
		skewed: make([]bool, f.cfg.Buses), silent: make([]int64, f.cfg.Buses)}
	for i := range s.skewed {
		s.skewed[i] = s.rng.Float64() < faults.Skewed
	}
	return s
}

// Next returns the next message to send. The sequence never ends.
func (s *Sender) Next() Delivery {
	for len(s.pending) == 0 || s.pending[0].At > s.horizon {
		s.add(s.fleet.Next())
	}
	return heap.Pop(&s.pending).(Delivery)
}

func (s *Sender) add(r Reading) {
	s.horizon = r.Time
	at := r.Time
	if s.faults.Outages > 0 && at >= s.silent[r.Bus] &&
		s.rng.Float64() < s.faults.Outages*s.fleet.cfg.Interval.Hours() {
		s.silent[r.Bus] = at + int64(s.faults.OutageFor)
	}
	at = max(at, s.silent[r.Bus])
	if s.rng.Float64() < s.faults.Disorder {
		at += s.rng.Int64N(int64(s.faults.MaxDelay)) + 1
	}
	if s.skewed[r.Bus] {
		r.Time += int64(s.faults.Skew)
	}
	d := Delivery{At: at, Reading: r, Payload: AppendLine(nil, r)}
	if s.rng.Float64() < s.faults.Malformed {
		d.Malformed, d.Payload = true, d.Payload[:len(d.Payload)/2]
	}
	s.push(d)
	if !d.Malformed && s.rng.Float64() < s.faults.Duplicates {
		d.Duplicate = true
		d.At += s.rng.Int64N(int64(s.faults.MaxDelay)) + 1
		s.push(d)
	}
}

func (s *Sender) push(d Delivery) {
	s.order++
	d.order = s.order
	heap.Push(&s.pending, d)
}

// deliveries is a heap by time, then by order of creation.
type deliveries []Delivery

func (h deliveries) Len() int { return len(h) }
func (h deliveries) Less(i, j int) bool {
	if h[i].At != h[j].At {
		return h[i].At < h[j].At
	}
	return h[i].order < h[j].order
}
func (h deliveries) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *deliveries) Push(x any)   { *h = append(*h, x.(Delivery)) }
func (h *deliveries) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}
