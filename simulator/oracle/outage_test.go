package oracle

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"signalbox/core/fsm"
	"signalbox/edge/wire"
	"signalbox/engine"
	"signalbox/engine/column"
	"signalbox/raftstore"
	"signalbox/simulator/fleet"
	"signalbox/sinks"
	"signalbox/sinks/file"
	"signalbox/sinks/sqlite"
)

const outageSQL = `
CREATE STREAM bus (time TIMESTAMP, bus_id STRING, route STRING, passengers BIGINT, capacity BIGINT);
CREATE STREAMING TABLE route_load AS
SELECT window.start AS start, window.end AS end, route, count(*) AS readings, max(passengers) AS most, sum(passengers) AS total
FROM STREAM bus WATERMARK time DELAY OF INTERVAL 2 SECONDS GROUP BY window(time, '10 seconds'), route;
`

// depot is an agent that sends the readings of its buses in order, when it has a link.
type depot struct {
	name   string
	unsent []fleet.Reading
	newest int64
	seq    uint64
}

// batch is the depot's next batch, a few readings of its backlog or what is new, as an item of an entry.
func (d *depot) batch(t *testing.T, rng *rand.Rand, now int64) fsm.Item {
	n, lane := len(d.unsent), wire.Live
	if n > 4 {
		n, lane = min(n, 5+rng.IntN(20)), wire.Backlog
	}
	kind := column.Of
	rows := column.NewBatch(&column.Schema{Name: "bus", Time: 0, Fields: []column.Field{{Name: "time", Type: kind(column.TimestampNS)}, {Name: "bus_id", Type: kind(column.String)},
		{Name: "route", Type: kind(column.String)}, {Name: "passengers", Type: kind(column.BigInt)}, {Name: "capacity", Type: kind(column.BigInt)}}}, n)
	for _, r := range d.unsent[:n] {
		rows.AppendRow(column.I64(r.Time), column.Str(r.BusID), column.Str(r.Route), column.I64(r.Passengers), column.I64(r.Capacity))
	}
	d.unsent = d.unsent[n:]
	low := d.newest
	if len(d.unsent) > 0 {
		low = d.unsent[0].Time
	}
	frame, err := wire.EncodeFrame(nil, rows)
	if err != nil {
		t.Fatal(err)
	}
	body, err := wire.AppendBatch(nil, &wire.Batch{Lane: lane, Received: now * 1000, Frames: [][]byte{frame}, Frontiers: []wire.Frontier{{Stream: "bus", MaxTime: d.newest, LowWater: low}}})
	if err != nil {
		t.Fatal(err)
	}
	d.seq++
	return fsm.BatchItem(wire.BatchID{Agent: d.name, Epoch: 1, Seq: d.seq}, wire.HashBody(body), body)
}

