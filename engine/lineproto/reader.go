package lineproto

import (
	"fmt"
	"io"

	"signalbox/engine/column"
)

// DefaultRows is the number of rows after which a Reader hands out its batches.
const DefaultRows = 8192

// lowWater is the rest of the window, in bytes, at which more is read.
const lowWater = 8 << 10

// ReaderOptions of a Reader.
type ReaderOptions struct {
	Streams []Stream
	Rows    int              // rows of all streams together per Next, 0 = DefaultRows
	OnError func(*LineError) // called for each refused line; nil = they are only counted
	// DefaultTime is given to lines without a timestamp, in ns; without HasDefault they are refused.
	DefaultTime int64
	HasDefault  bool
	// LibraryOnly turns the scanner off: the answers are the same.
	LibraryOnly bool
}

// Reader reads line protocol into the columns of declared streams.
type Reader struct {
	opt     ReaderOptions
	win     *window
	lib     library
	streams map[string]*stream
	order   []*stream // with rows, in the order of their first row
	out     []*column.Batch
	total   int
	memo    memo
	plain   []byte
	entry   entry
	refused int64
	slow    int64
}

// NewReader returns a Reader of rd.
func NewReader(rd io.Reader, opt ReaderOptions) (*Reader, error) {
	if opt.Rows <= 0 {
		opt.Rows = DefaultRows
	}
	r := &Reader{opt: opt, win: newWindow(rd), streams: map[string]*stream{}}
	r.lib.win = r.win
	for _, s := range opt.Streams {
		st, err := newStream(s)
		if err != nil {
			return nil, err
		}
		if r.streams[st.schema.Name] != nil {
			return nil, fmt.Errorf("lineproto: stream %s is declared twice", st.schema.Name)
		}
		r.streams[st.schema.Name] = st
	}
	return r, nil
}

// Next returns the next rows, one batch for each stream that has any, in the
// order of their first row; rows keep the order of the text. The batches are
// valid until the next call; their dictionaries are shared from call to call.
// At the end of the input it returns io.EOF, or the error of the io.Reader.
func (r *Reader) Next() ([]*column.Batch, error) {
	r.order, r.out, r.total = r.order[:0], r.out[:0], 0
	for r.total < r.opt.Rows {
		if r.win.end-r.win.pos < lowWater {
			r.win.fill()
		}
		if r.win.pos == r.win.end {
			break
		}
		if !r.opt.LibraryOnly {
			r.scan()
		}
		if r.total < r.opt.Rows && (r.win.eof || r.win.end-r.win.pos >= lowWater) {
			r.step()
		}
	}
	for _, st := range r.order {
		r.out = append(r.out, st.finish())
	}
	if len(r.out) > 0 {
		return r.out, nil
	}
	if r.win.err != nil {
		return nil, fmt.Errorf("lineproto: read at byte %d: %w", r.win.base+int64(r.win.end), r.win.err)
	}
	return nil, io.EOF
}

// Offset is the number of bytes consumed so far, for progress.
func (r *Reader) Offset() int64 { return r.win.base + int64(r.win.pos) }

// Lines is the number of lines consumed so far, comments and refused ones included.
func (r *Reader) Lines() int64 { return r.win.line }

// Refused is the number of lines refused so far.
func (r *Reader) Refused() int64 { return r.refused }

// Slow is the number of lines that the library has read, the scanner not.
func (r *Reader) Slow() int64 { return r.slow }

// step takes one line the general way.
func (r *Reader) step() {
	if r.win.blank() {
		return
	}
	if r.win.pos == r.win.end {
		return
	}
	r.slow++
	r.lib.each(&r.entry, func(err error) { r.take(err) })
}

// take stores a decoded entry or reports why not.
func (r *Reader) take(err error) {
	e := &r.entry
	if err != nil {
		why, detail := reason(err)
		r.refuse(why, detail)
		return
	}
	why, detail := e.check()
	st := r.streams[string(e.name)]
	switch {
	case why != "":
	case st == nil:
		why, detail = UnknownStream, fmt.Sprintf("stream %q is not declared", e.name)
	case !e.hasTime && !r.opt.HasDefault:
		why, detail = NoTime, "the line has no timestamp"
	default:
		if !e.hasTime {
			e.time = r.opt.DefaultTime
		}
		r.begin(st)
		if why, detail = st.put(e); why == "" {
			r.total++
			r.learn(st, e, r.win.buf[r.win.pos:r.win.end])
			return
		}
		r.abandon(st)
	}
	r.refuse(why, detail)
}

func (r *Reader) refuse(why Reason, detail string) {
	r.refused++
	if r.opt.OnError == nil {
		return
	}
	e := &r.entry
	r.opt.OnError(&LineError{Line: e.line, Offset: e.offset, Stream: string(e.name), Reason: why, Detail: detail, Text: e.text})
}

// begin makes a stream ready for its first row since the last Next.
func (r *Reader) begin(st *stream) {
	if st.started {
		return
	}
	first := true
	for _, c := range st.batch.Cols {
		if c != nil {
			first = false
		}
	}
	if st.start(r.opt.Rows) {
		r.memo.reset()
	}
	if first {
		st.shapes = nil
	}
	for _, s := range st.shapes {
		st.bind(s)
	}
	r.order = append(r.order, st)
}

// abandon forgets a stream that was begun for a row that did not fit.
func (r *Reader) abandon(st *stream) {
	if st.n == 0 && len(r.order) > 0 && r.order[len(r.order)-1] == st {
		r.order = r.order[:len(r.order)-1]
		st.started = false
	}
}

// blank consumes an empty line or a comment, as the library does.
func (w *window) blank() bool {
	end, ok := w.lineEnd(0)
	if !ok {
		return false
	}
	line := w.buf[w.pos : w.pos+end]
	i := 0
	for i < len(line) && line[i] == ' ' {
		i++
	}
	if i < len(line) && line[i] == '#' {
		for i < len(line) && line[i] >= ' ' && line[i] != 0x7f {
			i++
		}
	}
	rest := string(line[i:])
	if rest != "" && rest != "\n" && rest != "\r\n" && rest != "\r" {
		return false
	}
	w.pos += end
	if len(rest) > 0 && rest[len(rest)-1] == '\n' {
		w.line++
	}
	return true
}
