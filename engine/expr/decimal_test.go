package expr

import (
	"math"
	"math/big"
	"math/rand"
	"testing"

	"signalbox/engine/column"
)

// TestDecimalArithmetic holds the 64-bit paths and the casts to exact rationals.
func TestDecimalArithmetic(t *testing.T) {
	r := rand.New(rand.NewSource(11))
	for range 20000 {
		ta := column.DecimalType(uint8(1+r.Intn(38)), 0)
		ta.Scale = uint8(r.Intn(int(ta.Precision) + 1))
		tb := column.DecimalType(uint8(1+r.Intn(38)), 0)
		tb.Scale = uint8(r.Intn(int(tb.Precision) + 1))
		x, y := randomDecimal(r, ta), randomDecimal(r, tb)
		for _, op := range []string{"+", "-", "*", "/", "%"} {
			rt := decimalResult(op, ta, tb)
			got, err := decArith(op, x, int(ta.Scale), y, int(tb.Scale), rt)
			want := exactDecimal(op, ratOf(x, ta), ratOf(y, tb))
			if want == nil {
				if err == nil || err.SQLState != "22012" {
					t.Fatalf("%s by zero: %v", op, err)
				}
				continue
			}
			v := roundRat(want, int(rt.Scale))
			fits := digits(v) <= int(rt.Precision)
			if fits != (err == nil) || fits && bigOf(got).Cmp(v) != 0 {
				t.Fatalf("%s %s %s as %s: got %s %v, want %s", decText(x, int(ta.Scale)), op, decText(y, int(tb.Scale)), rt, decText(got, int(rt.Scale)), err, bigText(v, int(rt.Scale)))
			}
		}
	}
}

func randomDecimal(r *rand.Rand, t column.Type) column.Decimal128 {
	n := new(big.Int).Rand(r, pow10(1+r.Intn(int(t.Precision))))
	if r.Intn(2) == 0 {
		n.Neg(n)
	}
	d, _ := decOf(n)
	return d
}

func ratOf(d column.Decimal128, t column.Type) *big.Rat {
	return new(big.Rat).SetFrac(bigOf(d), pow10(int(t.Scale)))
}

func exactDecimal(op string, x, y *big.Rat) *big.Rat {
	out := new(big.Rat)
	switch op {
	case "+":
		return out.Add(x, y)
	case "-":
		return out.Sub(x, y)
	case "*":
		return out.Mul(x, y)
	}
	if y.Sign() == 0 {
		return nil
	}
	q := out.Quo(x, y)
	if op == "/" { // Spark rounds to 38 digits first
		return new(big.Rat).SetFrac(roundRat(q, 38), pow10(38))
	}
	whole := new(big.Int).Quo(q.Num(), q.Denom())
	return new(big.Rat).Sub(x, new(big.Rat).Mul(y, new(big.Rat).SetInt(whole)))
}

// roundRat rounds half away from zero to a scale.
func roundRat(x *big.Rat, scale int) *big.Int {
	n := new(big.Int).Mul(x.Num(), pow10(scale))
	n.Mul(n, big.NewInt(2))
	n.Add(n, new(big.Int).Mul(x.Denom(), big.NewInt(int64(x.Sign()))))
	return n.Quo(n, new(big.Int).Mul(x.Denom(), big.NewInt(2)))
}

func TestIntegersToDecimal(t *testing.T) {
	for _, v := range []int64{0, 1, -1, math.MaxInt64, math.MinInt64, 1e18, -1e18, 42} {
		for scale := range 19 {
			out := make([]column.Decimal128, 1)
			scaleInts(out, []int64{v}, pow10int(scale))
			if want := new(big.Int).Mul(big.NewInt(v), pow10(scale)); bigOf(out[0]).Cmp(want) != 0 {
				t.Fatalf("%d at scale %d = %s", v, scale, bigOf(out[0]))
			}
		}
	}
}
