package wire

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"testing"
)

func seal(f []byte) []byte {
	return binary.LittleEndian.AppendUint32(f[:len(f):len(f)], crc32.Checksum(f, crcTable()))
}

// FuzzFrame repairs the CRC, so that the fuzzer gets past it.
func FuzzFrame(f *testing.F) {
	for _, b := range goldenBatches() {
		e := mustEncode(f, b)
		f.Add(e[:len(e)-4])
	}
	for seed := range uint64(20) {
		e := mustEncode(f, randomBatch(rand.New(rand.NewPCG(seed, 1))))
		f.Add(e[:len(e)-4])
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		src := seal(raw)
		b, err := DecodeFrame(src, DecodeOptions{})
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		again, err := EncodeFrame(nil, b)
		if err != nil {
			t.Fatalf("decoded, but does not encode: %v", err)
		}
		c, err := DecodeFrame(again, DecodeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := diff(b, c); err != nil {
			t.Fatal(err)
		}
		if _, err := Info(src); err != nil {
			t.Fatalf("decoded, but has no info: %v", err)
		}
	})
}
