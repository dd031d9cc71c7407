package decode

import (
	"fmt"
	"strings"
)

// pattern is a topic with named levels: /hfp/v2/{journey}/+/{event}/#.
// {name} and + take one level, # at the end any number of further ones, also none.
type pattern struct {
	text   string
	levels []level
	open   bool
}

type level struct {
	literal string
	name    string
	any     bool
}

func parsePattern(text string) (*pattern, error) {
	p := &pattern{text: text}
	if text == "" {
		return nil, fmt.Errorf("topic is empty")
	}
	parts := strings.Split(text, "/")
	for i, s := range parts {
		switch {
		case s == "#" && i == len(parts)-1:
			p.open = true
		case s == "+":
			p.levels = append(p.levels, level{any: true})
		case len(s) > 2 && s[0] == '{' && s[len(s)-1] == '}':
			p.levels = append(p.levels, level{name: s[1 : len(s)-1], any: true})
		case strings.ContainsAny(s, "{}#+"):
			return nil, fmt.Errorf("topic %q: level %q: {name}, + and # (last) each take a whole level", text, s)
		default:
			p.levels = append(p.levels, level{literal: s})
		}
	}
	return p, nil
}

// match returns the levels of a topic, appended to buf, when it fits.
func (p *pattern) match(topic string, buf []string) ([]string, bool) {
	buf = buf[:0]
	rest, more := topic, true
	for i := range p.levels {
		if !more {
			return buf, false
		}
		var s string
		s, rest, more = strings.Cut(rest, "/")
		if l := &p.levels[i]; !l.any && l.literal != s {
			return buf, false
		}
		buf = append(buf, s)
	}
	return buf, !more || p.open
}

// filter is the pattern as MQTT wants it in a subscription.
func (p *pattern) filter() string {
	parts := make([]string, 0, len(p.levels)+1)
	for _, l := range p.levels {
		if l.any {
			parts = append(parts, "+")
		} else {
			parts = append(parts, l.literal)
		}
	}
	if p.open {
		parts = append(parts, "#")
	}
	return strings.Join(parts, "/")
}

func (p *pattern) index(name string) int {
	for i, l := range p.levels {
		if l.name == name {
			return i
		}
	}
	return -1
}

// template is text with topic levels in it: {operator}/{vehicle}.
type template []templatePart

type templatePart struct {
	text  string
	level int // -1 = text
}

func (p *pattern) template(text string) (template, error) {
	var t template
	for rest := text; rest != ""; {
		open := strings.IndexByte(rest, '{')
		if open < 0 {
			return append(t, templatePart{rest, -1}), nil
		}
		end := strings.IndexByte(rest[open:], '}')
		if end < 0 {
			return nil, fmt.Errorf("%q: { without }", text)
		}
		name := rest[open+1 : open+end]
		i := p.index(name)
		if i < 0 {
			return nil, fmt.Errorf("%q: topic %s has no level {%s}", text, p.text, name)
		}
		if open > 0 {
			t = append(t, templatePart{rest[:open], -1})
		}
		t = append(t, templatePart{"", i})
		rest = rest[open+end+1:]
	}
	return t, nil
}

func (t template) appendTo(dst []byte, levels []string) []byte {
	for _, p := range t {
		if p.level < 0 {
			dst = append(dst, p.text...)
		} else {
			dst = append(dst, levels[p.level]...)
		}
	}
	return dst
}
