package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// A body has to come at a rate: bodyWindow brings bodyBytes or the end of it. So a large upload may take its time, and a
// client that sends a byte now and then does not hold a connection.
const (
	bodyWindow = 15 * time.Second
	bodyBytes  = 1 << 20
)

// errSlow is wrapped by the error of a body that comes too slowly.
var errSlow = errors.New("the body comes too slowly")

// timely gives the bodies of requests deadlines.
func timely(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
			next.ServeHTTP(w, r)
			return
		}
		b := &timelyBody{ReadCloser: r.Body, rc: http.NewResponseController(w)}
		b.begin()
		r2 := r.WithContext(r.Context())
		r2.Body = b
		next.ServeHTTP(w, r2)
		if !b.ended { // the server reads what is left before it answers the next request of the connection
			b.begin()
		}
	})
}

// timelyBody is a body whose read deadline moves with what comes.
type timelyBody struct {
	io.ReadCloser
	rc    *http.ResponseController
	got   int
	ended bool
}

func (b *timelyBody) begin() {
	b.got = 0
	_ = b.rc.SetReadDeadline(time.Now().Add(bodyWindow)) // a writer of a test may have none
}

func (b *timelyBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.got += n
	switch {
	case err == io.EOF:
		b.ended = true
		_ = b.rc.SetReadDeadline(time.Time{}) // what comes next on the connection has its own
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("%w: %d bytes in %s, at least %d or the end of it are wanted; send it again over a better link, or in a smaller file", errSlow, b.got, bodyWindow, bodyBytes)
	case b.got >= bodyBytes:
		b.begin()
	}
	return n, err
}
