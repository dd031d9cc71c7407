// Package frames measures how small the columnar frames are and what they cost,
// beside the same readings as text. It promises that every size is that of
// readings which came back equal, and refuses to know sockets and disks.
package frames

import (
	"bytes"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/klauspost/compress/zstd"

	"signalbox/edge/wire"
	"signalbox/engine/column"
	"signalbox/simulator/w1"
)

// seeds is over how many buses a size is averaged: one bus may be lucky.
const seeds = 20

// measureFor is how long a time is measured.
const measureFor = 300 * time.Millisecond

// shape is what one frame holds.
type shape struct {
	name           string
	buses, seconds int
	bar            float64 // bytes per reading asked, 0 = none
}

// Row is one line of the table; sizes in bytes and times in nanoseconds per reading.
type Row struct {
	Name                         string
	Readings                     int
	Text, TextZstd, Frame, Zstd  float64
	Asked                        float64
	Encode, Decode, LibraryParse float64
}

// Measure returns the table of 5-field bus readings: one bus, and a gateway of fifty.
func Measure() ([]Row, error) {
	var out []Row
	for _, s := range []shape{{"1 bus x 10", 1, 10, 11}, {"1 bus x 100", 1, 100, 5}, {"1 bus x 1000", 1, 1000, 4}, {"50 buses x 20", 50, 20, 0}} {
		r, err := measure(s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		out = append(out, r)
	}
	return out, nil
}

func measure(s shape) (Row, error) {
	r := Row{Name: s.name, Readings: s.buses * s.seconds, Asked: s.bar}
	coder, err := wire.NewCoder()
	if err != nil {
		return r, err
	}
	packer, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return r, err
	}
	var enc wire.Encoder
	per := 1 / float64(seeds*r.Readings)
	var batch *column.Batch
	var frame, text []byte
	for seed := range uint64(seeds) {
		c := w1.Config{Seconds: s.seconds, Buses: s.buses, Routes: 20, Seed: seed + 1, LateMS: 1, StartMS: w1.Default().StartMS}
		for batch = range w1.Batches(c, r.Readings) {
		}
		if frame, err = enc.Encode(nil, batch); err != nil {
			return r, err
		}
		back, err := wire.DecodeFrame(frame, wire.DecodeOptions{})
		if err != nil {
			return r, err
		}
		if err := same(batch, back); err != nil {
			return r, err
		}
		var b bytes.Buffer
		if _, err := w1.Write(&b, c); err != nil {
			return r, err
		}
		text = b.Bytes()
		r.Text += per * float64(len(text))
		r.TextZstd += per * float64(len(packer.EncodeAll(text, nil)))
		r.Frame += per * float64(len(frame))
		r.Zstd += per * float64(len(coder.Pack(1, 1, wire.HashBody(frame), frame).Payload))
	}
	n := float64(r.Readings)
	r.Encode = nanoseconds(func() { frame, err = enc.Encode(frame[:0], batch) }) / n
	if err != nil {
		return r, err
	}
	d := wire.Decoder{SharedDict: 4096}
	var reuse *column.Batch
	r.Decode = nanoseconds(func() { reuse, err = d.Decode(frame, wire.DecodeOptions{Reuse: reuse}) }) / n
	if err != nil {
		return r, err
	}
	r.LibraryParse = nanoseconds(func() { _, _, err = w1.LibraryLoop(text) }) / n
	return r, err
}

// same holds a batch against what was decoded from its frame.
func same(a, b *column.Batch) error {
	if a.Len != b.Len || len(a.Cols) != len(b.Cols) {
		return fmt.Errorf("%d rows of %d columns came back as %d of %d", a.Len, len(a.Cols), b.Len, len(b.Cols))
	}
	for i := range a.Cols {
		for row := range a.Len {
			x, y := a.Cols[i].Datum(row), b.Cols[i].Datum(row)
			if x.Null != y.Null || x.I != y.I || x.F != y.F || x.S != y.S {
				return fmt.Errorf("column %s, row %d: %+v came back as %+v", a.Schema.Fields[i].Name, row, x, y)
			}
		}
	}
	return nil
}

func nanoseconds(f func()) float64 {
	f() // caches and memory are warm
	begin, n := time.Now(), 0
	for time.Since(begin) < measureFor {
		f()
		n++
	}
	return float64(time.Since(begin).Nanoseconds()) / float64(n)
}

// Print writes the table.
func Print(out io.Writer, rows []Row) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "bytes per reading\tline protocol\t+ zstd\tframe\t+ zstd where it saves\tasked\ttext : frame\tencode ns\tdecode ns\tlibrary parses text, ns\t")
	for _, r := range rows {
		asked := "-"
		if r.Asked > 0 {
			asked = fmt.Sprintf("%.0f", r.Asked)
		}
		fmt.Fprintf(t, "%s\t%.1f\t%.1f\t%.2f\t%.2f\t%s\t%.0f\t%.0f\t%.0f\t%.0f\t\n", r.Name, r.Text, r.TextZstd, r.Frame, r.Zstd, asked, r.Text/r.Zstd, r.Encode, r.Decode, r.LibraryParse)
	}
	return t.Flush()
}
