package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"signalbox/engine"
	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/sinks/row"
)

// QueryLimits bound the queries of a node.
type QueryLimits struct {
	Concurrent int           // queries that are worked on, or whose answer is being taken, at once
	Waiting    int           // further ones that wait for one of those to end; beyond it 429
	Timeout    time.Duration // for the work on one query, waiting included
	Rows       int           // rows that an operator of one query may hold
	Bytes      int64         // memory that one query may hold, estimated
}

// DefaultQueryLimits returns the limits that are right without tuning.
func DefaultQueryLimits() QueryLimits {
	return QueryLimits{Concurrent: 4, Waiting: 64, Timeout: 30 * time.Second, Rows: engine.MaxQueryRows, Bytes: engine.MaxQueryMemory}
}

// answerTimeout is how long a client may take to read an answer, which is kept in memory for it.
const answerTimeout = 2 * time.Minute

// QueryCounts is what became of queries on this node.
type QueryCounts struct {
	Running, Waiting int64  // now
	Answered         uint64 // with rows
	Invalid          uint64 // refused or failed because of what they say
	TooLarge         uint64 // ended by Rows or Bytes
	TimedOut         uint64 // ended by Timeout
	Busy             uint64 // refused because Waiting others waited
	Gone             uint64 // ended because the client went away
}

// Queries answers queries within limits.
type Queries struct {
	state    State
	limits   QueryLimits
	slots    chan struct{}
	running  atomic.Int64
	waiting  atomic.Int64
	outcomes [7]atomic.Uint64
}

type outcome int

const (
	answered outcome = iota
	invalid
	tooLarge
	timedOut
	busy
	gone
)

// NewQueries returns an answerer; zero fields of the limits are the defaults.
func NewQueries(state State, l QueryLimits) *Queries {
	d := DefaultQueryLimits()
	if l.Concurrent > 0 {
		d.Concurrent = l.Concurrent
	}
	if l.Waiting > 0 {
		d.Waiting = l.Waiting
	}
	if l.Timeout > 0 {
		d.Timeout = l.Timeout
	}
	if l.Rows > 0 {
		d.Rows = l.Rows
	}
	if l.Bytes > 0 {
		d.Bytes = l.Bytes
	}
	return &Queries{state: state, limits: d, slots: make(chan struct{}, d.Concurrent)}
}

// Counts returns the counters.
func (q *Queries) Counts() QueryCounts {
	at := func(o outcome) uint64 { return q.outcomes[o].Load() }
	return QueryCounts{Running: q.running.Load(), Waiting: q.waiting.Load(), Answered: at(answered), Invalid: at(invalid),
		TooLarge: at(tooLarge), TimedOut: at(timedOut), Busy: at(busy), Gone: at(gone)}
}

// errBusy and errTimeout are answers of the limits, not of the query.
var (
	errBusy    = errors.New("query: too many queries")
	errTimeout = errors.New("query: it took too long")
)

