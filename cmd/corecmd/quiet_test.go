package corecmd

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestARepeatedLineIsCounted(t *testing.T) {
	var out bytes.Buffer
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	q := newQuiet(&out, func() time.Time { return now })
	for i := range 100 {
		line := fmt.Sprintf("2026-01-01T12:00:%02d.000Z [ERROR] raft: core3 is away\n", i%60)
		if n, err := q.Write([]byte(line)); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
		now = now.Add(time.Second)
	}
	fmt.Fprintf(q, "2026-01-01T12:00:00.000Z [WARN] another\n")
	got := out.String()
	if n := strings.Count(got, "core3 is away"); n != 4 || !strings.Contains(got, "(29 times more, since 12:00:00:)") || !strings.Contains(got, "another") {
		t.Errorf("written %d times:\n%s", n, got)
	}
	for i := range 2 * maxRemembered {
		fmt.Fprintf(q, "time line %d\n", i)
	}
	if len(q.seen) > maxRemembered {
		t.Errorf("%d lines remembered", len(q.seen))
	}
}
