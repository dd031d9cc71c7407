package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"signalbox/edge/wire"
)

// A segment is a header and records, each
//
//	length of the rest   4 bytes, little endian
//	CRC32C of the rest   4 bytes
//	kind                 1 byte
//	number               8 bytes, one more than the record before it had
//	content
//
// The format is version 1, named in the segment's header.

const (
	segmentMagic = "SBSPOOL\x01"
	headerBytes  = 8
	frameBytes   = 8 // length and CRC
	minRest      = 9 // kind and number
	// maxRecordBytes bounds a record when reading: a batch and what goes with it.
	maxRecordBytes = wire.MaxBatchBytes + 1<<20
)

type kind byte

// The kinds. Append, never renumber.
const (
	kindData       kind = 1 // readings that are not in a sealed batch yet
	kindSealed     kind = 2 // a sealed batch, and the numbers of the records that are in it
	kindGap        kind = 3 // what was dropped; goes into a batch like data
	kindEpoch      kind = 4 // a new epoch and the sequences that waiting batches have in it
	kindCheckpoint kind = 5 // everything that earlier records said and that still holds
)

var errBadRecord = errors.New("bad record")

type record struct {
	kind    kind
	number  uint64
	content []byte
}

func table() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

func appendRecord(dst []byte, k kind, number uint64, content []byte) []byte {
	at := len(dst)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(minRest+len(content)))
	dst = append(dst, 0, 0, 0, 0, byte(k))
	dst = binary.LittleEndian.AppendUint64(dst, number)
	dst = append(dst, content...)
	binary.LittleEndian.PutUint32(dst[at+4:], crc32.Checksum(dst[at+frameBytes:], table()))
	return dst
}

// parseRecord reads the record at the front of b; content aliases b.
func parseRecord(b []byte) (rec record, size int, err error) {
	if len(b) < frameBytes+minRest {
		return rec, 0, fmt.Errorf("%w: ends after %d bytes", errBadRecord, len(b))
	}
	n := binary.LittleEndian.Uint32(b)
	if n < minRest || n > maxRecordBytes || int(n) > len(b)-frameBytes {
		return rec, 0, fmt.Errorf("%w: length %d, %d bytes are left", errBadRecord, n, len(b)-frameBytes)
	}
	rest := b[frameBytes : frameBytes+int(n)]
	if crc32.Checksum(rest, table()) != binary.LittleEndian.Uint32(b[4:]) {
		return rec, 0, fmt.Errorf("%w: CRC does not match", errBadRecord)
	}
	rec = record{kind: kind(rest[0]), number: binary.LittleEndian.Uint64(rest[1:]), content: rest[minRest:]}
	if rec.kind < kindData || rec.kind > kindCheckpoint {
		return rec, 0, fmt.Errorf("%w: kind %d, written by a newer program", errBadRecord, rec.kind)
	}
	return rec, frameBytes + int(n), nil
}

// cursor takes numbers off the content of a record whose CRC was right; what
// it cannot read is a bug or a newer format, and ends in err.
type cursor struct {
	b   []byte
	err error
}

func (c *cursor) u() uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.err = errBadRecord
		c.b = nil
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cursor) i() int64 {
	u := c.u()
	return int64(u>>1) ^ -int64(u&1)
}

func (c *cursor) bytes(n uint64) []byte {
	if n > uint64(len(c.b)) {
		c.err = errBadRecord
		c.b = nil
		return nil
	}
	out := c.b[:n]
	c.b = c.b[n:]
	return out
}

func (c *cursor) text() string { return string(c.bytes(c.u())) }

func (c *cursor) ranges() (out Ranges) {
	n := c.u()
	if n > uint64(len(c.b)) {
		c.err = errBadRecord
		return nil
	}
	for range n {
		from := c.u()
		out = append(out, Range{From: from, To: from + c.u()})
	}
	return out
}

func appendRanges(dst []byte, rs Ranges) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(rs)))
	for _, r := range rs {
		dst = binary.AppendUvarint(dst, r.From)
		dst = binary.AppendUvarint(dst, r.To-r.From)
	}
	return dst
}

// Data is a durable group of readings that is not in a sealed batch yet.
type Data struct {
	Number   uint64
	Readings int
	Received int64 // ns
	MinTime  int64 // ns, the oldest event time
	Payload  []byte
	Gap      *wire.Gap // a gap to report instead of readings
}

func appendData(dst []byte, d *Data) []byte {
	dst = binary.AppendUvarint(dst, uint64(d.Readings))
	dst = binary.AppendVarint(dst, d.Received)
	dst = binary.AppendVarint(dst, d.MinTime)
	return append(dst, d.Payload...)
}

func parseData(rec record) (Data, error) {
	c := cursor{b: rec.content}
	d := Data{Number: rec.number}
	if rec.kind == kindGap {
		d.Gap = c.gap()
		return d, c.err
	}
	d.Readings, d.Received, d.MinTime = int(c.u()), c.i(), c.i()
	d.Payload = c.b
	return d, c.err
}

func appendGap(dst []byte, g *wire.Gap) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(g.Stream)))
	dst = append(dst, g.Stream...)
	dst = binary.AppendVarint(dst, g.From)
	dst = binary.AppendVarint(dst, g.To)
	dst = binary.AppendUvarint(dst, g.Readings)
	dst = binary.AppendUvarint(dst, uint64(len(g.Reason)))
	return append(dst, g.Reason...)
}

func (c *cursor) gap() *wire.Gap {
	return &wire.Gap{Stream: c.text(), From: c.i(), To: c.i(), Readings: c.u(), Reason: c.text()}
}

// Sealed is a batch whose sequence, bytes and hash will never change. A new
// epoch may give it a new ID; the bytes stay.
type Sealed struct {
	Epoch, Seq uint64
	Hash       wire.Hash
	Readings   int
	Lane       wire.Lane
	Body       []byte // nil in what Waiting returns for batches that are only on disk: see Body
	Consumes   Ranges // numbers of the data and gap records that are in it

	number uint64
	offset int64 // of the body in its segment
	size   int
}

func appendSealed(dst []byte, b *Sealed) []byte {
	for _, v := range []uint64{b.Epoch, b.Seq, uint64(b.Readings), uint64(b.Lane)} {
		dst = binary.AppendUvarint(dst, v)
	}
	dst = append(dst, b.Hash[:]...)
	dst = appendRanges(dst, b.Consumes)
	return append(dst, b.Body...)
}

// parseSealed leaves the body in Body, aliasing the record.
func parseSealed(rec record) (*Sealed, error) {
	c := cursor{b: rec.content}
	b := &Sealed{number: rec.number, Epoch: c.u(), Seq: c.u(), Readings: int(c.u()), Lane: wire.Lane(c.u())}
	copy(b.Hash[:], c.bytes(16))
	b.Consumes = c.ranges()
	b.Body, b.size = c.b, len(c.b)
	return b, c.err
}
