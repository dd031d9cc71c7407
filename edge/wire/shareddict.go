package wire

import (
	"unicode/utf8"

	"signalbox/engine/column"
)

// knownDict is the dictionary of a column over all frames of its schema.
type knownDict struct {
	dict  *column.Dict
	turns []uint64 // by code: the last dictionary that had the value
	size  int      // bytes of the values
	next  uint32   // guesses: the value after the last one,
	after []uint32 // by code: the one that came after it when the others were wrong,
	back  uint32   // and the one that should have come when the last one was out of its place
	out   bool     // it was
}

// sharedDict is dict with one dictionary for all frames of a schema. Frames of one source name their values in
// much the same order, so some guesses are tried before the index is asked.
func (d *Decoder) sharedDict(r *reader, k *knownDict, c *column.Column, text []byte, n int) {
	if k.dict == nil || k.dict.Len()+n > d.SharedDict || k.size > maxInternedSize {
		*k = knownDict{dict: column.NewDict()}
	}
	c.Dict = k.dict
	k.next, k.back, k.out = 0, 0, false
	k.know()
	for j := range n {
		l := int(d.ints[j])
		b := text[:l]
		text = text[l:]
		code, guessed := k.guess(b)
		if !guessed {
			var ok bool
			if code, ok = k.dict.FindBytes(b); !ok {
				if c.Type.Kind == column.String && !utf8.Valid(b) {
					r.fail("value %.40q is not UTF-8", b)
					return // what is in the dictionary is valid
				}
				code = k.dict.CodeBytes(b)
				k.size += l
				k.know()
			}
			if !k.out {
				k.back = k.next
			}
			if j > 0 {
				k.after[k.next-1] = code
			}
		}
		k.out = !guessed
		k.next = code + 1
		if k.turns[code] == d.turn {
			r.fail("value %.40q comes twice in a dictionary", b)
		}
		k.turns[code] = d.turn
		d.codes[j] = code
	}
}

// know makes room for values that are new here, or were added by whoever had the dictionary meanwhile.
func (k *knownDict) know() {
	if more := k.dict.Len() - len(k.turns); more > 0 {
		k.turns, k.after = append(k.turns, make([]uint64, more)...), append(k.after, make([]uint32, more)...)
	}
}

// guess tries the value after the last one, the one that came after it in another frame, the one that should have come when
// the last one did (that was out of its place), and the one after the next (that is missing in this frame).
func (k *knownDict) guess(b []byte) (code uint32, ok bool) {
	values := k.dict.Values
	if k.next < uint32(len(values)) && values[k.next] == string(b) {
		return k.next, true
	}
	if k.next > 0 {
		if code = k.after[k.next-1]; values[code] == string(b) {
			return code, true
		}
	}
	if k.back < uint32(len(values)) && values[k.back] == string(b) {
		return k.back, true
	}
	if k.next+1 < uint32(len(values)) && values[k.next+1] == string(b) {
		return k.next + 1, true
	}
	return 0, false
}
