package pack

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand"
	"testing"
)

func roundFloats(t testing.TB, v []float64) int {
	t.Helper()
	b := AppendFloats([]byte{7}, v)
	out := make([]float64, len(v))
	rest, err := Floats(append(b[1:len(b):len(b)], 42), out)
	if err != nil || len(rest) != 1 || rest[0] != 42 {
		t.Fatalf("%d floats: rest %v, %v", len(v), rest, err)
	}
	for i := range v {
		if math.Float64bits(v[i]) != math.Float64bits(out[i]) {
			t.Fatalf("value %d: %x became %x (%g, %g)", i, math.Float64bits(v[i]), math.Float64bits(out[i]), v[i], out[i])
		}
	}
	return len(b) - 1
}

func roundInts(t testing.TB, v []int64) int {
	t.Helper()
	b := AppendInts(nil, v)
	out := make([]int64, len(v))
	rest, err := Ints(append(b[:len(b):len(b)], 42), out)
	if err != nil || len(rest) != 1 {
		t.Fatalf("%d integers: rest %v, %v", len(v), rest, err)
	}
	for i := range v {
		if v[i] != out[i] {
			t.Fatalf("value %d: %d became %d", i, v[i], out[i])
		}
	}
	return len(b)
}

var oddFloats = []float64{0, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), math.NaN(), math.Float64frombits(0xfff8dead0000beef), math.Float64frombits(0x7ff0000000000001),
	math.SmallestNonzeroFloat64, -math.SmallestNonzeroFloat64, math.Float64frombits(0x000fffffffffffff), math.MaxFloat64, -math.MaxFloat64, 1 << 53, 1<<53 + 2, -(1 << 53), 0.1, -0.1, 1e15, 123456789012345678, 1e300, 1e-300, 0.1 + 0.2}

// TestFloatsComeBack: columns of every kind, with odd values among them, at every length around a block.
func TestFloatsComeBack(t *testing.T) {
	kinds := map[string]func(r *rand.Rand) float64{
		"decimal":  func(r *rand.Rand) float64 { return float64(r.Intn(900)) / 10 },
		"sum":      func(r *rand.Rand) float64 { return sumOf(r, 60, 10) },
		"signed":   func(r *rand.Rand) float64 { return sumOf(r, 60, 10) - sumOf(r, 60, 10) },
		"float":    func(r *rand.Rand) float64 { return float64(float32(r.Intn(9000)) / 100) },
		"integer":  func(r *rand.Rand) float64 { return float64(r.Int63n(1 << 40)) },
		"random":   func(r *rand.Rand) float64 { return r.NormFloat64() },
		"any bits": func(r *rand.Rand) float64 { return math.Float64frombits(r.Uint64()) },
		"tiny":     func(r *rand.Rand) float64 { return math.Float64frombits(r.Uint64() >> 12) },
		"odd":      func(r *rand.Rand) float64 { return oddFloats[r.Intn(len(oddFloats))] },
		"huge":     func(r *rand.Rand) float64 { return float64(r.Int63()) * 1e30 },
	}
	for name, of := range kinds {
		for _, n := range []int{0, 1, 2, 7, 48, 100, BlockLen - 1, BlockLen, BlockLen + 1, 3*BlockLen + 5} {
			for _, odd := range []int{0, 40, 3} {
				r := rand.New(rand.NewSource(int64(n + odd)))
				v := make([]float64, n)
				for i := range v {
					if v[i] = of(r); odd > 0 && r.Intn(odd) == 0 {
						v[i] = oddFloats[r.Intn(len(oddFloats))]
					}
				}
				if size := roundFloats(t, v); size > 9*n+n/8+32 {
					t.Errorf("%s: %d values became %d bytes", name, n, size)
				}
			}
		}
	}
}

func sumOf(r *rand.Rand, n int, scale float64) float64 {
	s := 0.0
	for range n {
		s += float64(r.Intn(int(90*scale))) / scale
	}
	return s
}

// TestSizes holds the reason for the package: bits a value.
func TestSizes(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	for _, x := range []struct {
		name string
		most float64 // bits a value
		of   func() float64
	}{
		{"one decimal", 11, func() float64 { return float64(r.Intn(900)) / 10 }},
		{"two decimals", 15, func() float64 { return float64(r.Intn(9000)) / 100 }},
		{"sum of 60, one decimal", 22, func() float64 { return sumOf(r, 60, 10) }},
		{"sum of 60, two decimals", 25, func() float64 { return sumOf(r, 60, 100) }},
		{"sum of 3600, one decimal", 26, func() float64 { return sumOf(r, 3600, 10) }},
		{"sum around zero", 26, func() float64 { return sumOf(r, 60, 10) - sumOf(r, 60, 10) }},
		{"integers", 11, func() float64 { return float64(r.Intn(1000)) }},
		{"FLOAT of two decimals", 15, func() float64 { return float64(float32(r.Intn(9000)) / 100) }},
		{"sum of 60 FLOATs", 46, func() float64 {
			s := 0.0
			for range 60 {
				s += float64(float32(r.Intn(900)) / 10)
			}
			return s
		}},
		{"random mantissas", 60, r.Float64},
	} {
		v := make([]float64, 4*BlockLen)
		for i := range v {
			v[i] = x.of()
		}
		got := float64(8*roundFloats(t, v)) / float64(len(v))
		t.Logf("%-26s %5.1f bits a value", x.name, got)
		if got > x.most {
			t.Errorf("%s: %.1f bits a value, at most %.0f are allowed", x.name, got, x.most)
		}
	}
}

