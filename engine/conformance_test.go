package engine_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"signalbox/engine/expr"
	"signalbox/engine/sql"
)

// The cases of testdata/conformance were answered by Apache Spark. The test
// runs them, or those of the folder CONFORMANCE_DIR, and compares as the README
// there says. Cases that are known to fail are listed with a reason in
// testdata/conformance-known-failures.txt; the list is held to in both
// directions, and only for the folder it is about.

const (
	defaultCases  = "testdata/conformance"
	knownFailures = "testdata/conformance-known-failures.txt"

	moreCases         = "testdata/conformance-more"
	moreKnownFailures = "testdata/conformance-more-known-failures.txt"
)

// indexEntry is one line of INDEX.jsonl.
type indexEntry struct {
	Name, File, Kind, Tier string
}

func TestConformance(t *testing.T) {
	dir, known := defaultCases, map[string]string{}
	if d := os.Getenv("CONFORMANCE_DIR"); d != "" {
		dir = d
	} else {
		known = readKnownFailures(t, knownFailures)
	}
	pass, total := runCases(t, dir, known, knownFailures)
	fmt.Printf("conformance: core %d/%d extended %d/%d\n", pass["core"], total["core"], pass["extended"], total["extended"])
}

// TestMoreSparkCases runs our own queries, answered by the same version of Spark.
func TestMoreSparkCases(t *testing.T) {
	pass, total := runCases(t, moreCases, readKnownFailures(t, moreKnownFailures), moreKnownFailures)
	t.Logf("%d of %d", pass["core"], total["core"])
}

// runCases runs the cases of a folder; known lists those that fail, and list is the file it was read from.
func runCases(t *testing.T, dir string, known map[string]string, list string) (pass, total map[string]int) {
	t.Helper()
	pass, total = map[string]int{}, map[string]int{}
	for _, e := range readIndex(t, dir) {
		err := runCase(dir, e)
		total[e.Tier]++
		reason, listed := known[e.Name]
		delete(known, e.Name)
		if err == nil {
			pass[e.Tier]++
			if listed {
				t.Errorf("%s passes now: take it off %s", e.Name, list)
			}
			continue
		}
		if listed {
			t.Logf("known failure %s (%s): %v", e.Name, reason, err)
			continue
		}
		t.Errorf("%s (%s): %v", e.Name, e.Tier, err)
	}
	for name := range known {
		t.Errorf("%s lists %s, which is no case", list, name)
	}
	return pass, total
}

func readIndex(t *testing.T, dir string) []indexEntry {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "INDEX.jsonl"))
	if err != nil {
		t.Fatalf("the conformance cases are missing (set CONFORMANCE_DIR): %v", err)
	}
	var out []indexEntry
	for i, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		var e indexEntry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("INDEX.jsonl:%d: %v", i+1, err)
		}
		out = append(out, e)
	}
	return out
}

// readKnownFailures reads lines of name, white space, reason.
func readKnownFailures(t *testing.T, list string) map[string]string {
	t.Helper()
	f, err := os.Open(list)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := map[string]string{}
	for s := bufio.NewScanner(f); s.Scan(); {
		line := strings.TrimSpace(s.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, reason, ok := strings.Cut(line, " ")
		if !ok || strings.TrimSpace(reason) == "" {
			t.Fatalf("%s: %q has no reason", list, line)
		}
		out[name] = strings.TrimSpace(reason)
	}
	return out
}

// runCase runs one case; the error says what was expected and what came. A
// panic is a failure of its case, not of the test.
func runCase(dir string, e indexEntry) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	data, err := os.ReadFile(filepath.Join(dir, e.File))
	if err != nil {
		return err
	}
	if e.Kind == "streaming" {
		return runStreamingCase(data)
	}
	return runBatchCase(dir, data)
}

// expectedError is what Spark raised.
type expectedError struct {
	Phase, Condition, SQLState string
}

// check compares phase and class of SQLSTATE.
func (want *expectedError) check(got error) error {
	if got == nil {
		return fmt.Errorf("expected error %s %s (%s), got none", want.Phase, want.Condition, want.SQLState)
	}
	phase, state := phaseOf(got)
	if phase != want.Phase {
		return fmt.Errorf("expected error of phase %s (%s), got phase %s: %v", want.Phase, want.Condition, phase, got)
	}
	if len(want.SQLState) >= 2 && (len(state) < 2 || state[:2] != want.SQLState[:2]) {
		return fmt.Errorf("expected SQLSTATE %s (%s), got %s: %v", want.SQLState, want.Condition, state, got)
	}
	return nil
}

// phaseOf finds phase and SQLSTATE of an error.
func phaseOf(err error) (phase, state string) {
	var e *expr.Error
	var p *sql.Error
	switch {
	case errors.As(err, &e):
		return string(e.Phase), e.SQLState
	case errors.As(err, &p):
		return p.Phase(), p.SQLState
	}
	return "unknown", ""
}
