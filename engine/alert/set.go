package alert

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/zeebo/xxh3"
)

// DefaultMaxKeys is how many keys a rule keeps state for.
const DefaultMaxKeys = 1_000_000

// Options bound the state of a Set.
type Options struct {
	// MaxKeys is the most keys of one rule. When it is reached, the keys that
	// never had an alert and were silent longest are forgotten; if there are none, new keys are
	// not evaluated. Both are counted. 0 = DefaultMaxKeys.
	MaxKeys int
}

// Stats counts what the rules of a Set did since it was made; it is not part of the state.
type Stats struct {
	Rows       uint64 // readings observed
	Keys       int    // keys with state now
	Active     int    // alerts pending or firing now
	Disordered uint64 // readings older than the last evaluated one of their key: no effect
	Historical uint64 // readings replayed or too old: history only
	Limited    uint64 // true readings that could not start an alert because of the rule's limit
	Evicted    uint64 // keys forgotten because of MaxKeys
	Refused    uint64 // readings of new keys not evaluated because of MaxKeys
	NoTime     uint64 // readings with NULL time
}

// Set evaluates a list of rules. It is not safe for concurrent use.
type Set struct {
	opt   Options
	rules []*ruleState
	stats Stats
	out   []Transition
}

// NewSet compiles rules. The error names the rule that is wrong.
func NewSet(rules []Rule, opt Options) (*Set, error) {
	if opt.MaxKeys <= 0 {
		opt.MaxKeys = DefaultMaxKeys
	}
	s := &Set{opt: opt}
	seen := map[[2]string]bool{}
	for _, r := range rules {
		if err := r.Validate(); err != nil {
			return nil, err
		}
		if id := [2]string{r.Group, r.Name}; seen[id] {
			return nil, fmt.Errorf("group %q, rule %q: given twice", r.Group, r.Name)
		} else {
			seen[id] = true
		}
		c, err := compile(r)
		if err != nil {
			return nil, err
		}
		s.rules = append(s.rules, newRuleState(c))
	}
	return s, nil
}

// Rules returns the rules in order; their index is what Observe takes.
func (s *Set) Rules() []Rule {
	out := make([]Rule, len(s.rules))
	for i, r := range s.rules {
		out[i] = r.c.Rule
	}
	return out
}

// Stats returns the counters.
func (s *Set) Stats() Stats {
	st := s.stats
	for _, r := range s.rules {
		st.Keys += len(r.keys)
		st.Active += r.active
	}
	return st
}

// Replace changes the rules. A rule with the same group, name and by keeps its
// alerts; the firing alerts of rules that are gone are resolved at the given event time.
func (s *Set) Replace(rules []Rule, at int64) ([]Transition, error) {
	next, err := NewSet(rules, s.opt)
	if err != nil {
		return nil, err
	}
	s.out = nil
	for _, old := range s.rules {
		old.disown()
		i := slices.IndexFunc(next.rules, func(r *ruleState) bool { return r.c.Group == old.c.Group && r.c.Name == old.c.Name })
		if i >= 0 && slices.Equal(next.rules[i].c.by, old.c.by) {
			next.rules[i].adopt(old)
			continue
		}
		for k := range old.keys {
			if key := &old.keys[k]; key.active() {
				key.state, key.clearing = resolved, false
				if key.told == pending {
					key.state = inactive
				}
				s.tell(old, int32(k), &key.machine, at, false)
			}
		}
	}
	s.rules = next.rules
	return s.take(), nil
}

// take returns the transitions collected and forgets them.
func (s *Set) take() []Transition {
	out := s.out
	s.out = nil
	return out
}

// key is the state of one alert of a rule.
type key struct {
	machine
	seq    uint64
	queued int64 // earliest entry in the timer heap
	text   int32 // index in texts, -1 = none
	past   int32 // index in pasts, -1 = none
}

// texts are what a transition by time shows: the value and further columns of the last reading that mattered.
type texts struct {
	value string
	extra []string
}

// past is the history of a key: what would have fired.
type past struct {
	machine
	texts texts
}

// ruleState is the state of one rule: dense keys, found by their packed by values.
type ruleState struct {
	c      *compiled
	w      timing
	index  map[string]int32
	packed []string
	keys   []key
	texts  []texts
	pasts  []past
	timers timers
	clock  int64
	active int
	cache  codeCache
	caps   []*ruleCapture // what must see keys before they change
}

