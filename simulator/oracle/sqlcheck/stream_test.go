package sqlcheck

import (
	"fmt"
	"math/rand"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"signalbox/engine"
	"signalbox/engine/column"
)

// continuous turns a query over the table t into one over the stream t; ok is
// false for queries that read t twice or do what a stream cannot do.
func continuous(q string) (text string, grouped, ok bool) {
	if strings.Count(q, "FROM t ") != 1 || strings.Contains(q, "JOIN t ") || strings.Contains(q, "SELECT DISTINCT") || strings.Contains(q, "(DISTINCT") {
		return "", false, false
	}
	text = strings.Replace(q, "FROM t ", "FROM STREAM t ", 1)
	for _, f := range []string{"sum(", "count(", "min(", "max(", "avg("} {
		head, _, _ := strings.Cut(q, " FROM ")
		grouped = grouped || strings.Contains(head, f)
	}
	return text, grouped || strings.Contains(q, " GROUP BY "), true
}

// stream runs a continuous query over the rows of t in entries of random size
// and returns what it has said at the end: all rows, or the last complete answer.
func (w *world) stream(r *rand.Rand, text string, grouped bool) ([]string, error) {
	e := engine.New(engine.Options{Strict: true})
	mode := "append"
	if grouped {
		mode = "complete"
	}
	if err := e.Execute("CREATE STREAM t (a BIGINT, b BIGINT, c STRING, d STRING); CREATE TABLE u (a BIGINT, e BIGINT, c STRING); CREATE STREAMING TABLE q OPTIONS (mode '" + mode + "') AS " + text); err != nil {
		return nil, err
	}
	if err := e.LoadTable("u", 1, w.tables["u"]); err != nil {
		return nil, err
	}
	all := w.tables["t"]
	var out []string
	for from, i := 0, uint64(1); from < all.Len; i++ {
		n := min(1+r.Intn(5), all.Len-from)
		b := column.NewBatch(all.Schema, n)
		for k := range n {
			b.AppendRow(all.Row(from + k)...)
		}
		from += n
		res, err := e.Apply(&engine.Input{Index: i, Time: int64(i), Batches: []engine.StreamBatch{{Stream: "t", Rows: b}}})
		if err != nil {
			return nil, err
		}
		if grouped {
			out = out[:0]
		}
		for _, c := range res.Changes {
			for j, line := range rowTexts(c.Rows) {
				if c.Deleted == nil || !c.Deleted[j] { // HAVING does not hold any more
					out = append(out, line)
				}
			}
		}
	}
	return out, nil
}

// TestStreamAgainstSQLite answers random queries over a stream that joins and
// looks up a static table, after all rows have come, and compares with SQLite.
func TestStreamAgainstSQLite(t *testing.T) {
	seed := int64(1)
	if s := os.Getenv(seedVariable); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed = n
	}
	w := open(t)
	r := rand.New(rand.NewSource(seed))
	ran, refused, bad := 0, map[string]int{}, 0
	for range worlds {
		if err := w.fill(r); err != nil {
			t.Fatal(err)
		}
		if w.tables["t"].Len == 0 {
			continue // a stream without rows says nothing, not even count(*) = 0
		}
		for range queriesEach {
			q, _ := (&gen{r: r}).body()
			text, grouped, ok := continuous(q.ours)
			if !ok {
				continue
			}
			got, err := w.stream(r, text, grouped)
			if err != nil {
				refused[reason(err)]++
				continue
			}
			want, err := w.lite(q.lite)
			if err != nil {
				t.Fatalf("%s: %v", q.lite, err)
			}
			slices.Sort(got)
			slices.Sort(want)
			ran++
			if !slices.Equal(got, want) {
				if bad++; bad > 5 {
					t.FailNow()
				}
				t.Errorf("seed %d:\n%s\ngot\n  %s\nSQLite says\n  %s\nt: %v\nu: %v", seed, text, strings.Join(got, "\n  "), strings.Join(want, "\n  "), dump(w.tables["t"]), dump(w.tables["u"]))
			}
		}
	}
	t.Logf("seed %d: %d queries agree, refused %v", seed, ran, refused)
	for why, n := range refused {
		if !slices.Contains(streamRefusals, why) {
			t.Errorf("%d queries were refused with %s, which a stream should not", n, why)
		}
	}
	if ran < worlds*queriesEach/4 {
		t.Errorf("only %d queries ran: the test proves less than it should", ran)
	}
}

// streamRefusals are the reasons for which a stream may refuse what a table can do.
var streamRefusals = []string{"_LEGACY_ERROR_TEMP_3102"}

func reason(err error) string {
	if _, rest, ok := strings.Cut(err.Error(), "["); ok {
		name, _, _ := strings.Cut(rest, "]")
		return name
	}
	return fmt.Sprint(err)
}
