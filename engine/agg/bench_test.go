package agg

import (
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"signalbox/engine/column"
	"signalbox/engine/expr"
)

// benchInput is rows of n groups in batches: a string key and a BIGINT. Few
// groups come in random order, many in the order of a fleet that reports in turn with disorder.
func benchInput(groups, batch, batches int) (keys, vals []*column.Column) {
	r := rand.New(rand.NewPCG(1, 2))
	dict := column.NewDict()
	for i := range groups {
		dict.Code(fmt.Sprintf("B%07d", i))
	}
	for range batches {
		k, v := column.New(tStr, batch), column.New(tBig, batch)
		k.Dict = dict
		k.Resize(batch)
		v.Resize(batch)
		for i := range batch {
			k.Codes[i] = uint32(r.IntN(groups))
			v.I64[i] = r.Int64N(100)
		}
		keys, vals = append(keys, k), append(vals, v)
	}
	return keys, vals
}

func benchAccs(t testing.TB, names ...string) []Accumulator {
	var out []Accumulator
	for _, n := range names {
		c := aggCase{name: n, args: []any{tBig}}
		f, _ := c.bind(t)
		out = append(out, f.New())
	}
	return out
}

func BenchmarkGroup(b *testing.B) {
	for _, groups := range []int{100, 2000, 1_000_000} {
		b.Run(fmt.Sprint(groups), func(b *testing.B) {
			keys, vals := benchInput(groups, 8192, 64)
			table := NewGroupTable([]column.Type{tStr})
			accs := benchAccs(b, "sum", "avg", "max", "count")
			ctx := expr.NewContext()
			var ids []int32
			round := func(i int) {
				ids = table.Groups(keys[i:i+1], nil, ids)
				for _, a := range accs {
					a.Grow(table.Len())
					a.Add(ctx, ids, vals[i:i+1], nil)
				}
			}
			for i := range keys {
				round(i)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				round(i % len(keys))
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/8192, "ns/reading")
		})
	}
}

func BenchmarkKeys(b *testing.B) {
	const n = 8192
	r := rand.New(rand.NewPCG(3, 4))
	strs, _ := benchInput(2000, n, 1)
	ints, times := column.New(tBig, n), column.New(tTime, n)
	for range n {
		ints.AppendI64(r.Int64N(2000))
		times.AppendI64(r.Int64N(3) * 60e6)
	}
	for name, keys := range map[string][]*column.Column{"string": strs, "bigint": {ints}, "time+string": {times, strs[0]}, "string+bigint": {strs[0], ints}} {
		b.Run(name, func(b *testing.B) {
			types := make([]column.Type, len(keys))
			for i, k := range keys {
				types[i] = k.Type
			}
			table := NewGroupTable(types)
			var ids []int32
			for range b.N {
				ids = table.Groups(keys, nil, ids)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/row")
		})
	}
}

// A million groups of sum, count and max with their key table: bytes and a full collection.
func TestMillionGroups(t *testing.T) {
	const groups = 1_000_000
	table := NewGroupTable([]column.Type{tStr})
	accs := benchAccs(t, "sum", "count", "max")
	ctx := expr.NewContext()
	var ids []int32
	const batch = 10_000
	vals := column.New(tBig, batch)
	vals.Resize(batch)
	for lo := 0; lo < groups; lo += batch {
		k := column.New(tStr, batch)
		for i := range batch {
			k.AppendString(fmt.Sprintf("B%07d", lo+i))
		}
		ids = table.Groups([]*column.Column{k}, nil, ids)
		for _, a := range accs {
			a.Grow(table.Len())
			a.Add(ctx, ids, []*column.Column{vals}, nil)
		}
	}
	if table.Len() != groups {
		t.Fatalf("%d groups", table.Len())
	}
	total := table.Bytes()
	for _, a := range accs {
		total += a.Bytes()
	}
	per := float64(total) / groups
	runtime.GC()
	start := time.Now()
	runtime.GC()
	t.Logf("%.1f bytes a group, full collection %v", per, time.Since(start))
	if per > 64 {
		t.Errorf("%.1f bytes a group, at most 64 are allowed", per)
	}
	runtime.KeepAlive(accs)
}

// The hot path does not allocate.
func TestNoAllocations(t *testing.T) {
	keys, vals := benchInput(2000, 4096, 1)
	table := NewGroupTable([]column.Type{tStr})
	accs := benchAccs(t, "sum", "avg", "max", "min", "count")
	ctx := expr.NewContext()
	var ids []int32
	if n := testing.AllocsPerRun(10, func() {
		ids = table.Groups(keys, nil, ids)
		for _, a := range accs {
			a.Grow(table.Len())
			a.Add(ctx, ids, vals, nil)
		}
	}); n > 0 {
		t.Errorf("%v allocations for a batch", n)
	}
}

// Writing the state of a million groups: what a snapshot waits for.
func BenchmarkEncode(b *testing.B) {
	keys, vals := benchInput(1_000_000, 8192, 400)
	table := NewGroupTable([]column.Type{tStr})
	accs := benchAccs(b, "sum", "count", "max")
	ctx := expr.NewContext()
	for i := range keys {
		ids := table.Groups(keys[i:i+1], nil, nil)
		for _, a := range accs {
			a.Grow(table.Len())
			a.Add(ctx, ids, vals[i:i+1], nil)
		}
	}
	b.ResetTimer()
	for range b.N {
		if err := table.Encode(io.Discard); err != nil {
			b.Fatal(err)
		}
		for _, a := range accs {
			if err := a.Encode(io.Discard, table.Len()); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(table.Len()), "groups")
}
