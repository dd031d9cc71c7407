package plan

import (
	"fmt"
	"sort"
	"strings"

	"signalbox/engine/expr"
	"signalbox/engine/spelling"
	"signalbox/engine/sql"
)

// fail makes an analysis error with Spark's condition and SQLSTATE.
func fail(pos sql.Pos, condition, state, format string, args ...any) error {
	return &expr.Error{Phase: expr.Analysis, Condition: condition, SQLState: state,
		Message: fmt.Sprintf(format, args...), Line: pos.Line, Col: pos.Col}
}

// at gives an error that has no position yet the position of the syntax it is about.
func at(pos sql.Pos, err error) error {
	if e, ok := err.(*expr.Error); ok && e.Line == 0 {
		c := *e
		c.Line, c.Col = pos.Line, pos.Col
		return &c
	}
	return err
}

func unresolvedColumn(pos sql.Pos, name string, candidates []string) error {
	if len(candidates) == 0 {
		return fail(pos, "UNRESOLVED_COLUMN.WITHOUT_SUGGESTION", "42703",
			"there is no column `%s` here: the query reads no columns at this place", name)
	}
	return fail(pos, "UNRESOLVED_COLUMN.WITH_SUGGESTION", "42703",
		"there is no column `%s` here; did you mean one of %s?", name, quoted(nearest(name, candidates, 5)))
}

func unsupported(pos sql.Pos, what, instead string) error {
	return fail(pos, "UNSUPPORTED_FEATURE", "0A000", "%s is not supported; %s", what, instead)
}

func quoted(names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = "`" + n + "`"
	}
	return strings.Join(out, ", ")
}

// nearest lists the most similar names first.
func nearest(name string, candidates []string, limit int) []string {
	type scored struct {
		name string
		dist int
	}
	seen := map[string]bool{}
	var all []scored
	low := strings.ToLower(name)
	for _, c := range candidates {
		if c == "" || seen[c] {
			continue
		}
		seen[c] = true
		last := c[strings.LastIndexByte(c, '.')+1:]
		all = append(all, scored{c, min(spelling.Distance(low, strings.ToLower(c)), spelling.Distance(low, strings.ToLower(last)))})
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].dist < all[j].dist })
	var out []string
	for _, s := range all {
		if len(out) < limit {
			out = append(out, s.name)
		}
	}
	return out
}
