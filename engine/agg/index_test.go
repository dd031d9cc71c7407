package agg

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"signalbox/engine/column"
)

// TestGrowthInSteps: while a large table moves over to one of twice its size,
// keys are found, added, removed and added again as in a map.
func TestGrowthInSteps(t *testing.T) {
	for k, types := range [][]column.Type{{tBig}, {tStr}, {tBig, tStr}, {tStr, tBig, tDbl}} {
		t.Run(fmt.Sprint(k), func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, uint64(k)))
			table, ids, keys := NewGroupTable(types), map[int64]int32{}, map[int32]int64{}
			moving, dict := 0, column.NewDict()
			for step := range 1500 {
				cols := make([]*column.Column, len(types))
				vals := make([]int64, 60)
				for i, ty := range types {
					cols[i] = column.New(ty, len(vals))
					if ty.Kind == column.String && step%2 == 0 {
						cols[i].Dict = dict
					}
				}
				for j := range vals {
					vals[j] = r.Int64N(int64(step+1) * 40)
					for i, ty := range types {
						switch ty.Kind {
						case column.BigInt:
							cols[i].AppendI64(vals[j])
						case column.String:
							cols[i].AppendBytes([]byte(fmt.Sprint("bus-", vals[j])))
						default:
							cols[i].AppendF64(float64(vals[j]))
						}
					}
				}
				if step%3 == 0 {
					checkFound(t, step, table.Find(cols, nil, nil), vals, ids)
				}
				for j, id := range table.Groups(cols, nil, nil) {
					was, known := ids[vals[j]]
					if other, used := keys[id]; known && was != id || !known && used {
						t.Fatalf("step %d: key %d has id %d, had %d (%v); the id belongs to %d (%v)", step, vals[j], id, was, known, other, used)
					}
					ids[vals[j]], keys[id] = id, vals[j]
				}
				if table.old != nil || table.interns[0] != nil && table.interns[0].old != nil {
					moving++
				}
				for range 12 {
					v := vals[r.IntN(len(vals))]
					if id, ok := ids[v]; ok {
						table.Remove(id)
						delete(ids, v)
						delete(keys, id)
					}
				}
				if table.Live() != len(ids) {
					t.Fatalf("step %d: %d keys, want %d", step, table.Live(), len(ids))
				}
			}
			if moving == 0 {
				t.Fatal("the table never moved in steps")
			}
		})
	}
}

func checkFound(t *testing.T, step int, got []int32, vals []int64, ids map[int64]int32) {
	t.Helper()
	for j, id := range got {
		want, known := ids[vals[j]]
		if !known {
			want = -1
		}
		if id != want {
			t.Fatalf("step %d: key %d found as %d, want %d", step, vals[j], id, want)
		}
	}
}
