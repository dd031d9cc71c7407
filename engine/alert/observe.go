package alert

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"

	"signalbox/engine/column"
)

// Observation says how readings came in.
type Observation struct {
	Tick     int64 // replicated time of the entry, µs; 0 = unknown: no reading is too old
	MaxAge   int64 // readings older than Tick - MaxAge are history; 0 = no bound
	Replayed bool  // backlog: all of them are history
}

// view is a batch with the columns that a rule needs.
type view struct {
	by            []*column.Column
	time          *column.Column
	cond, resolve *column.Column
	value         *column.Column
	extra         []*column.Column
}

func (r *ruleState) view(b *column.Batch) view {
	find := func(name string) *column.Column {
		for i, f := range b.Schema.Fields {
			if f.Name == name && b.Cols[i] != nil {
				return b.Cols[i]
			}
		}
		panic(fmt.Sprintf("alert: the rows for rule %q have no column %q: they do not come from SelectSQL", r.c.Name, name))
	}
	v := view{time: find(TimeColumn), cond: find(CondColumn), resolve: find(ResolveColumn), value: find(ValueColumn)}
	for _, name := range r.c.by {
		v.by = append(v.by, find(name))
	}
	for _, name := range r.c.extra {
		v.extra = append(v.extra, find(name))
	}
	return v
}

func truth(c *column.Column, i int) tri {
	switch {
	case c.IsNull(i):
		return null
	case c.I64[i] != 0:
		return yes
	}
	return no
}

// Observe evaluates the rows of SelectSQL's query, in order of arrival, and
// returns the transitions in that order.
func (s *Set) Observe(rule int, rows *column.Batch, obs Observation) []Transition {
	if rows.Len == 0 {
		return nil
	}
	r := s.rules[rule]
	v := r.view(rows)
	oldest := int64(unset)
	if obs.Tick > 0 && obs.MaxAge > 0 {
		oldest = obs.Tick - obs.MaxAge
	}
	s.stats.Rows += uint64(rows.Len)
	hasNullTimes := v.time.HasNulls()
	for i := range rows.Len {
		if hasNullTimes && v.time.IsNull(i) {
			s.stats.NoTime++
			continue
		}
		k := r.known(v.by, i)
		if k < 0 {
			if k = s.find(r, &v, i); k < 0 {
				continue
			}
		}
		if r.caps != nil {
			r.changing(k)
		}
		key, t := &r.keys[k], v.time.I64[i]
		if obs.Replayed || t < oldest {
			s.history(r, k, &v, i)
			continue
		}
		if t < key.last {
			s.stats.Disordered++
			continue
		}
		cond := truth(v.cond, i)
		if t < key.due && cond != yes && (key.state == inactive || key.state == resolved) {
			key.last = t // by far the most readings: nothing changes
			if r.w.absent > 0 {
				key.due = later(t, r.w.absent)
				r.schedule(k)
			}
			continue
		}
		s.read(r, k, &v, i, cond)
	}
	return s.take()
}

// read evaluates one live reading in full.
func (s *Set) read(r *ruleState, k int32, v *view, i int, cond tri) {
	key, t := &r.keys[k], v.time.I64[i]
	for key.due < t {
		at := key.elapse(r.w)
		s.tell(r, k, &key.machine, at, false)
	}
	mayStart := r.c.Limit == 0 || r.active < r.c.Limit
	if cond == yes || key.active() {
		capture(r.text(k), v, i)
	}
	if key.read(t, cond, truth(v.resolve, i), r.c.Resolve != "", r.w, mayStart) {
		s.stats.Limited++
	}
	if r.w.hold > 0 {
		s.tell(r, k, &key.machine, t, false) // pending is told even when it fires at once later
	}
	key.settle(t, r.w)
	s.tell(r, k, &key.machine, t, false)
	r.schedule(k)
}

// history evaluates a reading that is too old to change what is now.
func (s *Set) history(r *ruleState, k int32, v *view, i int) {
	s.stats.Historical++
	key, t, cond := &r.keys[k], v.time.I64[i], truth(v.cond, i)
	if key.active() && key.episode <= t && cond == yes {
		return // the alert of now covers it
	}
	if key.past < 0 {
		if cond != yes {
			return
		}
		key.past = int32(len(r.pasts))
		r.pasts = append(r.pasts, past{machine: newMachine()})
	}
	p, w := &r.pasts[key.past], timing{r.w.hold, r.w.keep, 0}
	if t < p.last {
		s.stats.Disordered++
		return
	}
	for p.due < t {
		at := p.elapse(w)
		s.tell(r, k, &p.machine, at, true)
	}
	if cond == yes || p.machine.active() {
		capture(&p.texts, v, i)
	}
	p.machine.read(t, cond, truth(v.resolve, i), r.c.Resolve != "", w, true)
	if w.hold > 0 {
		s.tell(r, k, &p.machine, t, true)
	}
	p.settle(t, w)
	s.tell(r, k, &p.machine, t, true)
}

