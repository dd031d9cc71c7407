package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"signalbox/cmd/signalbox/client"
	"signalbox/core/api"
	devservices "signalbox/deploy/dev"
)

// browser is a real Chromium with one page open.
type browser struct {
	ctx context.Context

	mu       sync.Mutex
	problems []string // what the page wrote to the console that it should not
}

func openBrowser(t *testing.T, url string) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	devservices.Require(t, "Chromium", err)
	opts := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.ExecPath(path))
	allocator, cancel := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), opts...)
	t.Cleanup(cancel)
	ctx, closeTab := chromedp.NewContext(allocator)
	t.Cleanup(closeTab)
	b := &browser{ctx: ctx}
	if err := chromedp.Do(ctx); err != nil { // the tab must be there before anybody listens to it
		t.Fatal(err)
	}
	listening := make(chan struct{})
	go b.listen(ctx, listening)
	<-listening
	if err := chromedp.Do(ctx, chromedp.Navigate(url)); err != nil {
		t.Fatal(err)
	}
	return b
}

// listen collects errors, uncaught exceptions and what the browser itself complains about, violations of the page's policy among it.
func (b *browser) listen(ctx context.Context, listening chan<- struct{}) {
	messages := chromedp.Console(ctx)
	close(listening)
	for m, err := range messages {
		if err != nil {
			return // the browser is closed
		}
		if m.Type == chromedp.ConsoleError || m.Type == chromedp.ConsoleException || m.Type == chromedp.ConsoleWarning {
			b.mu.Lock()
			b.problems = append(b.problems, fmt.Sprintf("%s %s %s", m.Source, m.Type, m.Text))
			b.mu.Unlock()
		}
	}
}

func (b *browser) complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.problems)
}

// text is what an element shows.
func (b *browser) text(id string) (string, error) {
	return chromedp.Run(b.ctx, chromedp.Evaluate[string](fmt.Sprintf("document.getElementById(%q).textContent", id)))
}

// table is the cells of a table's rows.
func (b *browser) table(id string) ([][]string, error) {
	return chromedp.Run(b.ctx, chromedp.Evaluate[[][]string](fmt.Sprintf(
		"[...document.getElementById(%q).rows].map(r => [...r.cells].map(c => c.textContent))", id)))
}

// TestPage opens the live page of a demo in a real browser and reads its numbers.
func TestPage(t *testing.T) {
	const buses = 60
	listen := fmt.Sprintf("127.0.0.1:%d", devservices.FreePort(t))
	dir := t.TempDir()
	demo := newProcess(t, "demo", "signalbox", t.TempDir(), "demo", "--data", dir, "--headless", "--listen", listen, "--buses", strconv.Itoa(buses), "--seed", "7")
	demo.start()
	url := "http://" + listen
	eventually(t, time.Minute, "the demo's page", func(ctx context.Context) error {
		if !demo.running() {
			t.Fatal("the demo ended")
		}
		_, err := get(ctx, url)
		return err
	})
	b := openBrowser(t, url)
	core := client.New(listen)
	b.checkFleet(t, core, buses)
	b.checkRoutes(t, core)
	b.checkCluster(t, core)
	b.checkAlert(t, core, filepath.Join(dir, "core1", "results.db"))
	if p := b.complaints(); len(p) > 0 {
		t.Errorf("the browser complains: %s", strings.Join(p, "; "))
	}
	b.checkListening(t)
	demo.signal(syscall.SIGTERM)
	if last := demo.tail(1); !strings.Contains(last, "lost 0, counted twice 0; buses that differ 0") {
		t.Errorf("the demo's last line: %s", last)
	}
}

// checkFleet reads page and API until the page has shown, several times, a total that the API gave within the last two seconds.
func (b *browser) checkFleet(t *testing.T, core *client.Client, buses int) {
	t.Helper()
	type seen struct {
		total string
		at    time.Time
	}
	var recent []seen
	agreed, shown := 0, map[string]bool{}
	eventually(t, time.Minute, "page and /v1/query to agree on the fleet", func(ctx context.Context) error {
		rows, err := core.Query(ctx, "SELECT passengers, buses FROM fleet_now")
		if err != nil || len(rows.Rows) != 1 {
			return fmt.Errorf("fleet_now: %v rows, %w", rows, err)
		}
		recent = append(recent, seen{string(rows.Rows[0][0]), time.Now()})
		total, err := b.text("fleet-passengers")
		if err != nil {
			return err
		}
		total = strings.ReplaceAll(total, ",", "")
		n, err := b.text("fleet-buses")
		if err != nil {
			return err
		}
		if n != strconv.Itoa(buses) {
			return fmt.Errorf("the page shows %s buses, want %d", n, buses)
		}
		agrees := slices.ContainsFunc(recent, func(s seen) bool { return s.total == total && time.Since(s.at) < 2*time.Second })
		if agrees && !shown[total] {
			shown[total] = true
			agreed++
		}
		if agreed < 3 {
			return fmt.Errorf("the page shows %s, the API %s; %d agreements", total, rows.Rows[0][0], agreed)
		}
		return nil
	})
	t.Logf("page and API agreed on %d different fleet totals", agreed)
}

// standsBehind is how the page says that every agent is past a window.
var standsBehind = regexp.MustCompile(`^([1-9]\d*) of ([1-9]\d*)`)

