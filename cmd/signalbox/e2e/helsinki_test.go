package e2e

import (
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	devservices "signalbox/deploy/dev"
)

// The thresholds of deploy/helsinki/rules.yaml.
const fillingAt, emptyBelow = 5, 3

// repository returns the root of the module.
func repository(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	for ; err == nil && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
	}
	t.Fatal("no go.mod above the working directory")
	return ""
}

// recordings returns the folder of the Helsinki recordings.
func recordings(t testing.TB) string {
	t.Helper()
	data := os.Getenv("SIGNALBOX_DATA")
	if data == "" {
		data = filepath.Join(repository(t), "..", "shared", "data")
	}
	dir := filepath.Join(data, "hsl")
	_, err := os.Stat(dir)
	devservices.Require(t, "the folder of recordings (SIGNALBOX_DATA)", err)
	return dir
}

// heard is a recorded message as this test reads it, with nothing of the product.
type heard struct {
	ingest  time.Time
	vehicle string // operator/vehicle of the topic
	event   string // of the topic
	body    struct {
		Tst           time.Time
		Lat, Long     *float64
		Route         *string
		Dl            *int64
		VehicleCounts struct {
			VehicleLoad int64
			DoorCounts  []struct {
				Count []struct{ In, Out int64 }
			}
		}
	}
}

func (h *heard) boarded() (in, out int64) {
	for _, d := range h.body.VehicleCounts.DoorCounts {
		for _, c := range d.Count {
			in, out = in+c.In, out+c.Out
		}
	}
	return in, out
}

// read reads recordings in the order of arrival.
func read(t testing.TB, files []string) (out []heard) {
	t.Helper()
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			head, payload, ok := strings.Cut(strings.TrimSpace(line), " {")
			if !ok {
				t.Fatalf("%s: %s", name, line)
			}
			stamp, topic, _ := strings.Cut(head, " ")
			levels := strings.Split(topic, "/")
			h := heard{event: levels[5], vehicle: levels[7] + "/" + levels[8]}
			var body map[string]json.RawMessage
			if h.ingest, err = time.Parse(time.RFC3339Nano, stamp); err == nil {
				err = json.Unmarshal([]byte("{"+payload), &body)
			}
			for _, b := range body { // there is one
				err = json.Unmarshal(b, &h.body)
			}
			if err != nil {
				t.Fatalf("%s: %v: %s", name, err, line)
			}
			out = append(out, h)
		}
	}
	slices.SortStableFunc(out, func(a, b heard) int { return a.ingest.Compare(b.ingest) })
	return out
}

func isCount(h heard) bool { return h.event == "apc-partial" }

// The tables of deploy/helsinki/pipeline.sql.
var (
	vehicleLoad = resultTable{"vehicle_load", []string{"vehicle", "time", "load", "most", "messages", "boarded", "alighted"}, "stiiiii"}
	vehicleNow  = resultTable{"vehicle_now", []string{"vehicle", "time", "route", "lat", "lon", "delay", "messages", "with_position"}, "stsffiii"}
	events      = resultTable{"events", []string{"event", "messages"}, "si"}
	crowding    = resultTable{"crowding", []string{"time", "vehicle", "vehicle_load", "type", "capacity"}, "tsisi"}
	boardings   = resultTable{"boardings", []string{"start", "end", "vehicle", "stops", "boarded", "alighted", "most"}, "ttsiiii"}
)

// loads computes vehicle_load.
func loads(all []heard) (out []string) {
	type state struct {
		newest                         time.Time
		load, most, n, boarded, alight int64
	}
	vehicles := map[string]*state{}
	for _, h := range all {
		if !isCount(h) {
			continue
		}
		load := h.body.VehicleCounts.VehicleLoad
		s := vehicles[h.vehicle]
		if s == nil {
			s = &state{most: load}
			vehicles[h.vehicle] = s
		}
		in, off := h.boarded()
		s.n, s.boarded, s.alight, s.most = s.n+1, s.boarded+in, s.alight+off, max(s.most, load)
		if h.body.Tst.After(s.newest) {
			s.newest, s.load = h.body.Tst, load
		}
	}
	for v, s := range vehicles {
		out = append(out, line(v, s.newest.UTC().Format(stamp), s.load, s.most, s.n, s.boarded, s.alight))
	}
	slices.Sort(out)
	return out
}

