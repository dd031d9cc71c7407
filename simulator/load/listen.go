package load

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// counter counts from several goroutines.
type counter struct{ atomic.Int64 }

// event takes a transition from the event topic.
func (l *load) event(_ mqtt.Client, m mqtt.Message) {
	now := time.Now()
	var e struct {
		At     time.Time         `json:"at"`
		Seq    uint64            `json:"seq"`
		Labels map[string]string `json:"labels"`
	}
	if json.Unmarshal(m.Payload(), &e) == nil { // what is not JSON is not ours: the topic may be shared
		l.alerts.observe(0, e.Labels["bus_id"], e.At, now, e.Seq)
	}
}

// listen follows full_bus on every node: the first node that shows a probe's row has it committed and applied.
func (l *load) listen(ctx context.Context) *sync.WaitGroup {
	var wg sync.WaitGroup
	for i, addr := range l.opt.Core {
		wg.Go(func() {
			for ctx.Err() == nil {
				l.follow(ctx, i, addr)
				select { // the node is away: it is asked again soon
				case <-ctx.Done():
				case <-time.After(100 * time.Millisecond):
				}
			}
		})
	}
	return &wg
}

// follow reads the server-sent events of one node until the connection ends.
func (l *load) follow(ctx context.Context, source int, addr string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/v1/events?table=full_bus", nil)
	if err != nil {
		return
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return
	}
	l.readEvents(res.Body, source)
}

func (l *load) readEvents(body io.Reader, source int) {
	in := bufio.NewReaderSize(body, 1<<16)
	kind := ""
	for {
		text, err := in.ReadString('\n')
		if err != nil {
			return
		}
		now := time.Now()
		text = strings.TrimSuffix(text, "\n")
		if v, ok := strings.CutPrefix(text, "event: "); ok {
			kind = v
		}
		v, ok := strings.CutPrefix(text, "data: ")
		switch {
		case ok && kind == "missed":
			l.missed.Add(1)
		case ok && kind == "change":
			l.change([]byte(v), source, now)
		}
	}
}

// change takes the rows of one entry.
func (l *load) change(data []byte, source int, now time.Time) {
	var e struct {
		Data struct {
			Columns []struct {
				Name string `json:"name"`
			} `json:"columns"`
			Rows [][]json.RawMessage `json:"rows"`
		} `json:"data"`
	}
	if json.Unmarshal(data, &e) != nil {
		return
	}
	column := func(name string) int {
		for i, c := range e.Data.Columns {
			if c.Name == name {
				return i
			}
		}
		return -1
	}
	at, bus := column("time"), column("bus_id")
	if at < 0 || bus < 0 {
		return
	}
	for _, r := range e.Data.Rows {
		var id string
		var when time.Time
		if json.Unmarshal(r[bus], &id) == nil && json.Unmarshal(r[at], &when) == nil {
			l.results.observe(source, id, when, now, 0)
		}
	}
}

// sortedKeys of a map, for reports that look the same every time.
func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
