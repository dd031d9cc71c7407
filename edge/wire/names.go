package wire

import "encoding/binary"

// staticNames are written as one byte in a frame, as HPACK does with header
// names: ten readings of a bus spend more on names than on values otherwise.
// The table is part of frame version 1: append, never change or reorder.
var staticNames = [...]string{
	"", "time", "ts", "timestamp", "id", "name", "type", "value", "values", "status", "state", "event", "message", "level", "unit", "count",
	"bus", "bus_id", "vehicle", "vehicle_id", "truck", "device", "device_id", "sensor", "sensor_id", "host", "region", "site", "operator", "oper", "agent", "driver",
	"route", "route_id", "line", "trip", "trip_id", "stop", "stop_id", "direction", "dir", "door", "start", "end", "desi", "veh", "headsign", "next_stop",
	"passengers", "capacity", "occupancy", "occu", "load", "in", "out", "boarding", "alighting", "passengers_in", "passengers_out", "vehicle_load", "load_ratio", "quality", "seq", "delay",
	"lat", "lon", "long", "latitude", "longitude", "elevation", "altitude", "heading", "hdg", "speed", "spd", "velocity", "acc", "odo", "distance", "grade",
	"temperature", "humidity", "pressure", "voltage", "current", "power", "energy", "battery", "fuel", "rpm", "cpu", "memory", "signal", "rssi", "uptime", "error",
	"stream", "topic", "reason", "detail", "payload", "$rejected", "readings", "diagnostics", "hfp", "apc", "journey_type", "temporal", "mode", "tst", "oday", "jrn",
}

// Names: below 0x80 an index into staticNames, else a length (0x7f = longer, a varint follows) and the bytes.
const (
	literalName  = 0x80
	longNameMark = 0x7f
)

// nameCodes maps a static name to its index. It is built per Encoder: the
// package keeps no mutable state.
func nameCodes() map[string]byte {
	m := make(map[string]byte, len(staticNames))
	for i, s := range staticNames {
		m[s] = byte(i)
	}
	return m
}

func appendName(dst []byte, codes map[string]byte, s string) []byte {
	if c, ok := codes[s]; ok {
		return append(dst, c)
	}
	if len(s) < longNameMark {
		dst = append(dst, literalName|byte(len(s)))
		return append(dst, s...)
	}
	dst = append(dst, literalName|longNameMark)
	dst = binary.AppendUvarint(dst, uint64(len(s)-longNameMark))
	return append(dst, s...)
}

// name reads a name; the bytes alias the input or the static table.
func (r *reader) name() string {
	c := r.byte()
	if c < literalName {
		if int(c) >= len(staticNames) {
			r.fail("name %d, this program knows %d", c, len(staticNames))
			return ""
		}
		return staticNames[c]
	}
	n := int(c &^ literalName)
	if n == longNameMark {
		n += int(min(r.uvarint(), MaxNameBytes+1))
	}
	if n > MaxNameBytes {
		r.fail("name longer than %d bytes", MaxNameBytes)
		return ""
	}
	return string(r.take(n))
}
