package sql

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxSourceLine is how many characters of a source line Render shows.
const maxSourceLine = 120

// Render writes an error as a compiler does: file, position and message, the
// line of the text, a caret under the place, and the hint. An error that is no *Error is
// written as it is.
func Render(file, text string, err error) string {
	var e *Error
	if !errors.As(err, &e) {
		return file + ": " + err.Error()
	}
	return RenderAt(file, text, e.Pos, fmt.Sprintf("[%s] %s", e.Condition, e.Msg), e.Hint)
}

// RenderAt is Render for a message with a position of its own, such as an error of the analyser.
func RenderAt(file, text string, pos Pos, msg, hint string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d:%d: error: %s\n", file, pos.Line, pos.Col, msg)
	if line, ok := sourceLine(text, pos.Line); ok && pos.Col >= 1 {
		shown, caret := window(line, pos.Col)
		gutter := fmt.Sprintf("%5d | ", pos.Line)
		b.WriteString(gutter + shown + "\n")
		b.WriteString(strings.Repeat(" ", len(gutter)-2) + "| " + caret + "^\n")
	}
	if hint != "" {
		b.WriteString("      = " + hint + "\n")
	}
	return b.String()
}

func sourceLine(text string, n int) (string, bool) {
	for ; n > 1; n-- {
		_, rest, ok := strings.Cut(text, "\n")
		if !ok {
			return "", false
		}
		text = rest
	}
	line, _, _ := strings.Cut(text, "\n")
	return strings.TrimSuffix(line, "\r"), n == 1
}

// window returns the part of a line around a column and the white space that puts a caret under it.
func window(line string, col int) (shown, indent string) {
	runes := []rune(strings.ToValidUTF8(line, string(utf8.RuneError)))
	at := min(col-1, len(runes))
	from := 0
	if at >= maxSourceLine {
		from = at - maxSourceLine/2
	}
	to := min(len(runes), from+maxSourceLine)
	lead := ""
	if from > 0 {
		lead = "… "
	}
	pad := make([]rune, 0, at-from)
	for _, r := range runes[from:at] {
		if r == '\t' {
			pad = append(pad, '\t') // a tab is as wide under the line as in it
			continue
		}
		pad = append(pad, ' ')
	}
	shown = lead + string(runes[from:to])
	if to < len(runes) {
		shown += " …"
	}
	return shown, strings.Repeat(" ", utf8.RuneCountInString(lead)) + string(pad)
}
