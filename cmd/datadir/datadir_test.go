package datadir

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOneProcessOneOwner(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "data")
	release, err := Lock(dir, "node core1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(dir, "node core1"); err == nil || !strings.Contains(err.Error(), "in use by another process (node core1, pid ") {
		t.Errorf("a second lock: %v", err)
	}
	release()
	if _, err := Lock(dir, "node core2"); err == nil || !strings.Contains(err.Error(), "belongs to node core1, this is node core2") {
		t.Errorf("another owner: %v", err)
	}
	release, err = Lock(dir, "node core1")
	if err != nil {
		t.Fatalf("the same owner again: %v", err)
	}
	release()
}

func TestAFolderThatCannotBeMade(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(filepath.Join(file, "data"), "x"); err == nil || !strings.Contains(err.Error(), "choose a folder") {
		t.Errorf("got %v", err)
	}
}
