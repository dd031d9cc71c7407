package alert

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"signalbox/engine/sql"
)

const goodFile = `
# the fleet
groups:
  - name: buses
    interval: 10s
    limit: 100
    labels: {team: depot, severity: info}
    rules:
      - alert: AtCapacity
        from: STREAM bus b JOIN vehicle v ON b.bus_id = v.bus_id
        time: b.time
        expr: |
          b.passengers >= v.capacity
        resolve: b.passengers < 0.9 * v.capacity
        value: b.passengers
        by: [b.bus_id]
        for: 1m30s
        keep_firing_for: 5m
        limit: 10
        labels:
          severity: page
        annotations:
          summary: 'Bus {{ $labels.bus_id | toUpper }} has {{ $value }} on board'
      - alert: Silent
        from: bus
        absent_for: 1h
        by: bus_id
`

func TestParseRules(t *testing.T) {
	rules, errs := ParseRules([]byte(goodFile), "alerts.yaml")
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	want := []Rule{
		{Group: "buses", Name: "AtCapacity", From: "STREAM bus b JOIN vehicle v ON b.bus_id = v.bus_id", Time: "b.time", Expr: "b.passengers >= v.capacity",
			Resolve: "b.passengers < 0.9 * v.capacity", Value: "b.passengers", By: []string{"b.bus_id"}, For: 90 * second, KeepFiringFor: 300 * second, Limit: 10,
			Labels:      []Label{{"severity", "page"}, {"team", "depot"}},
			Annotations: []Label{{"summary", "Bus {{ $labels.bus_id | toUpper }} has {{ $value }} on board"}}},
		{Group: "buses", Name: "Silent", From: "bus", AbsentFor: 3600 * second, By: []string{"bus_id"}, Limit: 100, Labels: []Label{{"severity", "info"}, {"team", "depot"}}},
	}
	if !reflect.DeepEqual(rules, want) {
		t.Fatalf("got %+v\nwant %+v", rules, want)
	}
}

// TestRuleFileErrors holds position and text of what is refused.
func TestRuleFileErrors(t *testing.T) {
	rule := func(lines string) string {
		return "groups:\n- name: g\n  rules:\n  - alert: A\n    from: bus\n    expr: a > 1\n" + lines
	}
	for _, c := range []struct {
		in        string
		line, col int
		says      string
	}{
		{rule("    fro: 5m\n"), 7, 5, `did you mean "from"?`},
		{rule("    for: 5 minutes\n"), 7, 10, "not a duration"},
		{rule("    resolve: a <\n"), 7, 14, "resolve: 1:4"},
		{rule("    by: [a + 1]\n"), 7, 9, "not a column"},
		{rule("    annotations: {s: '{{ query \"x\" }}'}\n"), 7, 19, "needs a clock or a query"},
		{rule("    annotations: {s: '{{ now }}'}\n"), 7, 19, "needs a clock or a query"},
		{rule("    annotations: {s: '{{ nonsense }}'}\n"), 7, 19, "no function nonsense"},
		{rule("    annotations: {s: '{{ range 1000000000 }}{{ end }}'}\n"), 7, 19, "range is only for $labels"},
		{rule("    annotations: {s: '{{ define \"x\" }}{{ end }}'}\n"), 7, 19, "define"},
		{rule("    for: 1m\n    for: 2m\n"), 8, 5, ""},
		{rule("  - alert: A\n    from: x\n    expr: y\n"), 7, 5, "share one id"},
		{"groups:\n- name: g\n  rules:\n  - record: x\n    expr: y\n", 4, 5, "CREATE STREAMING TABLE"},
		{"groups:\n- name: g\n  rules:\n  - alert: A\n    expr: y\n", 4, 5, "from is missing"},
		{"groups:\n- name: g\n  rules:\n  - alert: A\n    from: bus\n", 4, 5, "expr is missing"},
		{"groups:\n- rules: []\n", 2, 3, "needs a name"},
		{"group: 1\n", 1, 1, `did you mean "groups"?`},
		{"groups: 5\n", 1, 9, "must be a list"},
		{"a: [\n", 1, 0, ""},
		{strings.Repeat("#", MaxFileBytes+1), 1, 1, "MaxFileBytes"},
		{strings.Repeat("[", 500_000), 1, 1, "MaxBrackets"},
		{"groups:\n" + strings.Repeat("- ", 500_000), 2, 1, "MaxMarks"},
	} {
		_, errs := ParseRules([]byte(c.in), "f.yaml")
		var e *FileError
		if len(errs) == 0 || !errors.As(errs[0], &e) {
			t.Errorf("%.80q is taken: %v", c.in, errs)
			continue
		}
		if e.Line != c.line || c.col > 0 && e.Col != c.col || !strings.Contains(e.Error(), c.says) {
			t.Errorf("%.120q: %v, want %d:%d %s", c.in, e, c.line, c.col, c.says)
		}
	}
	_, errs := ParseRules([]byte(rule("    fro: 5m\n")+"  - alert: B\n    form: x\n"), "f.yaml")
	if len(errs) != 2 {
		t.Errorf("not every error is reported: %v", errs)
	}
}

