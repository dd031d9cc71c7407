package expr

import (
	"math"
	"math/big"
	"math/bits"
	"strings"
	"time"

	"signalbox/engine/column"
	zonedb "signalbox/engine/zone"
)

// Units of a timestamp.
const (
	secondMicros = 1_000_000
	minuteMicros = 60 * secondMicros
	hourMicros   = 60 * minuteMicros
	dayMicros    = 24 * hourMicros
)

func floorDivMod(a, b int64) (q, r int64) {
	q, r = a/b, a%b
	if r < 0 {
		q--
		r += b
	}
	return q, r
}

func floorDiv(a, b int64) int64 {
	q, _ := floorDivMod(a, b)
	return q
}

// civil splits days since 1970-01-01 in the proleptic Gregorian calendar.
func civil(days int64) (y int64, m, d int) {
	days += 719468
	era, doe := floorDivMod(days, 146097)
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	d = int(doy - (153*mp+2)/5 + 1)
	m = int(mp) + 3
	if m > 12 {
		m -= 12
	}
	y = yoe + era*400
	if m <= 2 {
		y++
	}
	return y, m, d
}

// daysOf is the inverse of civil.
func daysOf(y int64, m, d int) int64 {
	if m <= 2 {
		y--
	}
	era, yoe := floorDivMod(y, 400)
	mp := (m + 9) % 12
	doy := (153*mp+2)/5 + d - 1
	doe := yoe*365 + yoe/4 - yoe/100 + int64(doy)
	return era*146097 + doe - 719468
}

func leap(y int64) bool { return y%4 == 0 && (y%100 != 0 || y%400 == 0) }

