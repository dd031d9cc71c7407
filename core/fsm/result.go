package fsm

import (
	"encoding/binary"

	"signalbox/core/codec"
	"signalbox/edge/wire"
)

// Verdict is what became of an item. Append, never renumber.
type Verdict byte

// The verdicts.
const (
	Applied   Verdict = iota + 1
	Duplicate         // known: acknowledged, not applied again
	Gap               // Seq is the sequence that is expected
	Conflict          // known sequence with another content, or older than the window of hashes
	Fenced            // of an epoch that is not the current one
	Rejected          // set aside as a whole with a reason, cursor advanced: acknowledged
	Refused           // nothing changed; Reason says why
)

var verdictNames = [...]string{"", "applied", "duplicate", "gap", "conflict", "fenced", "rejected", "refused"}

func (v Verdict) String() string {
	if int(v) < len(verdictNames) {
		return verdictNames[v]
	}
	return "unknown"
}

// Result answers one item.
type Result struct {
	Verdict Verdict
	Index   uint64 // of the entry
	Epoch   uint64
	Seq     uint64 // highest applied sequence; with Gap the expected one
	Reason  string
	Welcome *wire.Welcome // of a grant
}

// AppendResult appends the encoding of r.
func AppendResult(dst []byte, r *Result) []byte {
	dst = append(dst, byte(r.Verdict))
	for _, v := range []uint64{r.Index, r.Epoch, r.Seq} {
		dst = binary.AppendUvarint(dst, v)
	}
	dst = codec.AppendString(dst, r.Reason)
	if r.Welcome == nil {
		return codec.AppendBytes(dst, nil)
	}
	return codec.AppendBytes(dst, wire.AppendMessage(nil, r.Welcome))
}

// DecodeResult reads what AppendResult wrote.
func DecodeResult(b []byte) (Result, error) {
	rd := codec.NewReader(b, "result")
	r := Result{Verdict: Verdict(rd.Byte()), Index: rd.Uvarint(), Epoch: rd.Uvarint(), Seq: rd.Uvarint(), Reason: rd.String()}
	if w := rd.Bytes(); len(w) > 0 {
		m, err := wire.DecodeMessage(w)
		if err != nil {
			return r, err
		}
		r.Welcome, _ = m.(*wire.Welcome)
	}
	return r, rd.End()
}
