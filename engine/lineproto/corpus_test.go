package lineproto

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	lp "github.com/influxdata/line-protocol/v2/lineprotocol"
)

type corpusCase struct {
	Input struct {
		Key         string
		Text        json.RawMessage
		DefaultTime int64
		Precision   string
	}
	Output struct {
		Error  string
		Result []struct {
			Time   int64
			Name   json.RawMessage
			Tags   []struct{ Key, Value json.RawMessage }
			Fields []struct {
				Key   json.RawMessage
				Value map[string]json.RawMessage
			}
		}
	}
}

// corpusText reads a string or {"binary": base64}.
func corpusText(t *testing.T, raw json.RawMessage) string {
	t.Helper()
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var b struct{ Binary string }
	if err := json.Unmarshal(raw, &b); err != nil {
		t.Fatalf("text %s: %v", raw, err)
	}
	out, err := base64.StdEncoding.DecodeString(b.Binary)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func dataDir(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("SIGNALBOX_DATA")
	if dir == "" {
		root, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		for {
			if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
				break
			}
			if root == filepath.Dir(root) {
				t.Fatal("no go.mod above the test")
			}
			root = filepath.Dir(root)
		}
		dir = filepath.Join(root, "..", "shared", "data")
	}
	if _, err := os.Stat(dir); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no test data: %v (set SIGNALBOX_DATA)", err)
		}
		t.Skipf("no test data: %v (set SIGNALBOX_DATA)", err)
	}
	return dir
}

// The decode cases of the line-protocol corpus.
func TestCorpus(t *testing.T) {
	f, err := os.Open(filepath.Join(dataDir(t), "line-protocol", "corpus.json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var corpus struct{ Decode map[string]corpusCase }
	if err := json.NewDecoder(z).Decode(&corpus); err != nil {
		t.Fatal(err)
	}
	if len(corpus.Decode) != 6615 {
		t.Errorf("%d decode cases, want 6615", len(corpus.Decode))
	}
	units := map[string]int64{"1ns": 1, "1µs": 1000, "1ms": 1000_000, "1s": 1000_000_000}
	for _, c := range corpus.Decode {
		c := &c
		unit := units[c.Input.Precision]
		if unit == 0 {
			t.Fatalf("%s: precision %q", c.Input.Key, c.Input.Precision)
		}
		got, err := corpusDecode([]byte(corpusText(t, c.Input.Text)), unit, c.Input.DefaultTime)
		if c.Output.Error != "" {
			if err == nil {
				t.Errorf("%s: %s: decoded as %q, want an error: %s", c.Input.Key, c.Input.Text, got, c.Output.Error)
			}
			continue
		}
		if want := corpusWant(t, c); err != nil || got != want {
			t.Errorf("%s: %s:\n got %s, %v\nwant %s", c.Input.Key, c.Input.Text, got, err, want)
		}
	}
}

func corpusDecode(text []byte, unit, def int64) (string, error) {
	var out bytes.Buffer
	var first error
	eachEntry(text, func(e *entry, err error) {
		if err == nil {
			if why, detail := e.check(); why != "" {
				err = fmt.Errorf("%s: %s", why, detail)
			}
		}
		ns, ok := e.nanos(unit, def)
		if err == nil && !ok {
			err = fmt.Errorf("time is out of range")
		}
		if err != nil {
			if first == nil {
				first = err
			}
			return
		}
		fmt.Fprintf(&out, "%q %d", e.name, ns)
		sortTags(e.tags)
		for _, t := range e.tags {
			fmt.Fprintf(&out, " %q=%q", t.key, t.value)
		}
		for i := range e.fields {
			fmt.Fprintf(&out, " %q=%s", e.fields[i].key, valueText(&e.fields[i]))
		}
		out.WriteString("\n")
	})
	return out.String(), first
}

func valueText(f *field) string {
	switch f.kind {
	case lp.String:
		return fmt.Sprintf("string:%q", f.str)
	case lp.Float:
		return fmt.Sprintf("float:%x", math.Float64bits(f.value.FloatV()+0)) // the corpus writes -0 as 0
	}
	return fmt.Sprintf("%v:%v", f.kind, f.value)
}

func corpusWant(t *testing.T, c *corpusCase) string {
	t.Helper()
	var out bytes.Buffer
	for _, p := range c.Output.Result {
		fmt.Fprintf(&out, "%q %d", corpusText(t, p.Name), p.Time)
		for _, g := range p.Tags {
			fmt.Fprintf(&out, " %q=%q", corpusText(t, g.Key), corpusText(t, g.Value))
		}
		for _, f := range p.Fields {
			fmt.Fprintf(&out, " %q=", corpusText(t, f.Key))
			for kind, raw := range f.Value {
				fmt.Fprint(&out, corpusValue(t, kind, raw))
			}
		}
		out.WriteString("\n")
	}
	return out.String()
}

func corpusValue(t *testing.T, kind string, raw json.RawMessage) string {
	t.Helper()
	switch kind {
	case "string":
		return fmt.Sprintf("string:%q", corpusText(t, raw))
	case "binary":
		return fmt.Sprintf("string:%q", corpusText(t, json.RawMessage(`{"binary":`+string(raw)+`}`)))
	case "float":
		var v float64
		if err := json.Unmarshal(raw, &v); err != nil {
			t.Fatalf("float %s: %v", raw, err)
		}
		return fmt.Sprintf("float:%x", math.Float64bits(v))
	case "int":
		return fmt.Sprintf("int:%si", raw)
	case "uint":
		return fmt.Sprintf("uint:%su", raw)
	}
	return fmt.Sprintf("%s:%s", kind, raw)
}

// eachEntry runs the library over a text, entry by entry.
func eachEntry(text []byte, yield func(*entry, error)) {
	w := newWindow(bytes.NewReader(text))
	l := library{win: w}
	var e entry
	for {
		for w.pos < w.end || w.fill() {
			if !w.blank() {
				break
			}
		}
		if w.pos == w.end {
			return
		}
		l.each(&e, func(err error) { yield(&e, err) })
	}
}
