package sql

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// conformanceDir finds the cases: CONFORMANCE_DIR, testdata of the engine, or the shared folder beside the repository.
func conformanceDir(t *testing.T) string {
	if dir := os.Getenv("CONFORMANCE_DIR"); dir != "" {
		return dir
	}
	root := "."
	for range 6 {
		for _, dir := range []string{filepath.Join(root, "engine", "testdata", "conformance"), filepath.Join(root, "..", "shared", "conformance")} {
			if _, err := os.Stat(filepath.Join(dir, "cases")); err == nil {
				return dir
			}
		}
		root = filepath.Join(root, "..")
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("the conformance cases are missing; set CONFORMANCE_DIR")
	}
	t.Skip("the conformance cases are missing; set CONFORMANCE_DIR")
	return ""
}

type conformanceCase struct {
	Name   string
	SQL    string
	Expect struct{ Phase, Condition string } `json:"expect_error"`
}

func conformanceCases(t *testing.T) []conformanceCase {
	var out []conformanceCase
	err := filepath.WalkDir(filepath.Join(conformanceDir(t), "cases"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".json") {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var c conformanceCase
		if err := json.Unmarshal(raw, &c); err != nil {
			return err
		}
		out = append(out, c)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestConformanceParses holds the parser to Spark's: what Spark parses, we parse, and its parse errors are ours.
func TestConformanceParses(t *testing.T) {
	cases := conformanceCases(t)
	if len(cases) < 100 {
		t.Fatalf("only %d cases", len(cases))
	}
	for _, c := range cases {
		q, err := ParseSelect(c.SQL)
		switch {
		case c.Expect.Phase == "parse" && err == nil:
			t.Errorf("%s: parsed, Spark says %s:\n%s", c.Name, c.Expect.Condition, c.SQL)
		case c.Expect.Phase != "parse" && err != nil:
			t.Errorf("%s: %v\n%s", c.Name, err, c.SQL)
		case err == nil:
			roundTrip(t, c.SQL, q)
		}
	}
}
