package decode

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"signalbox/edge/wire"
	"signalbox/engine/column"
)

func repoRoot(t testing.TB) string {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test")
		}
	}
}

// hslDir is the folder of the recordings. Without it the test is skipped, loudly; in CI it fails.
func hslDir(t testing.TB) string {
	dir := os.Getenv("SIGNALBOX_DATA")
	if dir == "" {
		dir = filepath.Join(repoRoot(t), "../shared/data")
	}
	dir = filepath.Join(dir, "hsl")
	if _, err := os.Stat(dir); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("SIGNALBOX_DATA: %v", err)
		}
		t.Skipf("NOT TESTED: SIGNALBOX_DATA: %v", err)
	}
	return dir
}

func helsinki(t testing.TB) []Mapping {
	raw, err := os.ReadFile(filepath.Join(repoRoot(t), "deploy/helsinki/edge.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Mappings []Mapping `yaml:"mappings"`
	}
	if err := yaml.Unmarshal(raw, &c); err != nil {
		t.Fatal(err)
	}
	return c.Mappings
}

func newDecoder(t testing.TB, m ...Mapping) *Decoder {
	t.Helper()
	d, err := New(m)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// rows prints everything that was decoded.
func rows(d *Decoder) string {
	var out strings.Builder
	for _, b := range d.Take() {
		for i := range b.Len {
			out.WriteString(b.Schema.Name)
			for c, f := range b.Schema.Fields {
				v := b.Cols[c].Datum(i)
				switch {
				case v.Null:
					continue
				case f.Type.Kind == column.String:
					fmt.Fprintf(&out, " %s=%s", f.Name, v.S)
				case f.Type.Kind == column.Double:
					fmt.Fprintf(&out, " %s=%v", f.Name, v.F)
				default:
					fmt.Fprintf(&out, " %s=%d", f.Name, v.I)
				}
			}
			out.WriteByte('\n')
		}
	}
	return out.String()
}

func TestMappedJSON(t *testing.T) {
	m := Mapping{Topic: "/a/{op}/+/{veh}/#", Format: "json", Stream: "s", Time: Time{From: "$.*.t", Unit: "ms"}, Columns: []Column{
		{Name: "id", From: "{op}/{veh}"}, {Name: "const", Value: "c"}, {Name: "i", From: "$.*.i", Type: "bigint"}, {Name: "f", From: "$.*['f-x']", Type: "DOUBLE"},
		{Name: "b", From: "$.*.b", Type: "BOOLEAN"}, {Name: "s", From: "$.*.s"}, {Name: "sum", From: "sum($.*.a[*].n[*].in)", Type: "BIGINT"},
		{Name: "n", From: "count($.*.a[*].n[*])", Type: "BIGINT"}, {Name: "second", From: "$.*.a[1].n[0].in", Type: "BIGINT"}, {Name: "raw", From: "json($.*.a)"}}}
	for _, c := range []struct{ topic, payload, want string }{
		{"/a/1/x/2", `{"X":{"t":1500,"i":9007199254740993,"f-x":4.50,"b":true,"s":"å\n\ud83d\ude8c"}}`, "s time=1500000000 id=1/2 const=c i=9007199254740993 f=4.5 b=1 s=å\n🚌 n=0\n"},
		{"/a/1/x/2/more/levels", `{"Y":{"t":"1.5","i":"7","b":0,"s":12,"a":[{"n":[{"in":1},{"in":2}]},{"n":[{"in":40}]}]}}`, `s time=1500000 id=1/2 const=c i=7 b=0 s=12 sum=43 n=3 second=40 raw=[{"n":[{"in":1},{"in":2}]},{"n":[{"in":40}]}]` + "\n"},
		{"/a/1/x/2", `{"X":{"t":1,"i":4.0,"f-x":null,"i":5}}`, "s time=1000000 id=1/2 const=c i=5 n=0\n"},
		{"/a/1/x/2", `{"X":{"t":1,"i":4.5}}`, "column i (byte 16): \"4.5\" is not a bigint"},
		{"/a/1/x/2", `{"X":{"t":1,"i":{}}}`, "is an array or object"},
		{"/a/1/x/2", `{"X":{"t":1,"i":true}}`, "true or false for a bigint"},
		{"/a/1/x/2", `{"X":{"i":4}}`, "reason=no_time detail=$.*.t is not there"},
		{"/a/1/x/2", `{"X":{"t":"soon"}}`, "reason=no_time"},
		{"/a/1/x/2", `{"X":{"t":1,}}`, "reason=malformed detail=not JSON: byte 12: key expected"},
		{"/a/1/x/2", "{\"X\":{\"t\":1,\"s\":\"\xff\"}}", "string is not UTF-8"},
		{"/a/1/x/2", `{"X":{"t":1,"a":[{"n":[{"in":"many"}]}]}}`, "reason=type"},
		{"/a/1/x", `{}`, "reason=no_mapping"},
		{"a/1/x/2", `{}`, "reason=no_mapping"},
		{"/a/1/x/2", strings.Repeat("x", DefaultMaxBytes+1), "reason=oversized"},
		{"/a/1/x/2", strings.Repeat("[", 5000), "nested deeper"},
		{"/a/1/x/2", ``, "reason=malformed"},
	} {
		d := newDecoder(t, m)
		ok, bad := d.Decode(c.topic, []byte(c.payload), 77)
		got := rows(d)
		if strings.HasPrefix(c.want, "s time") && (got != c.want || ok != 1 || bad != 0) || !strings.Contains(got, c.want) || ok+bad != 1 {
			t.Errorf("%s %.100s\n got %s\nwant %s", c.topic, c.payload, got, c.want)
		}
	}
}

func TestRowsOfAMessage(t *testing.T) {
	d := newDecoder(t, Mapping{Topic: "x", Format: "json", Stream: "door", Rows: "$.doors[*].count[*]", Time: Time{From: "$.t", Unit: "s"},
		Columns: []Column{{Name: "in", From: "@.in", Type: "BIGINT", Required: true}, {Name: "v", From: "$.v"}}})
	d.Decode("x", []byte(`{"t":1,"v":"bus","doors":[{"count":[{"in":1},{"in":2}]},{"count":[{"in":3}]}]}`), 0)
	if ok, bad := d.Decode("x", []byte(`{"t":2,"v":"bus","doors":[{"count":[{"in":4},{"out":2},{"in":"x"}]},{"count":[{"in":5}]}]}`), 0); ok != 2 || bad != 2 {
		t.Errorf("%d rows, %d rejected", ok, bad)
	}
	d.Decode("x", []byte(`{"t":3,"doors":[]}`), 0)
	got := rows(d)
	want := "door time=1000000000 in=1 v=bus\ndoor time=1000000000 in=2 v=bus\ndoor time=1000000000 in=3 v=bus\n" +
		"door time=2000000000 in=4 v=bus\ndoor time=2000000000 in=5 v=bus\n$rejected"
	if !strings.HasPrefix(got, want) || strings.Count(got, "reason=missing") != 2 || !strings.Contains(got, `payload={"out":2}`) || !strings.Contains(got, `payload={"in":"x"}`) {
		t.Error(got)
	}
}

// Whatever a device sends becomes readings or rows of $rejected with a reason, never nothing and never a wrong value; what is good
// in a message is kept.
func TestEveryBadPayloadIsRefusedAloneAndSaysWhy(t *testing.T) {
	js := Mapping{Topic: "json", Format: "json", Stream: "s", Time: Time{Unit: "s"}, Columns: []Column{{Name: "i", From: "$.i", Type: "BIGINT"}, {Name: "f", From: "$.f", Type: "DOUBLE"}, {Name: "b", From: "$.b", Type: "BOOLEAN"}}}
	text := js
	text.Topic, text.Time = "text", Time{}
	maps := []Mapping{{Topic: "lp"}, {Topic: "lps", Unit: "s"}, js, text}
	for _, c := range []struct{ topic, payload, want string }{
		{"lp", "bus v=1i 1\nbus v=\nbus v=2i 2", "bus time=1 v=1|bus time=2 v=2|malformed"},
		{"lp", "bus v=1e400 1", "malformed"}, {"lp", "bus v=NaN 1", "malformed"}, {"lp", "bus v=Inf 1", "malformed"}, {"lp", "bus v=0x10 1", "malformed"},
		{"lp", "bus v=9223372036854775808i 1", "malformed"}, {"lp", "bus v=18446744073709551615u 1", "range"},
		{"lp", "bus v=1i 1\nbus v=1i 1.5\nbus v=1i 9223372036854775808\nbus v=1i 1e9", "bus time=1 v=1|malformed|malformed|malformed"},
		{"lp", "bus v=1i -1", "bus time=-1 v=1"}, {"lp", "bus v=1i", "bus time=77 v=1"},
		{"lps", "bus v=1i 253402300799\nbus v=1i -62135596800\nbus v=1i 7", "bus time=7000000000 v=1|malformed|malformed"},
		{"lp", "bus v=\xff 1", "malformed"}, {"lp", "\x00", "malformed"}, {"lp", "bus v=1i 1\x00", "malformed"}, {"lp", "", "malformed"}, {"lp", "# only a comment\n", ""},
		{"lp", "bus v=1i,v=2i 1", "bus time=1 v=2"}, {"lp", "bus,a=1,a=2 v=1i 1", "malformed"}, {"lp", "bus,time=1 v=1i 1", "name"},
		{"lp", "$rejected reason=\"forged\" 1\nbus v=1i 1", "bus time=1 v=1|name"}, {"lp", "bus " + strings.Repeat("x", 300) + "=1i 1", "name"},
		{"lp", strings.Repeat("x", 10<<20), "oversized"}, {"json", strings.Repeat("x", 10<<20), "oversized"}, {"none", "{}", "no_mapping"},
		{"json", `{"time":1,"i":1}`, "s time=1000000000 i=1"}, {"json", `{"time":1.5,"i":1}`, "s time=1500000000 i=1"}, {"json", `{"time":-1,"i":1}`, "s time=-1000000000 i=1"},
		{"json", `{"time":1,"i":1,"i":2,"time":3}`, "s time=3000000000 i=2"},
		{"json", `{"time":"NaN"}`, "no_time"}, {"json", `{"time":NaN}`, "malformed"}, {"json", `{"time":"Inf"}`, "no_time"}, {"json", `{"time":1e400}`, "no_time"}, {"json", `{"time":"0x1p3"}`, "no_time"},
		{"json", `{"time":"1_0"}`, "no_time"}, {"json", `{"time":253402300799}`, "no_time"}, {"json", `{"time":-62135596800}`, "no_time"}, {"json", `{"time":9223372036854775808}`, "no_time"},
		{"json", `{"time":null}`, "no_time"}, {"json", `{"time":{}}`, "no_time"}, {"json", `{"time":""}`, "no_time"}, {"json", `{}`, "no_time"}, {"json", `[]`, "no_time"}, {"json", `7`, "no_time"},
		{"json", ``, "malformed"}, {"json", ` `, "malformed"}, {"json", "\x00", "malformed"}, {"json", "{\"time\":1}\x00", "malformed"}, {"json", "{\"time\":1,\"x\":\"\xff\"}", "malformed"},
		{"json", strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40), "malformed"}, {"json", strings.Repeat("[", 60000), "malformed"}, {"json", "[" + strings.Repeat("1,", 30000) + "1]", "malformed"},
		{"json", `{"time":1,"i":1e400}`, "type"}, {"json", `{"time":1,"f":1e400}`, "type"}, {"json", `{"time":1,"f":"NaN"}`, "type"}, {"json", `{"time":1,"f":"0x1p3"}`, "type"}, {"json", `{"time":1,"i":"1_0"}`, "type"},
		{"json", `{"time":1,"i":9223372036854775808}`, "type"}, {"json", `{"time":1,"i":1.5}`, "type"}, {"json", `{"time":1,"i":true}`, "type"}, {"json", `{"time":1,"i":[1]}`, "type"}, {"json", `{"time":1,"b":2}`, "type"},
		{"json", `{"time":1,"i":-9223372036854775808}`, "s time=1000000000 i=-9223372036854775808"},
		{"text", `{"time":"0001-01-01T00:00:00Z"}`, "no_time"}, {"text", `{"time":"9999-12-31T23:59:59Z"}`, "no_time"}, {"text", `{"time":"2026-02-30T00:00:00Z"}`, "no_time"}, {"text", `{"time":5}`, "no_time"},
	} {
		d := newDecoder(t, maps...)
		d.Decode("lp", []byte("before v=1i 1"), 76)
		ok, bad := d.Decode(c.topic, []byte(c.payload), 77)
		d.Decode("json", []byte(`{"time":5,"i":5}`), 78)
		var got []string
		n := 0
		for _, line := range strings.Split(strings.TrimSuffix(rows(d), "\n"), "\n") {
			switch _, why, refused := strings.Cut(line, "reason="); {
			case line == "before time=1 v=1" || line == "s time=5000000000 i=5":
				n++
			case refused && !strings.Contains(line, "detail="):
				t.Errorf("%.60q: a refusal without a detail: %s", c.payload, line)
			case refused:
				got = append(got, strings.Fields(why)[0])
			case strings.Contains(line, "time="):
				got = append(got, line)
			}
		}
		if strings.Join(got, "|") != c.want || n != 2 || ok+bad != len(got) || bad != len(got)-strings.Count(c.want, "time=") {
			t.Errorf("%s %.60q: %d readings, %d refused, %d around it: %q, want %q", c.topic, c.payload, ok, bad, n, got, c.want)
		}
		total := uint64(0)
		for _, k := range d.Refused() {
			total += k
		}
		if total != uint64(bad) {
			t.Errorf("%.60q: %d rows refused, %d counted", c.payload, bad, total)
		}
	}
}

func TestLineProtocol(t *testing.T) {
	d := newDecoder(t, Mapping{Topic: "lp/#"}, Mapping{Topic: "ms", Unit: "ms"})
	ok, bad := d.Decode("lp/a", []byte("bus,id=1 load=3i,temp=2.5 7\nnot a line\nbus,id=2 load=4i 8"), 99)
	if ok != 2 || bad != 1 {
		t.Errorf("%d readings, %d rejected", ok, bad)
	}
	d.Decode("ms", []byte("bus,id=3 load=5i 8"), 99)
	d.Decode("lp", []byte("bus,id=\xff load=5i 8"), 99)
	got := rows(d)
	for _, want := range []string{"bus time=7 id=1 load=3 temp=2.5\n", "bus time=8 id=2 load=4\n", "bus time=8000000 id=3 load=5\n", "topic=lp/a reason=malformed detail=line 2, byte 28", "payload is not UTF-8"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
}

func TestBadMappings(t *testing.T) {
	good := func() Mapping {
		return Mapping{Topic: "t/{a}", Format: "json", Stream: "s", Columns: []Column{{Name: "x", From: "$.x"}}}
	}
	for want, change := range map[string]func(*Mapping){
		"topic is empty":          func(m *Mapping) { m.Topic = "" },
		"take a whole level":      func(m *Mapping) { m.Topic = "t/a{b}" },
		"is not line_protocol":    func(m *Mapping) { m.Format = "xml" },
		"are for format json":     func(m *Mapping) { m.Format = "" },
		"does not start with $":   func(m *Mapping) { m.Stream = "$x" },
		"is not rfc3339":          func(m *Mapping) { m.Time.Unit = "h" },
		"name is taken":           func(m *Mapping) { m.Columns[0].Name = "time" },
		"is not STRING":           func(m *Mapping) { m.Columns[0].Type = "TEXT" },
		"either from or value":    func(m *Mapping) { m.Columns[0].Value = "v" },
		"must start with $":       func(m *Mapping) { m.Columns[0].From = "x" },
		"names many values":       func(m *Mapping) { m.Columns[0].From = "$.a[*]" },
		"rows is not set":         func(m *Mapping) { m.Columns[0].From = "@.a" },
		"has no level {b}":        func(m *Mapping) { m.Columns[0].From = "{b}" },
		"is not an index":         func(m *Mapping) { m.Columns[0].From = "$.a[x]" },
		"a key is missing":        func(m *Mapping) { m.Columns[0].From = "$..a" },
		"max_bytes is":            func(m *Mapping) { m.MaxBytes = 1 << 30 },
		"0 columns":               func(m *Mapping) { m.Columns = nil },
		"must be a path from $":   func(m *Mapping) { m.Rows = "sum($.x)" },
		"unit \"h\" is not s, ms": func(m *Mapping) { m.Unit = "h" },
	} {
		m := good()
		change(&m)
		if _, err := New([]Mapping{m}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	if f := newDecoder(t, good(), Mapping{Topic: "/x/+/#"}).Filters(); !reflect.DeepEqual(f, []string{"t/+", "/x/+/#"}) {
		t.Error(f)
	}
}

// Every recorded message becomes a reading, and the readings agree with what the standard library reads.
func TestHelsinkiRecordings(t *testing.T) {
	dir := hslDir(t)
	d := newDecoder(t, helsinki(t)...)
	dumps, err := filepath.Glob(filepath.Join(dir, "*", "*.dump"))
	if err != nil || len(dumps) < 20 {
		t.Fatalf("%d recordings, %v", len(dumps), err)
	}
	count, peak, loads := map[string]int{}, int64(0), int64(0)
	var oracle struct{ peak, loads, messages int64 }
	for _, name := range dumps {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		sc := bufio.NewScanner(bytes.NewReader(raw))
		for sc.Scan() {
			_, message, _ := strings.Cut(sc.Text(), " ")
			topic, payload, ok := strings.Cut(message, " {") // a headsign in the topic may hold spaces
			if !ok {
				continue
			}
			payload = "{" + payload
			oracle.messages++
			if ok, bad := d.Decode(topic, []byte(payload), 5); ok != 1 || bad != 0 {
				t.Fatalf("%s: %d readings, %d rejected: %s", name, ok, bad, rows(d))
			}
			var apc struct {
				APC *struct{ Vehiclecounts struct{ Vehicleload int64 } }
			}
			if err := json.Unmarshal([]byte(payload), &apc); err != nil {
				t.Fatal(err)
			}
			if apc.APC != nil {
				oracle.peak = max(oracle.peak, apc.APC.Vehiclecounts.Vehicleload)
				oracle.loads += apc.APC.Vehiclecounts.Vehicleload
			}
		}
		for _, b := range d.Take() {
			count[b.Schema.Name] += b.Len
			if b.Schema.Name == "apc" {
				for _, v := range b.Cols[b.Schema.Ordinal("vehicle_load")].I64 {
					peak, loads = max(peak, v), loads+v
				}
			}
			f, err := wire.EncodeFrame(nil, b)
			if err != nil {
				t.Fatal(err)
			}
			if b.Len > 500 {
				t.Logf("%s: %d readings of %s in %.1f bytes each", filepath.Base(filepath.Dir(name)), b.Len, b.Schema.Name, float64(len(f))/float64(b.Len))
			}
		}
	}
	if peak != oracle.peak || loads != oracle.loads || peak != 20 || int64(count["hfp"]+count["apc"]) != oracle.messages || count["apc"] < 23 {
		t.Errorf("%v, load up to %d, sum %d; want up to %d, sum %d of %d messages", count, peak, loads, oracle.peak, oracle.loads, oracle.messages)
	}
}

func TestHelsinkiGarbage(t *testing.T) {
	dir := hslDir(t)
	files, _ := filepath.Glob(filepath.Join(dir, "common-*.json"))
	if len(files) < 6 {
		t.Fatalf("%d samples", len(files))
	}
	d := newDecoder(t, helsinki(t)...)
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		topic := "/hfp/v2/journey/ongoing/vp/bus/0022/00854/4555B/2/Leppävaara/19:56/4150264/0////"
		if strings.Contains(name, "passenger") {
			topic = "/hfp/v2/journey/ongoing/apc/bus/0022/00854"
		}
		ok, bad := d.Decode(topic, raw, 5)
		if ok+bad != 1 {
			t.Errorf("%s: %d readings, %d rejected", name, ok, bad)
		}
		t.Logf("%s: %s", filepath.Base(name), rows(d))
		for cut := range raw { // and every beginning of it is refused, not lost
			if ok, bad := d.Decode(topic, raw[:cut], 5); ok+bad != 1 || ok == 1 && len(bytes.TrimSpace(raw[cut:])) > 0 {
				t.Fatalf("%s cut at %d: %d readings, %d rejected", name, cut, ok, bad)
			}
			d.Take()
		}
	}
	raw, err := os.ReadFile(filepath.Join(dir, "topics-edge-cases.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range strings.Fields(string(raw)) {
		if ok, bad := d.Decode(strings.Trim(topic, `"`), []byte(`{"VP":{"tst":"2020-01-01T00:00:00Z"}}`), 5); ok+bad != 1 {
			t.Errorf("%s: %d readings, %d rejected", topic, ok, bad)
		}
	}
}

func FuzzJSON(f *testing.F) {
	f.Add([]byte(`{"a":[1,2.5e3,"x\u00e5",null,true,{"b":{}}]}`))
	f.Add([]byte(`[[],{},"",-0,0.1e-9]`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var d document
		err := d.parse(raw)
		var s *syntaxError
		if err != nil && (!errors.As(err, &s) || s.offset < 0 || s.offset > len(raw)) {
			t.Fatal(err)
		}
		limits := err != nil && (strings.Contains(s.what, "nested") || strings.Contains(s.what, "more than") || strings.Contains(s.what, "UTF-8"))
		if valid := json.Valid(raw); valid != (err == nil) && !limits {
			t.Fatalf("valid %v, but %v", valid, err)
		}
		if err == nil && len(d.nodes) > 0 && d.nodes[0].kind == jsonString {
			var want string
			if json.Unmarshal(raw, &want) == nil && unquote(d.text[d.nodes[0].start:d.nodes[0].end]) != want {
				t.Fatalf("%q reads as %q, want %q", raw, unquote(d.text[d.nodes[0].start:d.nodes[0].end]), want)
			}
		}
	})
}

func FuzzDecode(f *testing.F) {
	m := helsinki(f)
	m = append(m, Mapping{Topic: "lp/#"})
	f.Add("/hfp/v2/a/b/vp/bus/1/2", []byte(`{"VP":{"tst":"2020-01-01T00:00:00Z","lat":60.1}}`))
	f.Add("lp/x", []byte("bus,id=1 load=3i 7"))
	f.Fuzz(func(t *testing.T, topic string, raw []byte) {
		d := newDecoder(t, m...)
		ok, bad := d.Decode(topic, raw, 5)
		n := 0
		for _, b := range d.Take() {
			n += b.Len
			if _, err := wire.EncodeFrame(nil, b); err != nil {
				t.Fatal(err)
			}
		}
		if n != ok+bad {
			t.Fatalf("%d rows, %d readings and %d rejected", n, ok, bad)
		}
	})
}

func BenchmarkHFP(b *testing.B) {
	d := newDecoder(b, helsinki(b)...)
	topic := "/hfp/v2/journey/ongoing/vp/bus/0012/01913/4400/1/Vantaankoski/15:21/1130110/4/60;24/19/72/15"
	raw := []byte(`{"VP":{"desi":"400","dir":"1","oper":12,"veh":1913,"tst":"2023-10-29T13:24:10.684Z","tsi":1698585850,"spd":4.53,"hdg":274,"lat":60.171325,"long":24.925031,"acc":-1.70,"dl":-112,"odo":746,"drst":0,"oday":"2023-10-29","jrn":663,"line":1109,"start":"15:21","loc":"GPS","stop":null,"route":"4400","occu":0}}`)
	n := 0
	for b.Loop() {
		d.Decode(topic, raw, 5)
		if n++; n%1000 == 0 {
			d.Take()
		}
	}
}
