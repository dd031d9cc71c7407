package alert

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"signalbox/engine/spelling"
)

// Limits of a rule file.
const (
	MaxFileBytes = 1 << 20
	MaxRules     = 10000 // in one file
	MaxBrackets  = 50    // [ and { open at once
	MaxMarks     = 500   // of each of - ? : & ! * on one line
)

// FileError is an error in a rule file.
type FileError struct {
	File      string
	Line, Col int
	Msg       string
}

func (e *FileError) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Col, e.Msg)
}

// ParseRules reads a rule file in the shape of Prometheus:
//
//	groups:
//	  - name: buses
//	    rules:
//	      - alert: AtCapacity
//	        from: bus
//	        expr: passengers >= capacity
//	        by: [bus_id]
//	        for: 30s
//
// with from, by, time, value, resolve and absent_for beside Prometheus' keys
// (interval is read and has no effect: rules are evaluated on every reading).
// It reports every error it finds, each a *FileError; the rules are those without error.
func ParseRules(yaml []byte, file string) ([]Rule, []error) {
	f := &ruleFile{name: file, seen: map[[2]string]bool{}}
	if len(yaml) > MaxFileBytes {
		f.fail(nil, "the file has %d bytes, more than the limit MaxFileBytes = %d", len(yaml), MaxFileBytes)
		return nil, f.errs
	}
	if line := tooDeep(yaml); line > 0 {
		f.errs = append(f.errs, &FileError{File: file, Line: line, Col: 1, Msg: fmt.Sprintf("the file nests deeper than the limits MaxBrackets = %d and MaxMarks = %d", MaxBrackets, MaxMarks)})
		return nil, f.errs
	}
	tree, err := parseYAML(yaml)
	if err != nil {
		f.errs = append(f.errs, yamlError(file, err))
		return nil, f.errs
	}
	for _, doc := range tree.Docs {
		if doc.Body != nil {
			f.document(doc.Body)
		}
	}
	return f.rules, f.errs
}

// tooDeep returns the first line that nests too deep, or 0: the time and stack of
// the YAML library grow with the square of the nesting. It does not look at quotes, so it is wider than any rule needs.
func tooDeep(yaml []byte) int {
	open, line := 0, 1
	var marks [256]uint16
	for _, c := range yaml {
		switch c {
		case '[', '{':
			open++
		case ']', '}':
			open = max(open-1, 0)
		case '-', '?', ':', '&', '!', '*':
			marks[c]++
		case '\n':
			line++
			marks = [256]uint16{}
			continue
		}
		if open > MaxBrackets || marks[c] > MaxMarks {
			return line
		}
	}
	return 0
}

// parseYAML turns a panic of the library into an error: a rule file comes from outside.
func parseYAML(yaml []byte) (tree *ast.File, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("this is not YAML that can be read: %v", r)
		}
	}()
	return parser.ParseBytes(yaml, 0)
}

// yamlError takes position and message out of the library's error, whose text begins with [line:column].
func yamlError(file string, err error) error {
	msg, _, _ := strings.Cut(err.Error(), "\n")
	e := &FileError{File: file, Line: 1, Col: 1, Msg: msg}
	if pos, rest, ok := strings.Cut(strings.TrimPrefix(msg, "["), "] "); ok {
		line, col, _ := strings.Cut(pos, ":")
		l, err1 := strconv.Atoi(line)
		c, err2 := strconv.Atoi(col)
		if err1 == nil && err2 == nil {
			e.Line, e.Col, e.Msg = l, c, rest
		}
	}
	return e
}

type ruleFile struct {
	name  string
	rules []Rule
	errs  []error
	seen  map[[2]string]bool
}

func (f *ruleFile) fail(at ast.Node, format string, args ...any) {
	e := &FileError{File: f.name, Line: 1, Col: 1, Msg: fmt.Sprintf(format, args...)}
	// The token of a mapping is its first colon: what the user looks for is the key before it.
	switch n := at.(type) {
	case *ast.MappingNode:
		if len(n.Values) > 0 {
			at = n.Values[0].Key
		}
	case *ast.MappingValueNode:
		at = n.Key
	}
	if at != nil && at.GetToken() != nil && at.GetToken().Position != nil {
		e.Line, e.Col = at.GetToken().Position.Line, at.GetToken().Position.Column
	}
	f.errs = append(f.errs, e)
}

// mapping visits the entries of a mapping; visit is false for an unknown key.
func (f *ruleFile) mapping(n ast.Node, what string, keys []string, visit func(key string, value ast.Node)) {
	var entries []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		entries = n.Values
	case *ast.MappingValueNode:
		entries = []*ast.MappingValueNode{n}
	default:
		f.fail(n, "%s must be a mapping of keys and values", what)
		return
	}
	seen := map[string]bool{}
	for _, e := range entries {
		key, ok := text(e.Key)
		switch {
		case !ok:
			f.fail(e.Key, "%s: this is no plain key", what)
		case seen[key]:
			f.fail(e.Key, "%s: the key %q is given twice", what, key)
		case keys != nil && !slices.Contains(keys, key):
			f.fail(e.Key, "%s: unknown key %q%s", what, key, suggestKey(key, keys))
		default:
			visit(key, e.Value)
		}
		seen[key] = true
	}
}

func suggestKey(key string, keys []string) string {
	switch key {
	case "record":
		return "; a recording rule is a CREATE STREAMING TABLE"
	case "query_offset", "evaluation_interval":
		return "; rules are evaluated on every reading"
	}
	best, cost := "", 1+len(key)/3
	for _, k := range keys {
		if d := spelling.Distance(key, k); d <= cost && (best == "" || d < cost) {
			best, cost = k, d
		}
	}
	if best != "" {
		return fmt.Sprintf("; did you mean %q?", best)
	}
	return "; the keys are " + strings.Join(keys, ", ")
}