// checkRoutes wants every window on the page to be one that the API gives, with the same numbers: windows do not change.
func (b *browser) checkRoutes(t *testing.T, core *client.Client) {
	t.Helper()
	eventually(t, time.Minute, "windows on the page", func(ctx context.Context) error {
		shown, err := b.table("routes")
		if err != nil || len(shown) < 6 {
			return fmt.Errorf("%d windows on the page (%v)", len(shown), err)
		}
		rows, err := core.Query(ctx, "SELECT start, route, readings, passengers_max, peak FROM route_load")
		if err != nil {
			return err
		}
		known := map[string]bool{}
		for _, r := range rows.Rows {
			var start, route string
			var peak float64
			if err := errors.Join(json.Unmarshal(r[0], &start), json.Unmarshal(r[1], &route), json.Unmarshal(r[4], &peak)); err != nil {
				return err
			}
			known[line(start[11:19], route, string(r[2]), string(r[3]), fmt.Sprintf("%.0f %%", peak*100))] = true
		}
		if !slices.ContainsFunc(shown, func(r []string) bool { return standsBehind.MatchString(r[6]) }) {
			return fmt.Errorf("no window on the page says how complete it is: %v", shown)
		}
		for _, r := range shown {
			if w := line(r[0], r[1], r[2], r[3], r[5]); !known[w] {
				return fmt.Errorf("window %s on the page is not in route_load", w)
			}
		}
		t.Logf("%d windows on the page, all in route_load", len(shown))
		return nil
	})
}

// checkCluster compares the nodes, and looks at the count of readings.
func (b *browser) checkCluster(t *testing.T, core *client.Client) {
	t.Helper()
	eventually(t, 30*time.Second, "nodes on the page", func(ctx context.Context) error {
		before, err := core.Status(ctx)
		if err != nil {
			return err
		}
		var want [][]string
		for _, n := range before.Nodes {
			want = append(want, []string{n.ID, map[bool]string{true: "leader", false: "follower"}[n.Leader], n.Address})
		}
		shown, err := b.table("nodes")
		if err != nil {
			return err
		}
		if len(want) != coreNodes || fmt.Sprint(shown) != fmt.Sprint(want) {
			return fmt.Errorf("the page shows nodes %v, the API %v", shown, want)
		}
		text, err := b.text("readings")
		if err != nil {
			return err
		}
		n, err := strconv.ParseUint(strings.ReplaceAll(text, ",", ""), 10, 64)
		if err != nil {
			return err
		}
		after, err := core.Status(ctx)
		if err != nil {
			return err
		}
		if n > after.Readings.Applied || n+2000 < before.Readings.Applied { // the page looks every two seconds at least; 120 readings/s
			return fmt.Errorf("the page shows %d readings, the API between %d and %d", n, before.Readings.Applied, after.Readings.Applied)
		}
		return nil
	})
}

// checkAlert waits for a full bus on the page, and until it is gone from there because the alert resolved.
func (b *browser) checkAlert(t *testing.T, core *client.Client, database string) {
	t.Helper()
	var fired map[string]bool
	eventually(t, 2*time.Minute, "an alert to fire on the page", func(context.Context) (err error) {
		if fired, err = b.firing(); err == nil && len(fired) == 0 {
			err = errors.New("none yet")
		}
		return err
	})
	var resolved string
	eventually(t, 2*time.Minute, "an alert to resolve on the page", func(ctx context.Context) error {
		shown, err := b.firing()
		if err != nil {
			return err
		}
		for bus := range fired {
			if shown[bus] {
				continue
			}
			still, err := active(ctx, core, bus)
			if err != nil {
				return err
			}
			state, err := alertState(ctx, database, bus)
			if err != nil {
				return err
			}
			if !still && state == "resolved" {
				resolved = bus
				return nil
			}
		}
		for bus := range shown {
			fired[bus] = true
		}
		return fmt.Errorf("%d have fired, none has resolved", len(fired))
	})
	t.Logf("BusFull fired and resolved on the page, for example for %s", resolved)
}

// firing returns the buses for which the page shows BusFull as firing.
func (b *browser) firing() (map[string]bool, error) {
	rows, err := b.table("alerts")
	out := map[string]bool{}
	for _, r := range rows {
		if r[0] == "firing" && r[1] == "BusFull" {
			out[r[2]] = true
		}
	}
	return out, err
}

// alertState is what a node's own database says of a bus.
func alertState(ctx context.Context, database, bus string) (string, error) {
	rows, err := fromSQLite(ctx, database, resultTable{"alerts", []string{"rule", "labels", "state"}, "sss"})
	if err != nil {
		return "", err
	}
	for _, r := range rows {
		if cells := strings.Split(r, "|"); cells[0] == "BusFull" && strings.Contains(cells[1], strconv.Quote(bus)) {
			return cells[2], nil
		}
	}
	return "", fmt.Errorf("alerts in SQLite does not know bus %s", bus)
}

// active asks /v1/alerts whether the alert of a bus is still pending or firing.
func active(ctx context.Context, core *client.Client, bus string) (bool, error) {
	text, err := get(ctx, core.Nodes[0]+"/v1/alerts")
	if err != nil {
		return false, err
	}
	var list api.AlertsResponse
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return false, err
	}
	return slices.ContainsFunc(list.Alerts, func(a api.Alert) bool { return a.Rule == "BusFull" && a.By["bus_id"] == bus && a.State != "resolved" }), nil
}

// checkListening plants what must not be on the page, to see that the browser's complaints reach this test.
func (b *browser) checkListening(t *testing.T) {
	t.Helper()
	_, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](`console.error("planted"); const s = document.createElement("script"); s.textContent = "1"; document.head.append(s); true`))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "planted complaints to be heard", func(context.Context) error {
		all := strings.Join(b.complaints(), "; ")
		if !strings.Contains(all, "planted") || !strings.Contains(all, "Content Security Policy") {
			return fmt.Errorf("heard only: %s", all)
		}
		return nil
	})
}
