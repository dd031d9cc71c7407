package wire

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"signalbox/engine/column"
)

// TestSharedDictInAnyOrder decodes frames whose values come in order, late, early, not at all and for the first time.
func TestSharedDictInAnyOrder(t *testing.T) {
	s := &column.Schema{Name: "bus", Time: -1, Fields: []column.Field{{Name: "bus", Type: column.Of(column.String)}}}
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		d := Decoder{SharedDict: 300}
		order := rng.Perm(120)
		for frame := range 60 {
			if rng.IntN(10) == 0 {
				rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
			}
			b := column.NewBatch(s, len(order))
			var want []string
			for _, v := range order {
				switch rng.IntN(12) {
				case 0: // missing
					continue
				case 1: // another
					v = rng.IntN(200)
				}
				want = append(want, fmt.Sprint("bus", v))
				b.AppendRow(column.Str(want[len(want)-1]))
			}
			got, err := d.Decode(mustEncode(t, b), DecodeOptions{})
			if err != nil {
				t.Fatalf("seed %d frame %d: %v", seed, frame, err)
			}
			for i := range want {
				if got.Cols[0].Str(i) != want[i] {
					t.Fatalf("seed %d frame %d row %d: %s, want %s", seed, frame, i, got.Cols[0].Str(i), want[i])
				}
			}
		}
	}
}
