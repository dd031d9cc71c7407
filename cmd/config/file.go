package config

import (
	"fmt"
	"maps"
	"os"
	"reflect"
	"sort"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"signalbox/engine/spelling"
)

func loadFile(v reflect.Value, path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("config file: %w", err)
	}
	f, err := parser.ParseBytes(text, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if len(f.Docs) > 1 {
		return fmt.Errorf("%s: has %d YAML documents; write one", path, len(f.Docs))
	}
	if len(f.Docs) == 0 || f.Docs[0].Body == nil {
		return nil
	}
	d := decoder{file: path}
	return d.section(v, f.Docs[0].Body, "")
}

// decoder assigns a YAML tree to a struct and knows where it is.
type decoder struct{ file string }

func (d decoder) errf(n ast.Node, format string, args ...any) error {
	p := n.GetToken().Position
	return fmt.Errorf("%s:%d:%d: %s", d.file, p.Line, p.Column, fmt.Sprintf(format, args...))
}

func (d decoder) section(v reflect.Value, n ast.Node, prefix string) error {
	values, err := d.mapping(n, prefix)
	if err != nil {
		return err
	}
	known := fieldsByKey(v)
	for _, mv := range values {
		name := mv.Key.GetToken().Value
		field, ok := known[name]
		if !ok {
			return d.errf(mv.Key, "unknown key %q%s", join(prefix, name), hint(name, known))
		}
		if err := d.assign(field, mv.Value, join(prefix, name)); err != nil {
			return err
		}
	}
	return nil
}

func (d decoder) mapping(n ast.Node, path string) ([]*ast.MappingValueNode, error) {
	switch m := n.(type) {
	case *ast.MappingNode:
		return m.Values, nil
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{m}, nil
	case *ast.NullNode:
		return nil, nil
	}
	if path == "" {
		path = "the file"
	}
	return nil, d.errf(n, "%s must be a mapping of keys to values", path)
}

func (d decoder) assign(v reflect.Value, n ast.Node, path string) error {
	if _, null := n.(*ast.NullNode); null {
		return nil // "key:" keeps the default
	}
	switch {
	case isSection(v.Type()):
		return d.section(v, n, path)
	case v.Kind() == reflect.Slice:
		return d.list(v, n, path)
	case v.Kind() == reflect.Map:
		return d.stringMap(v, n, path)
	}
	text, ok := scalar(n)
	if !ok {
		return d.errf(n, "%s must be a single value", path)
	}
	if err := setText(v, text); err != nil {
		return d.errf(n, "%s: %v", path, err)
	}
	return nil
}

func (d decoder) list(v reflect.Value, n ast.Node, path string) error {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		return d.errf(n, "%s must be a list (lines that begin with -)", path)
	}
	out := reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values))
	for i, e := range seq.Values {
		item := out.Index(i)
		if isSection(item.Type()) {
			if err := setDefaults(item, ""); err != nil {
				return err
			}
		}
		if err := d.assign(item, e, fmt.Sprintf("%s[%d]", path, i)); err != nil {
			return err
		}
	}
	v.Set(out)
	return nil
}

func (d decoder) stringMap(v reflect.Value, n ast.Node, path string) error {
	values, err := d.mapping(n, path)
	if err != nil {
		return err
	}
	out := reflect.MakeMap(v.Type())
	for _, mv := range values {
		item := reflect.New(v.Type().Elem()).Elem()
		if isSection(item.Type()) {
			if err := setDefaults(item, ""); err != nil {
				return err
			}
		}
		name := mv.Key.GetToken().Value
		if err := d.assign(item, mv.Value, join(path, name)); err != nil {
			return err
		}
		out.SetMapIndex(reflect.ValueOf(name), item)
	}
	v.Set(out)
	return nil
}

func scalar(n ast.Node) (string, bool) {
	switch s := n.(type) {
	case *ast.StringNode:
		return s.Value, true
	case *ast.LiteralNode:
		return s.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, true
	}
	return "", false
}

func fieldsByKey(v reflect.Value) map[string]reflect.Value {
	out := map[string]reflect.Value{}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if isInline(f) {
			maps.Copy(out, fieldsByKey(v.Field(i)))
		} else if name := yamlName(f); name != "" {
			out[name] = v.Field(i)
		}
	}
	return out
}

// hint names the nearest known key, or all of them.
func hint(name string, known map[string]reflect.Value) string {
	keys := make([]string, 0, len(known))
	for k := range known {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	best, dist := "", len(name)/2+1
	for _, k := range keys {
		if d := spelling.Distance(name, k); d < dist {
			best, dist = k, d
		}
	}
	if best != "" {
		return fmt.Sprintf("; did you mean %q?", best)
	}
	return "; known keys here: " + strings.Join(keys, ", ")
}
