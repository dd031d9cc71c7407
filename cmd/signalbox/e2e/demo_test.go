package e2e

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestDemoHeadless runs the demo as a script does, with its leader killed half-way.
func TestDemoHeadless(t *testing.T) {
	before, err := filepath.Glob(filepath.Join(os.TempDir(), "signalbox-demo-*"))
	if err != nil {
		t.Fatal(err)
	}
	out, errs, err := run(t, "signalbox", "demo", "--headless", "--duration", "20s", "--kill")
	if err != nil {
		t.Fatalf("exit status: %v\n%s%s", err, out, errs)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	last := lines[len(lines)-1]
	m := regexp.MustCompile(`^published (\d+) readings: applied (\d+), rejected 0, .*lost 0, counted twice 0; buses that differ 0; alerts (\d+); core restarts (\d+)$`).FindStringSubmatch(last)
	if m == nil {
		t.Fatalf("the last line is no good summary: %s", last)
	}
	number := func(i int) int {
		n, err := strconv.Atoi(m[i])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if published, applied := number(1), number(2); published < 1000 || published != applied {
		t.Errorf("published %d, applied %d", published, applied)
	}
	if !strings.Contains(out, "kill -9 the leader") || number(4) != 1 {
		t.Errorf("the leader was not killed and started again once:\n%s", out)
	}
	after, err := filepath.Glob(filepath.Join(os.TempDir(), "signalbox-demo-*"))
	if err != nil {
		t.Fatal(err)
	}
	if len(after) > len(before) {
		t.Errorf("the demo left its folder behind: %v", after)
	}
	t.Log(last)
}

// TestDemoStopped presses ctrl-C, once and twice, while the demo starts: it ends, says so in a line, and leaves nothing.
func TestDemoStopped(t *testing.T) {
	for _, twice := range []bool{false, true} {
		dir := t.TempDir()
		var out bytes.Buffer
		cmd := exec.Command(program(t, "signalbox"), "demo", "--headless")
		cmd.Env = append(os.Environ(), "TMPDIR="+dir)
		cmd.Stdout, cmd.Stderr = &out, &out
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		left := func() []string {
			found, err := filepath.Glob(filepath.Join(dir, "*", "*"))
			if err != nil {
				t.Fatal(err)
			}
			return found
		}
		eventually(t, time.Minute, "the demo to start its nodes", func(context.Context) error {
			if len(left()) < coreNodes {
				return errors.New("not yet")
			}
			return nil
		})
		for range map[bool]int{false: 1, true: 2}[twice] {
			if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil { // as a terminal does: everybody hears it
				t.Fatal(err)
			}
		}
		err := cmd.Wait()
		if text := strings.TrimSpace(out.String()); err == nil || !strings.HasSuffix(text, "signalbox: stopped before everything was up") || strings.Contains(text, "refused") {
			t.Errorf("twice %v: %v, it says:\n%s", twice, err, text)
		}
		if found := left(); len(found) > 0 {
			t.Errorf("twice %v: left behind: %v", twice, found)
		}
	}
}
