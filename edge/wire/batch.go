package wire

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/zeebo/xxh3"
)

// ErrCorrupt is wrapped by every error of a decoder of this package: the bytes
// are not what an encoder of this package wrote, or exceed a bound.
var ErrCorrupt = errors.New("wire: corrupt")

// Batch is a sealed batch without its BatchID. Its canonical bytes (the body)
// are what is hashed, spooled, sent and replicated; the id travels beside them,
// so that a batch keeps its hash when a new epoch gives it a new id.
type Batch struct {
	Lane       Lane
	Group      uint32 // replication group, 0 today
	Generation uint32 // cluster generation that granted the epoch, 0 = first
	Sealed     int64  // ns, agent clock
	Received   int64  // ns, agent clock when the newest reading of the batch was made durable
	Frontiers  []Frontier
	Gaps       []Gap
	Frames     [][]byte // frames as EncodeFrame wrote them, in the order they are applied
}

// Gap says what an agent dropped by declared policy instead of sending it.
type Gap struct {
	Stream   string // "" = several streams
	From, To int64  // ns: event-time range of what was dropped, inclusive; 0, 0 = not known
	Readings uint64
	Reason   string // drop_oldest, drop_new, quarantine, ...
}

// Version of the batch body.
const batchVersion = 1

// Bounds of a batch body beside those in wire.go.
const (
	MaxFrontiers  = MaxFramesPerBatch // frontiers in a batch or a heartbeat
	MaxGaps       = 64                // gaps in a batch
	MaxBatchCells = MaxFrameCells     // decoded values of all frames, as FrameInfo.Cells weighs them
)

// HashBody returns the hash that identifies a canonical body.
func HashBody(body []byte) Hash { return xxh3.Hash128(body).Bytes() }

// AppendBatch appends the canonical bytes of b to dst.
func AppendBatch(dst []byte, b *Batch) ([]byte, error) {
	start := len(dst)
	dst = append(dst, batchVersion, byte(b.Lane))
	dst = binary.AppendUvarint(dst, uint64(b.Group))
	dst = binary.AppendUvarint(dst, uint64(b.Generation))
	dst = binary.AppendVarint(dst, b.Sealed)
	dst = binary.AppendVarint(dst, b.Received-b.Sealed)
	dst = appendFrontiers(dst, b.Frontiers)
	dst = appendGaps(dst, b.Gaps)
	dst = binary.AppendUvarint(dst, uint64(len(b.Frames)))
	for _, f := range b.Frames {
		dst = binary.AppendUvarint(dst, uint64(len(f)))
		dst = append(dst, f...)
	}
	switch {
	case len(dst)-start > MaxBatchBytes:
		return dst[:start], fmt.Errorf("wire: batch of %d bytes, at most %d are allowed: seal fewer readings", len(dst)-start, MaxBatchBytes)
	case len(b.Frames) > MaxFramesPerBatch:
		return dst[:start], fmt.Errorf("wire: batch of %d frames, at most %d are allowed", len(b.Frames), MaxFramesPerBatch)
	case len(b.Frontiers) > MaxFrontiers || len(b.Gaps) > MaxGaps:
		return dst[:start], fmt.Errorf("wire: batch with %d frontiers and %d gaps, at most %d and %d are allowed", len(b.Frontiers), len(b.Gaps), MaxFrontiers, MaxGaps)
	}
	return dst, nil
}

// DecodeBatch reads canonical bytes. The frames alias body; only their heads are
// read, to bound what decoding all of them (see Decoder) may take.
func DecodeBatch(body []byte) (*Batch, error) {
	if len(body) > MaxBatchBytes {
		return nil, fmt.Errorf("%w: batch of %d bytes, at most %d are allowed", ErrCorrupt, len(body), MaxBatchBytes)
	}
	r := reader{b: body, what: "batch"}
	if v := r.byte(); v != batchVersion && r.err == nil {
		r.fail("version %d, this program reads version %d", v, batchVersion)
	}
	b := &Batch{Lane: Lane(r.byte())}
	if b.Lane > Backlog {
		r.fail("lane %d", b.Lane)
	}
	b.Group, b.Generation = r.uint32(), r.uint32()
	b.Sealed = r.varint()
	b.Received = b.Sealed + r.varint()
	b.Frontiers = r.frontiers()
	b.Gaps = r.gaps()
	n := r.count(MaxFramesPerBatch, "frames")
	if n > 0 {
		b.Frames = make([][]byte, 0, n)
	}
	cells := 0
	for range n {
		f := r.bytes(MaxBatchBytes, "frame")
		if r.err != nil {
			break
		}
		info, err := Info(f)
		if err != nil {
			return nil, err
		}
		if cells += info.Cells; cells > MaxBatchCells {
			r.fail("more than %d values in the frames", MaxBatchCells)
		}
		b.Frames = append(b.Frames, f)
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	return b, nil
}

func appendFrontiers(dst []byte, fs []Frontier) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(fs)))
	for _, f := range fs {
		dst = appendString(dst, f.Stream)
		dst = binary.AppendVarint(dst, f.MaxTime)
		dst = binary.AppendVarint(dst, f.LowWater-f.MaxTime)
	}
	return dst
}

func appendGaps(dst []byte, gs []Gap) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(gs)))
	for _, g := range gs {
		dst = appendString(dst, g.Stream)
		dst = binary.AppendVarint(dst, g.From)
		dst = binary.AppendVarint(dst, g.To-g.From)
		dst = binary.AppendUvarint(dst, g.Readings)
		dst = appendString(dst, g.Reason)
	}
	return dst
}

func (r *reader) frontiers() []Frontier {
	n := r.count(MaxFrontiers, "frontiers")
	if n == 0 {
		return nil
	}
	fs := make([]Frontier, 0, n)
	for range n {
		f := Frontier{Stream: r.string(MaxNameBytes, "stream"), MaxTime: r.varint()}
		f.LowWater = f.MaxTime + r.varint()
		fs = append(fs, f)
	}
	return fs
}

func (r *reader) gaps() []Gap {
	n := r.count(MaxGaps, "gaps")
	if n == 0 {
		return nil
	}
	gs := make([]Gap, 0, n)
	for range n {
		g := Gap{Stream: r.string(MaxNameBytes, "stream"), From: r.varint()}
		g.To = g.From + r.varint()
		g.Readings = r.uvarint()
		g.Reason = r.string(MaxNameBytes, "reason")
		gs = append(gs, g)
	}
	return gs
}
