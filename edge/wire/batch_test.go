package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func sampleBatch(t testing.TB) *Batch {
	return &Batch{Lane: Backlog, Group: 3, Generation: 2, Sealed: 1767247200_000000000, Received: 1767247199_900000000,
		Frontiers: []Frontier{{Stream: "bus", MaxTime: 1767247199_000000000, LowWater: 1767247198_000000000}},
		Gaps:      []Gap{{Stream: "bus", From: 5, To: 900, Readings: 12, Reason: "drop_oldest"}},
		Frames:    [][]byte{mustEncode(t, busBatch(10, 1, 1)), mustEncode(t, busBatch(3, 3, 1))}}
}

func sampleMessages(t testing.TB) []Message {
	h := []SeqHash{{Seq: 7, Hash: Hash{1, 2}}, {Seq: 8, Hash: Hash{3}}}
	body, err := AppendBatch(nil, sampleBatch(t))
	if err != nil {
		t.Fatal(err)
	}
	return []Message{
		&Hello{Protocol: Protocol, Agent: "bus-0042", Install: [16]byte{1}, Session: [16]byte{2}, Epoch: 3, NextSeq: 9, Sealed: h, Version: "v1"},
		&Welcome{Epoch: 4, Applied: 1, PrevEpoch: 3, Prev: 8, Hashes: h, Credit: 4, Generation: 1, Group: 2, Leader: "10.0.0.1:7400", Clock: 17},
		&BatchMessage{Epoch: 4, Seq: 2, Hash: HashBody(body), Size: uint32(len(body)), Payload: body},
		&Ack{Epoch: 4, Applied: 2, Credit: 3, Duplicates: 1}, &Expect{Epoch: 4, Seq: 3, Credit: 4}, &Conflict{Epoch: 4, Seq: 3, Reason: "another hash"},
		&Heartbeat{Epoch: 4, Sent: 3, Clock: 99, Idle: true, Frontiers: []Frontier{{Stream: "bus", MaxTime: 5, LowWater: 98}}, Live: Queue{1, 2, 3}, Backlog: Queue{4, 5, 6}, Received: 10, Rejected: 2, Dropped: 1},
		&SlowDown{RetryAfter: 5e8, Seq: 4, Reason: "disk"}, &Redirect{Leader: "10.0.0.2:7400"}, &Goodbye{Code: GoodbyeFenced, Reason: "another session"},
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(hex.EncodeToString(got)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.TrimSpace(string(text)); want != hex.EncodeToString(got) {
		t.Errorf("%s: bytes changed to %x", name, got)
	}
}

func TestBatchRoundTrip(t *testing.T) {
	b := sampleBatch(t)
	body, err := AppendBatch(nil, b)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "sample.batch", body)
	got, err := DecodeBatch(body)
	if err != nil || !reflect.DeepEqual(got, b) {
		t.Fatalf("%v\n got %+v\nwant %+v", err, got, b)
	}
	for i := range body {
		if _, err := DecodeBatch(body[:i]); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
}

func TestBatchBounds(t *testing.T) {
	if _, err := AppendBatch(nil, &Batch{Frames: make([][]byte, MaxFramesPerBatch+1)}); err == nil {
		t.Error("too many frames were taken")
	}
	if _, err := AppendBatch(nil, &Batch{Frames: [][]byte{make([]byte, MaxBatchBytes)}}); err == nil {
		t.Error("too many bytes were taken")
	}
}

func TestMessagesRoundTrip(t *testing.T) {
	var all []byte
	for _, m := range sampleMessages(t) {
		raw := AppendMessage(nil, m)
		all = append(all, raw...)
		got, err := DecodeMessage(raw)
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%T: %v\n got %+v\nwant %+v", m, err, got, m)
		}
		if _, batch := m.(*BatchMessage); !batch {
			for i := range raw {
				if _, err := DecodeMessage(raw[:i]); !errors.Is(err, ErrCorrupt) {
					t.Fatalf("%T cut at %d: %v", m, i, err)
				}
			}
		}
		if hb, ok := m.(*Heartbeat); ok && len(AppendMessage(nil, hb)) > 100 {
			t.Errorf("heartbeat of %d bytes, the bar is 100", len(raw))
		}
	}
	golden(t, "sample.messages", all)
}

func TestTransportCoding(t *testing.T) {
	c, err := NewCoder()
	if err != nil {
		t.Fatal(err)
	}
	easy := bytes.Repeat([]byte("passengers "), 500)
	for _, body := range [][]byte{nil, []byte("x"), easy, mustEncode(t, busBatch(1000, 50, 1))} {
		m := c.Pack(1, 2, HashBody(body), body)
		got, err := c.Body(m)
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("%d bytes in coding %d: %v", len(body), m.Coding, err)
		}
	}
	// 11 bytes repeated would pass a ratio of 100: then it travels plain rather than be refused.
	m := c.Pack(1, 2, HashBody(easy), easy)
	if m.Coding == Zstd && len(easy) > MaxCompressionRatio*len(m.Payload) {
		t.Error("packed above the ratio a decoder takes")
	}
	bomb := make([]byte, MaxBatchBytes)
	z := c.enc.EncodeAll(bomb, nil)
	for name, m := range map[string]*BatchMessage{
		"ratio":        {Coding: Zstd, Size: MaxBatchBytes, Payload: z},
		"lying size":   {Coding: Zstd, Size: uint32(len(z)), Payload: z},
		"wrong hash":   {Coding: Plain, Size: 1, Payload: []byte{1}},
		"wrong size":   {Coding: Plain, Size: 2, Payload: []byte{1}, Hash: HashBody([]byte{1})},
		"not zstd":     {Coding: Zstd, Size: 3, Payload: []byte("abc")},
		"too large":    {Coding: Plain, Size: MaxBatchBytes + 1},
		"other coding": {Coding: 9, Size: 1, Payload: []byte{1}},
	} {
		if _, err := c.Body(m); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzMessage(f *testing.F) {
	for _, m := range sampleMessages(f) {
		f.Add(AppendMessage(nil, m))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := DecodeMessage(raw)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if again := AppendMessage(nil, m); !bytes.Equal(again, raw) {
			t.Fatalf("%T: %x encodes to %x", m, raw, again)
		}
	})
}

func FuzzBatch(f *testing.F) {
	body, err := AppendBatch(nil, sampleBatch(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := DecodeBatch(raw)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		again, err := AppendBatch(nil, b)
		if err != nil || !bytes.Equal(again, raw) {
			t.Fatalf("%x encodes to %x, %v", raw, again, err)
		}
	})
}
