package engine_test

import (
	"fmt"
	"math/rand"
	"sort"
	"strings"
	"testing"

	"signalbox/engine"
	"signalbox/engine/column"
)

var sideSchema = func(name string) *column.Schema {
	return &column.Schema{Name: name, Time: 0, Fields: []column.Field{{Name: "t", Type: column.Of(column.Timestamp)}, {Name: "k", Type: column.Of(column.String)}, {Name: "v", Type: column.Of(column.BigInt)}}}
}

type sideRow struct {
	t int64
	k string
	v int64
}

func sideBatch(name string, rows []sideRow) engine.StreamBatch {
	b := column.NewBatch(sideSchema(name), len(rows))
	for _, r := range rows {
		k := column.Str(r.k)
		if r.k == "" {
			k = column.NullDatum
		}
		b.AppendRow(column.I64(r.t), k, column.I64(r.v))
	}
	return engine.StreamBatch{Stream: name, Rows: b}
}

// TestStreamJoinAgainstOracle: over a whole bounded input without late rows,
// joining incrementally gives what a nested loop over everything gives.
func TestStreamJoinAgainstOracle(t *testing.T) {
	const bound = 5 * second
	for _, kind := range []string{"JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "LEFT SEMI JOIN"} {
		t.Run(kind, func(t *testing.T) {
			for seed := range int64(8) {
				r := rand.New(rand.NewSource(seed))
				e := engine.New(engine.DefaultOptions())
				cols := "a.v AS av, b.v AS bv"
				if kind == "LEFT SEMI JOIN" {
					cols = "a.v AS av"
				}
				err := e.Execute(`CREATE STREAM a (t TIMESTAMP, k STRING, v BIGINT); CREATE STREAM b (t TIMESTAMP, k STRING, v BIGINT);
					CREATE STREAMING TABLE j AS SELECT ` + cols + ` FROM STREAM a WATERMARK t DELAY OF INTERVAL 10 SECONDS AS a ` + kind + ` STREAM b WATERMARK t DELAY OF INTERVAL 10 SECONDS AS b
					ON a.k = b.k AND b.t >= a.t AND b.t <= a.t + INTERVAL 5 SECONDS`)
				if err != nil {
					t.Fatal(err)
				}
				var all [2][]sideRow
				got := map[string]int{}
				take := func(out *engine.Output) {
					for _, c := range out.Changes {
						for i := range c.Rows.Len {
							got[rowText(c.Rows, i)]++
						}
					}
					if len(out.Late) > 0 {
						t.Fatalf("seed %d: late rows %v", seed, out.Late)
					}
				}
				base := 1_700_000_000 * second
				for i := range 120 {
					in := &engine.Input{Index: uint64(i + 1), Time: int64(i + 1)}
					for s, name := range []string{"a", "b"} {
						var rows []sideRow
						for range r.Intn(4) {
							x := sideRow{t: base + int64(i)*second - r.Int63n(8*1000)*1000, k: fmt.Sprint(r.Intn(3)), v: int64(len(all[s]) + len(rows))}
							if r.Intn(12) == 0 {
								x.k = ""
							}
							rows = append(rows, x)
						}
						if len(rows) > 0 {
							in.Batches = append(in.Batches, sideBatch(name, rows))
						}
						all[s] = append(all[s], rows...)
					}
					take(apply(t, e, in))
				}
				take(apply(t, e, &engine.Input{Index: 1000, Time: 1000, End: true}))
				want := nestedLoop(kind, all[0], all[1], bound)
				if a, b := counted(got), counted(want); a != b {
					t.Fatalf("seed %d:\ngot  %s\nwant %s", seed, a, b)
				}
				for _, info := range e.Tables() {
					if info.Name == "j" && info.Counters.Keys != 0 {
						t.Fatalf("seed %d: %d rows remembered at the end", seed, info.Counters.Keys)
					}
				}
			}
		})
	}
}

func nestedLoop(kind string, as, bs []sideRow, bound int64) map[string]int {
	out := map[string]int{}
	hitB := make([]bool, len(bs))
	for _, a := range as {
		hit := false
		for i, b := range bs {
			// In Spark NULL keys match each other in a FULL join of streams, and only there.
			if a.k == "" && kind != "FULL JOIN" || a.k != b.k || b.t < a.t || b.t > a.t+bound {
				continue
			}
			hitB[i] = true
			if kind == "LEFT SEMI JOIN" {
				if !hit {
					out[fmt.Sprint(a.v)]++
				}
			} else {
				out[fmt.Sprintf("%d,%d", a.v, b.v)]++
			}
			hit = true
		}
		if !hit && (kind == "LEFT JOIN" || kind == "FULL JOIN") {
			out[fmt.Sprintf("%d,NULL", a.v)]++
		}
	}
	for i, b := range bs {
		if !hitB[i] && (kind == "RIGHT JOIN" || kind == "FULL JOIN") {
			out[fmt.Sprintf("NULL,%d", b.v)]++
		}
	}
	return out
}

func counted(m map[string]int) string {
	var s []string
	for k, n := range m {
		s = append(s, fmt.Sprintf("%s x%d", k, n))
	}
	sort.Strings(s)
	return strings.Join(s, " ")
}
