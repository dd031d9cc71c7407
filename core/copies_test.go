package core

import (
	"os"
	"path/filepath"
	"testing"
)

// A process that was killed while it made or fetched a copy of a database leaves it behind.
func TestCopiesOfAKilledProcessAreRemoved(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"copy-123/copy", "copy-77", "copy-of-mine/x", "results.db"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	dropCopies(dir)
	for name, want := range map[string]bool{"copy-123": false, "copy-77": false, "copy-of-mine": true, "results.db": true} {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}
