package alert

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"testing"

	"signalbox/engine/column"
)

// between is a lock that lets the set go on whenever a reader of a capture lets go of it.
type between struct {
	every, n int
	step     func()
}

func (l *between) Lock() {
	if l.n++; l.n%l.every == 0 {
		l.step()
	}
}

func (l *between) Unlock() {}

// busySet is a small set to which the same seed does the same things: readings, time, history, forgotten keys, changed rules.
type busySet struct {
	t     *testing.T
	rng   *rand.Rand
	s     *Set
	clock int64
	rules []Rule
}

func newBusySet(t *testing.T, seed uint64) *busySet {
	a := testRule()
	a.For, a.KeepFiringFor = 3*second, 2*second
	b := testRule()
	b.Name, b.AbsentFor, b.Limit = "Absent", 20*second, 50
	x := &busySet{t: t, rng: rand.New(rand.NewPCG(seed, 1)), rules: []Rule{a, b}}
	var err error
	if x.s, err = NewSet(x.rules, Options{MaxKeys: 3000}); err != nil {
		t.Fatal(err)
	}
	return x
}

func (x *busySet) step() {
	r := x.rng
	x.clock += r.Int64N(3) * second
	if r.IntN(40) == 0 { // other words, other durations, a rule that is gone and comes back
		next := slices.Clone(x.rules)
		next[0].For = (1 + r.Int64N(4)) * second
		if r.IntN(3) == 0 {
			next = next[:1]
		}
		if _, err := x.s.Replace(next, x.clock); err != nil {
			x.t.Fatal(err)
		}
		if _, err := x.s.Replace(x.rules, x.clock); err != nil {
			x.t.Fatal(err)
		}
	}
	list := make([]reading, 1+r.IntN(60))
	for i := range list {
		list[i] = reading{"k" + strconv.Itoa(r.IntN(4000)), x.clock - r.Int64N(4)*second, tri(r.IntN(3)), null, strconv.Itoa(r.IntN(100))}
	}
	rows := rowsOf(list...)
	for i, l := range list {
		rows.Cols[5].Set(i, column.Str("r-"+l.value))
	}
	x.s.Observe(r.IntN(2), rows, Observation{Replayed: r.IntN(6) == 0})
	x.s.Advance(x.clock - 5*second)
}

// TestCaptureIsOfItsMoment: two captures at once, read while the set goes on, say what the set said when they were
// taken; and the set goes on as its twin that nobody looked at.
func TestCaptureIsOfItsMoment(t *testing.T) {
	for seed := range uint64(2) {
		x, twin := newBusySet(t, seed), newBusySet(t, seed)
		for round := range 30 {
			for range 1 + round%20 {
				x.step()
				twin.step()
			}
			steps := 0
			goOn := func() {
				if steps < 12 {
					steps++
					x.step()
				}
			}
			want, active, over := twin.s.Encode(nil), twin.s.Active(), twin.s.Resolved(20)
			first := x.s.Capture(&between{every: 1 + round%3, step: goOn})
			second := x.s.Capture(&between{every: 2, step: goOn})
			if got := first.Encode(nil); !bytes.Equal(got, want) {
				t.Fatalf("seed %d, round %d: the capture is not of its moment", seed, round)
			}
			first.Release()
			if got := second.Active(); !reflect.DeepEqual(got, active) {
				t.Fatalf("seed %d, round %d: %d active alerts, want %d", seed, round, len(got), len(active))
			}
			if got := second.Resolved(20); !reflect.DeepEqual(got, over) {
				t.Fatalf("seed %d, round %d: other resolved alerts", seed, round)
			}
			second.Release()
			for range steps {
				twin.step()
			}
			if !bytes.Equal(x.s.Encode(nil), twin.s.Encode(nil)) {
				t.Fatalf("seed %d, round %d: the set did not go on as its twin", seed, round)
			}
		}
		for _, r := range x.s.rules {
			if len(r.caps) > 0 {
				t.Fatal("captures are held after their release")
			}
		}
		if st := x.s.Stats(); st.Evicted == 0 || st.Historical == 0 {
			t.Fatalf("seed %d: the test no longer forgets keys or looks at history: %+v", seed, st)
		}
	}
}

// BenchmarkCapture is what a capture of 100,000 firing alerts costs whoever wants to go on, and the entry after it.
func BenchmarkCapture(b *testing.B) {
	for _, keys := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprint(keys), func(b *testing.B) {
			s, err := NewSet([]Rule{testRule()}, Options{})
			if err != nil {
				b.Fatal(err)
			}
			s.Observe(0, benchRows(keys, keys, 100_000), Observation{})
			b.ResetTimer()
			for range b.N {
				c := s.Capture(noLock{})
				c.Release()
			}
		})
	}
}
