package recording

import (
	"bytes"
	"io"
	"testing"
)

func TestRoundTripAndTornFiles(t *testing.T) {
	frames := [][]byte{[]byte("one"), {}, bytes.Repeat([]byte{7}, 5000)}
	var file bytes.Buffer
	w := NewWriter(&file)
	for _, f := range frames {
		if err := w.Write(f); err != nil {
			t.Fatal(err)
		}
	}
	ends := map[int]int{MagicBytes: 0}
	at := MagicBytes
	for i, f := range frames {
		at += 4 + len(f)
		ends[at] = i + 1
	}
	for cut := MagicBytes; cut <= file.Len(); cut++ {
		r, err := NewReader(bytes.NewReader(file.Bytes()[:cut]))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for {
			f, err := r.Next()
			if err == nil {
				if !bytes.Equal(f, frames[n]) {
					t.Fatalf("cut at %d: frame %d differs", cut, n)
				}
				n++
				continue
			}
			whole, isEnd := ends[cut]
			if (err == io.EOF) != isEnd || (isEnd && n != whole) {
				t.Fatalf("cut at %d: %d frames, then %v", cut, n, err)
			}
			break
		}
	}
	if _, err := NewReader(bytes.NewReader([]byte("bus,a=b c=1"))); err == nil {
		t.Fatal("text was taken for a recording")
	}
}
