package config

import (
	"fmt"
	"io"
	"reflect"
	"sort"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Print writes the effective values as YAML, each with its default and the reason for it.
// Secrets are shown as (set) or empty.
func Print(w io.Writer, cfg any) { printSection(w, reflect.ValueOf(cfg).Elem(), "") }

func printSection(w io.Writer, v reflect.Value, indent string) {
	t := v.Type()
	for i := range t.NumField() {
		f := t.Field(i)
		if isInline(f) {
			printSection(w, v.Field(i), indent)
			continue
		}
		name := yamlName(f)
		if name == "" {
			continue
		}
		if isSection(f.Type) {
			fmt.Fprintf(w, "%s%s:", indent, name)
			if help := f.Tag.Get("help"); help != "" {
				fmt.Fprintf(w, " # %s", help)
			}
			fmt.Fprintln(w)
			printSection(w, v.Field(i), indent+"  ")
			continue
		}
		printKey(w, f, v.Field(i), indent, name)
	}
}

func printKey(w io.Writer, f reflect.StructField, v reflect.Value, indent, name string) {
	d := f.Tag.Get("default")
	if d == "" {
		d = "none"
	}
	fmt.Fprintf(w, "%s%s: %s # default %s; %s\n", indent, name, render(f, v), d, f.Tag.Get("help"))
	switch {
	case v.Kind() == reflect.Slice && isSection(v.Type().Elem()):
		for i := range v.Len() {
			fmt.Fprintf(w, "%s  - # %d\n", indent, i)
			printSection(w, v.Index(i), indent+"    ")
		}
	case v.Kind() == reflect.Map && isSection(v.Type().Elem()):
		for _, k := range sortedKeys(v) {
			fmt.Fprintf(w, "%s  %s:\n", indent, k)
			printSection(w, v.MapIndex(reflect.ValueOf(k)), indent+"    ")
		}
	}
}

func sortedKeys(v reflect.Value) []string {
	keys := make([]string, 0, v.Len())
	for _, k := range v.MapKeys() {
		keys = append(keys, k.String())
	}
	sort.Strings(keys)
	return keys
}

func render(f reflect.StructField, v reflect.Value) string {
	if f.Tag.Get("secret") == "true" {
		if v.IsZero() {
			return `""`
		}
		return "(set)"
	}
	switch v.Kind() {
	case reflect.String:
		return fmt.Sprintf("%q", v.String())
	case reflect.Slice:
		if isSection(v.Type().Elem()) {
			return ""
		}
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = fmt.Sprintf("%q", fmt.Sprint(v.Index(i).Interface()))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case reflect.Map:
		if isSection(v.Type().Elem()) {
			return ""
		}
		parts := make([]string, 0, v.Len())
		for _, k := range sortedKeys(v) {
			parts = append(parts, fmt.Sprintf("%s: %q", k, fmt.Sprint(v.MapIndex(reflect.ValueOf(k)).Interface())))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return fmt.Sprint(v.Interface())
}

// FlagName turns a path into a flag name: mqtt.client_id becomes mqtt-client-id.
func FlagName(path string) string { return strings.NewReplacer(".", "-", "_", "-").Replace(path) }

// Command returns a command whose flags are the keys of cfg (a pointer to a
// struct with tags), with --config and --print-config, and which calls run with cfg filled.
func Command(use, short, envPrefix string, cfg any, run func(*cobra.Command) error) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true}
	collect := bindFlags(cmd.Flags(), cfg)
	file := cmd.Flags().String("config", "", "YAML file; every key is optional")
	show := cmd.Flags().Bool("print-config", false, "print the effective values, each with its default and reason, and exit")
	cmd.RunE = func(c *cobra.Command, _ []string) error {
		if err := Load(cfg, Source{File: *file, EnvPrefix: envPrefix, Flags: collect()}); err != nil {
			return err
		}
		if *show {
			Print(c.OutOrStdout(), cfg)
			return nil
		}
		return run(c)
	}
	return cmd
}

// bindFlags declares one flag for each scalar key and returns a function that collects those that were set.
func bindFlags(fs *pflag.FlagSet, cfg any) func() map[string]string {
	paths := map[string]string{}
	_ = walk(reflect.ValueOf(cfg).Elem(), "", func(k key) error {
		if k.value.Kind() == reflect.Map || (k.value.Kind() == reflect.Slice && k.value.Type().Elem().Kind() != reflect.String) {
			return nil // only in the file
		}
		name := FlagName(k.path)
		paths[name] = k.path
		usage := k.field.Tag.Get("help")
		if d := k.field.Tag.Get("default"); d != "" {
			usage += " (default " + d + ")"
		}
		fs.String(name, "", usage)
		if k.value.Kind() == reflect.Bool {
			fs.Lookup(name).NoOptDefVal = "true"
		}
		return nil
	})
	return func() map[string]string {
		set := map[string]string{}
		fs.Visit(func(f *pflag.Flag) {
			if p, ok := paths[f.Name]; ok {
				set[p] = f.Value.String()
			}
		})
		return set
	}
}
