package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"signalbox/engine"
	"signalbox/engine/alert"
	"signalbox/sinks/row"
)

// Bounds of live events.
const (
	MaxListeners   = 256
	listenerQueue  = 64 // events a slow listener may be behind; then it misses some and is told
	maxEventRows   = 500
	eventKeepAlive = 15 * time.Second
)

// Events sends changes of tables and alerts to listeners as server-sent events:
//
//	event: change   data: {"index":…,"table":…,"rows":…}
//	event: alert    data: the transition
//	event: missed   data: how many events the listener was too slow for
//
// With ?table=NAME the changes of that table carry their rows as in a query's answer.
type Events struct {
	mu        sync.Mutex
	listeners map[*listener]bool
	closed    bool
}

type listener struct {
	table  string
	events chan []byte
	missed int
	done   chan struct{}
}

// Observe takes an entry's output (fsm.Options.Observe). Without listeners it costs a lock.
func (e *Events) Observe(index uint64, _ int64, out *engine.Output) {
	if len(out.Changes) == 0 && len(out.Alerts) == 0 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for l := range e.listeners {
		for i := range out.Changes {
			l.change(index, &out.Changes[i])
		}
		for i := range out.Alerts {
			l.push("alert", alertJSON(&out.Alerts[i]))
		}
	}
}

func alertJSON(t *alert.Transition) []byte {
	b, err := json.Marshal(t)
	if err != nil {
		return []byte("{}")
	}
	return b
}

func (l *listener) change(index uint64, c *engine.Changes) {
	if l.table != "" && l.table != c.Table {
		return
	}
	b := strconv.AppendUint([]byte(`{"index":`), index, 10)
	b = row.AppendString(append(b, `,"table":`...), c.Table)
	b = strconv.AppendInt(append(b, `,"rows":`...), int64(c.Rows.Len), 10)
	if l.table != "" && c.Rows.Len <= maxEventRows {
		rows := appendRows(nil, index, c.Rows)
		b = append(append(b, `,"data":`...), rows[:len(rows)-1]...)
	}
	l.push("change", append(b, '}'))
}

func (l *listener) push(event string, data []byte) {
	msg := fmt.Appendf(nil, "event: %s\ndata: %s\n\n", event, data)
	select {
	case l.events <- msg:
	default:
		l.missed++
	}
}

// Close ends all listeners.
func (e *Events) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	for l := range e.listeners {
		close(l.done)
		delete(e.listeners, l)
	}
}

func (e *Events) listen(table string) *listener {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed || len(e.listeners) >= MaxListeners {
		return nil
	}
	if e.listeners == nil {
		e.listeners = map[*listener]bool{}
	}
	l := &listener{table: table, events: make(chan []byte, listenerQueue), done: make(chan struct{})}
	e.listeners[l] = true
	return l
}

func (e *Events) forget(l *listener) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.listeners, l)
}

func (e *Events) takeMissed(l *listener) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := l.missed
	l.missed = 0
	return n
}

// ServeHTTP serves one listener.
func (e *Events) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	flush, ok := w.(http.Flusher)
	l := e.listen(r.URL.Query().Get("table"))
	if l == nil || !ok {
		w.Header().Set("Retry-After", "5")
		http.Error(w, "too many listeners", http.StatusServiceUnavailable)
		return
	}
	defer e.forget(l)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = fmt.Fprint(w, "retry: 1000\n\n")
	flush.Flush()
	alive := time.NewTicker(eventKeepAlive)
	defer alive.Stop()
	for {
		var msg []byte
		select {
		case msg = <-l.events:
		case <-alive.C:
			msg = []byte(": alive\n\n")
		case <-l.done:
			return
		case <-r.Context().Done():
			return
		}
		if n := e.takeMissed(l); n > 0 {
			msg = fmt.Appendf(msg, "event: missed\ndata: %d\n\n", n)
		}
		if _, err := w.Write(msg); err != nil {
			return
		}
		flush.Flush()
	}
}
