package pack

import "encoding/binary"

// AppendTexts appends byte strings: each different one once, when that is shorter.
func AppendTexts(dst []byte, v [][]byte) []byte {
	codes := make([]int64, len(v))
	ids := map[string]int64{}
	var different [][]byte
	for i, s := range v {
		id, known := ids[string(s)]
		if !known {
			id = int64(len(different))
			ids[string(s)] = id
			different = append(different, s)
		}
		codes[i] = id
	}
	if len(different) > len(v)/2 {
		dst = binary.AppendUvarint(dst, 0)
		return appendTexts(dst, v)
	}
	dst = binary.AppendUvarint(dst, uint64(len(different)))
	dst = appendTexts(dst, different)
	return AppendInts(dst, codes)
}

func appendTexts(dst []byte, v [][]byte) []byte {
	lens := make([]int64, len(v))
	for i, s := range v {
		lens[i] = int64(len(s))
	}
	dst = AppendInts(dst, lens)
	for _, s := range v {
		dst = append(dst, s...)
	}
	return dst
}

// Texts fills out with parts of b and returns the bytes behind the column.
func Texts(b []byte, out [][]byte) ([]byte, error) {
	r := reader{b: b}
	n := r.uvarint()
	if n > uint64(len(out)) {
		r.fail()
	}
	if r.err != nil || n == 0 {
		r.texts(out)
		return r.b, r.err
	}
	different := make([][]byte, n)
	r.texts(different)
	codes := make([]int64, len(out))
	r.column(codes)
	for i, c := range codes {
		if c < 0 || c >= int64(n) {
			r.fail()
			break
		}
		out[i] = different[c]
	}
	return r.b, r.err
}

func (r *reader) texts(out [][]byte) {
	lens := make([]int64, len(out))
	r.column(lens)
	for i, n := range lens {
		if r.err != nil {
			return
		}
		if n < 0 || n > int64(len(r.b)) {
			r.fail()
			return
		}
		out[i] = r.take(int(n))
	}
}
