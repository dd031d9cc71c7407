package sql

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

const (
	microsPerSecond = 1_000_000
	microsPerMinute = 60 * microsPerSecond
	microsPerHour   = 60 * microsPerMinute
	microsPerDay    = 24 * microsPerHour
)

const multiUnits = " MICROSECOND MICROSECONDS MILLISECOND MILLISECONDS SECOND SECONDS MINUTE MINUTES HOUR HOURS DAY DAYS WEEK WEEKS MONTH MONTHS YEAR YEARS NANOSECOND NANOSECONDS "

// atInterval reports whether INTERVAL at hand begins a literal and is not a name.
func (p *parser) atInterval() bool {
	v, unit := p.ahead(1), p.ahead(2)
	if v.op("-") || v.op("+") {
		v, unit = unit, p.ahead(3)
		return (v.kind == tNumber || v.kind == tString) && unit.kind == tWord && has(multiUnits, unit.val)
	}
	return v.kind == tString || v.kind == tNumber
}

// interval parses INTERVAL '1 day 2 hours', INTERVAL 1 DAY 2 HOURS and INTERVAL '1 02:03:04' DAY TO SECOND.
func (p *parser) interval() *Interval {
	iv := &Interval{Pos: p.take().pos}
	if t := p.peek(); t.kind == tString && !(p.ahead(1).kind == tWord && has(multiUnits, p.ahead(1).val)) {
		p.i++
		p.wholeInterval(iv, t)
		return iv
	}
	t, sign := p.intervalValue()
	if p.peek().kind == tWord && p.ahead(1).is("TO") {
		p.unitToUnit(iv, t, sign)
		return iv
	}
	p.multiUnit(iv, t, sign)
	for p.atIntervalValue() {
		t, sign = p.intervalValue()
		if p.ahead(1).is("TO") {
			p.badInterval(t.pos, "a range such as DAY TO SECOND stands alone")
		}
		p.multiUnit(iv, t, sign)
	}
	p.finishInterval(iv)
	return iv
}

// atIntervalValue reports whether another value and unit follow.
func (p *parser) atIntervalValue() bool {
	v, unit := p.peek(), p.ahead(1)
	if v.op("-") || v.op("+") { // INTERVAL 1 DAY - 2: an operator, unless a unit follows
		v, unit = unit, p.ahead(2)
	}
	return (v.kind == tNumber && v.suffix == "" && !v.exp || v.kind == tString) && unit.kind == tWord && has(multiUnits, unit.val)
}

// intervalValue takes [+|-] and a number or string; sign is -1 or 1.
func (p *parser) intervalValue() (t *token, sign int) {
	sign = 1
	if p.acceptOp("-") {
		sign = -1
	} else {
		p.acceptOp("+")
	}
	t = p.peek()
	if t.kind != tString && (t.kind != tNumber || t.suffix != "" || t.exp) {
		p.unexpected("a number or string after INTERVAL")
	}
	p.i++
	return t, sign
}

func (p *parser) multiUnit(iv *Interval, t *token, sign int) {
	u := p.peek()
	if u.kind != tWord || !has(multiUnits, u.val) {
		p.unexpected("a unit such as SECONDS, MINUTES, HOURS or DAYS")
	}
	p.i++
	text := strings.TrimSpace(t.val)
	if strings.ContainsFunc(text, func(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }) {
		p.badInterval(t.pos, "'"+clip(t.val)+"' "+strings.ToUpper(u.val)+" names a unit twice")
	}
	if strings.HasPrefix(text, "-") {
		text, sign = text[1:], -sign
	} else {
		text = strings.TrimPrefix(text, "+")
	}
	if err := iv.add(text, sign, u.val); err != nil {
		p.badInterval(t.pos, err.Error())
	}
}

// wholeInterval parses the inside of INTERVAL '1 day -2 hours'.
func (p *parser) wholeInterval(iv *Interval, t *token) {
	words := strings.Fields(t.val)
	if len(words) > 0 && strings.EqualFold(words[0], "interval") {
		words = words[1:]
	}
	if len(words) == 0 {
		p.badInterval(t.pos, "an interval without a value")
	}
	for len(words) > 0 {
		sign, text := 1, words[0]
		if text[0] == '-' || text[0] == '+' {
			if text[0] == '-' {
				sign = -1
			}
			if text = text[1:]; text == "" && len(words) > 1 {
				words = words[1:]
				text = words[0]
			}
		}
		if len(words) < 2 {
			if p.peek().kind == tWord { // INTERVAL '3' FORTNIGHT
				p.unexpected("a unit such as SECONDS, MINUTES, HOURS or DAYS")
			}
			p.badInterval(t.pos, "'"+clip(t.val)+"' has a value without a unit")
		}
		if err := iv.add(text, sign, words[1]); err != nil {
			p.badInterval(t.pos, err.Error())
		}
		words = words[2:]
	}
	p.finishInterval(iv)
}

const intervalOverflow = " overflows an interval"

func (p *parser) badInterval(pos Pos, msg string) {
	if strings.HasSuffix(msg, intervalOverflow) {
		p.failAt(pos, "INTERVAL_ARITHMETIC_OVERFLOW.WITHOUT_SUGGESTION", "22015", msg, "")
	}
	p.failAt(pos, "INVALID_INTERVAL_FORMAT", "22006", msg, "write for example INTERVAL 10 SECONDS or INTERVAL '1 02:03:04' DAY TO SECOND")
}

// finishInterval refuses to mix months with days: their length differs from month to month.
func (p *parser) finishInterval(iv *Interval) {
	year, day := fieldIndex(iv.From) < 2, fieldIndex(iv.To) >= 2
	if year && day {
		p.badInterval(iv.Pos, "an interval has either years and months, or days and smaller units")
	}
	iv.YearMonth = year
}

