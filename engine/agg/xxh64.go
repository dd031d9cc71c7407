package agg

import (
	"encoding/binary"
	"math"
	"math/bits"

	"signalbox/engine/column"
)

// The primes of XXH64.
const (
	prime1 = 0x9E3779B185EBCA87
	prime2 = 0xC2B2AE3D27D4EB4F
	prime3 = 0x165667B19E3779F9
	prime4 = 0x85EBCA77C2B2AE63
	prime5 = 0x27D4EB2F165667C5
)

// xxh64 is XXH64 with a seed, the hash behind Spark's sketches (XXH3 of the library is another function).
func xxh64(b []byte, seed uint64) uint64 {
	n := uint64(len(b))
	h := seed + prime5
	if len(b) >= 32 {
		p1, p2 := uint64(prime1), uint64(prime2)
		v := [4]uint64{seed + p1 + p2, seed + p2, seed, seed - p1}
		for ; len(b) >= 32; b = b[32:] {
			for i := range v {
				v[i] = xxhRound(v[i], binary.LittleEndian.Uint64(b[8*i:]))
			}
		}
		h = bits.RotateLeft64(v[0], 1) + bits.RotateLeft64(v[1], 7) + bits.RotateLeft64(v[2], 12) + bits.RotateLeft64(v[3], 18)
		for _, x := range v {
			h = (h^xxhRound(0, x))*prime1 + prime4
		}
	}
	h += n
	for ; len(b) >= 8; b = b[8:] {
		h ^= xxhRound(0, binary.LittleEndian.Uint64(b))
		h = bits.RotateLeft64(h, 27)*prime1 + prime4
	}
	if len(b) >= 4 {
		h ^= uint64(binary.LittleEndian.Uint32(b)) * prime1
		h = bits.RotateLeft64(h, 23)*prime2 + prime3
		b = b[4:]
	}
	for _, c := range b {
		h ^= uint64(c) * prime5
		h = bits.RotateLeft64(h, 11) * prime1
	}
	h ^= h >> 33
	h *= prime2
	h ^= h >> 29
	h *= prime3
	return h ^ h>>32
}

func xxhRound(acc, x uint64) uint64 { return bits.RotateLeft64(acc+x*prime2, 31) * prime1 }

// hashValue hashes a value that is not NULL as Spark does before it counts distinct values.
func hashValue(c *column.Column, row int, seed uint64) uint64 {
	var b [16]byte
	switch c.Type.Kind.Storage() {
	case column.StoreI64:
		switch c.Type.Kind {
		case column.Boolean, column.TinyInt, column.SmallInt, column.Int, column.Date, column.IntervalYM:
			binary.LittleEndian.PutUint32(b[:], uint32(c.I64[row]))
			return xxh64(b[:4], seed)
		}
		binary.LittleEndian.PutUint64(b[:], uint64(c.I64[row]))
		return xxh64(b[:8], seed)
	case column.StoreF64:
		if c.Type.Kind == column.Float {
			binary.LittleEndian.PutUint32(b[:], math.Float32bits(float32(wordFloat(floatWord(c.F64[row])))))
			return xxh64(b[:4], seed)
		}
		binary.LittleEndian.PutUint64(b[:], floatWord(c.F64[row]))
		return xxh64(b[:8], seed)
	case column.StoreDict:
		return xxh64(stringBytes(c.Str(row)), seed)
	case column.StoreDec:
		if c.Type.Precision <= 18 {
			binary.LittleEndian.PutUint64(b[:], c.Dec[row].Lo)
			return xxh64(b[:8], seed)
		}
		return xxh64(appendCell(b[:0], c, row), seed)
	}
	return xxh64(appendCell(nil, c, row), seed)
}
