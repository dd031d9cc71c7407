package expr

import (
	"fmt"
	"strings"
	"time"

	"signalbox/engine/column"
)

// patternPart is a run of one letter of a date-time pattern, or a literal.
type patternPart struct {
	letter byte // 0 = literal, '[' and ']' bracket optional sections
	n      int
	text   string
}

// datePattern is a compiled java.time.format.DateTimeFormatter pattern, as Spark accepts it.
type datePattern []patternPart

// patternLimits is the largest run of each letter; letters that are not listed are refused.
var patternLimits = map[byte]int{'G': 4, 'y': 6, 'M': 4, 'L': 4, 'd': 2, 'D': 3, 'Q': 4, 'q': 4, 'E': 4, 'F': 1, 'a': 1, 'h': 2, 'K': 2, 'k': 2,
	'H': 2, 'm': 2, 's': 2, 'S': 9, 'V': 2, 'z': 4, 'O': 4, 'X': 5, 'x': 5, 'Z': 5}

func compileDatePattern(p string) (datePattern, *Error) {
	var out datePattern
	for i := 0; i < len(p); {
		c := p[i]
		switch {
		case c == '\'':
			text, n, ok := quotedText(p[i:])
			if !ok {
				return nil, errPattern(p, "a quote is not closed")
			}
			out = append(out, patternPart{text: text})
			i += n
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			n := 1
			for i+n < len(p) && p[i+n] == c {
				n++
			}
			most, ok := patternLimits[c]
			if strings.IndexByte("YwWec", c) >= 0 {
				return nil, runtimeErr("INCONSISTENT_BEHAVIOR_CROSS_VERSION.DATETIME_WEEK_BASED_PATTERN", "42K0B", "the pattern %q uses the week-based letter %c, which is not supported; use extract(YEAROFWEEK FROM …) or weekofyear", clip(p), c)
			}
			if !ok || n > most || c == 'V' && n != 2 || c == 'O' && n != 1 && n != 4 {
				return nil, errPattern(p, "too many or unknown letters "+p[i:i+n])
			}
			out = append(out, patternPart{letter: c, n: n})
			i += n
		case c == '[' || c == ']':
			out = append(out, patternPart{letter: c})
			i++
		case c == '{' || c == '}' || c == '#':
			return nil, errPattern(p, "the character "+string(c)+" is reserved")
		default:
			out = append(out, patternPart{text: string(c)})
			i++
		}
	}
	return out, nil
}

// errPattern is the error of a pattern. Spark has another one for patterns that its
// older formatter, java.text.SimpleDateFormat, would have read.
func errPattern(p, why string) *Error {
	if readByOldFormatter(p) {
		return runtimeErr("INCONSISTENT_BEHAVIOR_CROSS_VERSION.DATETIME_PATTERN_RECOGNITION", "42K0B", "the date-time pattern %q is not valid: %s", clip(p), why)
	}
	return runtimeErr("INVALID_DATETIME_PATTERN", "22007", "the date-time pattern %q is not valid: %s", clip(p), why)
}

func readByOldFormatter(p string) bool {
	quoted := false
	for i := range len(p) {
		c := p[i]
		switch {
		case c == '\'':
			quoted = !quoted
		case !quoted && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z') && strings.IndexByte("GyYMLwWdDFEuaHkKhmsSzZX", c) < 0:
			return false
		}
	}
	return !quoted && !strings.Contains(p, "XXXX")
}

// quotedText reads 'text' with ” for a quote.
func quotedText(s string) (text string, n int, ok bool) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		if s[i] != '\'' {
			b.WriteByte(s[i])
			continue
		}
		if i+1 < len(s) && s[i+1] == '\'' {
			b.WriteByte('\'')
			i++
			continue
		}
		if i == 1 {
			return "'", 2, true
		}
		return b.String(), i + 1, true
	}
	return "", 0, false
}

var monthNames = [12]string{"January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"}
var dayNames = [7]string{"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"}

// weekdayOf returns 0 for Monday … 6 for Sunday.
func weekdayOf(days int64) int {
	_, r := floorDivMod(days+3, 7)
	return int(r)
}

func yearDay(days int64) int {
	y, _, _ := civil(days)
	return int(days-daysOf(y, 1, 1)) + 1
}

// format renders a timestamp (UTC).
func (p datePattern) format(us int64) (string, *Error) {
	days, rest := floorDivMod(us, dayMicros)
	var b strings.Builder
	for _, part := range p {
		if part.letter == 0 {
			b.WriteString(part.text)
			continue
		}
		if err := part.format(&b, days, rest); err != nil {
			return "", err
		}
	}
	return b.String(), nil
}

