package cluster

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"

	_ "modernc.org/sqlite" // the driver the nodes write with

	"signalbox/simulator/w1"
)

// compare holds what a node has in its database against the slow answers.
func compare(ctx context.Context, path string, w *Work) (q1, q2 int, err error) {
	db, err := sql.Open("sqlite", "file:"+path+"?mode=ro")
	if err != nil {
		return 0, 0, err
	}
	defer db.Close()
	columns := [][]string{{"start", "route", "sum_pax", "avg_pax", "max_pax", "n"}, {"bus", "route", "time", "passengers", "capacity"}}
	var counts [2]int
	for i, q := range w1.Queries()[:2] {
		rows, err := read(ctx, db, q.Name, columns[i])
		if err != nil {
			return 0, 0, err
		}
		if err := equal(q.Name, rows, w.answers[q.Name]); err != nil {
			return 0, 0, err
		}
		counts[i] = len(rows)
	}
	return counts[0], counts[1], nil
}

// read returns the rows as CSV lines, sorted.
func read(ctx context.Context, db *sql.DB, table string, columns []string) (out []string, err error) {
	quoted := make([]string, len(columns))
	for i, c := range columns {
		quoted[i] = `"` + c + `"`
	}
	rows, err := db.QueryContext(ctx, fmt.Sprintf(`SELECT %s FROM "%s"`, strings.Join(quoted, ", "), table))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	cells, targets := make([]any, len(columns)), make([]any, len(columns))
	for i := range cells {
		targets[i] = &cells[i]
	}
	text := make([]string, len(columns))
	for rows.Next() {
		if err := rows.Scan(targets...); err != nil {
			return nil, err
		}
		for i, c := range cells {
			text[i] = cell(c)
		}
		out = append(out, strings.Join(text, ","))
	}
	sort.Strings(out)
	return out, rows.Err()
}

// cell writes a value the way the answers do: a double always with a fraction.
func cell(v any) string {
	f, ok := v.(float64)
	if !ok {
		return fmt.Sprint(v)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

func equal(query string, got, want []string) error {
	if slices.Equal(got, want) {
		return nil
	}
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return fmt.Errorf("%s: %d rows, want %d; first difference: got %q, want %q", query, len(got), len(want), got[i], want[i])
		}
	}
	return fmt.Errorf("%s: %d rows, want %d", query, len(got), len(want))
}
