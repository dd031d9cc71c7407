package engine_test

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"sort"
	"strings"
	"testing"

	"signalbox/engine"
	"signalbox/engine/column"
)

// The payload of a passenger counter as the buses of Helsinki send it.
type (
	apcClass struct {
		Class string `json:"class"`
		In    int64  `json:"in"`
		Out   int64  `json:"out"`
	}
	apcDoor struct {
		Door  string     `json:"door"`
		Count []apcClass `json:"count"`
	}
	apcPayload struct {
		APC struct {
			Veh           int64 `json:"veh"`
			VehicleCounts struct {
				CountQuality string    `json:"countquality"`
				DoorCounts   []apcDoor `json:"doorcounts"`
			} `json:"vehiclecounts"`
		}
	}
)

const apcType = "STRUCT<APC: STRUCT<veh: BIGINT, vehiclecounts: STRUCT<countquality: STRING, doorcounts: ARRAY<STRUCT<door: STRING, count: ARRAY<STRUCT<class: STRING, `in`: BIGINT, `out`: BIGINT>>>>>>>"

func randomPayload(r *rand.Rand) (apcPayload, string) {
	var p apcPayload
	p.APC.Veh = r.Int63n(5)
	p.APC.VehicleCounts.CountQuality = "regular"
	for d := range r.Intn(4) {
		door := apcDoor{Door: fmt.Sprint(d + 1), Count: []apcClass{}}
		for _, c := range []string{"adult", "child", "pram"}[:r.Intn(4)] {
			door.Count = append(door.Count, apcClass{c, r.Int63n(9), r.Int63n(9)})
		}
		p.APC.VehicleCounts.DoorCounts = append(p.APC.VehicleCounts.DoorCounts, door)
	}
	text, err := json.Marshal(p)
	if err != nil {
		panic(err)
	}
	return p, string(text)
}

// TestDoorCounts: the counts per door and class in a JSON text of a live stream can be summed in three ways.
func TestDoorCounts(t *testing.T) {
	e := engine.New(engine.DefaultOptions())
	parsed := "from_json(payload, '" + apcType + "').APC.vehiclecounts.doorcounts"
	err := e.Execute(`CREATE STREAM apc (time TIMESTAMP, payload STRING);
	CREATE STREAMING TABLE per_message AS
		SELECT time, aggregate(flatten(transform(doors, d -> d.count)), 0L, (a, c) -> a + c.in) AS boarded,
			aggregate(doors, 0L, (a, d) -> a + aggregate(d.count, 0L, (b, c) -> b + c.out)) AS left_bus, size(doors) AS doors
		FROM (SELECT time, ` + parsed + ` AS doors FROM STREAM apc);
	CREATE STREAMING TABLE per_class AS
		SELECT window.start AS start, class, sum(` + "`in`" + `) AS boarded, sum(` + "`out`" + `) AS left_bus, count(DISTINCT_DOORS) AS n FROM (
			SELECT time, d.door AS DISTINCT_DOORS, inline(d.count) FROM (
				SELECT time, explode(` + parsed + `) AS d FROM STREAM apc WATERMARK time DELAY OF INTERVAL 10 SECONDS))
		GROUP BY window(time, '1 minute'), class;
	CREATE STREAMING TABLE per_door AS
		SELECT window.start AS start, d.door AS door, sum(c.in - c.out) AS net
		FROM STREAM apc WATERMARK time DELAY OF INTERVAL 10 SECONDS
		LATERAL VIEW explode(` + parsed + `) doors AS d
		LATERAL VIEW explode(d.count) counts AS c
		GROUP BY window(time, '1 minute'), d.door`)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewSource(4))
	want := map[string]map[string][3]int64{"per_class": {}, "per_door": {}}
	var messages []string
	got := map[string][]string{}
	for i := uint64(1); i <= 12; i++ {
		b := column.NewBatch(e.Tables()[0].Schema, 20)
		for range 20 {
			at := int64(i)*15*second + r.Int63n(15)*second
			if r.Intn(10) == 0 {
				b.AppendRow(column.I64(at), column.Str(`{"APC": broken`))
				messages = append(messages, fmt.Sprintf("%d,NULL,NULL,NULL", at))
				continue
			}
			p, text := randomPayload(r)
			b.AppendRow(column.I64(at), column.Str(text))
			messages = append(messages, sumMessage(p, at, want))
		}
		out := apply(t, e, &engine.Input{Index: i, Time: int64(i) * second, Batches: []engine.StreamBatch{{Stream: "apc", Rows: b}}, End: i == 12})
		if len(out.Rejected) > 0 {
			t.Fatalf("rejected: %+v", out.Rejected[0])
		}
		for _, c := range out.Changes {
			for j := range c.Rows.Len {
				got[c.Table] = append(got[c.Table], rowText(c.Rows, j))
			}
		}
	}
	if a, b := strings.Join(got["per_message"], "\n"), strings.Join(messages, "\n"); a != b {
		t.Errorf("per message:\n%s\nwant\n%s", a, b)
	}
	for table, sums := range want {
		var lines []string
		for k, v := range sums {
			line := fmt.Sprintf("%s,%d,%d,%d", k, v[0], v[1], v[2])
			if table == "per_door" {
				line = fmt.Sprintf("%s,%d", k, v[0]-v[1])
			}
			lines = append(lines, line)
		}
		sort.Strings(lines)
		sort.Strings(got[table])
		if a, b := strings.Join(got[table], "\n"), strings.Join(lines, "\n"); a != b {
			t.Errorf("%s:\n%s\nwant\n%s", table, a, b)
		}
	}
}

// sumMessage adds one payload to the expected windows and returns its line of per_message.
func sumMessage(p apcPayload, at int64, want map[string]map[string][3]int64) string {
	in, out := int64(0), int64(0)
	start := at / (60 * second) * 60 * second
	for _, d := range p.APC.VehicleCounts.DoorCounts {
		for _, c := range d.Count {
			in, out = in+c.In, out+c.Out
			for table, key := range map[string]string{"per_class": c.Class, "per_door": d.Door} {
				k := fmt.Sprintf("%d,%s", start, key)
				v := want[table][k]
				want[table][k] = [3]int64{v[0] + c.In, v[1] + c.Out, v[2] + 1}
			}
		}
	}
	if p.APC.VehicleCounts.DoorCounts == nil {
		return fmt.Sprintf("%d,NULL,NULL,NULL", at)
	}
	return fmt.Sprintf("%d,%d,%d,%d", at, in, out, len(p.APC.VehicleCounts.DoorCounts))
}