func (p patternPart) format(b *strings.Builder, days, rest int64) *Error {
	y, m, d := civil(days)
	hour := int(rest / hourMicros)
	num := func(v int) { fmt.Fprintf(b, "%0*d", p.n, v) }
	switch p.letter {
	case '[', ']':
	case 'G':
		era := [2]string{"AD", "Anno Domini"}
		if y <= 0 {
			era = [2]string{"BC", "Before Christ"}
		}
		b.WriteString(era[p.n/4])
	case 'y', 'u':
		p.formatYear(b, y)
	case 'M', 'L':
		switch {
		case p.n <= 2:
			num(m)
		case p.n == 3:
			b.WriteString(monthNames[m-1][:3])
		default:
			b.WriteString(monthNames[m-1])
		}
	case 'd':
		num(d)
	case 'D':
		if doy := yearDay(days); p.n == 2 && doy > 99 {
			return errPattern("DD", "the day of the year has three digits")
		}
		num(yearDay(days))
	case 'F':
		num((d-1)%7 + 1)
	case 'Q', 'q':
		q := (m + 2) / 3
		switch p.n {
		case 1, 2:
			num(q)
		case 3:
			fmt.Fprintf(b, "Q%d", q)
		default:
			b.WriteString([4]string{"1st", "2nd", "3rd", "4th"}[q-1] + " quarter")
		}
	case 'E':
		name := dayNames[weekdayOf(days)]
		if p.n < 4 {
			name = name[:3]
		}
		b.WriteString(name)
	case 'a':
		b.WriteString([2]string{"AM", "PM"}[hour/12])
	case 'h':
		num((hour+11)%12 + 1)
	case 'K':
		num(hour % 12)
	case 'k':
		num((hour+23)%24 + 1)
	case 'H':
		num(hour)
	case 'm':
		num(int(rest / minuteMicros % 60))
	case 's':
		num(int(rest / secondMicros % 60))
	case 'S':
		b.WriteString(fmt.Sprintf("%06d000", rest%secondMicros)[:p.n])
	default:
		p.formatZone(b)
	}
	return nil
}

func (p patternPart) formatYear(b *strings.Builder, y int64) {
	switch {
	case p.n == 2:
		_, r := floorDivMod(y, 100)
		fmt.Fprintf(b, "%02d", r)
	case y < 0:
		fmt.Fprintf(b, "-%0*d", p.n, -y)
	default:
		s := fmt.Sprintf("%0*d", p.n, y)
		if len(s) > p.n && p.n >= 4 {
			s = "+" + s
		}
		b.WriteString(s)
	}
}

// formatZone renders UTC, the only session time zone.
func (p patternPart) formatZone(b *strings.Builder) {
	switch p.letter {
	case 'V':
		b.WriteString("UTC")
	case 'z':
		if p.n == 4 {
			b.WriteString("Coordinated Universal Time")
		} else {
			b.WriteString("UTC")
		}
	case 'O':
		b.WriteString("GMT")
	case 'X':
		b.WriteByte('Z')
	case 'x':
		b.WriteString([6]string{"", "+00", "+0000", "+00:00", "+0000", "+00:00"}[p.n])
	case 'Z':
		b.WriteString([6]string{"", "+0000", "+0000", "+0000", "GMT", "Z"}[p.n])
	}
}

// parsedTime collects the fields of a text.
type parsedTime struct {
	year                 int64
	month, day, yday     int
	hour, clock12        int // -1 = not given
	minute, second, half int
	micros               int64
	offset               int64
	zone                 string
	zoned                bool
}

// parse reads a text that must match the pattern from end to end.
func (p datePattern) parse(s string) (us int64, ok bool) {
	t := parsedTime{year: 1970, month: 1, day: 1, hour: -1, clock12: -1, half: -1}
	rest, ok := p.scan(s, &t)
	if !ok || rest != "" {
		return 0, false
	}
	return t.resolve(true)
}

// parseLocal is parse without the zone that the text may name.
func (p datePattern) parseLocal(s string) (us int64, ok bool) {
	t := parsedTime{year: 1970, month: 1, day: 1, hour: -1, clock12: -1, half: -1}
	rest, ok := p.scan(s, &t)
	if !ok || rest != "" {
		return 0, false
	}
	return t.resolve(false)
}

