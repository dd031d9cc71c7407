package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"signalbox/core/api"
	"signalbox/core/catalog"
)

// Core asks core nodes through their public HTTP API, one after the other until one answers.
type Core struct {
	addrs []string
	http  *http.Client
}

// NewCore takes addresses as host:port.
func NewCore(addrs []string) *Core {
	return &Core{addrs: addrs, http: &http.Client{Timeout: 30 * time.Second}}
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 64 << 20

func (c *Core) ask(ctx context.Context, method, path string, body []byte, into any) error {
	var errs []error
	for _, a := range c.addrs {
		err := c.askOne(ctx, method, "http://"+a+path, body, into)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (c *Core) askOne(ctx context.Context, method, url string, body []byte, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("%s: %w", url, err)
	}
	if res.StatusCode >= 300 {
		return fmt.Errorf("%s: %s: %s", url, res.Status, strings.TrimSpace(string(answer)))
	}
	return json.Unmarshal(answer, into)
}

// Apply sends pipeline and rules, and tries again while the cluster has no leader.
func (c *Core) Apply(ctx context.Context, files ...catalog.Document) error {
	body, err := json.Marshal(api.ApplyRequest{Files: files})
	if err != nil {
		return err
	}
	return Eventually(ctx, time.Minute, "the cluster to take the pipeline", func(ctx context.Context) (bool, error) {
		var res api.ApplyResponse
		err := c.ask(ctx, http.MethodPost, "/v1/apply", body, &res)
		if err == nil && res.Error != "" {
			err = errors.New(res.Error)
		}
		return err == nil, err
	})
}

// Status asks the first node that answers.
func (c *Core) Status(ctx context.Context) (*api.Status, error) {
	var s api.Status
	return &s, c.ask(ctx, http.MethodGet, "/v1/status", nil, &s)
}

// StatusOf asks one node.
func (c *Core) StatusOf(ctx context.Context, i int) (*api.Status, error) {
	var s api.Status
	return &s, c.askOne(ctx, http.MethodGet, "http://"+c.addrs[i]+"/v1/status", nil, &s)
}

// Query asks for rows; values are JSON, numbers with every digit.
func (c *Core) Query(ctx context.Context, sql string) ([][]json.RawMessage, error) {
	body, err := json.Marshal(map[string]string{"query": sql})
	if err != nil {
		return nil, err
	}
	var res struct {
		Rows [][]json.RawMessage `json:"rows"`
	}
	err = c.ask(ctx, http.MethodPost, "/v1/query", body, &res)
	return res.Rows, err
}

// Eventually tries until it works or the limit is over; the last error says why it did not.
func Eventually(ctx context.Context, limit time.Duration, what string, try func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		ok, err := try(ctx)
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited %s for %s: %w", limit, what, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
