package engine_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math/rand"
	"os"
	"path/filepath"
	"testing"

	"signalbox/engine"
)

func goldenFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(goldenDir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// unsealed is the body of a snapshot of version 2.
func unsealed(t testing.TB, b []byte) []byte {
	t.Helper()
	var body []byte
	for b = b[12:]; ; {
		n := binary.LittleEndian.Uint32(b)
		if n == 0 {
			return body
		}
		body, b = append(body, b[4:4+n]...), b[4+n:]
	}
}

// sealed makes a snapshot with valid lengths and checksum around any body.
func sealed(body []byte, version uint32) []byte {
	b := binary.LittleEndian.AppendUint32([]byte("SBXSNAP\n"), version)
	sum := crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli))
	if version == 1 {
		b = append(binary.LittleEndian.AppendUint64(b, uint64(len(body))), body...)
		return binary.LittleEndian.AppendUint32(b, sum)
	}
	n := len(body)
	for len(body) > 0 {
		k := min(len(body), 256<<10)
		b, body = append(binary.LittleEndian.AppendUint32(b, uint32(k)), body[:k]...), body[k:]
	}
	b = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint32(b, 0), uint64(n))
	return binary.LittleEndian.AppendUint32(b, sum)
}

// TestEveryTruncationIsRefused: whatever is missing at the end, nothing is restored.
func TestEveryTruncationIsRefused(t *testing.T) {
	for _, name := range []string{"v1.snap", "v2.snap", "v4.snap"} {
		b := goldenFile(t, name)
		for n := range b {
			if n > 2000 && n < len(b)-2000 && n%17 != 0 {
				continue
			}
			if _, err := engine.Restore(bytes.NewReader(b[:n]), engine.DefaultOptions()); err == nil {
				t.Fatalf("%s: %d of %d bytes were restored", name, n, len(b))
			}
		}
		r := rand.New(rand.NewSource(1))
		for range 800 {
			bad := bytes.Clone(b)
			at := r.Intn(len(b))
			bad[at] ^= 1 << r.Intn(8)
			if _, err := engine.Restore(bytes.NewReader(bad), engine.DefaultOptions()); err == nil {
				t.Fatalf("%s: a flipped bit in byte %d went unnoticed", name, at)
			}
		}
	}
}

// TestWrongStateWithGoodChecksum: bytes that nobody wrote, under a checksum that holds, give an error or an engine, never a panic.
func TestWrongStateWithGoodChecksum(t *testing.T) {
	bodies := map[uint32][]byte{1: goldenFile(t, "v1.snap")[20:], 2: unsealed(t, goldenFile(t, "v2.snap")), 4: unsealed(t, goldenFile(t, "v4.snap"))}
	bodies[1] = bodies[1][:len(bodies[1])-4]
	r := rand.New(rand.NewSource(2))
	for _, version := range []uint32{1, 2, 4} {
		good := bodies[version]
		if _, err := engine.Restore(bytes.NewReader(sealed(good, version)), engine.DefaultOptions()); err != nil {
			t.Fatal(err)
		}
		for i := range 600 {
			bad := bytes.Clone(good)
			for range 1 + i%3 {
				bad[r.Intn(len(bad))] = byte(r.Intn(256))
			}
			if i%5 == 0 {
				bad = bad[:r.Intn(len(bad))]
			}
			_, _ = engine.Restore(bytes.NewReader(sealed(bad, version)), engine.DefaultOptions())
		}
	}
}

func FuzzRestore(f *testing.F) {
	f.Add(unsealed(f, goldenFile(f, "v2.snap")), byte(2))
	f.Add(unsealed(f, goldenFile(f, "v4.snap")), byte(4))
	v1 := goldenFile(f, "v1.snap")
	f.Add(v1[20:len(v1)-4], byte(1))
	f.Add([]byte{}, byte(2))
	f.Fuzz(func(t *testing.T, body []byte, version byte) {
		e, err := engine.Restore(bytes.NewReader(sealed(body, uint32(version))), engine.DefaultOptions())
		if err != nil {
			return
		}
		again := goldenBytes(t, e)
		if _, err := engine.Restore(bytes.NewReader(again), engine.DefaultOptions()); err != nil {
			t.Fatalf("what was restored cannot be restored again: %v", err)
		}
	})
}