// enter waits for a slot; leave gives it back.
func (q *Queries) enter(ctx context.Context) (leave func(), err error) {
	leave = func() { q.running.Add(-1); <-q.slots }
	select {
	case q.slots <- struct{}{}:
		q.running.Add(1)
		return leave, nil
	default:
	}
	defer q.waiting.Add(-1)
	if q.waiting.Add(1) > int64(q.limits.Waiting) {
		return nil, fmt.Errorf("%w: %d are worked on (query_concurrent) and %d wait; try again, or ask another node", errBusy, q.limits.Concurrent, q.limits.Waiting)
	}
	select {
	case q.slots <- struct{}{}:
		q.running.Add(1)
		return leave, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (q *Queries) serve(w http.ResponseWriter, r *http.Request) {
	text, err := queryText(w, r)
	if err != nil {
		fail(w, err)
		return
	}
	ctx, cancel := context.WithTimeoutCause(r.Context(), q.limits.Timeout, fmt.Errorf("%w: no answer within %s (query_timeout); "+
		"filter, name fewer columns, or put the aggregate into a streaming table", errTimeout, q.limits.Timeout))
	defer cancel()
	leave, err := q.enter(ctx)
	if err == nil {
		defer leave()
		var rows *column.Batch
		var index uint64
		if rows, index, err = q.state.Query(ctx, text, engine.QueryLimits{MaxRows: q.limits.Rows, MaxBytes: q.limits.Bytes}); err == nil {
			q.outcomes[answered].Add(1)
			sendRows(w, index, rows)
			return
		}
	}
	q.outcomes[outcomeOf(r.Context(), err)].Add(1)
	fail(w, err)
}

func outcomeOf(ctx context.Context, err error) outcome {
	var e *expr.Error
	switch {
	case ctx.Err() != nil:
		return gone
	case errors.Is(err, errBusy):
		return busy
	case errors.Is(err, errTimeout):
		return timedOut
	case errors.As(err, &e) && e.Condition == "QUERY_TOO_LARGE":
		return tooLarge
	}
	return invalid
}

// sendRows writes an answer piece by piece: its text is never in memory as a whole.
func sendRows(w http.ResponseWriter, index uint64, rows *column.Batch) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTimeout)) // a writer of a test may have none
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Signalbox-Index", strconv.FormatUint(index, 10))
	buf := appendHead(make([]byte, 0, sendBytes+4096), index, rows.Schema)
	for i := range rows.Len {
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = appendRow(buf, rows, i)
		if len(buf) >= sendBytes {
			if _, err := w.Write(buf); err != nil {
				return
			}
			buf = buf[:0]
		}
	}
	_, _ = w.Write(append(buf, "]}\n"...))
}

const sendBytes = 64 << 10

// appendRows writes {"index":…,"columns":[…],"rows":[[…],…]}.
func appendRows(dst []byte, index uint64, b *column.Batch) []byte {
	dst = appendHead(dst, index, b.Schema)
	for i := range b.Len {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendRow(dst, b, i)
	}
	return append(dst, "]}\n"...)
}

func appendHead(dst []byte, index uint64, s *column.Schema) []byte {
	dst = strconv.AppendUint(append(dst, `{"index":`...), index, 10)
	dst = append(dst, `,"columns":[`...)
	for i, f := range s.Fields {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = row.AppendString(append(dst, `{"name":`...), f.Name)
		dst = append(row.AppendString(append(dst, `,"type":`...), f.Type.String()), '}')
	}
	return append(dst, `],"rows":[`...)
}

func appendRow(dst []byte, b *column.Batch, i int) []byte {
	dst = append(dst, '[')
	for j, c := range b.Cols {
		if j > 0 {
			dst = append(dst, ',')
		}
		if c == nil {
			dst = append(dst, "null"...)
			continue
		}
		dst = row.AppendJSON(dst, c.Type, c.Datum(i))
	}
	return append(dst, ']')
}

// queryText takes q= of a GET, and of a POST a JSON object {"query": "…"}, a form, or the text itself.
func queryText(w http.ResponseWriter, r *http.Request) (string, error) {
	text := r.URL.Query().Get("q")
	if r.Method == http.MethodPost {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxQueryBytes))
		if err != nil {
			return "", fmt.Errorf("query: %w", err)
		}
		text = string(body)
		if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind == "application/json" {
			var q struct {
				Query string `json:"query"`
			}
			if err := json.Unmarshal(body, &q); err != nil {
				return "", fmt.Errorf(`query: the body must be {"query": "SELECT …"}: %w`, err)
			}
			text = q.Query
		}
	}
	if strings.TrimSpace(text) == "" {
		return "", errors.New(`query: nothing asked: GET /v1/query?q=SELECT… or POST {"query": "SELECT …"}`)
	}
	if len(text) > MaxQueryBytes {
		return "", fmt.Errorf("query: %d bytes, at most %d are allowed", len(text), MaxQueryBytes)
	}
	return text, nil
}
