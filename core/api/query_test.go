package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"signalbox/core/catalog"
	"signalbox/core/fsm"
	"signalbox/engine"
	"signalbox/engine/alert"
	"signalbox/engine/column"
	"signalbox/engine/expr"
)

// asked is a state whose queries do what a test wants.
type asked struct {
	answer func(ctx context.Context, l engine.QueryLimits) (*column.Batch, error)
}

func (a asked) Query(ctx context.Context, _ string, l engine.QueryLimits) (*column.Batch, uint64, error) {
	b, err := a.answer(ctx, l)
	return b, 7, err
}

func (asked) Alerts(int) (active, over []alert.Active, index uint64) { return nil, nil, 1 }

func numbers(n int) *column.Batch {
	b := column.NewBatch(&column.Schema{Name: "n", Fields: []column.Field{{Name: "v", Type: column.Of(column.BigInt)}}}, n)
	for i := range n {
		b.AppendRow(column.I64(int64(i)))
	}
	return b
}

func ask(h http.Handler, ctx context.Context) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(ctx, "GET", "http://127.0.0.1/v1/query?q=SELECT+1", nil)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func server(q *Queries) *Server {
	return &Server{State: q.state, Queries: q, Events: &Events{}, Agents: http.NotFoundHandler(), Metrics: http.NotFoundHandler(),
		Hosts: &Hosts{Names: []string{"depot.example"}}, Status: func() Status { return Status{} }, Ready: func() error { return nil }, Catalog: &catalog.Catalog{State: noTables{}}}
}

type noTables struct{}

func (noTables) Tables() []engine.TableInfo {
	return []engine.TableInfo{{Name: "t", Kind: engine.KindStatic, Schema: &column.Schema{Name: "t", Time: -1, Fields: []column.Field{{Name: "a", Type: column.Of(column.String)}}}}}
}
func (noTables) Documents() (scripts, rules []fsm.Document) { return nil, nil }
func (noTables) Chain() (index, hash uint64)                { return 0, 0 }

// TestQueriesAreBounded: so many at once, so many that wait, each for so long; all outcomes are counted and nothing is left.
func TestQueriesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		work := make(chan struct{})
		q := NewQueries(asked{func(ctx context.Context, _ engine.QueryLimits) (*column.Batch, error) {
			select {
			case <-work:
				return numbers(3), nil
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}}, QueryLimits{Concurrent: 2, Waiting: 3, Timeout: 10 * time.Second})
		h := server(q).Handler()
		codes := make(chan *httptest.ResponseRecorder, 16)
		gone, leave := context.WithCancel(t.Context())
		go func() { codes <- ask(h, gone) }() // works, and its client goes away
		synctest.Wait()
		go func() { codes <- ask(h, t.Context()) }() // works
		synctest.Wait()
		for range 3 { // wait
			go func() { codes <- ask(h, t.Context()) }()
		}
		synctest.Wait()
		if c := q.Counts(); c.Running != 2 || c.Waiting != 3 {
			t.Fatalf("%+v", c)
		}
		w := ask(h, t.Context())
		if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "query_concurrent") {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		leave()
		<-codes
		synctest.Wait()
		work <- struct{}{} // one of the two that work now
		if w := <-codes; w.Code != 200 || w.Header().Get("Signalbox-Index") != "7" {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		for range 3 { // the others have no answer in time
			if w := <-codes; w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "query_timeout") || !strings.Contains(w.Body.String(), "10s") {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
		}
		q.state = asked{func(context.Context, engine.QueryLimits) (*column.Batch, error) {
			return nil, &expr.Error{Condition: "QUERY_TOO_LARGE", Message: "too large"}
		}}
		ask(h, t.Context())
		q.state = asked{func(context.Context, engine.QueryLimits) (*column.Batch, error) {
			return nil, errors.New("no such table")
		}}
		ask(h, t.Context())
		want := QueryCounts{Answered: 1, Invalid: 1, TooLarge: 1, TimedOut: 3, Busy: 1, Gone: 1}
		if c := q.Counts(); c != want {
			t.Fatalf("%+v, want %+v", c, want)
		}
	})
}

// TestLimitsReachTheQuery: what is configured bounds the query, and the defaults are those of the engine.
func TestLimitsReachTheQuery(t *testing.T) {
	var got engine.QueryLimits
	state := asked{func(_ context.Context, l engine.QueryLimits) (*column.Batch, error) { got = l; return numbers(1), nil }}
	ask(server(NewQueries(state, QueryLimits{Rows: 5, Bytes: 6})).Handler(), t.Context())
	if got.MaxRows != 5 || got.MaxBytes != 6 {
		t.Errorf("%+v", got)
	}
	ask(server(NewQueries(state, QueryLimits{})).Handler(), t.Context())
	if got.MaxRows != engine.MaxQueryRows || got.MaxBytes != engine.MaxQueryMemory {
		t.Errorf("%+v", got)
	}
}

// TestAnswersOfEverySize are valid JSON with all rows, however they were cut.
func TestAnswersOfEverySize(t *testing.T) {
	for _, n := range []int{0, 1, 2, 9_999, 50_000} {
		w := ask(server(NewQueries(asked{func(context.Context, engine.QueryLimits) (*column.Batch, error) { return numbers(n), nil }}, QueryLimits{})).Handler(), t.Context())
		var a struct {
			Index uint64
			Rows  [][]int
		}
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || len(a.Rows) != n || a.Index != 7 || n > 0 && a.Rows[n-1][0] != n-1 {
			t.Errorf("%d rows: %v, %d", n, err, len(a.Rows))
		}
	}
}