func newRuleState(c *compiled) *ruleState {
	return &ruleState{c: c, w: timing{c.For, c.KeepFiringFor, c.AbsentFor}, index: map[string]int32{}, clock: unset}
}

// adopt takes over the keys of an older version of the rule; deadlines follow the new durations.
func (r *ruleState) adopt(old *ruleState) {
	r.index, r.packed, r.keys, r.texts, r.pasts, r.clock, r.active = old.index, old.packed, old.keys, old.texts, old.pasts, old.clock, old.active
	for i := range r.texts {
		r.texts[i].extra = nil
	}
	for i := range r.pasts {
		r.pasts[i].texts.extra = nil
		r.pasts[i].due = r.pasts[i].deadline(timing{r.w.hold, r.w.keep, 0})
	}
	for k := range r.keys {
		r.keys[k].due, r.keys[k].queued = r.keys[k].deadline(r.w), never
		r.schedule(int32(k))
	}
}

// schedule makes sure that the heap holds an entry at or before the key's deadline.
func (r *ruleState) schedule(k int32) {
	key := &r.keys[k]
	if key.due < key.queued {
		key.queued = key.due
		r.timers.push(timer{key.due, k})
	}
}

// add makes the state of a new key.
func (r *ruleState) add(packed string) int32 {
	k := int32(len(r.keys))
	r.index[packed] = k
	r.packed = append(r.packed, packed)
	r.keys = append(r.keys, key{machine: newMachine(), queued: never, text: -1, past: -1})
	return k
}

// evict forgets the quarter of the keys that never had an alert and were silent longest, and returns how many.
func (r *ruleState) evict() int {
	var idle []int32
	for k := range r.keys {
		if r.keys[k].seq == 0 && r.keys[k].text < 0 && r.keys[k].past < 0 {
			idle = append(idle, int32(k))
		}
	}
	slices.SortFunc(idle, func(a, b int32) int {
		if d := compare(r.keys[a].last, r.keys[b].last); d != 0 {
			return d
		}
		return int(a - b)
	})
	drop := idle[:min(len(idle), len(r.keys)/4+1)]
	r.disown()
	gone := make([]bool, len(r.keys))
	for _, k := range drop {
		gone[k] = true
	}
	r.timers, r.cache = nil, codeCache{}
	n := int32(0)
	for k := range r.keys {
		if gone[k] {
			delete(r.index, r.packed[k])
			continue
		}
		r.keys[n], r.packed[n] = r.keys[k], r.packed[k]
		r.index[r.packed[n]] = n
		r.keys[n].queued = never
		n++
	}
	clear(r.packed[n:])
	r.keys, r.packed = r.keys[:n], r.packed[:n]
	for k := range r.keys {
		r.schedule(int32(k))
	}
	return len(drop)
}

