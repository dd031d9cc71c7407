package agg

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestPackedStatesComeBack: whatever an aggregate has seen, its packed state is
// the state, to the bit; equal states are packed to equal bytes; and a state
// that came back goes on like the original.
func TestPackedStatesComeBack(t *testing.T) {
	for i := range aggCases {
		c := &aggCases[i]
		t.Run(c.String(), func(t *testing.T) {
			f, types := c.bind(t)
			for seed := range uint64(4) {
				r := rand.New(rand.NewPCG(seed, uint64(i)))
				a := f.New()
				a.Grow(testGroups)
				groups, cols := c.rows(r, types, []int{0, 3, 300, 12_000}[seed])
				addRange(t, a, groups, cols, 0, len(groups))
				packed := packedState(t, a)
				b := f.New()
				rest, err := Unpack(append(packed[:len(packed):len(packed)], 1, 2), b, testGroups)
				if err != nil || len(rest) != 2 {
					t.Fatalf("seed %d: %d bytes left, %v", seed, len(rest), err)
				}
				if !bytes.Equal(packed, packedState(t, b)) {
					t.Fatalf("seed %d: an equal state was packed differently", seed)
				}
				groups, cols = c.rows(r, types, 100)
				for range 2 {
					if !bytes.Equal(canonical(t, f, a), canonical(t, f, b)) {
						t.Fatalf("seed %d: the state that came back is another", seed)
					}
					addRange(t, a, groups, cols, 0, len(groups))
					addRange(t, b, groups, cols, 0, len(groups))
				}
				for cut := range packed {
					if _, err := Unpack(packed[:cut], f.New(), testGroups); err == nil {
						t.Fatalf("seed %d: cut off at byte %d of %d it was read without an error", seed, cut, len(packed))
					}
					if cut > 200 {
						break
					}
				}
			}
		})
	}
}

func packedState(t *testing.T, a Accumulator) []byte {
	t.Helper()
	b, err := Pack(nil, a, testGroups)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
