package mqtt

import (
	"cmp"
	"encoding/binary"
	"errors"
	"maps"
	"os"
	"slices"

	"github.com/zeebo/xxh3"
)

// Receipts are kept beside the spool, so that a message that was on the disk when the process was killed, and that the broker
// sends again because it never heard so, is not counted twice. Each says where on the disk its message is; what is not found
// there at the next start is taken again. They are not synced: they survive the process, and after a power cut some count again.
const (
	receiptsKept  = 8192 // more than a broker has in flight, less than packet ids there are
	receiptBytes  = 40   // number, hash, place, packet id, kind, check
	receiptGiven  = 1    // the message of this packet id is at this place
	receiptVoid   = 2    // the packet id carries another message now
	leastInOrder  = 0.9  // of the packet ids of receipts have to follow each other: a broker that uses the lowest free id
	mostPacketIDs = 1<<16 - 1
)

// Place is where on the disk messages are: a record of the spool, or, without a number, a batch.
type Place struct{ Number, Epoch, Seq uint64 }

// receipts is the file, a ring.
type receipts struct {
	file *os.File
	next uint64 // number of the next one, from 1
}

// openReceipts returns the file and what it says, by packet id. Without a word on which all depends it says nothing: brokers
// that use the lowest free id give the same id to equal messages again and again.
func openReceipts(path string, durable func(Place) bool) (*receipts, map[uint16]*entry, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, err
	}
	text := make([]byte, receiptsKept*receiptBytes)
	n, _ := f.ReadAt(text, 0) // shorter at first; each receipt proves itself
	type one struct {
		number, hash uint64
		at           Place
		id, kind     uint16
	}
	var all []one
	for b := text[:n]; len(b) >= receiptBytes; b = b[receiptBytes:] {
		if binary.LittleEndian.Uint32(b[receiptBytes-4:]) == uint32(xxh3.Hash(b[:receiptBytes-4])) {
			x := one{number: binary.LittleEndian.Uint64(b), hash: binary.LittleEndian.Uint64(b[8:]), id: binary.LittleEndian.Uint16(b[32:]), kind: binary.LittleEndian.Uint16(b[34:])}
			if first, second := binary.LittleEndian.Uint64(b[16:]), binary.LittleEndian.Uint64(b[24:]); second == 0 {
				x.at.Number = first
			} else {
				x.at.Epoch, x.at.Seq = first, second
			}
			all = append(all, x)
		}
	}
	slices.SortFunc(all, func(a, b one) int { return cmp.Compare(a.number, b.number) })
	r := &receipts{file: f, next: 1}
	known := map[uint16]*entry{}
	var last uint16
	given, inOrder := 0, 0
	gone := map[uint16]bool{} // packet ids whose message did not come to the disk
	for _, x := range all {
		r.next = x.number + 1
		delete(gone, x.id)
		if x.kind != receiptGiven {
			delete(known, x.id)
			continue
		}
		if delete(known, x.id); durable(x.at) {
			known[x.id] = &entry{id: x.id, hash: x.hash, told: true, receipt: x.number}
		} else {
			gone[x.id] = true
		}
		if given++; given > 1 && uint32(x.id) == uint32(last)%mostPacketIDs+1 {
			inOrder++
		}
		last = x.id
	}
	if float64(inOrder) < leastInOrder*float64(given-1) || given < 2 {
		known = nil
	}
	return r, known, r.void(gone)
}

// void says of messages that never came to the disk that they did not, before others come to the places they had: this has to
// survive a power cut.
func (r *receipts) void(ids map[uint16]bool) error {
	if len(ids) == 0 {
		return nil
	}
	var b []byte
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		b, _ = r.add(b, id, receiptVoid, 0, Place{})
	}
	return errors.Join(r.write(b), r.file.Sync())
}

// add appends one receipt to b and returns its number.
func (r *receipts) add(b []byte, id, kind uint16, hash uint64, place Place) ([]byte, uint64) {
	at := len(b)
	first, second := place.Number, uint64(0)
	if place.Seq != 0 { // sequences begin at 1
		first, second = place.Epoch, place.Seq
	}
	b = binary.LittleEndian.AppendUint64(b, r.next)
	b = binary.LittleEndian.AppendUint64(b, hash)
	b = binary.LittleEndian.AppendUint64(b, first)
	b = binary.LittleEndian.AppendUint64(b, second)
	b = binary.LittleEndian.AppendUint16(b, id)
	b = binary.LittleEndian.AppendUint16(b, kind)
	b = binary.LittleEndian.AppendUint32(b, uint32(xxh3.Hash(b[at:])))
	r.next++
	return b, r.next - 1
}

// write stores what add appended, in at most two pieces: the file is a ring.
func (r *receipts) write(b []byte) error {
	first := r.next - uint64(len(b)/receiptBytes)
	var errs []error
	for len(b) > 0 {
		at := first % receiptsKept
		piece := b[:min(len(b), int(receiptsKept-at)*receiptBytes)]
		_, err := r.file.WriteAt(piece, int64(at*receiptBytes))
		errs = append(errs, err)
		b, first = b[len(piece):], first+uint64(len(piece)/receiptBytes)
	}
	return errors.Join(errs...)
}

// current says whether a receipt has not been overwritten.
func (r *receipts) current(number uint64) bool { return number != 0 && number+receiptsKept >= r.next }