func TestIntsComeBack(t *testing.T) {
	r := rand.New(rand.NewSource(2))
	kinds := map[string]func(i int) int64{
		"equal":    func(int) int64 { return -5 },
		"small":    func(int) int64 { return r.Int63n(60) },
		"times":    func(i int) int64 { return 1_700_000_000_000_000 + int64(i)*1_000_000 + r.Int63n(50) },
		"outliers": func(int) int64 { return []int64{r.Int63n(60), math.MinInt64, math.MaxInt64, r.Int63n(60)}[r.Intn(4)] },
		"few out":  func(i int) int64 { return r.Int63n(60) + int64(i%200/199)*(r.Int63()-1<<62)*2 },
		"any":      func(int) int64 { return int64(r.Uint64()) },
	}
	for name, of := range kinds {
		for _, n := range []int{0, 1, 2, 8, BlockLen, 2*BlockLen + 3} {
			v := make([]int64, n)
			for i := range v {
				v[i] = of(i)
			}
			if size := roundInts(t, v); size > 9*n+32 {
				t.Errorf("%s: %d values became %d bytes", name, n, size)
			}
		}
	}
}

func TestBoolsSetsAndTexts(t *testing.T) {
	for seed := range int64(200) {
		r := rand.New(rand.NewSource(seed))
		n := r.Intn(300)
		bools, words, texts := make([]bool, n), make([]uint64, (n+63)/64), make([][]byte, n)
		count, one := 0, []int{1, 2, 40, 1 << 30}[r.Intn(4)]
		for i := range bools {
			if bools[i] = r.Intn(one) == 0; bools[i] {
				words[i/64] |= 1 << (i % 64)
				count++
			}
			texts[i] = []byte(fmt.Sprintf("bus-%d", r.Intn(one)))
		}
		outBools, outWords, outTexts := make([]bool, n), make([]uint64, len(words)), make([][]byte, n)
		if rest, err := Bools(AppendBools(nil, bools), outBools); err != nil || len(rest) > 0 || fmt.Sprint(outBools) != fmt.Sprint(bools) {
			t.Fatalf("seed %d: truths: %v", seed, err)
		}
		if k, rest, err := Set(AppendSet(nil, words), outWords); err != nil || k != count || len(rest) > 0 || fmt.Sprint(outWords) != fmt.Sprint(words) {
			t.Fatalf("seed %d: set: %v", seed, err)
		}
		if rest, err := Texts(AppendTexts(nil, texts), outTexts); err != nil || len(rest) > 0 || fmt.Sprint(outTexts) != fmt.Sprint(texts) {
			t.Fatalf("seed %d: texts: %v", seed, err)
		}
	}
}

// FuzzFloats: any eight bytes are a float; the same bytes read as a packed column are an error or a column.
func FuzzFloats(f *testing.F) {
	var seed []byte
	for _, x := range oddFloats {
		seed = binary.LittleEndian.AppendUint64(seed, math.Float64bits(x))
	}
	f.Add(seed, uint8(3))
	f.Add(AppendFloats(nil, []float64{1.5, 2.5, math.NaN(), 3}), uint8(1))
	f.Add(AppendInts(nil, []int64{1, 2, 3, 1 << 60, 5, 6, 7, 8, 9, 10}), uint8(1))
	f.Fuzz(func(t *testing.T, b []byte, repeat uint8) {
		var v []float64
		var n []int64
		for range int(repeat%8) + 1 {
			for i := 0; i+8 <= len(b); i += 8 {
				w := binary.LittleEndian.Uint64(b[i:])
				v, n = append(v, math.Float64frombits(w)), append(n, int64(w))
			}
		}
		roundFloats(t, v)
		roundInts(t, n)
		if again := AppendFloats(nil, v); !bytes.Equal(again, AppendFloats(nil, v)) {
			t.Fatal("not the same bytes twice")
		}
		_, _ = Floats(b, make([]float64, 100))
		_, _ = Ints(b, make([]int64, 100))
		_, _ = Bools(b, make([]bool, 100))
		_, _, _ = Set(b, make([]uint64, 4))
		_, _ = Texts(b, make([][]byte, 100))
	})
}

func BenchmarkFloats(b *testing.B) {
	r := rand.New(rand.NewSource(1))
	v := make([]float64, 100*BlockLen)
	for i := range v {
		v[i] = sumOf(r, 20, 10)
	}
	var dst []byte
	b.Run("append", func(b *testing.B) {
		for range b.N {
			dst = AppendFloats(dst[:0], v)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(v)), "ns/value")
	})
	out := make([]float64, len(v))
	b.Run("read", func(b *testing.B) {
		for range b.N {
			if _, err := Floats(dst, out); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(v)), "ns/value")
	})
}
