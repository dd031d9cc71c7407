package agg

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"signalbox/engine/column"
)

// TestBytesDependOnTheStateAlone: replicas keep limits by Bytes, and some of
// them were restored. What comes back takes as much as what was written.
func TestBytesDependOnTheStateAlone(t *testing.T) {
	for i := range aggCases {
		c := &aggCases[i]
		t.Run(c.String(), func(t *testing.T) {
			f, types := c.bind(t)
			for seed := range uint64(6) {
				r := rand.New(rand.NewPCG(seed, uint64(i)))
				a := f.New()
				a.Grow(testGroups)
				for range 4 {
					groups, cols := c.rows(r, types, r.IntN(200))
					addRange(t, a, groups, cols, 0, len(groups))
					a.Clear(r.Int32N(testGroups))
				}
				decoded, copied := f.New(), f.New()
				if err := decoded.Decode(bytes.NewReader(encoded(t, a, testGroups)), testGroups); err != nil {
					t.Fatal(err)
				}
				copied.Grow(testGroups)
				if err := CopyGroups(copied, 0, decoded, 0, testGroups); err != nil {
					t.Fatal(err)
				}
				if x, y, z := a.Bytes(), decoded.Bytes(), copied.Bytes(); x != y || x != z || x <= 0 {
					t.Fatalf("seed %d: %d bytes, %d when decoded, %d when copied", seed, x, y, z)
				}
			}
		})
	}
}

func TestTableBytesDependOnTheKeysAlone(t *testing.T) {
	for k, types := range keyTypes {
		t.Run(fmt.Sprint(k), func(t *testing.T) {
			for seed := range uint64(30) {
				r := rand.New(rand.NewPCG(seed, uint64(k)))
				table := NewGroupTable(types)
				for range 5 {
					cols, n := make([]*column.Column, len(types)), 1+r.IntN(100)
					for i, ty := range types {
						cols[i] = randomColumn(r, ty, n, nil)
					}
					table.Groups(cols, nil, nil)
					for id := range int32(table.Len()) {
						if r.IntN(3) == 0 {
							table.Remove(id)
						}
					}
				}
				back := NewGroupTable(types)
				if err := back.Decode(bytes.NewReader(encodedTable(t, table))); err != nil {
					t.Fatal(err)
				}
				if x, y := table.Bytes(), back.Bytes(); x != y {
					t.Fatalf("seed %d: %d bytes, %d when decoded", seed, x, y)
				}
			}
		})
	}
}