// dial serves h on one connection of a synctest bubble and returns the other end, on which send writes; end ends all of it.
func dial(h http.Handler, send func(c net.Conn)) (c net.Conn, end func()) {
	a, b := net.Pipe()
	l := &oneConn{c: make(chan net.Conn, 1), closed: make(chan struct{})}
	l.c <- a
	s := &http.Server{Handler: h, IdleTimeout: time.Hour}
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Serve(l) })
	wg.Go(func() { send(b) })
	return b, func() {
		_, _ = b.Close(), s.Close()
		wg.Wait()
		synctest.Wait()
	}
}

type oneConn struct {
	c      chan net.Conn
	closed chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	select {
	case c := <-l.c:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *oneConn) Close() error   { close(l.closed); return nil }
func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }

// answer reads one answer, or the end of the connection.
func answer(c net.Conn) (int, string, error) {
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, "", err
	}
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, string(body), err
}

// TestSlowBodiesEnd: a body that comes byte by byte is given up after a window of time; one that comes at a rate may be as long as it likes.
func TestSlowBodiesEnd(t *testing.T) {
	for _, path := range []string{"PUT /v1/tables/t", "POST /v1/apply", "POST /v1/query", "GET /v1/status", "POST /v1/nothing"} {
		synctest.Test(t, func(t *testing.T) {
			h := server(NewQueries(asked{func(context.Context, engine.QueryLimits) (*column.Batch, error) { return numbers(1), nil }}, QueryLimits{})).Handler()
			began := time.Now()
			c, end := dial(h, func(c net.Conn) {
				if _, err := fmt.Fprintf(c, "%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n", path); err != nil {
					return
				}
				for range 1000 { // a byte every 4 seconds
					if _, err := c.Write([]byte("a")); err != nil {
						return
					}
					time.Sleep(4 * time.Second)
				}
			})
			defer end()
			code, body, err := answer(c)
			switch {
			case path == "GET /v1/status" || path == "POST /v1/nothing": // answered without the body
			case err != nil:
				t.Errorf("%s: %v", path, err)
			case code != http.StatusRequestTimeout && path != "POST /v1/apply" || !strings.Contains(body, "too slowly") && path != "POST /v1/apply":
				t.Errorf("%s: %d %s", path, code, body)
			}
			if _, err := io.Copy(io.Discard, c); err != nil && !errors.Is(err, io.ErrClosedPipe) && !errors.Is(err, io.EOF) {
				t.Errorf("%s: the connection did not end: %v", path, err)
			}
			if took := time.Since(began); took > 3*bodyWindow {
				t.Errorf("%s: held for %s", path, took)
			}
		})
	}
}

// TestLargeUploadsMayTakeTheirTime: ten minutes of a body that comes at a rate are fine.
func TestLargeUploadsMayTakeTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const pieces, piece = 60, 1<<20 + 1
		got := 0
		h := timely(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n, err := io.Copy(io.Discard, r.Body)
			got = int(n)
			if err != nil {
				t.Error(err)
			}
			_, _ = io.WriteString(w, "thanks")
		}))
		c, end := dial(h, func(c net.Conn) {
			fmt.Fprintf(c, "PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", pieces*piece)
			for range pieces {
				time.Sleep(10 * time.Second)
				if _, err := c.Write(make([]byte, piece)); err != nil {
					t.Error(err)
					return
				}
			}
		})
		defer end()
		if code, body, err := answer(c); code != 200 || body != "thanks" || err != nil || got != pieces*piece {
			t.Fatalf("%d %q %v, %d bytes", code, body, err, got)
		}
	})
}

// TestAWorkingHandlerIsNotCutOff: the deadline of a body is over with the body.
func TestAWorkingHandlerIsNotCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := timely(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			select {
			case <-time.After(10 * bodyWindow):
				_, _ = io.WriteString(w, "done")
			case <-r.Context().Done():
				t.Error("the handler was cut off")
			}
		}))
		c, end := dial(h, func(c net.Conn) {
			fmt.Fprint(c, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc")
		})
		defer end()
		if code, body, err := answer(c); code != 200 || body != "done" || err != nil {
			t.Fatal(code, body, err)
		}
	})
}

// TestUploadsAreBounded: so many at once, the others are told to come again.
func TestUploadsAreBounded(t *testing.T) {
	h := server(NewQueries(asked{}, QueryLimits{})).Handler()
	var ends []*io.PipeWriter
	done := make(chan int, MaxUploads)
	for range MaxUploads {
		r, w := io.Pipe()
		ends = append(ends, w)
		go func() {
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, httptest.NewRequest("PUT", "http://localhost/v1/tables/t", r))
			done <- rec.Code
		}()
		if _, err := w.Write([]byte("a\n")); err != nil { // it is being read
			t.Fatal(err)
		}
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest("PUT", "http://localhost/v1/tables/t", strings.NewReader("a\n")))
	if rec.Code != http.StatusTooManyRequests || !strings.Contains(rec.Body.String(), "MaxUploads") {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	for _, w := range ends {
		_ = w.CloseWithError(io.ErrUnexpectedEOF)
		if code := <-done; code != http.StatusBadRequest {
			t.Fatal(code)
		}
	}
}
