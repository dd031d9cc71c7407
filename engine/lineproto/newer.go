package lineproto

import "bytes"

// The published corpus of line protocol is newer than the last release of the
// library in two points: in a quoted string only \" and \\ are escapes, \n, \r
// and \t stay as they are written; and a tag value may hold control characters.
// newer rewrites such lines before the library sees them, and entry.restore
// undoes it: a backslash in front of n, r or t is doubled, and a control
// character in a tag value becomes a rune of the private use area.
type newer struct {
	where  place
	marked bool // a tag value of this entry was rewritten
	out    []byte
}

// place is where in an entry the next byte is.
type place uint8

const (
	inMeasurement place = iota
	inTagKey
	inTagValue
	inFields
	inFieldValue // behind the '=' of a field
	inString
)

// mark is the lead of the runes U+E000 to U+E07F.
const mark = 0xEE

// line rewrites a physical line of an entry; it returns line itself when there is nothing to do.
func (n *newer) line(line []byte) []byte {
	if n.where == inMeasurement && !unusual(line) {
		return line
	}
	n.out = n.out[:0]
	rewrite := bytes.IndexByte(line, mark) < 0
	for i := 0; i < len(line); i++ {
		c := line[i]
		if c == '\\' && i+1 < len(line) {
			next := line[i+1]
			if n.where == inString && (next == 'n' || next == 'r' || next == 't') {
				n.out = append(n.out, '\\')
			}
			if n.where == inString || next == ',' || next == ' ' || next == '=' {
				n.out = append(n.out, c, next)
				i++
				continue
			}
		}
		if n.where == inTagValue && isControl(c) && rewrite {
			n.out = append(n.out, mark, 0x80|c>>6, 0x80|c&0x3f)
			n.marked = true
			continue
		}
		n.where = n.where.after(c, i == 0)
		n.out = append(n.out, c)
	}
	return n.out
}

// unusual reports whether a line that starts an entry has a backslash, a control
// character, or a quote that may go on in the next line.
func unusual(line []byte) bool {
	quotes := 0
	for _, c := range line {
		switch {
		case c == '\\', c < ' ' && c != '\n' && c != '\r', c == 0x7f:
			return true
		case c == '"':
			quotes++
		}
	}
	return quotes&1 != 0
}

func isControl(c byte) bool { return c < ' ' && c != '\n' && c != '\r' || c == 0x7f }

// after is the place behind a byte that is not escaped.
func (p place) after(c byte, first bool) place {
	switch p {
	case inMeasurement, inTagKey, inTagValue:
		switch {
		case c == ' ' && first:
			return p
		case c == ' ':
			return inFields
		case c == ',':
			return inTagKey
		case c == '=' && p == inTagKey:
			return inTagValue
		}
	case inFields:
		if c == '=' {
			return inFieldValue
		}
	case inFieldValue:
		if c == '"' {
			return inString
		}
		return inFields
	case inString:
		if c == '"' {
			return inFields
		}
	}
	return p
}

// restore undoes the rewriting of a tag value.
func restore(v []byte) []byte {
	out := v[:0]
	for i := 0; i < len(v); i++ {
		if v[i] == mark && i+2 < len(v) {
			out = append(out, v[i+1]<<6|v[i+2]&0x3f)
			i += 2
			continue
		}
		out = append(out, v[i])
	}
	return out
}