// windows computes boardings of the counts that were not late.
func windows(all []heard, late map[string]int) (out []string) {
	const size = 5 * time.Minute
	type key struct {
		start   time.Time
		vehicle string
	}
	type cell struct{ n, in, out, most int64 }
	cells := map[key]cell{}
	for _, h := range all {
		if !isCount(h) {
			continue
		}
		if k := h.body.Tst.UTC().Format(stamp) + h.vehicle; late[k] > 0 {
			late[k]--
			continue
		}
		in, off := h.boarded()
		k := key{h.body.Tst.UTC().Truncate(size), h.vehicle}
		c, seen := cells[k]
		if !seen {
			c.most = h.body.VehicleCounts.VehicleLoad
		}
		cells[k] = cell{c.n + 1, c.in + in, c.out + off, max(c.most, h.body.VehicleCounts.VehicleLoad)}
	}
	for k, c := range cells {
		out = append(out, line(k.start.Format(stamp), k.start.Add(size).Format(stamp), k.vehicle, c.n, c.in, c.out, c.most))
	}
	slices.Sort(out)
	return out
}

// positions computes vehicle_now and events.
func positions(all []heard) (now, kinds []string) {
	type state struct {
		last    heard
		n, with int
	}
	vehicles, counts := map[string]*state{}, map[string]int{}
	for _, h := range all {
		if isCount(h) {
			continue
		}
		counts[h.event]++
		s := vehicles[h.vehicle]
		if s == nil {
			s = &state{last: h}
			vehicles[h.vehicle] = s
		}
		s.n++
		if h.body.Lat != nil {
			s.with++
		}
		if !h.body.Tst.Before(s.last.body.Tst) { // of equal times the last to arrive counts
			s.last = h
		}
	}
	for v, s := range vehicles {
		b := s.last.body
		now = append(now, line(v, b.Tst.UTC().Format(stamp), orNil(b.Route), orNil(b.Lat), orNil(b.Long), orNil(b.Dl), s.n, s.with))
	}
	for event, n := range counts {
		kinds = append(kinds, line(event, n))
	}
	slices.Sort(now)
	slices.Sort(kinds)
	return now, kinds
}

// crossings computes the transitions of VehicleFilling, as "vehicle state at".
func crossings(all []heard) (out []string) {
	type state struct {
		newest time.Time
		firing bool
	}
	vehicles := map[string]*state{}
	for _, h := range all {
		if !isCount(h) {
			continue
		}
		s := vehicles[h.vehicle]
		if s == nil {
			s = &state{}
			vehicles[h.vehicle] = s
		}
		if h.body.Tst.Before(s.newest) {
			continue
		}
		s.newest = h.body.Tst
		load := h.body.VehicleCounts.VehicleLoad
		if was := s.firing; !was && load >= fillingAt || was && load < emptyBelow {
			s.firing = !was
			out = append(out, fmt.Sprintf("%s %s %s", h.vehicle, map[bool]string{true: "firing", false: "resolved"}[s.firing], h.body.Tst.UTC().Format(stamp)))
		}
	}
	slices.Sort(out)
	return out
}

// TestHelsinki plays the recordings through a real broker, first as the history that they are, then one of them as if it were today.
func TestHelsinki(t *testing.T) {
	dir := recordings(t)
	files, err := filepath.Glob(filepath.Join(dir, "*", "*.dump"))
	if err != nil || len(files) < 26 {
		t.Fatalf("%d recordings in %s (%v)", len(files), dir, err)
	}
	all := read(t, files)
	broker := devservices.Mosquitto(t)
	c := startCluster(t, 1, fmt.Sprintf("mqtt: {brokers: [%q]}\nsqlite: {retention: -1h} # the recordings are older than 30 days\n", broker.URL))
	deploy := filepath.Join(repository(t), "deploy", "helsinki")
	capacities := c.vehicles(deploy, dir)
	c.apply(filepath.Join(deploy, "schema.sql"), filepath.Join(deploy, "pipeline.sql"), filepath.Join(deploy, "rules.yaml"), "vehicles="+filepath.Join(c.dir, "vehicles.csv"))
	now, history := watch(t, broker.URL, "e2e-now", "signalbox/event/#"), watch(t, broker.URL, "e2e-history", "signalbox/history/#")
	c.agent("helsinki", broker.URL, "", "--config", filepath.Join(deploy, "edge.yaml"), "--linger", "200ms", "--heartbeat", "1s", "--max-backoff", "1s")

	mustRun(t, "signalbox-sim", "play", "--files", strings.Join(files, ","), "--mqtt-broker", broker.URL, "--speed", "0")
	c.holds(t, vehicleLoad, loads(all))
	positioned, kinds := positions(all)
	c.holds(t, vehicleNow, positioned)
	c.holds(t, events, kinds)
	c.holds(t, crowding, beside(all, capacities))
	c.boardings(t, all)
	sameTransitions(t, history, crossings(all))
	if n := len(now.all()); n > 0 {
		t.Errorf("%d alerts about the past were published as if they were now", n)
	}

	one, err := filepath.Glob(filepath.Join(dir, "serviceJourneyChangeSameStopWithoutDeadRun", "*.dump"))
	if err != nil {
		t.Fatal(err)
	}
	out := mustRun(t, "signalbox-sim", "play", "--files", strings.Join(one, ","), "--mqtt-broker", broker.URL, "--speed", "40", "--shift-to-now")
	today := read(t, one)
	by := shiftOf(t, out)
	for i := range today {
		today[i].body.Tst = today[i].body.Tst.Add(by)
	}
	c.holds(t, vehicleLoad, loads(append(slices.Clone(all), today...)))
	sameTransitions(t, now, liveOf(crossings(today)))
	c.samples(t, broker.URL, dir)
}

