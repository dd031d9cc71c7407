package window

import (
	"math/rand"
	"slices"
	"testing"
)

// slowWindows scans every start around t.
func slowWindows(s Spec, t int64) []Span {
	var out []Span
	for k := (t-s.Start)/s.Slide + 2; k*s.Slide+s.Start > t-s.Size-2*s.Slide; k-- {
		if start := k*s.Slide + s.Start; start <= t && t < start+s.Size {
			out = append(out, Span{start, start + s.Size})
		}
	}
	return out
}

func TestWindowsAgreeWithScan(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	for range 20000 {
		s := Spec{Size: 1 + r.Int63n(40), Slide: 1 + r.Int63n(40)}
		s.Start = r.Int63n(2*s.Slide) - s.Slide
		at := r.Int63n(400) - 200
		got, want := s.Windows(nil, at), slowWindows(s, at)
		if !slices.Equal(got, want) {
			t.Fatalf("%+v at %d: got %v, want %v", s, at, got, want)
		}
		if last := s.Last(at); last > at || at-last >= s.Slide {
			t.Fatalf("%+v at %d: last start %d", s, at, last)
		}
	}
}

// slowMerge unites touching spans until nothing changes.
func slowMerge(in []Span) []Span {
	out := slices.Clone(in)
	for again := true; again; {
		again = false
		for i := range out {
			for j := i + 1; j < len(out); j++ {
				if out[i].Start <= out[j].End && out[j].Start <= out[i].End {
					out[i] = Span{min(out[i].Start, out[j].Start), max(out[i].End, out[j].End)}
					out = slices.Delete(out, j, j+1)
					again = true
					break
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b Span) int { return int(a.Start - b.Start) })
	return out
}

func merge(sessions []Span, x Span) []Span {
	u, lo, hi := Touching(sessions, func(s Span) Span { return s }, x)
	return slices.Replace(sessions, lo, hi, u)
}

func TestMergeAgreesWithClosure(t *testing.T) {
	r := rand.New(rand.NewSource(2))
	for range 3000 {
		var sessions, all []Span
		for range r.Intn(12) + 1 {
			start := r.Int63n(60)
			x := Span{start, start + 1 + r.Int63n(6)}
			all = append(all, x)
			sessions = merge(sessions, x)
		}
		if want := slowMerge(all); !slices.Equal(sessions, want) {
			t.Fatalf("spans %v: got %v, want %v", all, sessions, want)
		}
	}
}

func TestTouchingSessionsMerge(t *testing.T) {
	got := merge([]Span{{10, 15}}, Span{15, 20})
	if !slices.Equal(got, []Span{{10, 20}}) {
		t.Fatalf("a row exactly one gap later belongs to the session, got %v", got)
	}
	got = merge([]Span{{10, 15}}, Span{16, 21})
	if len(got) != 2 {
		t.Fatalf("1 µs more is another session, got %v", got)
	}
}
