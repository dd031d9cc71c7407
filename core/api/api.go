// Package api is the core's public HTTP interface: queries, apply, uploads,
// status, live events and metrics.
//
// It promises bounded bodies, errors as JSON with the reason, and that a query
// changes nothing and names the log index it was answered at. It refuses to
// know Raft and the engine: what it serves is handed in.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"time"

	"signalbox/core/catalog"
	"signalbox/core/fsm"
	"signalbox/core/ingest"
	"signalbox/engine"
	"signalbox/engine/alert"
	"signalbox/engine/column"
	"signalbox/engine/static"
)

// Bounds of requests.
const (
	MaxQueryBytes  = 64 << 10
	MaxApplyBytes  = 8 << 20
	MaxUploadBytes = 256 << 20
	MaxUploads     = 4 // at once; each is read and typed in memory
	applyTimeout   = 30 * time.Second
	uploadTimeout  = 5 * time.Minute // once the body is there
)

var errUploads = errors.New("upload: too many uploads")

// State answers queries on this node.
type State interface {
	Query(ctx context.Context, sql string, limits engine.QueryLimits) (*column.Batch, uint64, error)
	Alerts(resolved int) (active, over []alert.Active, index uint64)
}

// Server serves the API. All fields are required except Page and Hosts.
type Server struct {
	State   State
	Queries *Queries
	Hosts   *Hosts // nil = any name of this node is right, as with TLS, where a foreign name has no certificate
	Catalog *catalog.Catalog
	Status  func() Status
	Events  *Events
	Agents  http.Handler
	Metrics http.Handler
	Ready   func() error // nil = this node can take readings and answer
	Page    http.Handler // at "/"; nil = none

	uploads chan struct{}
}

// Handler routes.
func (s *Server) Handler() http.Handler {
	s.uploads = make(chan struct{}, MaxUploads)
	mux := http.NewServeMux()
	mux.Handle("/v1/agent", s.Agents)
	mux.HandleFunc("GET /v1/query", s.Queries.serve)
	mux.HandleFunc("POST /v1/query", s.Queries.serve)
	mux.HandleFunc("POST /v1/apply", s.apply)
	mux.HandleFunc("POST /v1/agents/retire", s.retire)
	mux.HandleFunc("POST /v1/tables/{name}", s.upload)
	mux.HandleFunc("PUT /v1/tables/{name}", s.upload)
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, s.Status()) })
	mux.HandleFunc("GET /v1/alerts", s.alerts)
	mux.Handle("GET /v1/events", s.Events)
	mux.Handle("GET /metrics", s.Metrics)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", s.ready)
	if s.Page != nil {
		mux.Handle("/", s.Page)
	}
	if s.Hosts == nil {
		return timely(mux)
	}
	return timely(s.Hosts.Handler(mux))
}

func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	if err := s.Ready(); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	_, _ = io.WriteString(w, "ready\n")
}

func reply(w http.ResponseWriter, code int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTimeout)) // a writer of a test may have none
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(append(b, '\n'))
}

// fail answers with a JSON error and the status that fits it.
func fail(w http.ResponseWriter, err error) {
	code := http.StatusBadRequest
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		code = http.StatusRequestEntityTooLarge
	case errors.Is(err, errSlow):
		w.Header().Set("Connection", "close")
		code = http.StatusRequestTimeout
	case errors.Is(err, ingest.ErrOverloaded), errors.Is(err, errBusy), errors.Is(err, errUploads):
		w.Header().Set("Retry-After", "1")
		code = http.StatusTooManyRequests
	case errors.Is(err, ingest.ErrNoLeader), errors.Is(err, ingest.ErrClosed):
		w.Header().Set("Retry-After", "1")
		code = http.StatusServiceUnavailable
	case errors.Is(err, ingest.ErrIndeterminate):
		code = http.StatusGatewayTimeout
	}
	reply(w, code, map[string]string{"error": err.Error()})
}

