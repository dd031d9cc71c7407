package alert

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits of templates.
const (
	MaxTemplateBytes = 4 << 10 // the text of one label or annotation
	MaxTextBytes     = 4 << 10 // what it may grow to; the rest is cut off
)

// Functions of Prometheus that ask a clock or a database: an alert must read the same on every node and in every replay.
const boundFunctions = " now query first label value strvalue sortByLabel graphLink tableLink externalURL pathPrefix "

// compiled is a rule with its templates ready.
type compiled struct {
	Rule
	by                  []string // label names of the by columns
	extra               []string
	labels, annotations []*template.Template
}

func compile(r Rule) (*compiled, error) {
	c := &compiled{Rule: r, extra: r.extraColumns()}
	for _, col := range r.By {
		c.by = append(c.by, LabelName(col))
	}
	var err error
	if c.labels, err = compileAll(r, "labels", r.Labels); err != nil {
		return nil, err
	}
	c.annotations, err = compileAll(r, "annotations", r.Annotations)
	return c, err
}

func compileAll(r Rule, what string, list []Label) ([]*template.Template, error) {
	out := make([]*template.Template, len(list))
	for i, l := range list {
		t, err := compileTemplate(l.Value)
		if err != nil {
			return nil, fmt.Errorf("group %q, rule %q: %s: %s: %w", r.Group, r.Name, what, l.Name, err)
		}
		out[i] = t
	}
	return out, nil
}

const preamble = "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}{{$externalURL := .ExternalURL}}{{$value := .Value}}"

var undefined = regexp.MustCompile(`function "([^"]*)" not defined`)

func compileTemplate(text string) (*template.Template, error) {
	if len(text) > MaxTemplateBytes {
		return nil, fmt.Errorf("the template has %d bytes, more than the limit MaxTemplateBytes = %d", len(text), MaxTemplateBytes)
	}
	if !strings.Contains(text, "{{") {
		return nil, nil // plain text: nothing to run
	}
	t, err := template.New("text").Option("missingkey=zero").Funcs(functions()).Parse(preamble + text)
	if err != nil {
		if m := undefined.FindStringSubmatch(err.Error()); m != nil {
			if strings.Contains(boundFunctions, " "+m[1]+" ") {
				return nil, fmt.Errorf("the function %s needs a clock or a query, and a template here may use neither: use $labels and $value, or compute it in expr or value", m[1])
			}
			return nil, fmt.Errorf("there is no function %s", m[1])
		}
		return nil, errors.New(strings.TrimPrefix(err.Error(), "template: text:"))
	}
	if len(t.Templates()) > 1 {
		return nil, errors.New("define and block are not supported in a template")
	}
	return t, bounded(t.Root)
}

// bounded refuses what could run for ever: range is only for labels, and there are no templates that call templates.
func bounded(n parse.Node) error {
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil {
			return nil
		}
		for _, c := range n.Nodes {
			if err := bounded(c); err != nil {
				return err
			}
		}
	case *parse.IfNode:
		return errors.Join(bounded(n.List), bounded(n.ElseList))
	case *parse.WithNode:
		return errors.Join(bounded(n.List), bounded(n.ElseList))
	case *parse.RangeNode:
		if p := n.Pipe; len(p.Cmds) != 1 || len(p.Cmds[0].Args) != 1 || p.Cmds[0].Args[0].String() != "$labels" && p.Cmds[0].Args[0].String() != ".Labels" {
			return errors.New("range is only for $labels")
		}
		return errors.Join(bounded(n.List), bounded(n.ElseList))
	case *parse.TemplateNode:
		return errors.New("template is not supported in a template")
	}
	return nil
}

// number is $value when it is one: it compares and formats as a float and prints without exponent.
type number float64

// Format prints %v and %s plainly and leaves every other verb to float64.
func (n number) Format(f fmt.State, verb rune) {
	if verb == 'v' || verb == 's' {
		fmt.Fprint(f, strconv.FormatFloat(float64(n), 'f', -1, 64))
		return
	}
	if verb == 'd' {
		fmt.Fprintf(f, fmt.FormatString(f, verb), int64(n))
		return
	}
	fmt.Fprintf(f, fmt.FormatString(f, verb), float64(n))
}