func (p datePattern) scan(s string, t *parsedTime) (string, bool) {
	for i := 0; i < len(p); i++ {
		part := p[i]
		switch part.letter {
		case ']':
			continue
		case '[':
			end := p.closing(i)
			saved := *t
			rest, ok := p[i+1:end].scan(s, t)
			if ok {
				s = rest
			} else {
				*t = saved
			}
			i = end
			continue
		case 0:
			if len(s) < len(part.text) || !strings.EqualFold(s[:len(part.text)], part.text) {
				return s, false
			}
			s = s[len(part.text):]
			continue
		}
		n, ok := part.read(s, t, p.adjacent(i))
		if !ok {
			return s, false
		}
		s = s[n:]
	}
	return s, true
}

func (p datePattern) closing(i int) int {
	depth := 0
	for j := i; j < len(p); j++ {
		switch p[j].letter {
		case '[':
			depth++
		case ']':
			if depth--; depth == 0 {
				return j
			}
		}
	}
	return len(p)
}

// adjacent reports whether a number follows directly, so that a field takes exactly its own digits.
func (p datePattern) adjacent(i int) bool {
	if i+1 >= len(p) {
		return false
	}
	next := p[i+1]
	return strings.IndexByte("yuMLdDhKkHmsSQq", next.letter) >= 0 && next.letter != 0 && !((next.letter == 'M' || next.letter == 'L') && next.n > 2)
}

func (p patternPart) read(s string, t *parsedTime, adjacent bool) (int, bool) {
	switch p.letter {
	case 'y', 'u':
		return p.readYear(s, t, adjacent)
	case 'M', 'L':
		if p.n > 2 {
			return readName(s, monthNames[:], p.n == 3, func(i int) { t.month = i + 1 })
		}
	case 'E':
		return readName(s, dayNames[:], p.n < 4, func(int) {})
	case 'G':
		return readName(s, []string{"AD"}, false, func(int) {})
	case 'a':
		return readName(s, []string{"AM", "PM"}, false, func(i int) { t.half = i })
	case 'S':
		v, n := digitsAt(s, p.n)
		if n == 0 || adjacent && n != p.n {
			return 0, false
		}
		for i := n; i < 9; i++ {
			v *= 10
		}
		t.micros = v / 1000
		return n, true
	case 'V', 'z', 'O', 'X', 'x', 'Z':
		return readZone(s, t)
	}
	most := max(p.n, 2)
	if p.letter == 'D' {
		most = 3
	}
	if p.n > 1 || adjacent {
		most = p.n
	}
	v, n := digitsAt(s, most)
	if n < p.n {
		return 0, false
	}
	return n, t.set(p.letter, int(v))
}

func (p patternPart) readYear(s string, t *parsedTime, adjacent bool) (int, bool) {
	sign := 0
	if p.n != 2 && s != "" && (s[0] == '-' || s[0] == '+' && p.n >= 4) {
		sign = 1
	}
	most := 9
	if p.n == 2 || adjacent && sign == 0 {
		most = p.n
	}
	v, n := digitsAt(s[sign:], most)
	if n < p.n || sign == 0 && p.n >= 4 && n > p.n {
		return 0, false
	}
	if p.n == 2 {
		v += 2000
	}
	if sign == 1 && s[0] == '-' {
		v = -v
	}
	t.year = v
	return n + sign, true
}

func (t *parsedTime) set(letter byte, v int) bool {
	lo, hi := 0, 59
	at := &t.minute
	switch letter {
	case 'M', 'L':
		at, lo, hi = &t.month, 1, 12
	case 'd':
		at, lo, hi = &t.day, 1, 31
	case 'D':
		at, lo, hi = &t.yday, 1, 366
	case 'H':
		at, hi = &t.hour, 23
	case 'k':
		at, v = &t.hour, v%24+b2int(v == 0 || v > 24)*99
		lo, hi = 0, 23
	case 'h':
		if v < 1 || v > 12 {
			return false
		}
		at, v, hi = &t.clock12, v%12, 11
	case 'K':
		at, hi = &t.clock12, 11
	case 's':
		at = &t.second
	case 'Q', 'q', 'F':
		var ignored int
		at, lo, hi = &ignored, 1, 7
	}
	*at = v
	return v >= lo && v <= hi
}

func b2int(v bool) int { return int(b2i(v)) }

func readName(s string, names []string, short bool, found func(i int)) (int, bool) {
	for i, n := range names {
		if short {
			n = n[:3]
		}
		if len(s) >= len(n) && strings.EqualFold(s[:len(n)], n) {
			found(i)
			return len(n), true
		}
	}
	return 0, false
}

