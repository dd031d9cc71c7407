// Package client talks to a core node's public HTTP API. It promises errors
// that name the node and what it said, and refuses to know anything that the
// API does not offer everybody.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"signalbox/core/api"
	"signalbox/core/catalog"
	"signalbox/engine/static"
)

// Client asks the first of several core nodes that answers.
type Client struct {
	Nodes []string // base addresses, for example http://127.0.0.1:7400
	HTTP  *http.Client

	last atomic.Int32 // the node that answered last is asked first: another one may not know yet what this one was told
}

// New returns a client of nodes, given with commas between them.
func New(nodes string) *Client {
	c := &Client{HTTP: &http.Client{Timeout: 6 * time.Minute}}
	for _, n := range strings.Split(nodes, ",") {
		n = strings.TrimRight(strings.TrimSpace(n), "/")
		if !strings.Contains(n, "://") {
			n = "http://" + n
		}
		c.Nodes = append(c.Nodes, n)
	}
	return c
}

// do sends a request to one node after the other until one answers at all and has room.
func (c *Client) do(ctx context.Context, method, path, contentType string, body []byte) ([]byte, error) {
	var errs []error
	first := int(c.last.Load())
	for i := range c.Nodes {
		at := (first + i) % len(c.Nodes)
		answer, err := c.ask(ctx, method, c.Nodes[at]+path, contentType, body)
		var refused *StatusError
		if err == nil || (errors.As(err, &refused) && refused.Code < 500 && refused.Code != http.StatusTooManyRequests) {
			c.last.Store(int32(at))
			return answer, err
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// StatusError is an answer that is not a success.
type StatusError struct {
	URL     string
	Code    int
	Message string
}

func (e *StatusError) Error() string { return fmt.Sprintf("%s: %s", e.URL, e.Message) }

func (c *Client) ask(ctx context.Context, method, target, contentType string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	res, err := c.HTTP.Do(req)
	if err != nil {
		if errors.Is(err, syscall.ECONNREFUSED) {
			return nil, fmt.Errorf("%s: no core node listens there: start one, or name another with --core or SIGNALBOX_CORE (%w)", req.URL.Host, syscall.ECONNREFUSED)
		}
		return nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", target, err)
	}
	if res.StatusCode >= 300 {
		return answer, &StatusError{URL: target, Code: res.StatusCode, Message: message(res.Status, answer)}
	}
	return answer, nil
}

func message(status string, body []byte) string {
	var said struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(body, &said) == nil && said.Error != "" {
		return said.Error
	}
	return status
}

// Column is one column of an answer.
type Column struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// Rows is the answer to a query. Values are as in JSON, numbers with every digit.
type Rows struct {
	Index   uint64              `json:"index"`
	Columns []Column            `json:"columns"`
	Rows    [][]json.RawMessage `json:"rows"`
}

// Query asks for the rows of a SELECT.
func (c *Client) Query(ctx context.Context, sql string) (*Rows, error) {
	body, err := json.Marshal(map[string]string{"query": sql})
	if err != nil {
		return nil, err
	}
	answer, err := c.do(ctx, http.MethodPost, "/v1/query", "application/json", body)
	if err != nil {
		return nil, err
	}
	var rows Rows
	return &rows, json.Unmarshal(answer, &rows)
}

// Status asks for the state of the node and what it knows of the cluster.
func (c *Client) Status(ctx context.Context) (*api.Status, error) {
	answer, err := c.do(ctx, http.MethodGet, "/v1/status", "", nil)
	if err != nil {
		return nil, err
	}
	var s api.Status
	return &s, json.Unmarshal(answer, &s)
}

// Retire says that an agent will not come back.
func (c *Client) Retire(ctx context.Context, agent string) (*catalog.Retired, error) {
	body, err := json.Marshal(api.RetireRequest{Agent: agent})
	if err != nil {
		return nil, err
	}
	answer, err := c.do(ctx, http.MethodPost, "/v1/agents/retire", "application/json", body)
	if err != nil {
		return nil, err
	}
	var done catalog.Retired
	return &done, json.Unmarshal(answer, &done)
}

// Apply sends pipeline SQL and rule files.
func (c *Client) Apply(ctx context.Context, files []catalog.Document, dryRun bool) (*api.ApplyResponse, error) {
	body, err := json.Marshal(api.ApplyRequest{DryRun: dryRun, Files: files})
	if err != nil {
		return nil, err
	}
	answer, err := c.do(ctx, http.MethodPost, "/v1/apply", "application/json", body)
	if err != nil {
		return nil, err
	}
	var res api.ApplyResponse
	return &res, json.Unmarshal(answer, &res)
}

// Upload replaces the rows of a static table by those of a file.
func (c *Client) Upload(ctx context.Context, table, file string) error {
	format, err := static.FormatOf(file)
	if err != nil {
		return err
	}
	body, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	_, err = c.do(ctx, http.MethodPut, "/v1/tables/"+url.PathEscape(table)+"?format="+url.QueryEscape(string(format)), "", body)
	return err
}
