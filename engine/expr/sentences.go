package expr

import (
	"strings"
	"unicode"

	"signalbox/engine/column"
)

// evalSentences cuts a text into sentences and those into words. A sentence ends at . ! or ? before a space and a
// capital letter or a digit, and where a paragraph does.
func evalSentences(a []column.Datum) (column.Datum, *Error) {
	out := column.Datum{L: []column.Datum{}}
	for _, s := range sentencesOf(a[0].S) {
		words := column.Datum{L: []column.Datum{}}
		for _, w := range strings.FieldsFunc(s, func(r rune) bool { return !wordRune(r) }) {
			if w = strings.Trim(w, "'.,"); w != "" {
				words.L = append(words.L, column.Str(w))
			}
		}
		if len(words.L) > 0 {
			out.L = append(out.L, words)
		}
	}
	return out, nil
}

// wordRune: an apostrophe or a decimal point inside a word belongs to it; Trim takes those at its ends.
func wordRune(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) || r == '\'' || r == '_' || r == '.' || r == ','
}

func sentencesOf(s string) []string {
	var out []string
	r := []rune(s)
	start := 0
	for i := 0; i < len(r); i++ {
		if !strings.ContainsRune(".!?\n", r[i]) {
			continue
		}
		j := i + 1
		for j < len(r) && strings.ContainsRune(`.!?"')`, r[j]) {
			j++
		}
		k := j
		for k < len(r) && unicode.IsSpace(r[k]) {
			k++
		}
		if k == len(r) || r[i] != '.' || k > j && !unicode.IsLower(r[k]) {
			out = append(out, string(r[start:j]))
			start = k
		}
		i = j - 1
	}
	return append(out, string(r[start:]))
}
