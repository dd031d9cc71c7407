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
	"strings"
	"time"

	"signalbox/core/catalog"
	"signalbox/core/fsm"
	"signalbox/core/ingest"
	"signalbox/engine/alert"
	"signalbox/engine/column"
	"signalbox/engine/static"
)

// Bounds of requests.
const (
	MaxQueryBytes  = 64 << 10
	MaxApplyBytes  = 8 << 20
	MaxUploadBytes = 256 << 20
	applyTimeout   = 30 * time.Second
	uploadTimeout  = 5 * time.Minute
)

// State answers queries on this node.
type State interface {
	Query(sql string) (*column.Batch, uint64, error)
	Alerts(resolved int) (active, over []alert.Active, index uint64)
}

// Server serves the API. All fields are required except Page.
type Server struct {
	State   State
	Catalog *catalog.Catalog
	Status  func() Status
	Events  *Events
	Agents  http.Handler
	Metrics http.Handler
	Ready   func() error // nil = this node can take readings and answer
	Page    http.Handler // at "/"; nil = none
}

// Handler routes.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/v1/agent", s.Agents)
	mux.HandleFunc("GET /v1/query", s.query)
	mux.HandleFunc("POST /v1/query", s.query)
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
	return mux
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
	case errors.Is(err, ingest.ErrOverloaded):
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

func (s *Server) query(w http.ResponseWriter, r *http.Request) {
	text, err := queryText(w, r)
	if err != nil {
		fail(w, err)
		return
	}
	rows, index, err := s.State.Query(text)
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Signalbox-Index", fmt.Sprint(index))
	_, _ = w.Write(appendRows(make([]byte, 0, 256+32*rows.Len), index, rows))
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
	ctx, cancel := context.WithTimeout(r.Context(), uploadTimeout)
	defer cancel()
	loaded, err := s.Catalog.Upload(ctx, r.PathValue("name"), format, http.MaxBytesReader(w, r.Body, MaxUploadBytes))
	if err != nil {
		fail(w, err)
		return
	}
	reply(w, http.StatusOK, loaded)
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