// liveOf wants the recording to fire an alert near its end, when it is young enough to be now.
func liveOf(transitions []string) []string {
	if len(transitions) != 1 || !strings.Contains(transitions[0], " firing ") {
		panic(fmt.Sprintf("the recording is not what the test was written for: %v", transitions))
	}
	return transitions
}

func shiftOf(t testing.TB, out string) time.Duration {
	t.Helper()
	m := regexp.MustCompile(`shifted by ([0-9]+) s`).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("signalbox-sim play --shift-to-now does not say by how much: %s", out)
	}
	s, err := strconv.Atoi(m[1])
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(s) * time.Second
}

// holds waits until a table holds exactly these rows, and looks into SQLite too.
func (c *cluster) holds(t *testing.T, r resultTable, want []string) {
	t.Helper()
	eventually(t, time.Minute, r.name+" to agree with the recordings", func(ctx context.Context) error {
		got, err := fromAPI(ctx, c.all, r)
		if err != nil {
			return err
		}
		if d := difference(got, want); d != "" {
			return fmt.Errorf("%s", d)
		}
		if got, err = fromSQLite(ctx, filepath.Join(c.dir, "core1", "results.db"), r); err != nil {
			return err
		}
		if d := difference(got, want); d != "" {
			return fmt.Errorf("SQLite: %s", d)
		}
		return nil
	})
	t.Logf("%s: %d rows equal the recordings", r.name, len(want))
}

// boardings compares the windows, less what is in apc$late.
func (c *cluster) boardings(t *testing.T, all []heard) {
	t.Helper()
	eventually(t, time.Minute, "boardings to agree with the recordings", func(ctx context.Context) error {
		rows, err := c.all.Query(ctx, "SELECT `row` FROM `apc$late` WHERE query = 'boardings'")
		if err != nil {
			return err
		}
		late := map[string]int{}
		for _, r := range rows.Rows {
			var text string
			var row struct{ Time, Vehicle string }
			if err := json.Unmarshal(r[0], &text); err != nil {
				return err
			}
			if err := json.Unmarshal([]byte(text), &row); err != nil {
				return err
			}
			late[row.Time+row.Vehicle]++
		}
		got, err := fromAPI(ctx, c.all, boardings)
		if err != nil {
			return err
		}
		if d := difference(got, windows(all, late)); d != "" {
			return fmt.Errorf("%s (%d rows late)", d, len(rows.Rows))
		}
		t.Logf("boardings: %d windows equal the recordings, %d rows late", len(got), len(rows.Rows))
		return nil
	})
}

