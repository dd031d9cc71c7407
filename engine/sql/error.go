package sql

import "fmt"

// Error is an error of the text, with Spark's condition and SQLSTATE. Its phase is always "parse".
type Error struct {
	Pos       Pos
	Condition string // for example PARSE_SYNTAX_ERROR
	SQLState  string
	Msg       string // what was found and what was expected
	Hint      string // what to write instead, may be empty
}

func (e *Error) Error() string {
	s := fmt.Sprintf("%d:%d: [%s] %s", e.Pos.Line, e.Pos.Col, e.Condition, e.Msg)
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}
