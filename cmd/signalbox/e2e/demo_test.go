package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
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