func compare(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// text returns the texts of a key, making room when it has none.
func (r *ruleState) text(k int32) *texts {
	if r.keys[k].text < 0 {
		r.keys[k].text = int32(len(r.texts))
		r.texts = append(r.texts, texts{})
	}
	return &r.texts[r.keys[k].text]
}

// tell appends the transition of a machine whose state differs from the last one told.
func (s *Set) tell(r *ruleState, k int32, m *machine, at int64, historical bool) {
	if m.state == m.told {
		return
	}
	key := &r.keys[k]
	m.at = max(m.at, at)
	key.seq++
	tr := Transition{ID: r.c.id(r.packed[k]), Episode: m.episode, Seq: key.seq, Group: r.c.Group, Rule: r.c.Name,
		From: phaseStates[m.told], To: phaseStates[m.state], At: m.at, Historical: historical}
	if !historical {
		was, is := wasActive(m), m.active()
		if is && !was {
			r.active++
		} else if was && !is {
			r.active--
		}
	}
	var tx *texts
	if historical {
		tx = &r.pasts[key.past].texts
	} else {
		tx = r.text(k)
	}
	tr.Value = tx.value
	tr.Labels, tr.Annotations = r.c.expand(r.packed[k], tx)
	m.told = m.state
	s.out = append(s.out, tr)
}

// wasActive reports whether the state told last counts as active.
func wasActive(m *machine) bool {
	if m.told == noData {
		return m.prior == pending || m.prior == firing
	}
	return m.told == pending || m.told == firing
}

// id is the hex of hash(group, rule, by values sorted by label).
func (c *compiled) id(packed string) string {
	var b []byte
	for _, s := range [...]string{c.Group, c.Name} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	values := c.byLabels(packed)
	for _, l := range values {
		b = binary.AppendUvarint(b, uint64(len(l.Name)))
		b = append(b, l.Name...)
		b = binary.AppendUvarint(b, uint64(len(l.Value)))
		b = append(b, l.Value...)
	}
	sum := xxh3.Hash128(b).Bytes()
	return hex.EncodeToString(sum[:])
}

// byLabels returns the by columns of a packed key as labels, sorted by name. NULL is the empty label.
func (c *compiled) byLabels(rest string) []Label {
	out := make([]Label, 0, len(c.by)+len(c.labels))
	for _, name := range c.by {
		n, w := binary.Uvarint([]byte(rest[:min(len(rest), binary.MaxVarintLen64)]))
		rest = rest[w:]
		if n == 0 { // NULL
			out = append(out, Label{name, ""})
			continue
		}
		out = append(out, Label{name, rest[:n-1]})
		rest = rest[n-1:]
	}
	sortLabels(out)
	return out
}

// expand makes the labels and annotations of an alert.
func (c *compiled) expand(packed string, tx *texts) (labels, annotations []Label) {
	labels = c.byLabels(packed)
	seen := map[string]string{}
	for _, l := range labels {
		seen[l.Name] = l.Value
	}
	for i, name := range c.extra {
		if i < len(tx.extra) {
			seen[name] = tx.extra[i]
		}
	}
	d := newData(seen, tx.value)
	var own []Label
	for i, l := range c.Labels {
		own = append(own, Label{l.Name, run(c.labels[i], l.Value, d)})
	}
	labels = overlay(labels, own)
	for i, l := range c.Annotations {
		annotations = append(annotations, Label{l.Name, run(c.annotations[i], l.Value, d)})
	}
	return labels, annotations
}

// pack appends the text of one by value: its length + 1, then the text; 0 is NULL.
func pack(dst []byte, text string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(text))+1)
	return append(dst, text...)
}

// timer is one entry of the heap: look at key k when the clock passes at.
type timer struct {
	at int64
	k  int32
}

// timers is a binary heap by time, then key.
type timers []timer

func (a timer) before(b timer) bool { return a.at < b.at || a.at == b.at && a.k < b.k }

func (h *timers) push(t timer) {
	*h = append(*h, t)
	a := *h
	for i := len(a) - 1; i > 0; {
		up := (i - 1) / 2
		if !a[i].before(a[up]) {
			return
		}
		a[i], a[up] = a[up], a[i]
		i = up
	}
}

func (h *timers) pop() timer {
	a := *h
	top := a[0]
	n := len(a) - 1
	a[0] = a[n]
	*h = a[:n]
	for i := 0; ; {
		c := 2*i + 1
		if c >= n {
			return top
		}
		if c+1 < n && a[c+1].before(a[c]) {
			c++
		}
		if !a[c].before(a[i]) {
			return top
		}
		a[i], a[c] = a[c], a[i]
		i = c
	}
}

// Advance moves the clock of every key to the given event time: durations that
// ended before it (for, keep_firing_for, absent_for) take effect, in order of
// event time, rule and id. A clock that goes back has no effect.
func (s *Set) Advance(clock int64) []Transition {
	for i := range s.rules {
		s.advance(s.rules[i], clock)
	}
	return s.sorted()
}

// AdvanceRule is Advance for one rule: the watermark of its own stream.
func (s *Set) AdvanceRule(rule int, clock int64) []Transition {
	s.advance(s.rules[rule], clock)
	return s.sorted()
}

func (s *Set) sorted() []Transition {
	out := s.take()
	slices.SortStableFunc(out, func(a, b Transition) int {
		if d := compare(a.At, b.At); d != 0 {
			return d
		}
		return strings.Compare(a.Group+"\x00"+a.Rule+"\x00"+a.ID, b.Group+"\x00"+b.Rule+"\x00"+b.ID)
	})
	return out
}

func (s *Set) advance(r *ruleState, clock int64) {
	r.clock = max(r.clock, clock)
	for len(r.timers) > 0 && r.timers[0].at < r.clock {
		t := r.timers.pop()
		key := &r.keys[t.k]
		if key.queued != t.at {
			continue // an earlier entry has been looked at since
		}
		r.changing(t.k)
		key.queued = never
		for key.due < r.clock {
			at := key.elapse(r.w)
			s.tell(r, t.k, &key.machine, at, false)
		}
		r.schedule(t.k)
	}
}
