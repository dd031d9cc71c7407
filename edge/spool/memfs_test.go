package spool

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
)

// memFS is a disk that forgets: Crash returns what a power cut leaves.
type memFS struct {
	mu      sync.Mutex
	names   map[string]*memFile
	durable map[string]*memFile // as of the last SyncDir
	noSync  bool                // planted bug: Sync says yes and does nothing
	fail    error               // of every Sync from now on
	full    int                 // writes that find the disk full, half way
	room    int                 // bytes of all files, 0 = no end
}

type memFile struct {
	fs     *memFS
	data   []byte
	synced []byte
}

func newMemFS() *memFS { return &memFS{names: map[string]*memFile{}, durable: map[string]*memFile{}} }

func (m *memFS) Create(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := &memFile{fs: m}
	m.names[name] = f
	return f, nil
}

func (m *memFS) Open(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f, ok := m.names[name]; ok {
		return f, nil
	}
	return nil, fs.ErrNotExist
}

func (m *memFS) List() ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.names)), nil
}

func (m *memFS) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.names, name)
	return nil
}

func (m *memFS) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.names[to] = m.names[from]
	delete(m.names, from)
	return nil
}

func (m *memFS) SyncDir() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.durable = maps.Clone(m.names)
	return nil
}

func (f *memFile) WriteAt(b []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.fs.full > 0 {
		f.fs.full--
		n := copy(grown(f, int(off)+len(b)/2)[off:], b[:len(b)/2])
		return n, syscall.ENOSPC
	}
	if f.fs.room > 0 {
		used := max(0, int(off)+len(b)-len(f.data))
		for _, x := range f.fs.names {
			used += len(x.data)
		}
		if used > f.fs.room {
			return 0, syscall.ENOSPC
		}
	}
	return copy(grown(f, int(off)+len(b))[off:], b), nil
}

func grown(f *memFile, end int) []byte {
	if end > len(f.data) {
		f.data = append(f.data, make([]byte, end-len(f.data))...)
	}
	return f.data
}

func (f *memFile) ReadAt(b []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if off >= int64(len(f.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.data[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return int64(len(f.data)), nil
}

func (f *memFile) Truncate(n int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if int(n) > len(f.data) {
		return errors.New("memfs: truncate beyond the end")
	}
	f.data = f.data[:n]
	return nil
}

func (f *memFile) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.fs.fail != nil {
		return f.fs.fail
	}
	if !f.fs.noSync {
		f.synced = bytes.Clone(f.data)
	}
	return nil
}

func (f *memFile) Close() error { return nil }

// Crash returns the disk after a power cut: of what was not synced a random part is there, perhaps garbled.
func (m *memFS) Crash(r *rand.Rand) *memFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := newMemFS()
	for name, f := range m.durable {
		data := bytes.Clone(f.synced)
		if rest := len(f.data) - len(data); rest > 0 {
			tail := bytes.Clone(f.data[len(data):][:r.IntN(rest+1)])
			if len(tail) > 0 && r.IntN(2) == 0 {
				tail[r.IntN(len(tail))] ^= byte(1 + r.IntN(255))
			}
			data = append(data, tail...)
		}
		out.names[name] = &memFile{fs: out, data: data, synced: bytes.Clone(data)}
	}
	out.durable = maps.Clone(out.names)
	return out
}

// flip returns a disk with one file changed.
func (m *memFS) with(name string, data []byte) *memFS {
	out := m.Crash(rand.New(rand.NewPCG(0, 0)))
	out.names[name].data, out.names[name].synced = bytes.Clone(data), bytes.Clone(data)
	return out
}
