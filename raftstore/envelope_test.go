package raftstore

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/hashicorp/raft"
)

func TestEveryFlippedOrMissingByteOfAnEntryIsNoticed(t *testing.T) {
	good := sealEntry([]byte("some entry"))
	if got, err := openEntry(good); err != nil || string(got) != "some entry" {
		t.Fatalf("%q, %v", got, err)
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x40
		if _, err := openEntry(bad); !errors.Is(err, ErrCorrupt) {
			t.Errorf("flip at %d: %v", i, err)
		}
		if _, err := openEntry(good[:i]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut at %d: %v", i, err)
		}
	}
}

type memory struct {
	state string
	calls int
}

func (m *memory) Apply(e Entry) any           { m.state += string(e.Data); m.calls++; return nil }
func (m *memory) Snapshot() (Snapshot, error) { return memorySnapshot(m.state), nil }
func (m *memory) Restore(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err == nil {
		m.state = string(b)
	}
	return err
}

type memorySnapshot string

func (s memorySnapshot) Write(w io.Writer) error { _, err := io.WriteString(w, string(s)); return err }
func (memorySnapshot) Release()                  {}

type sink struct {
	bytes.Buffer
	canceled bool
}

func (*sink) ID() string      { return "x" }
func (s *sink) Cancel() error { s.canceled = true; return nil }
func (*sink) Close() error    { return nil }

func TestTruncatedOrFlippedSnapshotIsRefusedAndStateKept(t *testing.T) {
	src := &machine{sm: &memory{state: string(bytes.Repeat([]byte("state "), 30))}}
	src.applied.Store(77)
	f, err := src.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	var out sink
	if err := f.Persist(&out); err != nil {
		t.Fatal(err)
	}
	good := out.Bytes()
	for i := range good {
		flipped := bytes.Clone(good)
		flipped[i] ^= 1
		for what, b := range map[string][]byte{"cut": good[:i], "flip": flipped, "longer": append(bytes.Clone(good), good[:i+1]...)} {
			sm := &memory{state: "old"}
			m := &machine{sm: sm}
			if err := m.Restore(io.NopCloser(bytes.NewReader(b))); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%s at %d: %v", what, i, err)
			}
			if sm.state != "old" || m.applied.Load() != 0 {
				t.Fatalf("%s at %d replaced the state", what, i)
			}
		}
	}
	m := &machine{sm: &memory{}}
	if err := m.Restore(io.NopCloser(bytes.NewReader(good))); err != nil {
		t.Fatal(err)
	}
	if m.applied.Load() != 77 || m.sm.(*memory).state != src.sm.(*memory).state {
		t.Errorf("restored index %d", m.applied.Load())
	}
}

func TestCorruptEntryStopsTheNode(t *testing.T) {
	var told error
	sm := &memory{}
	m := &machine{sm: sm, onFault: func(err error) { told = err }}
	m.Apply(&raft.Log{Index: 1, Data: sealEntry([]byte("a"))})
	bad := sealEntry([]byte("b"))
	bad[len(bad)-1] ^= 1
	m.Apply(&raft.Log{Index: 2, Data: bad})
	m.Apply(&raft.Log{Index: 3, Data: sealEntry([]byte("c"))})
	if sm.state != "a" || !errors.Is(told, ErrCorrupt) {
		t.Errorf("state %q, told %v", sm.state, told)
	}
	if _, err := m.Snapshot(); err == nil {
		t.Error("a faulted node made a snapshot")
	}
}

func TestOutcomeNeverGuesses(t *testing.T) {
	for err, want := range map[error]error{
		raft.ErrNotLeader: ErrNotLeader, raft.ErrLeadershipTransferInProgress: ErrNotLeader,
		raft.ErrEnqueueTimeout: ErrOverloaded, raft.ErrLeadershipLost: ErrIndeterminate,
		raft.ErrRaftShutdown: ErrIndeterminate, io.ErrUnexpectedEOF: ErrIndeterminate,
	} {
		if !errors.Is(outcome(err), want) {
			t.Errorf("%v became %v", err, outcome(err))
		}
	}
}

func TestLogCacheIsBoundedAndAgrees(t *testing.T) {
	c := newLogCache(raft.NewInmemStore())
	big := make([]byte, CacheBytes/8)
	for i := uint64(1); i <= 20; i++ {
		if err := c.StoreLog(&raft.Log{Index: i, Data: big}); err != nil {
			t.Fatal(err)
		}
		if c.bytes > CacheBytes {
			t.Fatalf("cache holds %d bytes", c.bytes)
		}
	}
	if err := c.DeleteRange(15, 20); err != nil {
		t.Fatal(err)
	}
	if err := c.StoreLog(&raft.Log{Index: 15, Term: 9}); err != nil {
		t.Fatal(err)
	}
	for i := uint64(1); i <= 15; i++ {
		var l raft.Log
		if err := c.GetLog(i, &l); err != nil || l.Index != i || (i == 15 && l.Term != 9) {
			t.Errorf("log %d: %+v %v", i, l.Index, err)
		}
	}
}
