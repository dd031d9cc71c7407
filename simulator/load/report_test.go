package load

import (
	"strings"
	"testing"
	"time"

	"signalbox/simulator/fleet"
)

func TestWatchCountsWhatIsMissingAndWhatComesTwice(t *testing.T) {
	w := newWatch()
	t0 := time.UnixMicro(1_000_000)
	for i, bus := range []string{"a", "b", "c"} {
		w.expect(bus, t0, t0.Add(time.Duration(i)*time.Millisecond))
	}
	w.observe(0, "a", t0, t0.Add(5*time.Millisecond), 0)
	w.observe(1, "a", t0, t0.Add(9*time.Millisecond), 0) // another node shows it too
	w.observe(0, "b", t0, t0.Add(9*time.Millisecond), 0)
	w.observe(0, "b", t0, t0.Add(10*time.Millisecond), 0)
	w.observe(0, "x", t0, t0, 0)
	w.observe(0, "a", t0.Add(time.Microsecond), t0, 0)
	if got, want := w.result(), (Seen{Expected: 3, Missing: 1, Twice: 1, Others: 2, Example: "from c at 00:00:01.000000 to c at 00:00:01.000000"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	w.expect("d", t0, t0)
	w.observe(0, "d", t0, t0.Add(time.Millisecond), 7)
	w.observe(0, "d", t0, t0.Add(time.Second), 7) // delivered again
	if got := w.result(); got.Again != 1 || got.Twice != 1 {
		t.Errorf("a transition delivered again: %+v", got)
	}
	w.observe(0, "d", t0, t0.Add(time.Second), 8) // told twice
	if got := w.result(); got.Again != 1 || got.Twice != 2 {
		t.Errorf("a transition told twice: %+v", got)
	}
	s := w.latency.Summary()
	if s.Count != 3 || s.Max < 7990*time.Microsecond || s.Max > 8010*time.Microsecond || s.P50 > 5010*time.Microsecond {
		t.Errorf("latencies from the intended time: %s", s)
	}
}

func TestTallyKnowsWhatWillBeRefused(t *testing.T) {
	x := newTally()
	r := fleet.Reading{BusID: "b1", Time: int64(time.Hour)}
	ahead := r
	ahead.Time += int64(10 * time.Minute)
	for _, d := range []fleet.Delivery{{At: r.Time, Reading: r}, {At: r.Time, Reading: r, Duplicate: true}, {At: r.Time, Reading: r, Malformed: true}, {At: r.Time, Reading: ahead}} {
		x.add(d)
	}
	if x.readings != 4 || x.copies != 1 || x.malformed != 1 || x.future != 1 || x.perBus["b1"] != 2 {
		t.Errorf("%+v", x)
	}
}

func TestMalformedLineHasNoFields(t *testing.T) {
	d := fleet.Delivery{Payload: []byte("bus,bus_id=b1 passengers=1i,capa"), Malformed: true}
	if got := string(line(d)); got != "bus,bus_id=b1\n" {
		t.Errorf("%q", got)
	}
	d.Malformed = false
	if got := string(line(d)); got != string(d.Payload) {
		t.Errorf("%q", got)
	}
}

func TestCheckFindsEveryKindOfMistake(t *testing.T) {
	good := Report{Published: 100, Applied: 90, Rejected: 10, Malformed: 4, Future: 6, Copies: 3, Recognised: 3}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(*Report){
		"1 readings lost":     func(r *Report) { r.Applied-- },
		"2 readings counted":  func(r *Report) { r.Applied += 2 },
		"readings rejected":   func(r *Report) { r.Malformed++ },
		"second copies":       func(r *Report) { r.Recognised-- },
		"buses differ":        func(r *Report) { r.WrongBuses = []string{"b1: published 2, counted 1"} },
		"not acknowledged":    func(r *Report) { r.Failed = 1 },
		"1 are missing":       func(r *Report) { r.Alerts = Seen{Expected: 5, Missing: 1} },
		"came more than once": func(r *Report) { r.Alerts = Seen{Expected: 5, Twice: 2} },
		"expected result":     func(r *Report) { r.Results = Seen{Expected: 5, Missing: 2} },
	} {
		r := good
		spoil(&r)
		if err := r.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
}
