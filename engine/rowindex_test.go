package engine

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// TestRowIndexAsAMap compares with a map over ids as filters make them (one origin, numbers that rise) and as hashes are.
func TestRowIndexAsAMap(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var x rowIndex
		ids := make([]RowID, 2000)
		at := func(slot int32) *RowID { return &ids[slot] }
		free := rng.Perm(len(ids))
		want := map[RowID]int32{}
		for range 20_000 {
			var id RowID
			binary.BigEndian.PutUint64(id[:], uint64(seed%3)*0x0123456789abcdef)
			binary.BigEndian.PutUint64(id[8:], rng.Uint64N(4000)<<(seed%2*24))
			slot, ok := x.find(&id, at)
			if w, known := want[id]; known != ok || ok && w != slot {
				t.Fatalf("seed %d: found %d, %v, want %d, %v", seed, slot, ok, w, known)
			}
			switch {
			case ok && rng.IntN(2) == 0:
				x.remove(slot, at)
				delete(want, id)
				free = append(free, int(slot))
			case !ok && len(free) > 0:
				slot = int32(free[len(free)-1])
				free = free[:len(free)-1]
				ids[slot] = id
				x.add(slot, at)
				want[id] = slot
			}
			if x.n != len(want) {
				t.Fatalf("seed %d: %d rows, want %d", seed, x.n, len(want))
			}
		}
	}
}
