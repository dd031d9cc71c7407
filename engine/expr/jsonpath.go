package expr

import (
	"strconv"
	"strings"

	"signalbox/engine/column"
)

// jsonStep is one step of a path: a member, an index, or all elements.
type jsonStep struct {
	key   string
	index int // -1 = member, -2 = all
}

// parseJSONPath reads $.a.b[0]['c'][*].
func parseJSONPath(s string) ([]jsonStep, bool) {
	if !strings.HasPrefix(s, "$") {
		return nil, false
	}
	var out []jsonStep
	for s = s[1:]; s != ""; {
		switch {
		case strings.HasPrefix(s, "['"):
			end := strings.Index(s, "']")
			if end < 2 {
				return nil, false
			}
			out, s = append(out, jsonStep{s[2:end], -1}), s[end+2:]
		case s[0] == '[':
			end := strings.IndexByte(s, ']')
			if end < 0 {
				return nil, false
			}
			if s[1:end] == "*" {
				out = append(out, jsonStep{"", -2})
			} else if n, err := strconv.Atoi(s[1:end]); err == nil && n >= 0 {
				out = append(out, jsonStep{"", n})
			} else {
				return nil, false
			}
			s = s[end+1:]
		case s[0] == '.' && len(s) > 1:
			end := strings.IndexAny(s[1:], ".[")
			if end < 0 {
				end = len(s) - 1
			}
			if end == 0 {
				return nil, false
			}
			step := jsonStep{s[1 : 1+end], -1}
			if step.key == "*" {
				step = jsonStep{"", -2}
			}
			out, s = append(out, step), s[1+end:]
		default:
			return nil, false
		}
	}
	return out, true
}

// find follows a path; several is true when a wildcard was met.
func (n *jsonNode) find(path []jsonStep) (found []*jsonNode, several bool) {
	if len(path) == 0 {
		return []*jsonNode{n}, false
	}
	step := path[0]
	var next []*jsonNode
	switch {
	case step.index == -1 && n.kind == jsonArray: // a member of an array of objects: of each
		for _, v := range n.vals {
			f, _ := v.find(path)
			found = append(found, f...)
		}
		return found, true
	case step.index == -1:
		if m := n.member(step.key); m != nil {
			next = append(next, m)
		}
	case n.kind != jsonArray:
	case step.index == -2:
		next, several = n.vals, true
	case step.index < len(n.vals):
		next = append(next, n.vals[step.index])
	}
	for _, v := range next {
		f, s := v.find(path[1:])
		found, several = append(found, f...), several || s
	}
	return found, several
}

func evalGetJSON(a []column.Datum) (column.Datum, *Error) {
	path, ok := parseJSONPath(a[1].S)
	if !ok {
		return column.NullDatum, nil
	}
	n, ok := parseJSON(a[0].S)
	if !ok {
		return column.NullDatum, nil
	}
	found, several := n.find(path)
	switch {
	case len(found) == 0:
		return column.NullDatum, nil
	case several && len(found) > 1:
		return (&jsonNode{kind: jsonArray, vals: found}).plain(), nil
	case several:
		var b strings.Builder
		found[0].write(&b)
		return column.Str(b.String()), nil
	}
	return found[0].plain(), nil
}
