package e2e

import (
	"context"
	"errors"
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

// TestChaosDamage damages what a killed node has on its disk, one kind after the other. Either the node does not need it, or
// it says so and prints the command that brings it back; the command is then run as it was printed. Nobody else notices.
func TestChaosDamage(t *testing.T) {
	seed := chaosOnly(t)
	p := startPipeline(t, coreNodes, devservices.Mosquitto(t), nil, often)
	end := p.begin(t, seed)
	for k, d := range []struct {
		what   string
		damage func(dir string) string
		stops  bool
	}{
		{"the newest snapshot has a wrong byte", func(dir string) string { return flip(t, newest(t, dir, "state.bin")) }, true},
		{"the newest snapshot is cut", func(dir string) string { return cut(t, newest(t, dir, "state.bin")) }, true},
		{"the newest snapshot has half its description", func(dir string) string { return cut(t, newest(t, dir, "meta.json")) }, true},
		{"the log is cut", func(dir string) string { return cut(t, newest(t, dir, ".wal")) }, true},
		{"the log's table of segments is gone", func(dir string) string { return remove(t, newest(t, dir, "wal-meta.db")) }, true},
		{"the log has wrong bytes", func(dir string) string { return flip(t, newest(t, dir, ".wal")) }, false}, // where a snapshot has them too
		{"the spilled output is gone", func(dir string) string { return remove(t, filepath.Join(dir, "outbox")) }, false},
		{"the database is gone", func(dir string) string { return remove(t, filepath.Join(dir, "results.db")) }, false},
	} {
		p.untilApplied(400)
		leader, err := p.leader(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		i := (leader + 1 + k%2) % coreNodes
		p.cores[i].kill()
		t.Logf("core%d: %s: %s", i+1, d.what, d.damage(filepath.Join(p.dir, fmt.Sprintf("core%d", i+1))))
		p.untilApplied(100)
		p.cores[i].start()
		if d.stops {
			p.bringBack(t, i, (i+1)%coreNodes, k == 0)
		}
		p.everybodyReady(t)
	}
	end()
	p.reconcile(t)
	p.compare(t)
}

// bringBack waits until a node has given up and does what it says; once it tries that too early, while another node is away.
func (p *pipeline) bringBack(t *testing.T, i, other int, early bool) {
	t.Helper()
	eventually(t, 30*time.Second, "the damaged node to give up", func(context.Context) error {
		if p.cores[i].running() {
			return errors.New("it runs")
		}
		return nil
	})
	said := p.cores[i].tail(6)
	if strings.Contains(said, "goroutine") {
		t.Errorf("core%d panicked:\n%s", i+1, said)
	}
	_, after, found := strings.Cut(said, "\n  signalbox-core rejoin ")
	if !found {
		t.Fatalf("core%d does not say how to bring it back:\n%s", i+1, said)
	}
	command, _, _ := strings.Cut(after, "\n")
	args := append([]string{"rejoin"}, strings.Fields(command)...)
	if early {
		p.cores[other].kill()
		if _, errs, err := run(t, "signalbox-core", args...); err == nil || !strings.Contains(errs, fmt.Sprintf("core%d", other+1)) {
			t.Errorf("with core%d away nothing may be set aside: %v\n%s", other+1, err, errs)
		}
		p.cores[other].start()
		eventually(t, time.Minute, "the other node to be back", func(ctx context.Context) error {
			_, err := get(ctx, p.url(other)+"/readyz")
			return err
		})
	}
	t.Logf("core%d: %s", i+1, strings.TrimSpace(mustRun(t, "signalbox-core", args...)))
	p.cores[i].start()
}

// newest returns the file that was changed last, of those whose path ends so.
func newest(t *testing.T, dir, suffix string) (path string) {
	t.Helper()
	var at time.Time
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, suffix) || strings.Contains(name, "damaged-") {
			return err
		}
		info, err := d.Info()
		if err == nil && !info.ModTime().Before(at) {
			path, at = name, info.ModTime()
		}
		return err
	})
	if err != nil || path == "" {
		t.Fatalf("no %s in %s: %v", suffix, dir, err)
	}
	return path
}

// used reads a file without the zeros that were allocated in advance.
func used(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := len(b)
	for n > 0 && b[n-1] == 0 {
		n--
	}
	return b[:n]
}

func flip(t *testing.T, path string) string {
	t.Helper()
	b := used(t, path)
	at := len(b) / 3
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte{b[at] ^ 0x40}, int64(at))
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s: byte %d of %d", path, at, len(b))
}

func cut(t *testing.T, path string) string {
	t.Helper()
	b := used(t, path)
	if err := os.WriteFile(path, slices.Clone(b[:len(b)/2]), 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s: %d of %d bytes", path, len(b)/2, len(b))
}

func remove(t *testing.T, path string) string {
	t.Helper()
	for _, name := range []string{path, path + "-wal", path + "-shm"} { // a database has companions
		if err := os.RemoveAll(name); err != nil {
			t.Fatal(err)
		}
	}
	return path
}
