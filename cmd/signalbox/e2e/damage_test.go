package e2e

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	devservices "signalbox/deploy/dev"
)

// TestDamage damages what a stopped node has on its disk, one kind after the other.
func TestChaosDamage(t *testing.T) {
	chaosOnly(t)
	p := startPipeline(t, coreNodes, devservices.Mosquitto(t), nil, often)
	end := p.begin(t, 7)
	for _, d := range []struct {
		what   string
		damage func(dir string) string
	}{
		{"a byte of the newest snapshot", func(dir string) string { return flip(t, newest(t, dir, "state.bin"), 0.5) }},
		{"the newest snapshot cut", func(dir string) string { return cut(t, newest(t, dir, "state.bin")) }},
		{"the newest snapshot's meta", func(dir string) string { return cut(t, newest(t, dir, "meta.json")) }},
		{"a byte of the log", func(dir string) string { return flip(t, newest(t, dir, ".wal"), 0.0) }},
		{"the log cut", func(dir string) string { return cut(t, newest(t, dir, ".wal")) }},
		{"the log's meta", func(dir string) string { return flip(t, newest(t, dir, ".db"), 0.1) }},
		{"the log's meta gone", func(dir string) string { f := newest(t, dir, "wal-meta.db"); os.Remove(f); return f }},
		{"results.db", func(dir string) string { return cut(t, filepath.Join(dir, "results.db")) }},
		{"results.db head", func(dir string) string { return flip(t, filepath.Join(dir, "results.db"), 0) }},
	} {
		p.untilApplied(700)
		i, err := p.leader(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		i = (i + 1) % coreNodes
		p.cores[i].kill()
		dir := filepath.Join(p.dir, fmt.Sprintf("core%d", i+1))
		t.Logf("=== %s: %s", d.what, d.damage(dir))
		p.untilApplied(100)
		os.Remove(p.cores[i].log)
		p.cores[i].start()
		pass(t.Context(), 4*time.Second)
		out, errs, err := run(t, "signalbox", "status", "--core", p.addrs[i])
		t.Logf("running %v\n%s\n-- status %s %v\n%s", p.cores[i].running(), p.cores[i].tail(30), errs, err, out)
		p.cores[i].kill()
		os.RemoveAll(dir)
		p.cores[i].start()
		p.everybodyReady(t)
	}
	end()
	p.reconcile(t)
}

func newest(t *testing.T, dir, suffix string) string {
	var found []string
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, suffix) {
			found = append(found, path)
		}
		return nil
	})
	slices.SortFunc(found, func(a, b string) int {
		x, _ := os.Stat(a)
		y, _ := os.Stat(b)
		return x.ModTime().Compare(y.ModTime())
	})
	if len(found) == 0 {
		t.Fatalf("no %s in %s", suffix, dir)
	}
	return found[len(found)-1]
}

func flip(t *testing.T, path string, where float64) string {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	used := len(b)
	for used > 0 && b[used-1] == 0 {
		used--
	}
	at := int(float64(used) * where)
	if where == 0 {
		at = used / 3
		if strings.HasSuffix(path, "results.db") {
			at = 3
		}
	}
	b[at] ^= 0x40
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s: byte %d of %d", path, at, used)
}

func cut(t *testing.T, path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	used := len(b)
	for used > 0 && b[used-1] == 0 {
		used--
	}
	if err := os.WriteFile(path, b[:used/2], 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s: %d of %d", path, used/2, used)
}