func TestDurations(t *testing.T) {
	for in, want := range map[string]int64{"0": 0, "30s": 30 * second, "1h30m": 5400 * second, "500ms": second / 2, "1d": 86400 * second, "2w": 14 * 86400 * second, "1y": 365 * 86400 * second, "0s": 0} {
		if got, err := ParseDuration(in); err != nil || got != want {
			t.Errorf("%s: %d, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "5", "m", "1m1h", "1m1m", "-1s", "1.5s", "99999999999999999999s", "300000y", " 1s"} {
		if got, err := ParseDuration(in); err == nil {
			t.Errorf("%q is taken as %d", in, got)
		}
	}
}

func TestTemplates(t *testing.T) {
	d := newData(map[string]string{"bus": "b 1", "host": "a.example.org:80"}, "1234.5")
	for in, want := range map[string]string{
		"plain":                                                       "plain",
		"{{ $labels.bus }} {{ .Value }}":                              "b 1 1234.5",
		"{{ $value | humanize }}":                                     "1.234k",
		"{{ humanize1024 2048 }}":                                     "2ki",
		"{{ humanize 0.0012 }}":                                       "1.2m",
		"{{ humanizeDuration 3725 }}":                                 "1h 2m 5s",
		"{{ humanizeDuration 0.25 }}":                                 "250ms",
		"{{ humanizePercentage 0.1234 }}":                             "12.34%",
		"{{ humanizeTimestamp 1435065584.5 }}":                        "2015-06-23 13:19:44.5 +0000 UTC",
		"{{ title \"full bus\" }}":                                    "Full Bus",
		"{{ stripPort $labels.host }} {{ stripDomain $labels.host }}": "a.example.org a:80",
		"{{ if gt $value 1000.0 }}big{{ else }}small{{ end }}":        "big",
		"{{ printf \"%.0f|%s\" $value $value }}":                      "1234|1234.5",
		"{{ range $k, $v := $labels }}{{ $k }};{{ end }}":             "bus;host;",
		"{{ reReplaceAll \"b (.)\" \"<$1>\" $labels.bus }}":           "<1>",
		"{{ match \"^b\" $labels.bus }}":                              "true",
		"{{ $labels.missing }}":                                       "",
		"{{ parseDuration \"1m\" }}":                                  "60",
		"{{ printf \"%9999999d\" 1 }}":                                "<error expanding template",
		"{{ humanize $labels.bus }}":                                  "<error expanding template",
	} {
		tmpl, err := compileTemplate(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if got := run(tmpl, in, d); got != want && !(strings.HasPrefix(want, "<error") && strings.HasPrefix(got, want)) {
			t.Errorf("%s: got %q, want %q", in, got, want)
		}
	}
	big := newData(nil, "9007199254740993")
	if tmpl, _ := compileTemplate("{{ $value }}"); run(tmpl, "", big) != "9007199254740993" {
		t.Error("a large integer loses digits")
	}
	long := newData(map[string]string{"x": strings.Repeat("é", MaxTextBytes)}, "")
	if tmpl, _ := compileTemplate("{{ $labels.x }}{{ $labels.x }}"); len(run(tmpl, "", long)) > MaxTextBytes {
		t.Error("a text grows without bound")
	}
}

// FuzzParseRules holds that no bytes make the rule parser panic, and that what it takes makes a Set and a query.
func FuzzParseRules(f *testing.F) {
	f.Add(goodFile)
	f.Add("groups:\n- name: g\n  rules:\n  - alert: A\n    from: bus\n    expr: a > 1\n    annotations: {s: '{{ $labels.x }}'}\n")
	f.Fuzz(func(t *testing.T, text string) {
		rules, errs := ParseRules([]byte(text), "f")
		for _, err := range errs {
			var e *FileError
			if !errors.As(err, &e) || e.Line < 1 || e.Msg == "" {
				t.Fatalf("error without position: %#v", err)
			}
		}
		s, err := NewSet(rules, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := DecodeSet(s.Encode(nil), Options{}); err != nil {
			t.Fatal(err)
		}
	})
}

// TestExampleRules parses the rule files that are shipped, and their queries.
func TestExampleRules(t *testing.T) {
	files, err := filepath.Glob("../../deploy/*/rules.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no rule files under deploy: %v", err)
	}
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		rules, errs := ParseRules(raw, name)
		if len(errs) > 0 || len(rules) == 0 {
			t.Errorf("%s: %d rules, %v", name, len(rules), errs)
		}
		for _, r := range rules {
			if _, err := sql.ParseSelect(SelectSQL(r)); err != nil {
				t.Errorf("%s: %s: %v", name, SelectSQL(r), err)
			}
		}
	}
}