// text is the value of a scalar.
func text(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, true
	case *ast.NullNode:
		return "", true
	}
	return "", false
}

func (f *ruleFile) text(n ast.Node, what string) string {
	s, ok := text(n)
	if !ok {
		f.fail(n, "%s must be a single value", what)
	}
	return strings.TrimSpace(s)
}

func (f *ruleFile) list(n ast.Node, what string) []ast.Node {
	if s, ok := n.(*ast.SequenceNode); ok {
		return s.Values
	}
	if _, null := n.(*ast.NullNode); !null {
		f.fail(n, "%s must be a list", what)
	}
	return nil
}

func (f *ruleFile) document(n ast.Node) {
	f.mapping(n, "the file", []string{"groups"}, func(_ string, v ast.Node) {
		for _, g := range f.list(v, "groups") {
			f.group(g)
		}
	})
}

func (f *ruleFile) group(n ast.Node) {
	var name string
	var rules []ast.Node
	var labels []Label
	limit := 0
	f.mapping(n, "a group", []string{"name", "interval", "limit", "labels", "rules"}, func(key string, v ast.Node) {
		switch key {
		case "name":
			name = f.text(v, "name")
		case "interval":
			f.duration(v, "interval")
		case "limit":
			limit = f.count(v, "limit")
		case "labels":
			labels = f.labels(v, "labels")
		case "rules":
			rules = f.list(v, "rules")
		}
	})
	if name == "" {
		f.fail(n, "a group needs a name")
		return
	}
	for _, r := range rules {
		f.rule(r, Rule{Group: name, Limit: limit, Labels: labels})
	}
}

var ruleKeys = []string{"alert", "expr", "from", "by", "time", "value", "resolve", "for", "keep_firing_for", "absent_for", "limit", "labels", "annotations"}

func (f *ruleFile) rule(n ast.Node, r Rule) {
	before := len(f.errs)
	shared := r.Labels
	r.Labels = nil
	at := map[string]ast.Node{}
	f.mapping(n, "a rule", ruleKeys, func(key string, v ast.Node) {
		at[key] = v
		f.ruleKey(&r, key, v)
	})
	r.Labels = overlay(shared, r.Labels)
	if len(f.errs) > before {
		return
	}
	if r.Name == "" {
		f.fail(n, "a rule needs the key alert with its name")
		return
	}
	if err := r.Validate(); err != nil {
		where := n
		for _, key := range ruleKeys {
			if v, ok := at[key]; ok && strings.Contains(err.Error(), ": "+key+": ") {
				where = v
			}
		}
		f.fail(where, "%v", err)
		return
	}
	if f.seen[[2]string{r.Group, r.Name}] {
		f.fail(n, "the group %q has two rules %q: their alerts would share one id", r.Group, r.Name)
		return
	}
	f.seen[[2]string{r.Group, r.Name}] = true
	if len(f.rules) >= MaxRules {
		f.fail(n, "the file has more than MaxRules = %d rules", MaxRules)
		return
	}
	f.rules = append(f.rules, r)
}

func (f *ruleFile) ruleKey(r *Rule, key string, v ast.Node) {
	switch key {
	case "alert":
		r.Name = f.text(v, key)
	case "expr":
		r.Expr = f.text(v, key)
	case "from":
		r.From = f.text(v, key)
	case "time":
		r.Time = f.text(v, key)
	case "value":
		r.Value = f.text(v, key)
	case "resolve":
		r.Resolve = f.text(v, key)
	case "for":
		r.For = f.duration(v, key)
	case "keep_firing_for":
		r.KeepFiringFor = f.duration(v, key)
	case "absent_for":
		r.AbsentFor = f.duration(v, key)
	case "limit":
		r.Limit = f.count(v, key)
	case "labels":
		r.Labels = f.labels(v, key)
	case "annotations":
		r.Annotations = f.labels(v, key)
	case "by":
		if s, ok := text(v); ok {
			r.By = []string{strings.TrimSpace(s)}
			return
		}
		for _, c := range f.list(v, key) {
			r.By = append(r.By, f.text(c, "a column of by"))
		}
	}
}

func (f *ruleFile) duration(n ast.Node, what string) int64 {
	us, err := ParseDuration(f.text(n, what))
	if err != nil {
		f.fail(n, "%s: %v", what, err)
	}
	return us
}

func (f *ruleFile) count(n ast.Node, what string) int {
	v, err := strconv.Atoi(f.text(n, what))
	if err != nil || v < 0 {
		f.fail(n, "%s must be a whole number, 0 for no limit", what)
	}
	return v
}

// labels reads a mapping of names to templates, sorted by name.
func (f *ruleFile) labels(n ast.Node, what string) []Label {
	if _, null := n.(*ast.NullNode); null {
		return nil
	}
	var out []Label
	f.mapping(n, what, nil, func(key string, v ast.Node) {
		s, ok := text(v)
		if !ok {
			f.fail(v, "%s: the value of %s must be text", what, key)
		}
		out = append(out, Label{key, s})
	})
	sortLabels(out)
	return out
}

func sortLabels(list []Label) {
	slices.SortFunc(list, func(a, b Label) int { return strings.Compare(a.Name, b.Name) })
}

// overlay returns base with the labels of over put over it, sorted.
func overlay(base, over []Label) []Label {
	out := slices.Clone(over)
	for _, b := range base {
		if !slices.ContainsFunc(out, func(l Label) bool { return l.Name == b.Name }) {
			out = append(out, b)
		}
	}
	sortLabels(out)
	return out
}
