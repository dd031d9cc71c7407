package config

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"signalbox/engine/spelling"
)

// typo is how many wrong letters make a variable of another name a misspelt one of ours.
const typo = 2

// injected are the variables that an orchestrator adds to every container for a service of our name.
var injected = regexp.MustCompile(`(^|_)SERVICE_(HOST|PORT)|_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?$`)

// applyEnv sets what the environment gives. A variable that begins like ours, or nearly spells one of ours, and names no
// key is an error, as an unknown key of the file is: nobody would notice that it does nothing.
func applyEnv(v reflect.Value, src Source) error {
	if src.EnvPrefix == "" {
		return nil
	}
	environ := src.Environ
	if environ == nil {
		environ = os.Environ
	}
	given := map[string]string{}
	for _, pair := range environ() {
		if name, text, ok := strings.Cut(pair, "="); ok {
			given[name] = text
		}
	}
	var known []string
	secrets := map[string]bool{}
	err := walk(v, "", func(k key) error {
		name := src.EnvPrefix + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(k.path))
		known = append(known, name)
		if text := given[name]; text != "" {
			if err := setText(k.value, text); err != nil {
				return fmt.Errorf("environment %s: %w", name, err)
			}
		}
		if ref, ok := strings.CutPrefix(k.value.String(), "env:"); ok && k.field.Tag.Get("secret") == "true" {
			secrets[ref] = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	return unknownEnv(given, known, secrets, src)
}

// unknownEnv complains about the first variable, in the order of names, that was meant for us and does nothing.
func unknownEnv(given map[string]string, known []string, secrets map[string]bool, src Source) error {
	family, _, _ := strings.Cut(src.EnvPrefix, "_")
	var names []string
	for name := range given {
		if strings.HasPrefix(name, family+"_") && !slices.Contains(known, name) && !secrets[name] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		near, distance := nearest(name, known)
		ours := strings.HasPrefix(name, src.EnvPrefix)
		switch {
		case ours && (injected.MatchString(name) || strings.HasSuffix(name, "_PORT") && strings.Contains(given[name], "://")):
		case distance <= typo, ours && distance <= (len(name)-len(src.EnvPrefix))/2:
			return fmt.Errorf("environment %s: there is no such key; did you mean %s?", name, near)
		case ours:
			return fmt.Errorf("environment %s: there is no such key; --print-config shows all of them", name)
		}
	}
	return nil
}

func nearest(name string, known []string) (near string, distance int) {
	distance = len(name)
	for _, k := range known {
		if d := spelling.Distance(name, k); d < distance {
			near, distance = k, d
		}
	}
	return near, distance
}
