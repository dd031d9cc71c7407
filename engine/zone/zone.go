// Package zone finds time zones by their IANA name in a database that is part
// of the program, so that every node and every replay computes the same local
// times, whatever zone files the machine has.
//
// It promises equal answers for equal binaries and names the release of its
// data. It refuses to know the zone of the machine.
package zone

import (
	_ "embed" // the database
	"encoding/binary"
	"strings"
	"sync"
	"time"
)

// Version is the release of the IANA time zone database: that of the Go
// toolchain 1.26.8, lib/time/zoneinfo.zip, copied unchanged. A newer release
// changes answers about places whose rules changed: replace it on all nodes at once.
const Version = "2025c"

//go:embed zoneinfo.zip
var archive string

// entry is one zone; it is parsed when first asked for.
type entry struct {
	data string
	once sync.Once
	loc  *time.Location
}

// index maps names to zones. It is built once from the archive and never changes after that.
var index = sync.OnceValue(readArchive)

// Find returns the zone of a name like Europe/Helsinki; names are case-sensitive.
func Find(name string) (*time.Location, bool) {
	e := index()[name]
	if e == nil {
		return nil, false
	}
	e.once.Do(func() {
		if loc, err := time.LoadLocationFromTZData(name, []byte(e.data)); err == nil {
			e.loc = loc
		}
	})
	return e.loc, e.loc != nil
}

// Names returns how many zones there are; a damaged archive has none.
func Names() int { return len(index()) }

// Sizes and marks of the zip format, of which the archive uses the simplest part: files that are stored, not compressed.
const (
	endMark, endSize    = "PK\x05\x06", 22
	fileMark, fileSize  = "PK\x01\x02", 46
	localMark, headSize = "PK\x03\x04", 30
)

// readArchive reads the directory of the zip file.
func readArchive() map[string]*entry {
	out := map[string]*entry{}
	z := archive
	at := strings.LastIndex(z, endMark)
	if at < 0 || at+endSize > len(z) {
		return out
	}
	files, dir := u16(z, at+10), u32(z, at+16)
	for range files {
		if dir+fileSize > len(z) || z[dir:dir+4] != fileMark {
			return out
		}
		method, size, head := u16(z, dir+10), u32(z, dir+24), u32(z, dir+42)
		next := dir + fileSize + u16(z, dir+28)
		if next > len(z) {
			return out
		}
		name := z[dir+fileSize : next]
		if data, ok := stored(z, head, size); ok && method == 0 && !strings.HasSuffix(name, "/") {
			out[name] = &entry{data: data}
		}
		dir = next + u16(z, dir+30) + u16(z, dir+32)
	}
	return out
}

// stored is the content of a file that begins at head.
func stored(z string, head, size int) (string, bool) {
	if head+headSize > len(z) || z[head:head+4] != localMark {
		return "", false
	}
	from := head + headSize + u16(z, head+26) + u16(z, head+28)
	if from > len(z) || size > len(z)-from {
		return "", false
	}
	return z[from : from+size], true
}

func u16(z string, at int) int { return int(binary.LittleEndian.Uint16([]byte(z[at : at+2]))) }
func u32(z string, at int) int { return int(binary.LittleEndian.Uint32([]byte(z[at : at+4]))) }
