package sqlite

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// conn is one connection, spoken to in SQLite's own interface: result rows reach the B-tree without a boxed value or a
// copied string in between, which database/sql cannot do. Not safe for concurrent use; Sink.mu guards it.
type conn struct {
	tls   *libc.TLS
	db    uintptr
	stmts map[string]*stmt // by SQL text; bounded by maxStatements
	feed  *feed            // nil until the first rows
}

// stmt is a prepared statement.
type stmt struct{ p uintptr }

// Error is what SQLite answered.
type Error struct {
	Code    int // extended result code
	Message string
}

func (e *Error) Error() string { return fmt.Sprintf("%s (%d)", e.Message, e.Code) }

// Settings of a connection. A page of 8 KiB takes about a hundred rows: half the pages and calls of the usual 4 KiB, and still
// little to write when there is one row. It holds for files that are made now; others keep theirs.
const (
	pageBytes       = 8 << 10
	checkpointPages = 1000 // of the write-ahead log, before they move into the file
	cacheKiB        = 8 << 10
)

// openConn opens or creates a file with everything that durability needs: write-ahead log, and a sync at each commit.
func openConn(path string, busy time.Duration) (*conn, error) {
	if strings.HasPrefix(path, "file:") {
		path = "./" + path // a name, not an address
	}
	c := &conn{tls: libc.NewTLS(), stmts: map[string]*stmt{}}
	flags := int32(sqlite3.SQLITE_OPEN_READWRITE | sqlite3.SQLITE_OPEN_CREATE | sqlite3.SQLITE_OPEN_NOMUTEX | sqlite3.SQLITE_OPEN_EXRESCODE)
	err := c.withText(path, func(name uintptr) error {
		return c.withPointer(func(out uintptr) error {
			rc := sqlite3.Xsqlite3_open_v2(c.tls, name, out, flags, 0)
			c.db = *(*uintptr)(at(out))
			return c.check(rc)
		})
	})
	if err == nil {
		// The cache: the pages that a large transaction touches fit, or it writes them out and reads them back.
		// Tables are renamed without a look at views: those are the users', may be broken, and ask for a name.
		err = c.exec(fmt.Sprintf(`PRAGMA busy_timeout = %d; PRAGMA page_size = %d; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
PRAGMA wal_autocheckpoint = %d; PRAGMA journal_size_limit = 67108864; PRAGMA cache_size = -%d; PRAGMA legacy_alter_table = ON`, busy.Milliseconds(), pageBytes, checkpointPages, cacheKiB))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("sqlite: open %s: %w", path, err), c.close())
	}
	return c, nil
}

// close finalises the statements and closes; the last connection folds the write-ahead log into the file.
func (c *conn) close() error {
	c.forget()
	err := c.check(sqlite3.Xsqlite3_close_v2(c.tls, c.db))
	if c.feed != nil {
		c.feed.free()
	}
	c.tls.Close()
	return err
}

// forget finalises the statements that are kept.
func (c *conn) forget() {
	for _, s := range c.stmts {
		c.finalize(s)
	}
	clear(c.stmts)
}

func (c *conn) finalize(s *stmt) { sqlite3.Xsqlite3_finalize(c.tls, s.p) }

// keep returns a statement that is prepared once.
func (c *conn) keep(text string) (*stmt, error) {
	if s := c.stmts[text]; s != nil {
		return s, nil
	}
	if len(c.stmts) >= maxStatements {
		c.forget()
	}
	s, _, err := c.prepare(text)
	if err == nil {
		c.stmts[text] = s
	}
	return s, err
}

// prepare compiles the first statement of text and returns what follows it. A nil statement means there was none.
func (c *conn) prepare(text string) (s *stmt, rest string, err error) {
	err = c.withText(text, func(z uintptr) error {
		return c.withPointer(func(out uintptr) error {
			return c.withPointer(func(tail uintptr) error {
				if err := c.check(sqlite3.Xsqlite3_prepare_v2(c.tls, c.db, z, int32(len(text)), out, tail)); err != nil {
					return err
				}
				rest = text[*(*uintptr)(at(tail))-z:]
				if p := *(*uintptr)(at(out)); p != 0 {
					s = &stmt{p}
				}
				return nil
			})
		})
	})
	return s, rest, err
}

// exec runs statements that are not worth keeping; args are those of the first.
func (c *conn) exec(text string, args ...any) error {
	return c.query(text, args, func(*stmt) error { return nil })
}

// query runs statements that are not worth keeping and shows each row.
func (c *conn) query(text string, args []any, each func(*stmt) error) error {
	for strings.TrimSpace(text) != "" {
		s, rest, err := c.prepare(text)
		if err != nil {
			return err
		}
		if s != nil {
			err = c.run(s, args, each)
			c.finalize(s)
		}
		if err != nil {
			return err
		}
		text, args = rest, nil
	}
	return nil
}

// do runs a statement that is kept.
func (c *conn) do(text string, args ...any) error {
	s, err := c.keep(text)
	if err != nil {
		return err
	}
	return c.run(s, args, nil)
}

