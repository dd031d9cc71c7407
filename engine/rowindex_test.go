package engine

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"signalbox/engine/column"
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

// TestResultsWithoutAnIndex: rows that come once need none, and when one changes after all, nothing is different.
func TestResultsWithoutAnIndex(t *testing.T) {
	s := &column.Schema{Name: "t", Fields: []column.Field{{Name: "n", Type: column.Of(column.BigInt)}, {Name: "s", Type: column.Of(column.String)}}}
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		once, plain := newResults(s, 700), newResults(s, 700)
		once.once = true
		next, until := uint64(0), rng.IntN(60)
		for round := range 60 {
			n := rng.IntN(40)
			b, ids, revs, del := column.NewBatch(s, n), make([]RowID, n), make([]uint32, n), make([]bool, n)
			for i := range n {
				next++
				id := next
				revs[i] = 1
				if round > until && rng.IntN(3) == 0 {
					id, revs[i], del[i] = 1+rng.Uint64N(next), 2, rng.IntN(2) == 0
				}
				binary.BigEndian.PutUint64(ids[i][8:], id)
				b.AppendRow(column.I64(rng.Int64()), column.Str(string(rune('a'+rng.IntN(20)))))
			}
			if once.apply(b, ids, revs, del, nil) != plain.apply(b, ids, revs, del, nil) || once.len() != plain.len() {
				t.Fatalf("seed %d round %d: %d rows, want %d", seed, round, once.len(), plain.len())
			}
			if round <= until && (!once.once || once.index.n != 0) {
				t.Fatalf("seed %d round %d: an index of %d rows", seed, round, once.index.n)
			}
			rows, got, _ := once.capture().list()
			want, same, _ := plain.capture().list()
			for i := range same {
				if got[i] != same[i] || rows.Cols[0].I64[i] != want.Cols[0].I64[i] || rows.Cols[1].Str(i) != want.Cols[1].Str(i) {
					t.Fatalf("seed %d round %d: row %d differs", seed, round, i)
				}
			}
		}
	}
}
