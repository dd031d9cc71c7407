package decode

import (
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Bounds of a JSON document beside the message size.
const (
	maxDepth = 32
	maxNodes = 1 << 14
)

type jsonKind uint8

const (
	jsonNull jsonKind = iota
	jsonFalse
	jsonTrue
	jsonNumber
	jsonString
	jsonArray
	jsonObject
)

// node is a value of a document. The nodes of a document lie in one slice: a
// parent, then its children with all that belongs to them; next skips those.
type node struct {
	kind       jsonKind
	start, end int // of the text; a string's with its quotes
	key        string
	next       int // index of what follows this value
}

// document is a parsed message. It is parsed strictly (RFC 8259, UTF-8) and is reused.
type document struct {
	text  []byte
	nodes []node
	at    int
}

// syntaxError says where a text stops being JSON.
type syntaxError struct {
	offset int
	what   string
}

func (e *syntaxError) Error() string { return fmt.Sprintf("byte %d: %s", e.offset, e.what) }

func (d *document) parse(text []byte) error {
	d.text, d.nodes, d.at = text, d.nodes[:0], 0
	d.space()
	if err := d.value("", 0); err != nil {
		return err
	}
	d.space()
	if d.at < len(d.text) {
		return d.bad("text after the value")
	}
	return nil
}

func (d *document) bad(what string) error { return &syntaxError{d.at, what} }

func (d *document) space() {
	for d.at < len(d.text) {
		switch d.text[d.at] {
		case ' ', '\t', '\n', '\r':
			d.at++
		default:
			return
		}
	}
}

func (d *document) value(key string, depth int) error {
	switch {
	case depth > maxDepth:
		return d.bad(fmt.Sprintf("nested deeper than %d", maxDepth))
	case len(d.nodes) >= maxNodes:
		return d.bad(fmt.Sprintf("more than %d values", maxNodes))
	case d.at >= len(d.text):
		return d.bad("ends too early")
	}
	i := len(d.nodes)
	d.nodes = append(d.nodes, node{key: key, start: d.at})
	var err error
	kind := jsonNull
	switch c := d.text[d.at]; {
	case c == '{':
		kind, err = jsonObject, d.object(depth)
	case c == '[':
		kind, err = jsonArray, d.array(depth)
	case c == '"':
		kind = jsonString
		_, err = d.str()
	case c == '-' || c >= '0' && c <= '9':
		kind, err = jsonNumber, d.number()
	default:
		kind, err = d.word()
	}
	n := &d.nodes[i]
	n.kind, n.end, n.next = kind, d.at, len(d.nodes)
	return err
}

func (d *document) word() (jsonKind, error) {
	for kind, w := range [...]string{jsonNull: "null", jsonFalse: "false", jsonTrue: "true"} {
		if len(d.text)-d.at >= len(w) && string(d.text[d.at:d.at+len(w)]) == w {
			d.at += len(w)
			return jsonKind(kind), nil
		}
	}
	return jsonNull, d.bad("not a JSON value")
}

func (d *document) digits() bool {
	start := d.at
	for d.at < len(d.text) && d.text[d.at] >= '0' && d.text[d.at] <= '9' {
		d.at++
	}
	return d.at > start
}

func (d *document) peek(c byte) bool { return d.at < len(d.text) && d.text[d.at] == c }

func (d *document) number() error {
	if d.peek('-') {
		d.at++
	}
	if d.peek('0') {
		d.at++
	} else if !d.digits() {
		return d.bad("not a number")
	}
	if d.peek('.') {
		d.at++
		if !d.digits() {
			return d.bad("no digit after the point")
		}
	}
	if d.peek('e') || d.peek('E') {
		d.at++
		if d.peek('+') || d.peek('-') {
			d.at++
		}
		if !d.digits() {
			return d.bad("no digit in the exponent")
		}
	}
	return nil
}

// str passes a string and returns its text with the quotes.
func (d *document) str() ([]byte, error) {
	start := d.at
	for d.at++; d.at < len(d.text); d.at++ {
		switch c := d.text[d.at]; {
		case c == '"':
			d.at++
			s := d.text[start:d.at]
			if !utf8.Valid(s) {
				d.at = start
				return nil, d.bad("string is not UTF-8")
			}
			return s, nil
		case c < 0x20:
			return nil, d.bad("control character in a string")
		case c == '\\':
			if err := d.escape(); err != nil {
				return nil, err
			}
		}
	}
	return nil, d.bad("string without an end")
}

func (d *document) escape() error {
	d.at++
	if d.at >= len(d.text) {
		return d.bad("string without an end")
	}
	switch d.text[d.at] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return nil
	case 'u':
		if d.at+4 < len(d.text) {
			if _, err := strconv.ParseUint(string(d.text[d.at+1:d.at+5]), 16, 16); err == nil {
				d.at += 4
				return nil
			}
		}
	}
	return d.bad("bad escape in a string")
}

func (d *document) object(depth int) error {
	d.at++
	for first := true; ; first = false {
		d.space()
		if first && d.peek('}') {
			d.at++
			return nil
		}
		if !d.peek('"') {
			return d.bad("key expected")
		}
		key, err := d.str()
		if err != nil {
			return err
		}
		d.space()
		if !d.peek(':') {
			return d.bad("colon expected")
		}
		d.at++
		d.space()
		if err := d.value(unquote(key), depth+1); err != nil {
			return err
		}
		d.space()
		if d.peek('}') {
			d.at++
			return nil
		}
		if !d.peek(',') {
			return d.bad("comma or } expected")
		}
		d.at++
	}
}

func (d *document) array(depth int) error {
	d.at++
	for first := true; ; first = false {
		d.space()
		if first && d.peek(']') {
			d.at++
			return nil
		}
		if err := d.value("", depth+1); err != nil {
			return err
		}
		d.space()
		if d.peek(']') {
			d.at++
			return nil
		}
		if !d.peek(',') {
			return d.bad("comma or ] expected")
		}
		d.at++
	}
}

// unquote returns what a string that str has passed means.
func unquote(s []byte) string {
	s = s[1 : len(s)-1]
	for i := range s {
		if s[i] == '\\' {
			return unescape(s)
		}
	}
	return string(s)
}

func unescape(s []byte) string {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			out = append(out, s[i])
			continue
		}
		i++
		switch s[i] {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, n := codePoint(s[i+1:])
			out = utf8.AppendRune(out, r)
			i += n
		default:
			out = append(out, s[i])
		}
	}
	return string(out)
}

// codePoint reads four hex digits, and the second half of a surrogate pair if it follows. Half a pair is U+FFFD.
func codePoint(s []byte) (rune, int) {
	hi := hex4(s)
	if hi >= 0xd800 && hi < 0xdc00 && len(s) >= 10 && s[4] == '\\' && s[5] == 'u' {
		if lo := hex4(s[6:]); lo >= 0xdc00 && lo < 0xe000 {
			return (hi-0xd800)<<10 + (lo - 0xdc00) + 0x10000, 10
		}
	}
	return hi, 4
}

func hex4(s []byte) rune {
	v, err := strconv.ParseUint(string(s[:4]), 16, 16)
	if err != nil {
		return utf8.RuneError
	}
	return rune(v)
}
