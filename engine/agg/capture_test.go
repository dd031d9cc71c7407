package agg

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"signalbox/engine/column"
)

func encoded(t testing.TB, a Accumulator, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := a.Encode(&b, n); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A copied group is the group to the bit: copying in pieces, to and fro, gives
// the bytes of a whole copy, and goes on like the original.
func TestCopiedGroupsAreTheSame(t *testing.T) {
	for i := range aggCases {
		c := &aggCases[i]
		t.Run(c.String(), func(t *testing.T) {
			f, types := c.bind(t)
			for seed := range uint64(4) {
				r := rand.New(rand.NewPCG(seed, uint64(i)))
				a, b, back := f.New(), f.New(), f.New()
				a.Grow(testGroups)
				b.Grow(testGroups + 3)
				back.Grow(testGroups)
				groups, cols := c.rows(r, types, r.IntN([]int{300, 12_000}[seed&1]))
				addRange(t, a, groups, cols, 0, len(groups))
				for at := 0; at < testGroups; {
					n := 1 + r.IntN(testGroups-at)
					if err := CopyGroups(b, at+3, a, at, n); err != nil {
						t.Fatal(err)
					}
					if err := CopyGroups(back, at, b, at+3, n); err != nil {
						t.Fatal(err)
					}
					at += n
				}
				if !bytes.Equal(canonical(t, f, back), canonical(t, f, a)) {
					t.Fatalf("seed %d: a copy of a copy encodes differently", seed)
				}
				groups, cols = c.rows(r, types, 100)
				addRange(t, a, groups, cols, 0, len(groups))
				addRange(t, back, groups, cols, 0, len(groups))
				if !bytes.Equal(canonical(t, f, back), canonical(t, f, a)) {
					t.Fatalf("seed %d: a copy goes on differently", seed)
				}
			}
		})
	}
}

// canonical is the encoding of a copy made in order of the groups, as snapshots do it.
func canonical(t testing.TB, f Func, a Accumulator) []byte {
	t.Helper()
	b := f.New()
	b.Grow(testGroups)
	if err := CopyGroups(b, 0, a, 0, testGroups); err != nil {
		t.Fatal(err)
	}
	return encoded(t, b, testGroups)
}

// A capture reads as the table was, however it changes while the capture is written.
func TestTableCaptureAgainstEncode(t *testing.T) {
	for k, types := range keyTypes {
		t.Run(fmt.Sprint(k), func(t *testing.T) {
			for seed := range uint64(30) {
				checkCapture(t, types, rand.New(rand.NewPCG(seed, uint64(k))))
			}
		})
	}
}

func checkCapture(t *testing.T, types []column.Type, r *rand.Rand) {
	t.Helper()
	table := NewGroupTable(types)
	change := func() {
		cols := make([]*column.Column, len(types))
		for i, ty := range types {
			cols[i] = randomColumn(r, ty, 60, nil)
			if ty.Kind == column.BigInt || ty.Kind == column.Int {
				for j := range cols[i].I64 {
					cols[i].I64[j] = r.Int64N(400)
				}
			}
		}
		table.Groups(cols, nil, nil)
		for id := range int32(table.Len()) {
			if r.IntN(5) == 0 {
				table.Remove(id)
			}
		}
	}
	for range 4 {
		change()
	}
	want := encodedTable(t, table)
	first, second := table.Capture(), table.Capture()
	var a, b bytes.Buffer
	write := func(c *TableCapture, w *bytes.Buffer, often bool) {
		if err := c.WriteHead(w); err != nil {
			t.Fatal(err)
		}
		for i := 0; i*BlockGroups < c.Len(); i++ {
			if often {
				change()
			}
			if err := c.WriteBlock(w, i); err != nil {
				t.Fatal(err)
			}
		}
		c.Release()
	}
	change()
	write(first, &a, true)
	if r.IntN(3) == 0 {
		table.Reset()
	}
	write(second, &b, false)
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Fatal("two captures of the same moment differ")
	}
	if len(table.captures) > 0 {
		t.Fatal("a released capture is still held")
	}
	back := NewGroupTable(types)
	in := bytes.NewReader(a.Bytes())
	if err := back.DecodeBlocks(in); err != nil || in.Len() > 0 {
		t.Fatalf("decoding a capture: %v, %d bytes left", err, in.Len())
	}
	if !bytes.Equal(encodedTable(t, back), want) {
		t.Fatal("the capture is not what the table was")
	}
	for cut := 0; cut < a.Len(); cut += 1 + a.Len()/30 {
		if err := NewGroupTable(types).DecodeBlocks(bytes.NewReader(a.Bytes()[:cut])); err == nil {
			t.Fatalf("a capture cut off at byte %d of %d was read without an error", cut, a.Len())
		}
	}
}

func encodedTable(t *testing.T, table *GroupTable) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := table.Encode(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