// vehicles makes the static table as README.md says, and returns what the fleet list says in this test's own reading.
func (c *cluster) vehicles(deploy, data string) map[string][2]string {
	c.t.Helper()
	list := filepath.Join(data, "fleet.csv")
	out, err := execOutput(filepath.Join(deploy, "vehicles.sh"), list)
	if err != nil {
		c.t.Fatal(err)
	}
	c.write("vehicles.csv", out)
	f, err := os.Open(list)
	if err != nil {
		c.t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		c.t.Fatal(err)
	}
	capacity := map[string]string{"A1": "56", "A2": "67", "C": "78", "D": "105", "MA": "19", "MB": "19"}
	known := map[string][2]string{}
	for _, r := range rows {
		number, err := strconv.Atoi(r[0])
		if err != nil {
			c.t.Fatalf("fleet.csv: %v", err)
		}
		operator, err := strconv.Atoi(r[1])
		if err != nil {
			c.t.Fatalf("fleet.csv: %v", err)
		}
		k := fmt.Sprintf("%04d/%05d", operator, number)
		if _, twice := known[k]; !twice {
			known[k] = [2]string{r[2], cmp.Or(capacity[r[2]], "78")}
		}
	}
	return known
}

// beside computes crowding.
func beside(all []heard, capacities map[string][2]string) (out []string) {
	for _, h := range all {
		if isCount(h) {
			var kind, capacity any
			if c, ok := capacities[h.vehicle]; ok {
				kind, capacity = c[0], c[1]
			}
			out = append(out, line(h.body.Tst.UTC().Format(stamp), h.vehicle, h.body.VehicleCounts.VehicleLoad, kind, capacity))
		}
	}
	slices.Sort(out)
	return out
}

func sameTransitions(t *testing.T, w *watcher, want []string) {
	t.Helper()
	eventually(t, 30*time.Second, "the alerts of the recordings", func(context.Context) error {
		all, err := w.transitions()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, a := range all {
			got = append(got, fmt.Sprintf("%s %s %s", a.Labels.Get("vehicle"), a.State, a.At))
		}
		slices.Sort(got)
		if d := difference(got, want); d != "" {
			return fmt.Errorf("%s", d)
		}
		return nil
	})
	t.Logf("alerts as in the recordings: %s", strings.Join(want, ", "))
}

// samples publishes the odd messages of the recordings' folder and some worse ones.
func (c *cluster) samples(t *testing.T, broker, dir string) {
	t.Helper()
	sample := func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	const vp = "/hfp/v2/journey/ongoing/vp/bus/0099/00001/1/1/Nowhere/15:21/1/0////"
	const apc = "/hfp/v2/journey/ongoing/apc-partial/bus/0099/00001"
	count := sample("common-passenger-count-sample.json")
	half := sample("common-hfp-sample-vp.json")
	client := paho.NewClient(paho.NewClientOptions().AddBroker(broker).SetClientID("e2e-samples"))
	await(t, client.Connect())
	defer client.Disconnect(100)
	for _, m := range []struct{ topic, payload string }{
		{vp, sample("common-garbage-data.json")},         // missing: no vehicle number
		{vp, half[:len(half)/2]},                         // malformed
		{vp, strings.Replace(half, `"tst"`, `"tzt"`, 1)}, // no_time
		{apc, regexp.MustCompile(`"vehicleload": *[0-9]+`).ReplaceAllString(count, `"vehicleload": "twelve"`)},           // type
		{apc, regexp.MustCompile(`"vehicleload": *[0-9]+,`).ReplaceAllString(count, ``)},                                 // missing
		{vp, `{"VP":{"x":"` + strings.Repeat("y", 70_000) + `"}}`},                                                       // oversized
		{strings.Replace(vp, "/vp/", "/tlr/", 1), sample("common-hfp-tlr-sample-invalid.json")},                          // taken: what is odd in it is not mapped
		{strings.Replace(apc, "apc-partial", "apc", 1), sample("common-passenger-count-unknown-properties-sample.json")}, // taken: unknown members are ignored
	} {
		await(t, client.Publish(m.topic, 1, false, m.payload))
	}
	want := []string{line("malformed", 1), line("missing", 2), line("no_time", 1), line("oversized", 1), line("type", 1)}
	rejected := resultTable{"(SELECT reason, count(*) AS n FROM `$rejected` GROUP BY reason)", []string{"reason", "n"}, "si"}
	eventually(t, 30*time.Second, "the garbage in $rejected", func(ctx context.Context) error {
		got, err := fromAPI(ctx, c.all, rejected)
		if err != nil {
			return err
		}
		if d := difference(got, want); d != "" {
			return fmt.Errorf("%s", d)
		}
		taken, err := fromAPI(ctx, c.all, events)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(taken, func(r string) bool { return strings.HasPrefix(r, "tlr|") }) {
			return fmt.Errorf("the message with odd values in members that are not mapped was not taken: %v", taken)
		}
		return nil
	})
	t.Logf("refused with reasons: %v", want)
}
