package lineproto

import (
	"fmt"
	"strings"
	"testing"
)

func TestDecoder(t *testing.T) {
	var errs []string
	d := NewDecoder(DecoderOptions{OnError: func(e *LineError) { errs = append(errs, fmt.Sprintf("%d %s", e.Line, e.Reason)) }})
	n := d.Append([]byte("bus,id=a load=1i,ok=t 5\nbus,id=b load=2.5 6\nnonsense\nbus,id=c speed=3 7\ntram x=\"y\""), 99)
	n += d.Append([]byte("bus,load=tag load=3i 8\nbus time=1 1\nbus u=18446744073709551615u\nbus,time=x u=1"), 100)
	if n != 5 || d.Rows() != 5 || d.Refused() != 4 {
		t.Errorf("%d rows, %d, %d refused", n, d.Rows(), d.Refused())
	}
	if got := strings.Join(errs, ", "); got != "3 malformed, 2 name, 3 range, 4 name" {
		t.Errorf("errors %s", got)
	}
	var out strings.Builder
	for _, b := range d.Take() {
		fmt.Fprint(&out, b.Schema.Name)
		for _, f := range b.Schema.Fields {
			fmt.Fprintf(&out, " %s:%s", f.Name, f.Type)
		}
		for i := range b.Len {
			fmt.Fprintf(&out, " |%s", rowText(b, i))
		}
		fmt.Fprintln(&out)
	}
	want := `bus time:timestamp_ns id:string load:bigint ok:boolean speed:double | 5 "a" 1 1 NULL | 7 "c" NULL NULL 4008000000000000 | 8 NULL 3 NULL NULL
bus time:timestamp_ns id:string load:double | 6 "b" 4004000000000000
tram time:timestamp_ns x:string | 99 "y"
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", &out, want)
	}
	if d.Rows() != 0 || len(d.Take()) != 0 {
		t.Error("Take left rows behind")
	}
}

// Any message becomes rows or errors; columns of a batch have equal lengths.
func FuzzDecoder(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		d := NewDecoder(DecoderOptions{})
		n := d.Append(msg, 1)
		n += d.Append(msg, 2)
		rows := 0
		for _, b := range d.Take() {
			for _, c := range b.Cols {
				if c.Len() != b.Len {
					t.Fatalf("column of %d rows in a batch of %d", c.Len(), b.Len)
				}
			}
			rows += b.Len
		}
		if rows != n {
			t.Fatalf("%d rows in batches, %d counted", rows, n)
		}
	})
}