func (c *conn) run(s *stmt, args []any, each func(*stmt) error) error {
	err := c.bindAll(s, args)
	for err == nil {
		rc := sqlite3.Xsqlite3_step(c.tls, s.p)
		if rc == sqlite3.SQLITE_DONE {
			break
		}
		if rc != sqlite3.SQLITE_ROW {
			err = c.check(rc)
		} else if each != nil {
			err = each(s)
		}
	}
	sqlite3.Xsqlite3_reset(c.tls, s.p) // repeats the error of the last step
	if len(args) > 0 {
		sqlite3.Xsqlite3_clear_bindings(c.tls, s.p)
	}
	return err
}

// number reads one integer; 0 when there is no row.
func (c *conn) number(text string, args ...any) (n int64, err error) {
	err = c.query(text, args, func(s *stmt) error {
		n = c.int64(s, 0)
		return nil
	})
	return n, err
}

// changes is how many rows the last statement inserted, updated or deleted.
func (c *conn) changes() int { return int(sqlite3.Xsqlite3_changes(c.tls, c.db)) }

func (c *conn) int64(s *stmt, col int) int64 {
	return sqlite3.Xsqlite3_column_int64(c.tls, s.p, int32(col))
}

func (c *conn) text(s *stmt, col int) string {
	return libc.GoString(sqlite3.Xsqlite3_column_text(c.tls, s.p, int32(col)))
}

func (c *conn) bindAll(s *stmt, args []any) error {
	for i, v := range args {
		if err := c.bind(s, int32(i+1), v); err != nil {
			return err
		}
	}
	return nil
}

func (c *conn) bind(s *stmt, i int32, v any) error {
	switch x := v.(type) {
	case nil:
		return c.check(sqlite3.Xsqlite3_bind_null(c.tls, s.p, i))
	case bool:
		if x {
			return c.bind(s, i, int64(1))
		}
		return c.bind(s, i, int64(0))
	case int:
		return c.bind(s, i, int64(x))
	case int64:
		return c.check(sqlite3.Xsqlite3_bind_int64(c.tls, s.p, i, x))
	case string:
		return c.withText(x, func(z uintptr) error {
			return c.check(sqlite3.Xsqlite3_bind_text(c.tls, s.p, i, z, int32(len(x)), sqlite3.SQLITE_TRANSIENT))
		})
	case []byte:
		return c.withText(string(x), func(z uintptr) error {
			return c.check(sqlite3.Xsqlite3_bind_blob(c.tls, s.p, i, z, int32(len(x)), sqlite3.SQLITE_TRANSIENT))
		})
	}
	return fmt.Errorf("sqlite: cannot bind a %T", v)
}

// check turns a result code into an error with SQLite's own words.
func (c *conn) check(rc int32) error {
	if rc == sqlite3.SQLITE_OK {
		return nil
	}
	text := libc.GoString(sqlite3.Xsqlite3_errstr(c.tls, rc))
	if c.db != 0 {
		if more := libc.GoString(sqlite3.Xsqlite3_errmsg(c.tls, c.db)); more != text {
			text += ": " + more
		}
	}
	return &Error{Code: int(rc), Message: text}
}

// during makes ctx end what runs on the connection until stop is called.
func (c *conn) during(ctx context.Context) (stop func()) {
	ended := make(chan struct{})
	unhook := context.AfterFunc(ctx, func() {
		defer close(ended)
		tls := libc.NewTLS()
		defer tls.Close()
		sqlite3.Xsqlite3_interrupt(tls, c.db)
	})
	return func() {
		if !unhook() {
			<-ended // the connection may be closed after this
		}
	}
}

var errMemory = errors.New("sqlite: out of memory")

// withText hands f a copy of s, ended by a zero, in memory that SQLite may look at.
func (c *conn) withText(s string, f func(z uintptr) error) error {
	if len(s) >= math.MaxInt32 {
		return &Error{Code: sqlite3.SQLITE_TOOBIG, Message: fmt.Sprintf("text of %d bytes", len(s))}
	}
	z := libc.Xmalloc(c.tls, libc.Tsize_t(len(s)+1))
	if z == 0 {
		return errMemory
	}
	defer libc.Xfree(c.tls, z)
	b := bytesAt(z, len(s)+1)
	copy(b, s)
	b[len(s)] = 0
	return f(z)
}

// withPointer hands f the place of a pointer that SQLite fills in.
func (c *conn) withPointer(f func(out uintptr) error) error {
	p := libc.Xcalloc(c.tls, 1, libc.Tsize_t(unsafe.Sizeof(uintptr(0))))
	if p == 0 {
		return errMemory
	}
	defer libc.Xfree(c.tls, p)
	return f(p)
}

// at is the address p as a pointer. It is only for memory of the C allocator, which Go's collector neither moves nor frees.
func at(p uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&p)) }

// bytesAt is memory of the C allocator as a slice.
func bytesAt(p uintptr, n int) []byte { return unsafe.Slice((*byte)(at(p)), n) }

// function is a Go function as the translated C code calls it. Whoever hands it to SQLite keeps f reachable.
func function[F any](f F) uintptr { return *(*uintptr)(unsafe.Pointer(&struct{ f F }{f})) }
