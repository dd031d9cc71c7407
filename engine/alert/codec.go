package alert

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// snapshotVersion is the first byte of an encoded Set.
const snapshotVersion = 1

// Encode is Capture.Encode of this moment.
func (s *Set) Encode(dst []byte) []byte {
	s.now(func(c *Capture) { dst = c.Encode(dst) })
	return dst
}

func appendString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

func appendStrings(dst []byte, list []string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	for _, s := range list {
		dst = appendString(dst, s)
	}
	return dst
}

func appendFlag(dst []byte, is bool) []byte {
	if is {
		return append(dst, 1)
	}
	return append(dst, 0)
}

func appendLabels(dst []byte, list []Label) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	for _, l := range list {
		dst = appendString(appendString(dst, l.Name), l.Value)
	}
	return dst
}

func appendRule(dst []byte, r Rule) []byte {
	for _, s := range [...]string{r.Group, r.Name, r.From, r.Time, r.Expr, r.Resolve, r.Value} {
		dst = appendString(dst, s)
	}
	dst = appendStrings(dst, r.By)
	for _, v := range [...]int64{r.For, r.KeepFiringFor, r.AbsentFor, int64(r.Limit)} {
		dst = binary.AppendVarint(dst, v)
	}
	return appendLabels(appendLabels(dst, r.Labels), r.Annotations)
}

func appendMachine(dst []byte, m *machine) []byte {
	dst = append(dst, byte(m.state), byte(m.told), byte(m.prior))
	dst = appendFlag(dst, m.clearing)
	for _, v := range [...]int64{m.last, m.due, m.episode, m.cleared, m.at} {
		dst = binary.AppendVarint(dst, v)
	}
	return dst
}

func appendTexts(dst []byte, t *texts) []byte {
	return appendStrings(appendString(dst, t.value), t.extra)
}

// DecodeSet restores what Encode wrote. Any other bytes give an error.
func DecodeSet(b []byte, opt Options) (*Set, error) {
	d := &decoder{b: b}
	if v := d.byte(); d.err == nil && v != snapshotVersion {
		return nil, fmt.Errorf("alert: snapshot version %d is not the known version %d", v, snapshotVersion)
	}
	n := d.count()
	rules := make([]Rule, 0, n)
	var states []*ruleState
	for range n {
		rules = append(rules, d.rule())
		if d.err != nil {
			return nil, d.err
		}
		c, err := compile(rules[len(rules)-1])
		if err != nil {
			return nil, fmt.Errorf("alert: snapshot: %w", err)
		}
		r := newRuleState(c)
		d.state(r)
		states = append(states, r)
	}
	if d.err == nil && len(d.b) > 0 {
		d.fail()
	}
	if d.err != nil {
		return nil, d.err
	}
	s, err := NewSet(rules, opt)
	if err != nil {
		return nil, fmt.Errorf("alert: snapshot: %w", err)
	}
	s.rules = states
	return s, nil
}

var errSnapshot = errors.New("alert: the snapshot is damaged")

// decoder reads a snapshot; after the first error everything is zero.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail() { d.b, d.err = nil, errSnapshot }

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

// count reads the number of things that take at least one byte each.
func (d *decoder) count() int {
	v := d.uvarint()
	if v > uint64(len(d.b)) {
		d.fail()
		return 0
	}
	return int(v)
}

func (d *decoder) string() string {
	n := d.count()
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}

func (d *decoder) strings() []string {
	var out []string
	for range d.count() {
		out = append(out, d.string())
	}
	return out
}

func (d *decoder) labels() []Label {
	var out []Label
	for range d.count() {
		out = append(out, Label{d.string(), d.string()})
	}
	return out
}

func (d *decoder) rule() Rule {
	var r Rule
	for _, s := range [...]*string{&r.Group, &r.Name, &r.From, &r.Time, &r.Expr, &r.Resolve, &r.Value} {
		*s = d.string()
	}
	r.By = d.strings()
	r.For, r.KeepFiringFor, r.AbsentFor, r.Limit = d.varint(), d.varint(), d.varint(), int(d.varint())
	r.Labels, r.Annotations = d.labels(), d.labels()
	return r
}

func (d *decoder) machine() machine {
	m := machine{state: phase(d.byte()), told: phase(d.byte()), prior: phase(d.byte())}
	m.clearing = d.byte() == 1
	if m.state > resolved || m.told > resolved || m.prior > resolved {
		d.fail()
	}
	for _, v := range [...]*int64{&m.last, &m.due, &m.episode, &m.cleared, &m.at} {
		*v = d.varint()
	}
	return m
}

func (d *decoder) texts() texts { return texts{d.string(), d.strings()} }

func (d *decoder) state(r *ruleState) {
	r.clock = d.varint()
	for range d.count() {
		packed := d.string()
		if _, twice := r.index[packed]; twice || !packedOK(packed, len(r.c.by)) {
			d.fail()
			return
		}
		k := r.add(packed)
		r.keys[k].machine = d.machine()
		r.keys[k].seq = d.uvarint()
		if d.byte() == 1 {
			*r.text(k) = d.texts()
		}
		if d.byte() == 1 {
			r.keys[k].past = int32(len(r.pasts))
			r.pasts = append(r.pasts, past{machine: d.machine()})
			r.pasts[r.keys[k].past].texts = d.texts()
		}
		if d.err != nil {
			return
		}
		r.keys[k].due = r.keys[k].deadline(r.w)
		if r.keys[k].machine.active() {
			r.active++
		}
		r.schedule(k)
	}
}

// packedOK reports whether a packed key holds exactly n values.
func packedOK(packed string, n int) bool {
	b := []byte(packed)
	for range n {
		v, w := binary.Uvarint(b)
		if w <= 0 || v > uint64(len(b)-w)+1 {
			return false
		}
		b = b[w:]
		if v > 0 {
			b = b[v-1:]
		}
	}
	return len(b) == 0
}
