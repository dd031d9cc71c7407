package w1

import (
	"bytes"
	"testing"
)

func TestWorkloadIsTheQuotedOne(t *testing.T) {
	c := Default()
	c.Seconds, c.Buses = 60, 50
	var a bytes.Buffer
	n, err := Write(&a, c)
	if err != nil {
		t.Fatal(err)
	}
	lines, sum, err := LibraryLoop(a.Bytes())
	if err != nil || lines != n || sum == 0 || n < 3000 || n > 3100 {
		t.Fatalf("%d lines written, %d decoded, checksum %d, %v", n, lines, sum, err)
	}
	answers := Answers(c)
	for _, q := range Queries() {
		if len(answers[q.Name]) == 0 {
			t.Errorf("no answer to %s", q.Name)
		}
	}
}
