package w1

import (
	"bufio"
	"io"
	"iter"

	"signalbox/edge/recording"
	"signalbox/edge/wire"
	"signalbox/engine/column"
)

// framesOf is how many readings a frame of a recording holds.
const framesOf = 1000

// WriteRecording writes the workload as columnar frames of 1000 readings, the way agents ship them.
func WriteRecording(w io.Writer, c Config) (int, error) {
	out := bufio.NewWriterSize(w, 1<<20)
	file := recording.NewWriter(out)
	var frame []byte
	var enc wire.Encoder
	n := 0
	for b := range Batches(c, framesOf) {
		var err error
		if frame, err = enc.Encode(frame[:0], b); err != nil {
			return n, err
		}
		if err := file.Write(frame); err != nil {
			return n, err
		}
		n += b.Len
	}
	return n, out.Flush()
}

// Batches yields the workload as typed columns, in the order of its lines, so many readings at a time.
func Batches(c Config, size int) iter.Seq[*column.Batch] {
	return func(yield func(*column.Batch) bool) {
		vehicles, records := c.records()
		for at := 0; at < len(records); at += size {
			if !yield(batchOf(vehicles, records[at:min(at+size, len(records))])) {
				return
			}
		}
	}
}

func batchOf(vehicles []vehicle, records []record) *column.Batch {
	field := func(name string, k column.Kind) column.Field {
		return column.Field{Name: name, Type: column.Of(k)}
	}
	b := column.NewBatch(&column.Schema{Name: "bus", Fields: []column.Field{field("time", column.TimestampNS), field("bus", column.String),
		field("route", column.String), field("passengers", column.BigInt), field("capacity", column.BigInt),
		field("speed", column.Double), field("lat", column.Double), field("lon", column.Double)}}, len(records))
	for _, r := range records {
		v := &vehicles[r.bus]
		b.AppendRow(column.I64(r.ts*1_000_000), column.Str(v.name), column.Str(v.route), column.I64(int64(r.pax)), column.I64(int64(v.cap)),
			column.F64(float64(r.speed)/100), column.F64(float64(r.lat)/1e5), column.F64(float64(r.lon)/1e5))
	}
	return b
}
