package replay

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"signalbox/edge/recording"
	"signalbox/edge/wire"
	"signalbox/engine"
	"signalbox/engine/column"
	"signalbox/engine/lineproto"
)

// source yields the batches of all inputs, one file after the other.
type source struct {
	r       *run
	streams []lineproto.Stream
	names   map[string][]string // wanted column names by stream, for recordings
	files   []string
	before  int64 // bytes of the files that are through, for the progress
	current interface {
		next() ([]*column.Batch, error)
		size() int64
		Close() error
	}
}

func newSource(r *run, wanted map[string][]int) *source {
	s := &source{r: r, files: r.opt.Inputs, names: map[string][]string{}}
	for _, t := range r.eng.Tables() {
		if t.Kind != engine.KindStream {
			continue
		}
		columns := wanted[strings.ToLower(t.Name)]
		if columns == nil {
			columns = []int{} // declared but not read: its lines are checked and skipped
		}
		s.streams = append(s.streams, lineproto.Stream{Schema: t.Schema, Columns: columns})
		names := []string{}
		for _, c := range columns {
			names = append(names, t.Schema.Fields[c].Name)
		}
		s.names[t.Name] = names
	}
	return s
}

// next returns the next batches, or io.EOF after the last file.
func (s *source) next(ctx context.Context) ([]*column.Batch, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if s.current == nil {
			if len(s.files) == 0 {
				return nil, io.EOF
			}
			if err := s.open(s.files[0]); err != nil {
				return nil, err
			}
			s.files = s.files[1:]
		}
		batches, err := s.current.next()
		if err == nil {
			return batches, nil
		}
		s.before += s.current.size()
		closeErr := s.current.Close()
		s.current = nil
		if !errors.Is(err, io.EOF) {
			return nil, err
		}
		if closeErr != nil {
			return nil, closeErr
		}
	}
}

func (s *source) open(name string) error {
	var file io.ReadCloser = io.NopCloser(s.r.opt.Stdin)
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		file = f
	}
	plain, err := Decompress(file)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	head, _ := plain.Peek(recording.MagicBytes) // a shorter file is text
	if recording.Is(head) {
		frames, err := recording.NewReader(plain)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		s.current = &frameInput{s: s, name: name, file: file, frames: frames, reuse: map[string]*column.Batch{}}
		return nil
	}
	t := &textInput{s: s, name: name, file: file}
	t.lines, err = lineproto.NewReader(plain, lineproto.ReaderOptions{Streams: s.streams, Rows: s.r.opt.BatchRows, OnError: t.refuse})
	s.current = t
	return err
}

// Decompress looks at the first bytes: gzip, zstd or plain.
func Decompress(f io.Reader) (*bufio.Reader, error) {
	b := bufio.NewReaderSize(f, 256<<10)
	head, _ := b.Peek(4)
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, err
		}
		return bufio.NewReaderSize(z, 256<<10), nil
	case bytes.Equal(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		return bufio.NewReaderSize(z, 256<<10), nil
	}
	return b, nil
}

type textInput struct {
	s     *source
	name  string
	file  io.Closer
	lines *lineproto.Reader
}

func (t *textInput) next() ([]*column.Batch, error) {
	before := t.lines.Lines()
	batches, err := t.lines.Next()
	t.s.r.lines += t.lines.Lines() - before
	if t.s.r.opt.Progress != nil {
		t.s.r.opt.Progress(t.s.before+t.lines.Offset(), t.s.r.lines)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %w", t.name, err)
	}
	return batches, err
}

func (t *textInput) refuse(e *lineproto.LineError) {
	t.s.r.refusedLines++
	t.s.r.tell("%s:%d: refused (%s): %s", t.name, e.Line, e.Reason, e.Detail)
}

// size is how many bytes of text were read.
func (t *textInput) size() int64 { return t.lines.Offset() }

func (t *textInput) Close() error { return t.file.Close() }

// frameInput reads a recording.
type frameInput struct {
	s      *source
	name   string
	file   io.Closer
	frames *recording.Reader
	dec    wire.Decoder
	reuse  map[string]*column.Batch
	out    [1]*column.Batch
	read   int64 // bytes of frames
}

func (f *frameInput) next() ([]*column.Batch, error) {
	for {
		frame, err := f.frames.Next()
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil, err
			}
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		info, err := wire.Info(frame)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		f.s.r.lines += int64(info.Rows)
		if f.read += int64(len(frame)); f.s.r.opt.Progress != nil {
			f.s.r.opt.Progress(f.s.before+f.read, f.s.r.lines)
		}
		names, declared := f.s.names[info.Stream]
		if !declared {
			f.s.r.refusedLines += int64(info.Rows)
			f.s.r.tell("%s: %d readings refused (unknown_stream): stream %q is not declared", f.name, info.Rows, info.Stream)
			continue
		}
		b, err := f.dec.Decode(frame, wire.DecodeOptions{Columns: names, Reuse: f.reuse[info.Stream]})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		f.reuse[info.Stream] = b
		f.out[0] = microseconds(b)
		return f.out[:], nil
	}
}

func (f *frameInput) size() int64 { return f.read }

func (f *frameInput) Close() error { return f.file.Close() }

// microseconds turns nanosecond columns into TIMESTAMP without touching the decoder's own schema.
func microseconds(b *column.Batch) *column.Batch {
	out := &column.Batch{Schema: b.Schema, Cols: b.Cols, Len: b.Len}
	copied := false
	for i, f := range b.Schema.Fields {
		if f.Type.Kind != column.TimestampNS || b.Cols[i] == nil {
			continue
		}
		if !copied {
			fields := append([]column.Field(nil), b.Schema.Fields...)
			out.Schema = &column.Schema{Name: b.Schema.Name, Fields: fields, Time: b.Schema.Time}
			out.Cols = append([]*column.Column(nil), b.Cols...)
			copied = true
		}
		c := *b.Cols[i]
		c.Type = column.Of(column.Timestamp)
		for k, ns := range c.I64 {
			c.I64[k] = column.FloorMicros(ns)
		}
		out.Schema.Fields[i].Type = c.Type
		out.Cols[i] = &c
	}
	return out
}
