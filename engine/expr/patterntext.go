package expr

import "signalbox/engine/column"

// newTextPattern reads dates or timestamps by a pattern that an option names.
func newTextPattern(name, pattern string, k column.Kind) (func(string) (column.Datum, bool, *Error), error) {
	p, err := compileParsePattern(pattern)
	if err != nil {
		return nil, analysisErr(err.Condition, err.SQLState, "%s: %s", name, err.Message)
	}
	return func(s string) (column.Datum, bool, *Error) {
		us, ok := p.parse(s)
		if k == column.Date {
			us = floorDiv(us, dayMicros)
		}
		return column.I64(us), ok, nil
	}, nil
}

// patternWriter writes dates or timestamps by a pattern.
func patternWriter(name, pattern string, t column.Type) (func(column.Datum) (string, *Error), error) {
	p, err := compileDatePattern(pattern)
	if err != nil {
		return nil, analysisErr(err.Condition, err.SQLState, "%s: %s", name, err.Message)
	}
	return func(d column.Datum) (string, *Error) {
		us := d.I
		if t.Kind == column.Date {
			var ok bool
			if us, ok = microsOf(d.I, 0); !ok {
				return "", errDatetimeOverflow("the date is out of range")
			}
		}
		return p.format(us)
	}, nil
}
