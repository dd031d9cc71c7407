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
		r := []rune(s)
		for from, i := 0, 0; i <= len(r); i++ {
			if i < len(r) && inWord(r, i) {
				continue
			}
			if i > from {
				words.L = append(words.L, column.Str(string(r[from:i])))
			}
			from = i + 1
		}
		out.L = append(out.L, words)
	}
	return out, nil
}

// inWord: an apostrophe or a point between letters, and a point or comma between digits, belong to a word.
func inWord(r []rune, i int) bool {
	letter := func(k int) bool {
		return k >= 0 && k < len(r) && (unicode.IsLetter(r[k]) || unicode.IsMark(r[k]) || r[k] == '_')
	}
	digit := func(k int) bool { return k >= 0 && k < len(r) && unicode.IsDigit(r[k]) }
	switch r[i] {
	case '\'', '.':
		return letter(i-1) && letter(i+1) || digit(i-1) && digit(i+1)
	case ',':
		return digit(i-1) && digit(i+1)
	case '_': // alone it is no word
		return letter(i-1) && r[i-1] != '_' || letter(i+1) && r[i+1] != '_' || digit(i-1) || digit(i+1)
	}
	return letter(i) || digit(i)
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
	if start < len(r) {
		out = append(out, string(r[start:]))
	}
	return out
}
