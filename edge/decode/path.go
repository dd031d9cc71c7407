package decode

import (
	"fmt"
	"strconv"
	"strings"
)

// A path names values of a JSON document:
//
//	$.VP.spd            member of members
//	$.*.tst             any first key
//	$['dr-type'][0]     quoted key, element
//	$.a[*].b[*]         all elements
//	@.in                from the row (see Mapping.Rows)
//	sum(PATH) count(PATH) min(PATH) max(PATH) first(PATH)   of all values a path names
//	json(PATH)          the text of the value, whatever it is
type path struct {
	text  string
	fn    string // "", or one of the functions
	row   bool   // from the row, not from the root
	steps []step
	many  bool // may name more than one value
}

type step struct {
	key   string
	index int
	kind  stepKind
}

type stepKind uint8

const (
	stepKey stepKind = iota
	stepAnyKey
	stepIndex
	stepAll
)

var pathFunctions = []string{"sum", "count", "min", "max", "first", "json"}

func parsePath(text string) (*path, error) {
	p := &path{text: text}
	s := strings.TrimSpace(text)
	for _, fn := range pathFunctions {
		if strings.HasPrefix(s, fn+"(") && strings.HasSuffix(s, ")") {
			p.fn = fn
			s = strings.TrimSpace(s[len(fn)+1 : len(s)-1])
		}
	}
	switch {
	case strings.HasPrefix(s, "$"):
	case strings.HasPrefix(s, "@"):
		p.row = true
	default:
		return nil, fmt.Errorf("path %q must start with $ (the message) or @ (the row), or be one of sum, count, min, max, first, json of such a path", text)
	}
	for s = s[1:]; s != ""; {
		st, rest, err := parseStep(s)
		if err != nil {
			return nil, fmt.Errorf("path %q: %w", text, err)
		}
		p.steps = append(p.steps, st)
		p.many = p.many || st.kind == stepAll
		s = rest
	}
	if p.many && (p.fn == "" || p.fn == "json") {
		return p, errMany
	}
	return p, nil
}

var errMany = fmt.Errorf("names many values: use sum(), count(), min(), max() or first() of it, or rows")

func parseStep(s string) (step, string, error) {
	switch {
	case strings.HasPrefix(s, ".*"):
		return step{kind: stepAnyKey}, s[2:], nil
	case strings.HasPrefix(s, "."):
		end := strings.IndexAny(s[1:], ".[")
		if end < 0 {
			end = len(s) - 1
		}
		if end == 0 {
			return step{}, "", fmt.Errorf("a key is missing before %q", s)
		}
		return step{key: s[1 : 1+end]}, s[1+end:], nil
	case strings.HasPrefix(s, "[*]"):
		return step{kind: stepAll}, s[3:], nil
	case strings.HasPrefix(s, "['"):
		end := strings.Index(s[2:], "']")
		if end < 0 {
			return step{}, "", fmt.Errorf("['  without ']")
		}
		return step{key: s[2 : 2+end]}, s[4+end:], nil
	case strings.HasPrefix(s, "["):
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return step{}, "", fmt.Errorf("[ without ]")
		}
		n, err := strconv.Atoi(s[1:end])
		if err != nil || n < 0 {
			return step{}, "", fmt.Errorf("%s is not an index", s[:end+1])
		}
		return step{kind: stepIndex, index: n}, s[end+1:], nil
	}
	return step{}, "", fmt.Errorf("cannot read %q: expected .key, .*, [n], [*] or ['key']", s)
}

// find calls f for each value that the path names, until f returns false.
func (d *document) find(steps []step, at int, f func(i int) bool) bool {
	if len(steps) == 0 {
		return f(at)
	}
	n := &d.nodes[at]
	switch st := &steps[0]; st.kind {
	case stepKey:
		if n.kind != jsonObject {
			return true
		}
		found := -1
		for c := at + 1; c < n.next; c = d.nodes[c].next {
			if d.nodes[c].key == st.key {
				found = c // of a key that comes twice the last one holds
			}
		}
		return found < 0 || d.find(steps[1:], found, f)
	case stepAnyKey:
		if n.kind != jsonObject || at+1 >= n.next {
			return true
		}
		return d.find(steps[1:], at+1, f)
	case stepIndex, stepAll:
		if n.kind != jsonArray {
			return true
		}
		i := 0
		for c := at + 1; c < n.next; c = d.nodes[c].next {
			if (st.kind == stepAll || i == st.index) && !d.find(steps[1:], c, f) {
				return false
			}
			i++
		}
	}
	return true
}
