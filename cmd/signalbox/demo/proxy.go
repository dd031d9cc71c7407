package demo

import (
	"context"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"time"
)

// page is the one address of the demo's page: it passes requests to whichever
// core node answers, so that killing one leaves the page alive.
type page struct {
	nodes []*url.URL
	next  atomic.Int64 // the node that answered last
}

func newPage(addresses []string) *page {
	p := &page{}
	for _, a := range addresses {
		p.nodes = append(p.nodes, &url.URL{Scheme: "http", Host: a})
	}
	return p
}

func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	proxy := httputil.ReverseProxy{
		FlushInterval: -1, // server-sent events pass at once
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(p.live(r.In.Context())) },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, "no core node answers: "+err.Error(), http.StatusBadGateway)
		},
	}
	proxy.ServeHTTP(w, r)
}

// live returns the first node that takes connections, beginning with the last good one.
func (p *page) live(ctx context.Context) *url.URL {
	first := p.next.Load()
	for i := range int64(len(p.nodes)) {
		at := (first + i) % int64(len(p.nodes))
		d := net.Dialer{Timeout: 300 * time.Millisecond}
		c, err := d.DialContext(ctx, "tcp", p.nodes[at].Host)
		if err == nil {
			c.Close()
			p.next.Store(at)
			return p.nodes[at]
		}
	}
	return p.nodes[first]
}
