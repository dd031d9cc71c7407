package static

import (
	"strings"
	"testing"

	"signalbox/engine/column"
)

var schema = &column.Schema{Name: "vehicles", Time: -1, Fields: []column.Field{{Name: "id", Type: column.Of(column.String)},
	{Name: "seats", Type: column.Of(column.BigInt)}, {Name: "since", Type: column.Of(column.Timestamp)}, {Name: "length", Type: column.Of(column.Double)}}}

func TestBothFormatsGiveTheSameRows(t *testing.T) {
	inputs := map[Format]string{
		CSV:   "\ufeffID,since,seats,length\nA1,2024-01-02T03:04:05Z,9223372036854775807,12.5\n\"B, 2\",,,\n",
		JSONL: `{"id":"A1","seats":9223372036854775807,"since":"2024-01-02T03:04:05Z","length":12.5}` + "\n\n" + `{"id":"B, 2","seats":null}` + "\n",
	}
	for format, text := range inputs {
		b, err := Read(strings.NewReader(text), format, schema)
		if err != nil {
			t.Fatalf("%s: %v", format, err)
		}
		if b.Len != 2 || b.Cols[0].Str(1) != "B, 2" || b.Cols[1].I64[0] != 9223372036854775807 || b.Cols[2].I64[0] != 1704164645000000 || b.Cols[3].F64[0] != 12.5 {
			t.Errorf("%s: wrong values %v", format, b.Row(0))
		}
		if !b.Cols[1].IsNull(1) || !b.Cols[2].IsNull(1) || !b.Cols[3].IsNull(1) {
			t.Errorf("%s: absent values are not NULL", format)
		}
	}
}

func TestErrorsNameTheLine(t *testing.T) {
	for _, c := range []struct {
		format     Format
		text, want string
	}{
		{CSV, "id,seats\nA,5\nB,many\n", `line 3, column seats: "many" is not bigint`},
		{CSV, "id,seets\n", `column "seets" is not declared`},
		{CSV, "id,id\n", "named twice"},
		{CSV, "", "first line must name the columns"},
		{CSV, "id,seats\nA\n", "wrong number of fields"},
		{JSONL, `{"id":"A"}` + "\n{", "line 2: not a JSON object"},
		{JSONL, `{"idd":"A"}`, `key "idd" is not declared`},
		{JSONL, `{"id":"A"} x`, "text after"},
	} {
		if _, err := Read(strings.NewReader(c.text), c.format, schema); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %q: got %v, want …%s…", c.format, c.text, err, c.want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add("id,seats\nA,5\n")
	f.Add(`{"id":"A","seats":5}`)
	f.Fuzz(func(t *testing.T, text string) {
		for _, format := range []Format{CSV, JSONL} {
			if b, err := Read(strings.NewReader(text), format, schema); err == nil && b.Cols[1].Len() != b.Len {
				t.Errorf("%s: columns of different length", format)
			}
		}
	})
}
