package api

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"signalbox/engine"
	"signalbox/engine/column"
)

// A page whose own name resolves to a loopback address is, for a browser, of the same origin as this API: the name gives it away.
func TestARebondNameIsRefused(t *testing.T) {
	state := asked{func(context.Context, engine.QueryLimits) (*column.Batch, error) { return numbers(1), nil }}
	h := server(NewQueries(state, QueryLimits{})).Handler()
	for host, may := range map[string]bool{
		"127.0.0.1:7400": true, "127.9.9.9": true, "[::1]:7400": true, "[::1]": true, "localhost:7400": true, "LOCALHOST": true, "localhost.": true,
		"page.localhost:7400": true, "10.1.2.3:7400": true, "[fe80::1%25eth0]:7400": true, "depot.example:80": true, "Depot.Example": true, "": true,
		"evil.test": false, "evil.test:7400": false, "127.0.0.1.evil.test": false, "localhost.evil.test:7400": false, "evillocalhost": false,
		"depot.example.evil.test": false, "xdepot.example": false, "0x7f000001.evil.test": false, "[evil.test]": false,
	} {
		for _, path := range []string{"/v1/query?q=SELECT+1", "/v1/status", "/v1/alerts", "/healthz"} {
			r := httptest.NewRequest("GET", "http://x"+path, nil)
			r.Host = host
			r.Header.Set("Origin", "http://"+host)
			r.Header.Set("Sec-Fetch-Site", "same-origin")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if got := w.Code != http.StatusForbidden; got != may || !may && !strings.Contains(w.Body.String(), "allowed_hosts") {
				t.Errorf("host %q, %s: %d %s", host, path, w.Code, w.Body)
			}
		}
	}
	long := httptest.NewRequest("GET", "http://x/v1/status", nil)
	long.Host = strings.Repeat("a", 10_000)
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, long); w.Code != http.StatusForbidden || w.Body.Len() > 500 {
		t.Errorf("%d, %d bytes", w.Code, w.Body.Len())
	}
}
