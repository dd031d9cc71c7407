package outbox_test

import (
	"bytes"
	"strings"
	"testing"

	"signalbox/core/outbox"
	"signalbox/engine"
	"signalbox/engine/column"
)

// A window over very many keys closes in one entry, and an entry's output is never cut: a snapshot with it must load
// again, or no node could be restarted.
func TestAnEntryLargerThanAnySegmentComesBack(t *testing.T) {
	ob := open(t, outbox.Options{})
	ob.Register([]string{"a"})
	b := column.NewBatch(&schema, 66)
	c := engine.Changes{Table: "t", Rows: b}
	for i := range 66 {
		b.AppendRow(column.Str(strings.Repeat(string(rune('a'+i%26)), 1<<20)+string(rune('0'+i))), column.I64(int64(i)))
		c.IDs, c.Revisions = append(c.IDs, engine.RowID{byte(i)}), append(c.Revisions, 1)
	}
	ob.Append(1, 1, []engine.Changes{c}, nil)
	f := ob.Freeze()
	defer f.Release()
	var buf bytes.Buffer
	if err := f.Write(&buf); err != nil {
		t.Fatal(err)
	}
	again := open(t, outbox.Options{})
	if err := again.Load(bytes.NewReader(buf.Bytes())); err != nil {
		t.Fatal(err)
	}
	if rows, _ := readAll(t, again, 0, 1<<20); rows[1] != 66 {
		t.Errorf("%d of 66 rows came back", rows[1])
	}
	// A length that lies costs no more memory than there are bytes.
	if err := open(t, outbox.Options{}).Load(bytes.NewReader(buf.Bytes()[:1<<20])); err == nil {
		t.Error("a copy that ends early was taken")
	}
}