// mayChange refuses requests that a page of another origin could make a browser send.
func mayChange(w http.ResponseWriter, r *http.Request) bool {
	site, foreign := r.Header.Get("Sec-Fetch-Site"), false
	if o := r.Header.Get("Origin"); o != "" { // browsers that do not send Sec-Fetch-Site send this
		u, err := url.Parse(o)
		foreign = err != nil || u.Host != r.Host
	}
	if foreign || site != "" && site != "same-origin" && site != "none" {
		reply(w, http.StatusForbidden, map[string]string{"error": "requests from another site may not change anything"})
		return false
	}
	return true
}

// ApplyRequest is the body of POST /v1/apply.
type ApplyRequest struct {
	DryRun bool               `json:"dry_run"`
	Files  []catalog.Document `json:"files"`
}

// ApplyResponse answers it. With Error set, the files in Applied were applied before the one that failed.
type ApplyResponse struct {
	DryRun  bool              `json:"dry_run"`
	Applied []catalog.Outcome `json:"applied"`
	Error   string            `json:"error,omitempty"`
}

func (s *Server) apply(w http.ResponseWriter, r *http.Request) {
	if !mayChange(w, r) {
		return
	}
	var req ApplyRequest
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, MaxApplyBytes))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&req); err != nil {
		fail(w, fmt.Errorf(`apply: the body must be {"files": [{"name": …, "text": …}]}: %w`, err))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), applyTimeout)
	defer cancel()
	done, err := s.Catalog.Apply(ctx, req.Files, req.DryRun)
	if err != nil && len(done) == 0 {
		fail(w, err)
		return
	}
	res := ApplyResponse{DryRun: req.DryRun, Applied: done}
	code := http.StatusOK
	if err != nil {
		res.Error, code = err.Error(), http.StatusConflict
	}
	reply(w, code, res)
}

// RetireRequest is the body of POST /v1/agents/retire.
type RetireRequest struct {
	Agent string `json:"agent"`
}

func (s *Server) retire(w http.ResponseWriter, r *http.Request) {
	if !mayChange(w, r) {
		return
	}
	var req RetireRequest
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, MaxQueryBytes))
	dec.DisallowUnknownFields()
	err := dec.Decode(&req)
	if err == nil && req.Agent == "" {
		err = errors.New("no agent is named")
	}
	if err != nil {
		fail(w, fmt.Errorf(`retire: the body must be {"agent": "NAME"}: %w`, err))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), applyTimeout)
	defer cancel()
	done, err := s.Catalog.Retire(ctx, req.Agent)
	if err != nil {
		fail(w, err)
		return
	}
	reply(w, http.StatusOK, done)
}

func (s *Server) upload(w http.ResponseWriter, r *http.Request) {
	if !mayChange(w, r) {
		return
	}
	format, err := uploadFormat(r)
	if err != nil {
		fail(w, err)
		return
	}
	select {
	case s.uploads <- struct{}{}:
		defer func() { <-s.uploads }()
	default:
		fail(w, fmt.Errorf("%w: %d are on their way (MaxUploads); try again", errUploads, MaxUploads))
		return
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	body := &whole{r: http.MaxBytesReader(w, r.Body, MaxUploadBytes), then: func() {
		late := time.AfterFunc(uploadTimeout, func() { cancel(fmt.Errorf("the table was not active within %s", uploadTimeout)) })
		context.AfterFunc(ctx, func() { late.Stop() })
	}}
	loaded, err := s.Catalog.Upload(ctx, r.PathValue("name"), format, body)
	if err != nil {
		fail(w, err)
		return
	}
	reply(w, http.StatusOK, loaded)
}

// whole calls then once a body has been read to its end.
type whole struct {
	r    io.Reader
	then func()
}

func (b *whole) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err == io.EOF && b.then != nil {
		b.then()
		b.then = nil
	}
	return n, err
}

func uploadFormat(r *http.Request) (static.Format, error) {
	if f := r.URL.Query().Get("format"); f != "" {
		if static.Format(f) != static.CSV && static.Format(f) != static.JSONL {
			return "", fmt.Errorf("upload: format %q, want csv or jsonl", f)
		}
		return static.Format(f), nil
	}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch kind {
	case "application/jsonl", "application/x-ndjson", "application/json":
		return static.JSONL, nil
	}
	return static.CSV, nil
}

var _ State = (*fsm.Machine)(nil)