// capture keeps the value and the further columns of a reading, without allocating when they are as before.
func capture(tx *texts, v *view, i int) {
	tx.value = keep(tx.value, v.value, i)
	if len(tx.extra) != len(v.extra) {
		tx.extra = make([]string, len(v.extra))
	}
	for j, c := range v.extra {
		tx.extra[j] = keep(tx.extra[j], c, i)
	}
}

func keep(old string, c *column.Column, i int) string {
	if c.IsNull(i) {
		return ""
	}
	if s := textOf(c, i); s != old {
		return strings.Clone(clip(s))
	}
	return old
}

// find looks up the key of row i by its by values, making it when it is new; -1 when there is no room.
func (s *Set) find(r *ruleState, v *view, i int) int32 {
	buf := r.cache.buf[:0]
	for _, c := range v.by {
		if c.IsNull(i) {
			buf = append(buf, 0)
			continue
		}
		buf = pack(buf, textOf(c, i))
	}
	r.cache.buf = buf
	k, ok := r.index[string(buf)]
	if !ok {
		if len(r.keys) >= s.opt.MaxKeys {
			s.stats.Evicted += uint64(r.evict())
		}
		if len(r.keys) >= s.opt.MaxKeys {
			s.stats.Refused++
			return -1
		}
		k = r.add(string(buf))
	}
	r.cache.put(v.by, i, k)
	return k
}

// textOf is the text of a value as a label: what CAST AS STRING gives for
// strings, integers, booleans and decimals; RFC 3339 for times.
func textOf(c *column.Column, i int) string {
	switch c.Type.Kind {
	case column.String, column.Binary:
		return c.Str(i)
	case column.Boolean:
		return strconv.FormatBool(c.I64[i] != 0)
	case column.Float:
		return strconv.FormatFloat(c.F64[i], 'g', -1, 32)
	case column.Double:
		return strconv.FormatFloat(c.F64[i], 'g', -1, 64)
	case column.Timestamp, column.TimestampNTZ:
		return time.UnixMicro(c.I64[i]).UTC().Format("2006-01-02T15:04:05.999999Z")
	case column.Date:
		return time.Unix(c.I64[i]*86400, 0).UTC().Format("2006-01-02")
	case column.Decimal:
		return decimalText(c.Dec[i], int(c.Type.Scale))
	case column.Array, column.Struct, column.Map:
		return fmt.Sprint(c.Any[i])
	}
	return strconv.FormatInt(c.I64[i], 10)
}

func decimalText(d column.Decimal128, scale int) string {
	v := new(big.Int).Lsh(big.NewInt(d.Hi), 64)
	v.Add(v, new(big.Int).SetUint64(d.Lo))
	digits, sign := v.String(), ""
	if digits[0] == '-' {
		digits, sign = digits[1:], "-"
	}
	if scale == 0 {
		return sign + digits
	}
	if len(digits) <= scale {
		digits = strings.Repeat("0", scale-len(digits)+1) + digits
	}
	return sign + digits[:len(digits)-scale] + "." + digits[len(digits)-scale:]
}

// maxCachedCodes bounds the table of a codeCache, in codes.
const maxCachedCodes = 1 << 20

// codeCache remembers which key a dictionary code or an integer was, so that
// nothing is packed and hashed for a known key of one by column. A code is
// only a guess: the text is compared, since another batch may bring another dictionary.
type codeCache struct {
	codes []int32 // key + 1 by code
	ints  map[int64]int32
	buf   []byte
}

// known returns the key of row i, or -1 when it has to be looked up.
func (r *ruleState) known(by []*column.Column, i int) int32 {
	if len(by) != 1 || by[0].IsNull(i) {
		return -1
	}
	switch col := by[0]; {
	case col.Type.Kind == column.String:
		code := col.Codes[i]
		if uint64(code) >= uint64(len(r.cache.codes)) {
			return -1
		}
		k := r.cache.codes[code] - 1
		if k < 0 {
			return -1
		}
		text, packed := col.Dict.Values[code], r.packed[k]
		if head := len(packed) - len(text); head == uvarintLen(len(text)+1) && packed[head:] == text {
			return k
		}
	case col.Type.Kind.IsIntegral():
		if k, ok := r.cache.ints[col.I64[i]]; ok {
			return k
		}
	}
	return -1
}

func uvarintLen(v int) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

func (c *codeCache) put(by []*column.Column, i int, k int32) {
	if len(by) != 1 || by[0].IsNull(i) {
		return
	}
	switch col := by[0]; {
	case col.Type.Kind == column.String:
		code := int(col.Codes[i])
		if code >= maxCachedCodes {
			return
		}
		for len(c.codes) <= code {
			c.codes = append(c.codes, 0)
		}
		c.codes[code] = k + 1
	case col.Type.Kind.IsIntegral():
		if c.ints == nil {
			c.ints = map[int64]int32{}
		}
		c.ints[col.I64[i]] = k
	}
}
