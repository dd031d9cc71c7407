package api

import (
	"net"
	"net/http"
	"strings"
)

// Hosts refuses requests that ask for another host than this node's: a page of a foreign site can have its own name
// resolve to a loopback address, and is then, for a browser, of the same origin as this API. Addresses are
// always right, because a page cannot rebind them, and so are the names of the loopback.
type Hosts struct {
	Names []string // further names, in any case, without a port
}

// Handler lets requests through that name this node.
func (h *Hosts) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !h.allowed(r.Host) {
			reply(w, http.StatusForbidden, map[string]string{"error": "the request is for host " + clipHost(r.Host) +
				", which is not a name of this node: use its address or localhost, or add the name to allowed_hosts"})
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (h *Hosts) allowed(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	zone := strings.IndexByte(host, '%')
	if zone > 0 {
		host = host[:zone]
	}
	if host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost") || net.ParseIP(host) != nil {
		return true
	}
	for _, n := range h.Names {
		if strings.EqualFold(strings.TrimSuffix(n, "."), host) {
			return true
		}
	}
	return false
}

func clipHost(host string) string {
	const longest = 100
	if len(host) > longest {
		return host[:longest] + "…"
	}
	return host
}