// Depots are cut off and come back. First results say how many depots stand behind them, and in the end every sink has
// exactly what adding up all readings gives, each row saying that nothing is missing any more.
func TestSinksConvergeAfterOutages(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	opt := engine.DefaultOptions()
	opt.DefaultLateness, opt.FinalRows = 3600*1_000_000, 20
	m, err := fsm.New(fsm.Options{Engine: fsm.RealEngine{Options: opt}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	lite, err := sqlite.Open(sqlite.Options{Path: filepath.Join(dir, "results.db"), Retention: -1})
	if err != nil {
		t.Fatal(err)
	}
	files, err := file.Open(file.Options{Dir: filepath.Join(dir, "files"), RangeEntries: 40})
	if err != nil {
		t.Fatal(err)
	}
	all := []sinks.Sink{lite, files}
	now, index, read := int64(1_700_000_000_000_000), uint64(0), uint64(0)
	entry := func(items ...fsm.Item) {
		t.Helper()
		index++
		res, ok := m.Apply(raftstore.Entry{Index: index, Term: 1, Data: fsm.EncodeEntry(nil, fsm.Header{Clock: now}, items)}).([]fsm.Result)
		if !ok {
			t.Fatal("no result")
		}
		for _, r := range res {
			if r.Verdict != fsm.Applied {
				t.Fatalf("entry %d: %+v", index, r)
			}
		}
		batches, upTo, err := m.Outbox().Read(read, 1<<30, 0)
		for _, s := range all {
			if err == nil {
				err = s.Write(context.Background(), batches, upTo)
			}
			if err == nil && rng.IntN(10) == 0 { // written, and the acknowledgement was lost
				err = s.Write(context.Background(), batches, upTo)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		read = upTo
	}
	entry(fsm.LeaderReadyItem(fsm.LeaderReady{Term: 1, Node: "n", Sinks: []string{"x"}}))
	entry(fsm.ScriptItem("p.sql", outageSQL))
	var depots []*depot
	for i := range 4 {
		depots = append(depots, &depot{name: fmt.Sprint("depot", i)})
		entry(fsm.GrantItem(&wire.Hello{Protocol: wire.Protocol, Agent: depots[i].name, Install: [16]byte{1}}))
	}
	var readings []fleet.Reading
	incomplete := 0
	for s := range 400 {
		now += 1_000_000
		items := []fsm.Item{fsm.TickItem()}
		for i, d := range depots {
			for b := range 3 {
				r := fleet.Reading{BusID: fmt.Sprint("b", i, b), Route: fmt.Sprint("R", (i+b)%3), Time: (now - rng.Int64N(900_000)) * 1000, Passengers: rng.Int64N(60), Capacity: 60}
				readings, d.unsent, d.newest = append(readings, r), append(d.unsent, r), max(d.newest, r.Time)
			}
			away := s < 300 && (i == 1 && s%110 > 40 || i == 2 && s%90 > 45 && s%90 < 60 || i == 3 && s > 120 && s < 290)
			if !away {
				items = append(items, d.batch(t, rng, now))
			}
		}
		entry(items...)
		if s == 250 {
			incomplete = countRows(t, filepath.Join(dir, "results.db"), "_complete < _expected AND _expected = 4")
		}
	}
	if incomplete < 10 {
		t.Fatalf("%d rows said that depots were missing while they were", incomplete)
	}
	want := map[Key]Window{}
	for k, w := range Windows(readings, 10_000_000) {
		if w.End < now-10_000_000 {
			want[k] = w
		}
	}
	for name, rows := range map[string]map[string]string{"sqlite": sqliteRows(t, filepath.Join(dir, "results.db")), "files": fileRows(t, filepath.Join(dir, "files"))} {
		n := 0
		for k, w := range want {
			got := rows[fmt.Sprint(time.UnixMicro(k.Start).UTC().Format("2006-01-02T15:04:05.000000Z"), " ", k.Route)]
			if text := fmt.Sprintf("%d %d %d, 4 of 4", w.Readings, w.Max, w.Sum); got != text {
				t.Errorf("%s: window %d of %s: %q, want %q", name, k.Start, k.Route, got, text)
			}
			n++
		}
		if len(rows) < n || len(rows) > n+3*2 || n < 100 {
			t.Errorf("%s has %d rows, %d windows are over", name, len(rows), n)
		}
	}
	for _, s := range all {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func query(t *testing.T, path, text string, each func(*sql.Rows) error) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query(text)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := each(rows); err != nil {
			t.Fatal(err)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}

func countRows(t *testing.T, path, where string) (n int) {
	query(t, path, "SELECT count(*) FROM route_load WHERE "+where, func(r *sql.Rows) error { return r.Scan(&n) })
	return n
}

func sqliteRows(t *testing.T, path string) map[string]string {
	out := map[string]string{}
	query(t, path, "SELECT start, route, readings, most, total, _complete, _expected FROM route_load", func(r *sql.Rows) error {
		var start, route string
		var v [5]int64
		err := r.Scan(&start, &route, &v[0], &v[1], &v[2], &v[3], &v[4])
		out[start+" "+route] = fmt.Sprintf("%d %d %d, %d of %d", v[0], v[1], v[2], v[3], v[4])
		return err
	})
	return out
}

// fileRows keeps the newest revision of each row of the JSONL files.
func fileRows(t *testing.T, dir string) map[string]string {
	type line struct {
		Revision, Index       uint64
		Start, Route          string
		Readings, Most, Total int64
		Complete, Expected    int64
	}
	out, newest := map[string]string{}, map[string]uint64{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.Contains(e.Name(), ".jsonl") {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan(); {
			var x line
			if err := json.Unmarshal([]byte(strings.ReplaceAll(s.Text(), `"_`, `"`)), &x); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			k := x.Start + " " + x.Route
			if x.Revision < newest[k] {
				continue
			}
			newest[k] = x.Revision
			out[k] = fmt.Sprintf("%d %d %d, %d of %d", x.Readings, x.Most, x.Total, x.Complete, x.Expected)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