// readZone takes the longest text that is a zone.
func readZone(s string, t *parsedTime) (int, bool) {
	n := 0
	for n < len(s) && (s[n] == '+' || s[n] == '-' || s[n] == ':' || s[n] == '/' || s[n] == '_' || s[n] >= '0' && s[n] <= '9' || s[n]|32 >= 'a' && s[n]|32 <= 'z') {
		n++
	}
	for ; n > 0; n-- {
		if off, ok := fixedOffset(s[:n]); ok {
			t.offset, t.zoned = off, true
			return n, true
		}
		if _, ok := location(s[:n]); ok {
			t.zone, t.zoned = s[:n], true
			return n, true
		}
	}
	return 0, false
}

func (t *parsedTime) resolve(zoned bool) (int64, bool) {
	days := daysOf(t.year, t.month, t.day)
	if t.yday > 0 {
		days = daysOf(t.year, 1, 1) + int64(t.yday) - 1
		if t.yday == 366 && !leap(t.year) {
			return 0, false
		}
	} else if !validDate(t.year, t.month, t.day) {
		return 0, false
	}
	hour := max(t.hour, 0)
	if t.hour < 0 && t.clock12 >= 0 {
		hour = t.clock12
		if t.half == 1 {
			hour += 12
		}
	}
	rest := int64(hour)*hourMicros + int64(t.minute)*minuteMicros + int64(t.second)*secondMicros + t.micros
	us, ok := microsOf(days, rest)
	if !ok {
		return 0, false
	}
	if !zoned {
		return us, true
	}
	if t.zone != "" {
		off, ok := zoneOffset(t.zone, us)
		if !ok {
			return 0, false
		}
		t.offset = off
	}
	return intOp('-', us, t.offset)
}

// patternArg gives the compiled form of a pattern argument: once when it is constant.
type patternArg struct {
	compile func(string) (datePattern, *Error)
	fixed   datePattern
	err     *Error
	known   bool
}

func newPatternArg(e Expr) *patternArg { return patternOf(e, compileDatePattern) }

// newParsePatternArg is newPatternArg for a pattern that texts are read by.
func newParsePatternArg(e Expr) *patternArg { return patternOf(e, compileParsePattern) }

// compileParsePattern refuses the letters that Spark can only write.
func compileParsePattern(text string) (datePattern, *Error) {
	p, err := compileDatePattern(text)
	for _, part := range p {
		if part.letter != 0 && strings.IndexByte("EFqQ", part.letter) >= 0 {
			return nil, errPattern(text, "texts cannot be read by the letter "+string(part.letter))
		}
	}
	return p, err
}

func patternOf(e Expr, compile func(string) (datePattern, *Error)) *patternArg {
	p := &patternArg{compile: compile}
	if d, ok := Constant(Fold(e)); ok && !d.Null {
		p.fixed, p.err = compile(d.S)
		p.known = true
	}
	return p
}

func (p *patternArg) of(s string) (datePattern, *Error) {
	if p.known {
		return p.fixed, p.err
	}
	return p.compile(s)
}

// zoneArg gives the location of a zone argument: once when it is constant.
type zoneArg struct {
	fixed *time.Location
}

func newZoneArg(e Expr) zoneArg {
	if d, ok := Constant(Fold(e)); ok && !d.Null {
		loc, err := zoneArg{}.of(d.S)
		if err == nil {
			return zoneArg{loc}
		}
	}
	return zoneArg{}
}

func (z zoneArg) of(zone string) (*time.Location, *Error) {
	if z.fixed != nil {
		return z.fixed, nil
	}
	loc, ok := location(strings.TrimSpace(zone))
	if !ok {
		return nil, runtimeErr("INVALID_TIMEZONE", "22009", "the time zone %q is not known; write a region such as Europe/Helsinki or an offset such as +02:00", clip(zone))
	}
	return loc, nil
}

// shift moves a time by the zone named in a row.
func (z zoneArg) shift(us int64, zone string, toLocal bool) (column.Datum, *Error) {
	loc, err := z.of(zone)
	if err != nil {
		return column.NullDatum, err
	}
	return shiftZone(us, loc, toLocal)
}

// shiftZone moves a UTC time into a zone (to = true) or a local time of the zone to UTC.
func shiftZone(us int64, loc *time.Location, toLocal bool) (column.Datum, *Error) {
	sec := floorDiv(us, secondMicros)
	var off int
	if toLocal {
		_, off = time.Unix(sec, 0).In(loc).Zone()
	} else {
		t := time.Unix(sec, 0).UTC()
		u := time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, loc)
		off = int(u.Unix() - sec)
	}
	v, ok := intOp('+', us, int64(off)*secondMicros)
	if !ok {
		return column.NullDatum, errDatetimeOverflow("the timestamp is out of range")
	}
	return column.I64(v), nil
}
