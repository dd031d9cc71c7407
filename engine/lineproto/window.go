package lineproto

import (
	"bytes"
	"io"
)

const (
	windowSize = 256 << 10 // bytes read ahead; several lines of MaxLine fit
	slack      = 64        // zero bytes behind the data, so that words can be loaded near its end
)

// window is the part of the input that is in memory: buf[pos:end].
type window struct {
	rd   io.Reader
	buf  []byte
	pos  int
	end  int
	eof  bool
	err  error // not io.EOF
	base int64 // offset in the input of buf[0]
	line int64 // newlines before pos
}

func newWindow(rd io.Reader) *window {
	return &window{rd: rd, buf: make([]byte, windowSize+slack)}
}

// load replaces the input by a message.
func (w *window) load(msg []byte) {
	if need := len(msg) + slack; cap(w.buf) < need {
		w.buf = make([]byte, need)
	}
	w.buf = w.buf[:cap(w.buf)]
	n := copy(w.buf, msg)
	clear(w.buf[n : n+slack])
	*w = window{buf: w.buf, end: n, eof: true}
}

// fill reads more, moving what is left to the front; false at the end of input or when nothing more fits.
func (w *window) fill() bool {
	if w.eof {
		return false
	}
	if w.pos > 0 {
		copy(w.buf, w.buf[w.pos:w.end])
		w.base += int64(w.pos)
		w.end -= w.pos
		w.pos = 0
	}
	room := w.buf[w.end : len(w.buf)-slack]
	if len(room) == 0 {
		return false
	}
	for tries := 0; ; tries++ {
		n, err := w.rd.Read(room)
		w.end += n
		if err != nil || tries == 100 {
			w.eof = true
			if err == nil {
				err = io.ErrNoProgress
			}
			if err != io.EOF {
				w.err = err
			}
		}
		if n > 0 || w.eof {
			clear(w.buf[w.end : w.end+slack])
			return n > 0
		}
	}
}

// lineEnd returns the index behind the newline of the line that starts at from,
// reading as needed; at the end of input the line may lack it. It gives up
// (false) when the line does not fit the window. Indexes before pos move with fill: from is relative to pos.
func (w *window) lineEnd(from int) (int, bool) {
	for at := from; ; {
		if i := bytes.IndexByte(w.buf[w.pos+at:w.end], '\n'); i >= 0 {
			return at + i + 1, true
		}
		at = w.end - w.pos
		if !w.fill() {
			return w.end - w.pos, w.eof
		}
	}
}

// skipLine drops the rest of the current physical line, however long it is.
func (w *window) skipLine() {
	for {
		if i := bytes.IndexByte(w.buf[w.pos:w.end], '\n'); i >= 0 {
			w.pos += i + 1
			w.line++
			return
		}
		w.pos = w.end
		if !w.fill() {
			return
		}
	}
}
