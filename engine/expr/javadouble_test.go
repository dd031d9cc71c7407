package expr

import (
	"math"
	"strconv"
	"testing"
)

// The texts are those of Double.toString and Float.toString of Java 17.
func TestJavaDouble(t *testing.T) {
	for f, want := range map[float64]string{
		2e-3: "0.002", 2e23: "1.9999999999999998E23", 1.1e23: "1.1E23", 5e22: "4.9999999999999996E22", 8.41e21: "8.409999999999999E21",
		1e23: "9.999999999999999E22", 4611686018427387904: "4.6116860184273879E18", 9223372036854775808: "9.223372036854776E18",
		1e16: "1.0E16", 5e-324: "4.9E-324", 2e-323: "2.0E-323", 2.2250738585072014e-308: "2.2250738585072014E-308",
		math.MaxFloat64: "1.7976931348623157E308", 1e7: "1.0E7", 9999999: "9999999.0", 0.0009: "9.0E-4", -12.5: "-12.5",
		33.11000000000001: "33.11000000000001", 123456789.125: "1.23456789125E8",
	} {
		if got := javaDouble(f, false); got != want {
			t.Errorf("%v: got %s, want %s", f, got, want)
		}
	}
	for f, want := range map[float32]string{0.1: "0.1", 1e10: "1.0E10", 123456.789: "123456.79", 123456792: "1.23456792E8", 9007199254740993: "9.0071993E15"} {
		if got := javaDouble(float64(f), true); got != want {
			t.Errorf("float %v: got %s, want %s", f, got, want)
		}
	}
}

// Whatever the digits are, they must read back as the same number.
func FuzzJavaDouble(f *testing.F) {
	f.Add(1e23)
	f.Add(5e-324)
	f.Fuzz(func(t *testing.T, v float64) {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return
		}
		if got, err := strconv.ParseFloat(javaDouble(v, false), 64); err != nil || got != v {
			t.Fatalf("%v is %s, which reads as %v (%v)", v, javaDouble(v, false), got, err)
		}
		s := float32(v)
		if math.IsInf(float64(s), 0) {
			return
		}
		if got, err := strconv.ParseFloat(javaDouble(float64(s), true), 32); err != nil || float32(got) != s {
			t.Fatalf("float %v is %s, which reads as %v (%v)", s, javaDouble(float64(s), true), got, err)
		}
	})
}