func monthDays(y int64, m int) int {
	switch m {
	case 2:
		if leap(y) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

func validDate(y int64, m, d int) bool {
	return m >= 1 && m <= 12 && d >= 1 && d <= monthDays(y, m)
}

// microsOf returns days*86400e6 + rest; ok is false on overflow.
func microsOf(days, rest int64) (int64, bool) {
	hi, lo := bits.Mul64(absU(days), dayMicros)
	if hi != 0 || lo > math.MaxInt64 {
		return 0, false
	}
	v := int64(lo)
	if days < 0 {
		v = -v
	}
	return intOp('+', v, rest)
}

// digitsAt reads up to most digits at the start of s.
func digitsAt(s string, most int) (v int64, n int) {
	for n < len(s) && n < most && s[n] >= '0' && s[n] <= '9' {
		v = v*10 + int64(s[n]-'0')
		n++
	}
	return v, n
}

// dateFields reads [+-]yyyy[-[m]m[-[d]d]] and returns what follows.
func dateFields(s string) (y int64, m, d, parts int, rest string, ok bool) {
	neg := false
	if s != "" && (s[0] == '+' || s[0] == '-') {
		neg = s[0] == '-'
		s = s[1:]
	}
	y, n := digitsAt(s, 7)
	if n < 4 {
		return 0, 0, 0, 0, "", false
	}
	if neg {
		y = -y
	}
	m, d, s, parts = 1, 1, s[n:], 1
	for _, p := range []*int{&m, &d} {
		if s == "" || s[0] != '-' {
			break
		}
		v, n := digitsAt(s[1:], 3)
		if n < 1 || n > 2 {
			return 0, 0, 0, 0, "", false
		}
		*p, s = int(v), s[1+n:]
		parts++
	}
	return y, m, d, parts, s, validDate(y, m, d)
}

// ParseDate reads a DATE as Spark's cast does: yyyy[-[m]m[-[d]d[( |T)anything]]].
func ParseDate(s string) (int64, bool) {
	y, m, d, parts, rest, ok := dateFields(trimAll(s))
	if !ok || rest != "" && (parts < 3 || rest[0] != ' ' && rest[0] != 'T') {
		return 0, false
	}
	days := daysOf(y, m, d)
	return days, days >= math.MinInt32 && days <= math.MaxInt32
}

// ParseTimestamp reads a TIMESTAMP as Spark's cast does; without a zone the text is UTC.
func ParseTimestamp(s string) (int64, bool) { return parseTimestamp(s, true) }

func parseTimestamp(s string, zoned bool) (int64, bool) {
	y, m, d, parts, rest, ok := dateFields(trimAll(s))
	if !ok {
		return 0, false
	}
	days := daysOf(y, m, d)
	if rest == "" {
		return microsOf(days, 0)
	}
	if parts < 3 || rest[0] != ' ' && rest[0] != 'T' {
		return 0, false
	}
	us, zone, ok := clockFields(rest[1:])
	if !ok {
		return 0, false
	}
	v, ok := microsOf(days, us)
	zone = strings.TrimSpace(zone)
	if !ok || zone == "" || !zoned { // TIMESTAMP_NTZ ignores a zone
		if ok && zone != "" {
			_, ok = zoneOffset(zone, v)
		}
		return v, ok
	}
	off, ok := zoneOffset(zone, v)
	if !ok {
		return 0, false
	}
	return intOp('-', v, off)
}

// clockFields reads [h]h[:[m]m[:[s]s[.fraction]]] and returns what follows.
func clockFields(s string) (us int64, rest string, ok bool) {
	limits := [3]int64{23, 59, 59}
	units := [3]int64{hourMicros, minuteMicros, secondMicros}
	for i := range 3 {
		v, n := digitsAt(s, 3)
		if n < 1 || n > 2 || v > limits[i] {
			return 0, "", false
		}
		us += v * units[i]
		s = s[n:]
		if i < 2 {
			if s == "" || s[0] != ':' {
				return us, s, true
			}
			s = s[1:]
		}
	}
	if s != "" && s[0] == '.' {
		s = s[1:]
		scale := int64(secondMicros / 10)
		for s != "" && s[0] >= '0' && s[0] <= '9' {
			us += int64(s[0]-'0') * scale
			scale /= 10
			s = s[1:]
		}
	}
	return us, s, true
}

// zoneOffset returns the offset from UTC, in µs, of a zone at a local time in µs.
func zoneOffset(zone string, local int64) (int64, bool) {
	if off, ok := fixedOffset(zone); ok {
		return off, true
	}
	loc, ok := location(zone)
	if !ok {
		return 0, false
	}
	sec := floorDiv(local, secondMicros)
	t := time.Unix(sec, 0).UTC()
	_, off := time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, loc).Zone()
	return int64(off) * secondMicros, true
}

// location loads a region; the text "Local" is not one.
func location(zone string) (*time.Location, bool) {
	if zone == "" || zone == "Local" || len(zone) > 64 {
		return nil, false
	}
	if off, ok := fixedOffset(zone); ok {
		return time.FixedZone(zone, int(off/secondMicros)), true
	}
	if c := zone[0] | 32; c < 'a' || c > 'z' {
		return nil, false
	}
	return zonedb.Find(zone)
}

// fixedOffset reads Z, UTC, GMT, UT and [UTC|GMT|UT](+|-)h[h][[:]mm[[:]ss]] as µs.
func fixedOffset(zone string) (int64, bool) {
	for _, p := range []string{"UTC", "GMT", "UT"} {
		if rest, ok := strings.CutPrefix(zone, p); ok {
			zone = rest
			break
		}
	}
	if zone == "" || zone == "Z" {
		return 0, true
	}
	neg := zone[0] == '-'
	if !neg && zone[0] != '+' {
		return 0, false
	}
	z := zone[1:]
	var f [3]int64
	for i := range f {
		if z == "" {
			break
		}
		if i > 0 && z[0] == ':' {
			z = z[1:]
		}
		v, n := digitsAt(z, 2)
		if n == 0 || i > 0 && n != 2 {
			return 0, false
		}
		f[i], z = v, z[n:]
	}
	if z != "" || f[0] > 18 || f[1] > 59 || f[2] > 59 {
		return 0, false
	}
	us := f[0]*hourMicros + f[1]*minuteMicros + f[2]*secondMicros
	if us > 18*hourMicros {
		return 0, false
	}
	if neg {
		us = -us
	}
	return us, true
}

// convertDatetime converts between dates, timestamps and numbers.
func convertDatetime(from, to column.Type) convFunc {
	f, t := from.Kind, to.Kind
	switch {
	case t == column.Date:
		return func(d column.Datum) (column.Datum, *Error) { return column.I64(floorDiv(d.I, dayMicros)), nil }
	case f == column.Date && isDatetime(t):
		return func(d column.Datum) (column.Datum, *Error) {
			v, ok := microsOf(d.I, 0)
			if !ok {
				return column.NullDatum, errDatetimeOverflow("date " + dateText(d.I) + " is outside the range of a timestamp")
			}
			return column.I64(v), nil
		}
	case isDatetime(f) && isDatetime(t):
		return func(d column.Datum) (column.Datum, *Error) { return d, nil }
	case isDatetime(f):
		return timestampToNumber(from, to)
	}
	return numberToTimestamp(from, to)
}

func timestampToNumber(from, to column.Type) convFunc {
	double, bigint := column.Of(column.Double), column.Of(column.BigInt)
	return func(d column.Datum) (column.Datum, *Error) {
		if to.Kind == column.Decimal {
			dec, ok := toDecimal(big.NewInt(d.I), 6, to)
			if !ok {
				return column.NullDatum, errOutOfRange(bigText(big.NewInt(d.I), 6), to)
			}
			return column.Datum{Dec: dec}, nil
		}
		if isFractional(to.Kind) {
			return converter(double, to)(column.F64(float64(d.I) / secondMicros))
		}
		out, err := converter(bigint, to)(column.I64(floorDiv(d.I, secondMicros)))
		if err != nil {
			err = errCastOverflow(from, to, timestampText(d.I))
		}
		return out, err
	}
}

func numberToTimestamp(from, to column.Type) convFunc {
	return func(d column.Datum) (column.Datum, *Error) {
		switch {
		case isFloating(from.Kind):
			if isNaN(d.F) || math.IsInf(d.F, 0) {
				return column.NullDatum, errCastInvalid(from, to, Text(from, d))
			}
			us := d.F * secondMicros
			if !(us >= math.MinInt64 && us < math.MaxInt64) {
				return column.NullDatum, errCastOverflow(from, to, Text(from, d))
			}
			return column.I64(int64(us)), nil
		case from.Kind == column.Decimal:
			v := rescale(bigOf(d.Dec), int(from.Scale), 6, down)
			if !v.IsInt64() {
				return column.NullDatum, errDatetimeOverflow("decimal seconds")
			}
			return column.I64(v.Int64()), nil
		}
		v, ok := mulInt(d.I, secondMicros)
		if !ok { // Java's TimeUnit saturates
			v = math.MaxInt64
			if d.I < 0 {
				v = math.MinInt64
			}
		}
		return column.I64(v), nil
	}
}

// saturate converts a double as Java's (long) does.
func saturate(f float64) int64 {
	switch {
	case f != f:
		return 0
	case f >= 1<<63:
		return math.MaxInt64
	case f < -1<<63:
		return math.MinInt64
	}
	return int64(f)
}
