package w1

import (
	"bufio"
	"io"

	"signalbox/edge/recording"
	"signalbox/edge/wire"
	"signalbox/engine/column"
)

// framesOf is how many readings a frame of a recording holds.
const framesOf = 1000

// WriteRecording writes the workload as columnar frames of 1000 readings, the way agents ship them.
func WriteRecording(w io.Writer, c Config) (int, error) {
	vehicles, records := c.records()
	out := bufio.NewWriterSize(w, 1<<20)
	file := recording.NewWriter(out)
	var frame []byte
	var enc wire.Encoder
	for at := 0; at < len(records); at += framesOf {
		b := batchOf(vehicles, records[at:min(at+framesOf, len(records))])
		var err error
		if frame, err = enc.Encode(frame[:0], b); err != nil {
			return at, err
		}
		if err := file.Write(frame); err != nil {
			return at, err
		}
	}
	return len(records), out.Flush()
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
