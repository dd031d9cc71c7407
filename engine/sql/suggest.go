package sql

import (
	"strings"

	"signalbox/engine/spelling"
)

// Words a misspelt word may have meant.
var suggestible = strings.Fields("SELECT FROM WHERE GROUP HAVING ORDER LIMIT OFFSET UNION INTERSECT EXCEPT WINDOW JOIN INNER LEFT RIGHT FULL CROSS OUTER USING" +
	" WATERMARK DELAY DEDUP WITHIN INTERVAL PARTITION BETWEEN PRECEDING FOLLOWING UNBOUNDED CURRENT DISTINCT CREATE STREAM STREAMING TABLE OPTIONS DROP" +
	" WITH VALUES LATERAL VIEW AND OR NOT LIKE IN IS NULL CASE WHEN THEN ELSE END AS ON BY DESC ASC NULLS FIRST LAST FILTER OVER ROWS RANGE")

// suggest looks at the token found and the one before it (a misspelt keyword is
// often read as an alias first) for a word close to a keyword.
func (p *parser) suggest(expected string) string {
	t := p.peek()
	if t.kind == tWord {
		if w := nearest(t.val, wordsOf(expected)); w != "" {
			return "did you mean " + w + "?"
		}
	}
	if p.i > 0 && p.toks[p.i-1].kind == tWord {
		prev := p.toks[p.i-1].val
		if w := nearest(prev, suggestible); w != "" {
			return "did you mean " + w + " instead of " + clip(prev) + "?"
		}
	}
	if t.kind == tWord {
		if w := nearest(t.val, suggestible); w != "" {
			return "did you mean " + w + "?"
		}
	}
	return ""
}

// wordsOf returns the keywords named in a phrase such as "FROM, WHERE or the end of the text".
func wordsOf(phrase string) []string {
	var out []string
	for _, w := range strings.FieldsFunc(phrase, func(r rune) bool { return r == ' ' || r == ',' || r == '|' }) {
		if len(w) > 1 && w == strings.ToUpper(w) && w[0] >= 'A' && w[0] <= 'Z' {
			out = append(out, w)
		}
	}
	return out
}

// nearest returns the candidate that word most likely misspells, or "": itself is none.
func nearest(word string, candidates []string) string {
	if len(word) < 2 || len(word) > 20 {
		return ""
	}
	w := strings.ToUpper(word)
	best, bestCost := "", 1+len(w)/4
	for _, c := range candidates {
		if c == w {
			return ""
		}
		if d := spelling.Distance(w, c); d < bestCost || d == bestCost && best == "" {
			best, bestCost = c, d
		}
	}
	return best
}