// data is what a template sees, named as in Prometheus.
type data struct {
	Labels         map[string]string
	ExternalLabels map[string]string
	ExternalURL    string
	Value          any
}

func newData(labels map[string]string, value string) data {
	d := data{Labels: labels, ExternalLabels: map[string]string{}, Value: value}
	if v, err := strconv.ParseFloat(value, 64); err == nil && math.Abs(v) < 1<<53 && !strings.ContainsAny(value, "xXpP_") {
		d.Value = number(v)
	}
	return d
}

// run expands one template; an error becomes its text, as in Prometheus.
func run(t *template.Template, text string, d data) string {
	if t == nil {
		return text
	}
	var w clipWriter
	if err := t.Execute(&w, d); err != nil && !errors.Is(err, errClipped) {
		return clip("<error expanding template: " + err.Error() + ">")
	}
	return clip(w.String())
}

var errClipped = errors.New("the text is too long")

type clipWriter struct{ strings.Builder }

func (w *clipWriter) Write(p []byte) (int, error) {
	if w.Len() > MaxTextBytes {
		return 0, errClipped
	}
	return w.Builder.Write(p)
}

// clip cuts a text at MaxTextBytes, between characters.
func clip(s string) string {
	if len(s) <= MaxTextBytes {
		return s
	}
	s = s[:MaxTextBytes]
	for len(s) > 0 && !utf8.RuneStart(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s[:max(len(s)-1, 0)]
}

func functions() template.FuncMap {
	return template.FuncMap{
		"toUpper": strings.ToUpper, "toLower": strings.ToLower, "title": title,
		"match": func(pattern, s string) (bool, error) { return regexp.MatchString(pattern, clip(s)) },
		"reReplaceAll": func(pattern, repl, s string) (string, error) {
			re, err := regexp.Compile(pattern)
			if err != nil {
				return "", err
			}
			return clip(re.ReplaceAllString(clip(s), repl)), nil
		},
		"stripPort": stripPort, "stripDomain": stripDomain,
		"humanize": humanize, "humanize1024": humanize1024, "humanizeDuration": humanizeDuration,
		"humanizePercentage": func(v any) (string, error) {
			f, err := toFloat(v)
			return strconv.FormatFloat(f*100, 'g', 4, 64) + "%", err
		},
		"humanizeTimestamp": humanizeTimestamp,
		"parseDuration": func(s string) (float64, error) {
			us, err := ParseDuration(s)
			return float64(us) / 1e6, err
		},
		"safeHtml": func(s string) string { return s },
		"printf":   printf,
		"args": func(list ...any) map[string]any {
			out := map[string]any{}
			for i, a := range list {
				out["arg"+strconv.Itoa(i)] = a
			}
			return out
		},
	}
}

var wideVerb = regexp.MustCompile(`%[^a-zA-Z%]*([0-9]{4}|\*)`)

// printf is fmt.Sprintf without widths that would fill the memory.
func printf(format string, args ...any) (string, error) {
	if wideVerb.MatchString(format) {
		return "", errors.New("printf: a width has at most three digits")
	}
	return fmt.Sprintf(format, args...), nil
}

func title(s string) string {
	up := true
	return strings.Map(func(r rune) rune {
		was := up
		up = unicode.IsSpace(r)
		if was {
			return unicode.ToTitle(r)
		}
		return r
	}, s)
}

func stripPort(s string) string {
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.Contains(s[:i], ":") {
		return s[:i]
	}
	return s
}

func stripDomain(s string) string {
	host, port, found := strings.Cut(s, ":")
	if strings.Trim(host, "0123456789.") != "" {
		host, _, _ = strings.Cut(host, ".")
	}
	if found {
		return host + ":" + port
	}
	return host
}

func toFloat(v any) (float64, error) {
	switch v := v.(type) {
	case number:
		return float64(v), nil
	case float64:
		return v, nil
	case int:
		return float64(v), nil
	case int64:
		return float64(v), nil
	case string:
		return strconv.ParseFloat(v, 64)
	}
	return 0, fmt.Errorf("%T is not a number", v)
}

func humanize(v any) (string, error) {
	return scaled(v, 1000, []string{"k", "M", "G", "T", "P", "E", "Z", "Y"}, []string{"m", "u", "n", "p", "f", "a", "z", "y"})
}

func humanize1024(v any) (string, error) {
	return scaled(v, 1024, []string{"ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"}, nil)
}

func scaled(v any, step float64, big, small []string) (string, error) {
	f, err := toFloat(v)
	if err != nil {
		return "", err
	}
	if f == 0 || math.IsNaN(f) || math.IsInf(f, 0) {
		return strconv.FormatFloat(f, 'g', 4, 64), nil
	}
	prefix := ""
	for i := 0; math.Abs(f) >= step && i < len(big); i++ {
		prefix, f = big[i], f/step
	}
	for i := 0; prefix == "" && math.Abs(f) < 1 && i < len(small); i++ {
		f *= step
		if math.Abs(f) >= 1 || i == len(small)-1 {
			prefix = small[i]
			break
		}
	}
	return strconv.FormatFloat(f, 'g', 4, 64) + prefix, nil
}

func humanizeDuration(v any) (string, error) {
	f, err := toFloat(v)
	if err != nil {
		return "", err
	}
	if math.IsNaN(f) || math.IsInf(f, 0) || math.Abs(f) >= 1<<53 {
		return strconv.FormatFloat(f, 'g', 4, 64), nil
	}
	if math.Abs(f) < 1 {
		s, err := scaled(f, 1000, nil, []string{"m", "u", "n", "p", "f", "a", "z", "y"})
		return s + "s", err
	}
	sign := ""
	if f < 0 {
		sign, f = "-", -f
	}
	n := int64(f)
	d, h, m, s := n/86400, n/3600%24, n/60%60, n%60
	switch {
	case d > 0:
		return fmt.Sprintf("%s%dd %dh %dm %ds", sign, d, h, m, s), nil
	case h > 0:
		return fmt.Sprintf("%s%dh %dm %ds", sign, h, m, s), nil
	case m > 0:
		return fmt.Sprintf("%s%dm %ds", sign, m, s), nil
	}
	return sign + strconv.FormatFloat(f, 'g', 4, 64) + "s", nil
}

func humanizeTimestamp(v any) (string, error) {
	f, err := toFloat(v)
	if err != nil || math.IsNaN(f) || math.Abs(f) >= 1<<40 {
		return strconv.FormatFloat(f, 'g', 4, 64), err
	}
	return time.UnixMicro(int64(math.Round(f * 1e6))).UTC().Format("2006-01-02 15:04:05.999999 +0000 UTC"), nil
}

// ParseDuration reads a duration as Prometheus writes it, such as 1h30m or 500ms, in microseconds.
func ParseDuration(s string) (int64, error) {
	bad := fmt.Errorf("%q is not a duration: write for example 30s, 5m or 1h30m", s)
	if s == "0" {
		return 0, nil
	}
	unitNames := [...]string{"y", "w", "d", "h", "m", "s", "ms"}
	micros := [...]int64{365 * 86400e6, 7 * 86400e6, 86400e6, 3600e6, 60e6, 1e6, 1e3}
	total, rest, last := int64(0), s, -1
	for rest != "" {
		n := 0
		for n < len(rest) && rest[n] >= '0' && rest[n] <= '9' {
			n++
		}
		m := n
		for m < len(rest) && (rest[m] < '0' || rest[m] > '9') {
			m++
		}
		v, err := strconv.ParseInt(rest[:n], 10, 64)
		unit := -1
		for i, name := range unitNames {
			if rest[n:m] == name {
				unit = i
			}
		}
		if err != nil || unit <= last || v > (math.MaxInt64-total)/micros[unit] {
			return 0, bad
		}
		total, rest, last = total+v*micros[unit], rest[m:], unit
	}
	if last < 0 {
		return 0, bad
	}
	return total, nil
}
