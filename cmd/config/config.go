// Package config fills a tagged struct from defaults, a YAML file, the
// environment and flags, in that order, and prints what came out.
//
// It promises that an unknown key, also as a variable of the environment, is
// refused with its position and the nearest known key, and that a secret is never printed. It refuses to know what the
// keys mean: each part declares its own Config struct.
//
// Tags: yaml:"key" names a key, yaml:",inline" takes over the keys of a struct, default:"v" its default, help:"…" the reason
// for the default, secret:"true" a value that may be given as file:PATH or
// env:NAME and is never shown.
package config

import (
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Source says where values come from besides the defaults.
type Source struct {
	File      string            // YAML file, "" = none
	EnvPrefix string            // for example SIGNALBOX_CORE_
	Environ   func() []string   // os.Environ when nil
	Flags     map[string]string // by path, for example "mqtt.broker"
}

// key is one settable value of a struct.
type key struct {
	path  string
	field reflect.StructField
	value reflect.Value
}

// Load fills cfg, a pointer to a struct.
func Load(cfg any, src Source) error {
	v := reflect.ValueOf(cfg).Elem()
	if err := setDefaults(v, ""); err != nil {
		return err
	}
	if src.File != "" {
		if err := loadFile(v, src.File); err != nil {
			return err
		}
	}
	if err := applyEnv(v, src); err != nil {
		return err
	}
	if err := applyFlags(v, src.Flags); err != nil {
		return err
	}
	return resolveSecrets(v)
}

// yamlName returns the key of a field, or "" when it is not configuration.
func yamlName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	if name == "-" || !f.IsExported() {
		return ""
	}
	return name
}

// isInline reports a struct whose keys belong to the struct around it (yaml:",inline").
func isInline(f reflect.StructField) bool {
	_, opt, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	return opt == "inline" && f.Type.Kind() == reflect.Struct
}

// isSection reports whether a field is a nested struct of keys.
func isSection(t reflect.Type) bool { return t.Kind() == reflect.Struct }

// walk calls fn for every scalar, list and map key of a struct, in order.
func walk(v reflect.Value, prefix string, fn func(key) error) error {
	t := v.Type()
	for i := range t.NumField() {
		if isInline(t.Field(i)) {
			if err := walk(v.Field(i), prefix, fn); err != nil {
				return err
			}
			continue
		}
		name := yamlName(t.Field(i))
		if name == "" {
			continue
		}
		path := join(prefix, name)
		if isSection(t.Field(i).Type) {
			if err := walk(v.Field(i), path, fn); err != nil {
				return err
			}
			continue
		}
		if err := fn(key{path, t.Field(i), v.Field(i)}); err != nil {
			return err
		}
	}
	return nil
}

func join(prefix, name string) string {
	if prefix == "" {
		return name
	}
	return prefix + "." + name
}

func setDefaults(v reflect.Value, prefix string) error {
	return walk(v, prefix, func(k key) error {
		d, ok := k.field.Tag.Lookup("default")
		if !ok || d == "" || !k.value.IsZero() {
			return nil
		}
		if err := setText(k.value, d); err != nil {
			return fmt.Errorf("config: default of %s: %w", k.path, err)
		}
		return nil
	})
}

func applyFlags(v reflect.Value, flags map[string]string) error {
	left := map[string]bool{}
	for p := range flags {
		left[p] = true
	}
	err := walk(v, "", func(k key) error {
		text, ok := flags[k.path]
		if !ok {
			return nil
		}
		delete(left, k.path)
		if err := setText(k.value, text); err != nil {
			return fmt.Errorf("flag --%s: %w", FlagName(k.path), err)
		}
		return nil
	})
	for p := range left {
		return fmt.Errorf("flag --%s: unknown key", FlagName(p))
	}
	return err
}

func resolveSecrets(v reflect.Value) error {
	return walk(v, "", func(k key) error {
		if k.field.Tag.Get("secret") != "true" || k.value.Kind() != reflect.String {
			return nil
		}
		text, err := secret(k.value.String())
		if err != nil {
			return fmt.Errorf("config key %s: %w", k.path, err)
		}
		k.value.SetString(text)
		return nil
	})
}

func secret(ref string) (string, error) {
	if path, ok := strings.CutPrefix(ref, "file:"); ok {
		b, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("secret file: %w", err)
		}
		return strings.TrimRight(string(b), "\r\n"), nil
	}
	if name, ok := strings.CutPrefix(ref, "env:"); ok {
		s, found := os.LookupEnv(name)
		if !found {
			return "", fmt.Errorf("environment variable %s of the secret is not set", name)
		}
		return s, nil
	}
	return ref, nil
}

var durationType = reflect.TypeFor[time.Duration]()

// setText parses text into a scalar; lists are comma-separated.
func setText(v reflect.Value, text string) error {
	if v.Type() == durationType {
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%q is not a duration (write for example 500ms, 10s, 5m)", text)
		}
		v.SetInt(int64(d))
		return nil
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is not true or false", text)
		}
		v.SetBool(b)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(strings.ReplaceAll(text, "_", ""), 10, v.Type().Bits())
		if err != nil {
			return fmt.Errorf("%q is not a whole number of %d bits", text, v.Type().Bits())
		}
		v.SetInt(n)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(strings.ReplaceAll(text, "_", ""), 10, v.Type().Bits())
		if err != nil {
			return fmt.Errorf("%q is not a whole number >= 0 of %d bits", text, v.Type().Bits())
		}
		v.SetUint(n)
	case reflect.Float32, reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return fmt.Errorf("%q is not a number", text)
		}
		v.SetFloat(f)
	case reflect.Slice:
		if v.Type().Elem().Kind() != reflect.String {
			return fmt.Errorf("a list of %s can only be given in the file", v.Type().Elem())
		}
		parts := strings.Split(text, ",")
		for i := range parts {
			parts[i] = strings.TrimSpace(parts[i])
		}
		v.Set(reflect.ValueOf(parts))
	default:
		return fmt.Errorf("can only be given in the file")
	}
	return nil
}
