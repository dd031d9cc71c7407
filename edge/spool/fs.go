package spool

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// FS is one directory. It is an interface because the tests replace it by a
// disk that forgets what was not synced: everything the spool promises rests on
// Sync and SyncDir meaning what they say.
type FS interface {
	// Create makes a new file; its name is durable only after SyncDir.
	Create(name string) (File, error)
	// Open opens a file for reading and writing.
	Open(name string) (File, error)
	// List returns the names of all files, sorted.
	List() ([]string, error)
	Remove(name string) error
	Rename(from, to string) error
	SyncDir() error
}

// File is an open file. A Write that failed may have written a part.
type File interface {
	io.ReaderAt
	io.WriterAt
	Size() (int64, error)
	Truncate(size int64) error
	// Sync returns after the content is durable. After an error nothing is known
	// about any earlier write: the spool stops.
	Sync() error
	Close() error
}

// Dir is the directory path on the operating system's disk, made when it is not there.
func Dir(path string) (FS, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	return osFS{dir: path}, nil
}

type osFS struct{ dir string }

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

func (d osFS) Create(name string) (File, error) {
	f, err := os.OpenFile(filepath.Join(d.dir, name), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (d osFS) Open(name string) (File, error) {
	f, err := os.OpenFile(filepath.Join(d.dir, name), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (d osFS) List() ([]string, error) {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.Type() == 0 || e.Type()&fs.ModeType == 0 {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func (d osFS) Remove(name string) error { return os.Remove(filepath.Join(d.dir, name)) }

func (d osFS) Rename(from, to string) error {
	return os.Rename(filepath.Join(d.dir, from), filepath.Join(d.dir, to))
}

func (d osFS) SyncDir() error {
	f, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
