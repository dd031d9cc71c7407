package sql

import "fmt"

// Error is an error of the text, with Spark's condition and SQLSTATE.
type Error struct {
	Pos       Pos
	Condition string // for example PARSE_SYNTAX_ERROR
	SQLState  string
	Msg       string // what was found and what was expected
	Hint      string // what to write instead, may be empty
	// Declares is the name that the statement with the error was to declare, "" when it is none: who reads it is not at fault.
	Declares string
}

// Phase is "parse"; a number or an interval that is too large for its type is
// found here too, but Spark counts it as an error of arithmetic.
func (e *Error) Phase() string {
	switch e.Condition {
	case "DECIMAL_PRECISION_EXCEEDS_MAX_PRECISION", "INTERVAL_ARITHMETIC_OVERFLOW.WITHOUT_SUGGESTION":
		return "runtime"
	}
	return "parse"
}

func (e *Error) Error() string {
	s := fmt.Sprintf("%d:%d: [%s] %s", e.Pos.Line, e.Pos.Col, e.Condition, e.Msg)
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}