func fieldIndex(f string) int {
	for i, name := range intervalFields {
		if name == f {
			return i
		}
	}
	return -1
}

// add adds value × unit. Only seconds take a fraction.
func (iv *Interval) add(value string, sign int, unit string) error {
	unit = strings.TrimSuffix(strings.ToUpper(unit), "S")
	whole, frac, dot := strings.Cut(value, ".")
	if dot && unit != "SECOND" {
		return fmt.Errorf("'%s': only seconds take a fraction, not the unit %s", clip(value), clip(unit))
	}
	if whole == "" && frac != "" {
		whole = "0"
	}
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || whole[0] == '-' || whole[0] == '+' {
		return fmt.Errorf("'%s' is not a number for an interval", clip(value))
	}
	field, factor, months := unit, int64(0), false
	switch unit {
	case "YEAR":
		factor, months = 12, true
	case "MONTH":
		factor, months = 1, true
	case "WEEK":
		field, factor = "DAY", 7*microsPerDay
	case "DAY":
		factor = microsPerDay
	case "HOUR":
		factor = microsPerHour
	case "MINUTE":
		factor = microsPerMinute
	case "SECOND":
		factor = microsPerSecond
	case "MILLISECOND":
		field, factor = "SECOND", 1000
	case "MICROSECOND":
		field, factor = "SECOND", 1
	default:
		return fmt.Errorf("there is no interval unit %s", clip(unit))
	}
	iv.widen(field)
	sum, limit := &iv.Micros, int64(math.MaxInt64)
	if months {
		sum, limit = &iv.Months, math.MaxInt32
	}
	micros, err := fraction(frac)
	if err != nil {
		return err
	}
	if !accumulate(sum, n, factor, int64(sign), limit) || !accumulate(sum, micros, 1, int64(sign), limit) {
		return fmt.Errorf("'%s %s'"+intervalOverflow, clip(value), unit)
	}
	return nil
}

// widen extends From and To so that they cover the field.
func (iv *Interval) widen(field string) {
	if iv.From == "" || fieldIndex(field) < fieldIndex(iv.From) {
		iv.From = field
	}
	if iv.To == "" || fieldIndex(field) > fieldIndex(iv.To) {
		iv.To = field
	}
}

// accumulate adds sign × n × factor to sum, false on overflow. n, factor >= 0.
func accumulate(sum *int64, n, factor, sign, limit int64) bool {
	if factor > 0 && n > limit/factor {
		return false
	}
	d := sign * n * factor
	s := *sum + d
	if d > 0 && s < *sum || d < 0 && s > *sum || s > limit || s < -limit-1 {
		return false
	}
	*sum = s
	return true
}

// fraction reads up to nine digits behind the point as microseconds, cutting off what is finer.
func fraction(digits string) (int64, error) {
	if digits == "" {
		return 0, nil
	}
	if len(digits) > 9 || strings.Trim(digits, "0123456789") != "" {
		return 0, fmt.Errorf("'.%s': a fraction of a second has 1 to 9 digits", clip(digits))
	}
	return strconv.ParseInt((digits + "000000")[:6], 10, 64)
}

// unitToUnit parses the value of '1-2' YEAR TO MONTH or '1 02:03:04.5' DAY TO SECOND.
func (p *parser) unitToUnit(iv *Interval, t *token, sign int) {
	if t.kind != tString {
		p.badInterval(t.pos, "the value before "+strings.ToUpper(p.peek().val)+" TO … must be a string")
	}
	n := TypeName{}
	p.intervalType(&n)
	if n.From == n.To || fieldIndex(n.From) < 0 {
		p.badInterval(t.pos, "there is no interval "+n.From+" TO "+n.To)
	}
	iv.From, iv.To = n.From, n.To
	if iv.YearMonth = fieldIndex(n.From) < 2; iv.YearMonth && n.From != "YEAR" {
		p.badInterval(t.pos, "there is no interval "+n.From+" TO "+n.To)
	}
	text := strings.TrimSpace(t.val)
	if rest, ok := strings.CutPrefix(text, "-"); ok {
		text, sign = rest, -sign
	} else {
		text = strings.TrimPrefix(text, "+")
	}
	if !iv.clock(text, sign) {
		p.badInterval(t.pos, "'"+clip(t.val)+"' is not an interval "+n.From+" TO "+n.To)
	}
}

// clock reads the parts between From and To: "1-2", "1 02:03:04.5", "02:03".
func (iv *Interval) clock(text string, sign int) bool {
	first, last := fieldIndex(iv.From), fieldIndex(iv.To)
	for f := first; f <= last; f++ {
		part, rest := text, ""
		if f < last {
			i := strings.Index(text, [...]string{"-", "", " ", ":", ":"}[f])
			if i < 0 {
				return false
			}
			part, rest = text[:i], text[i+1:]
		}
		if !iv.part(f, part, f == first, sign) {
			return false
		}
		text = rest
	}
	return true
}

// part adds one part; only the first may exceed its natural bound.
func (iv *Interval) part(f int, text string, first bool, sign int) bool {
	whole, frac, dot := strings.Cut(text, ".")
	bound := [...]int64{0, 11, 0, 23, 59, 59}[f]
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || whole[0] == '-' || whole[0] == '+' || !first && (n > bound || len(whole) > 2) || dot && (frac == "" || f != 5) {
		return false
	}
	from, to := iv.From, iv.To
	err = iv.add(text, sign, intervalFields[f])
	iv.From, iv.To = from, to
	return err == nil
}
