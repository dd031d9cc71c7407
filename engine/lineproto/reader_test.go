package lineproto

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"signalbox/engine/column"
)

func busSchema() *column.Schema {
	f := func(n string, k column.Kind) column.Field { return column.Field{Name: n, Type: column.Of(k)} }
	return &column.Schema{Name: "bus", Time: 0, Fields: []column.Field{f("time", column.Timestamp), f("bus", column.String), f("route", column.String),
		f("passengers", column.BigInt), f("capacity", column.BigInt), f("speed", column.Double), f("lat", column.Double), f("lon", column.Double),
		f("door", column.Boolean), f("note", column.String), f("small", column.SmallInt), f("f32", column.Float)}}
}

func tramSchema() *column.Schema {
	return &column.Schema{Name: "tram", Time: 1, Fields: []column.Field{{Name: "id", Type: column.Of(column.String)}, {Name: "ts", Type: column.Of(column.TimestampNS)},
		{Name: "load", Type: column.Of(column.Double)}}}
}

// transcript reads everything and writes down rows and errors in order.
func transcript(t testing.TB, rd io.Reader, opt ReaderOptions) string {
	t.Helper()
	var out strings.Builder
	var errs strings.Builder
	opt.OnError = func(e *LineError) {
		fmt.Fprintf(&errs, "%d %d %q %s %q\n", e.Line, e.Offset, e.Stream, e.Reason, e.Text)
	}
	r, err := NewReader(rd, opt)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]*strings.Builder{}
	var names []string
	for {
		batches, err := r.Next()
		if err != nil {
			if err != io.EOF {
				fmt.Fprintf(&out, "read error %v\n", err)
			}
			break
		}
		for _, b := range batches {
			if rows[b.Schema.Name] == nil {
				rows[b.Schema.Name] = &strings.Builder{}
				names = append(names, b.Schema.Name)
			}
			for i := range b.Len {
				fmt.Fprintln(rows[b.Schema.Name], rowText(b, i))
			}
		}
	}
	for _, n := range names {
		fmt.Fprintf(&out, "%s\n%s", n, rows[n])
	}
	fmt.Fprintf(&out, "refused %d of %d lines, %d bytes\n%s", r.Refused(), r.Lines(), r.Offset(), &errs)
	return out.String()
}

func rowText(b *column.Batch, i int) string {
	s := ""
	for _, c := range b.Cols {
		switch {
		case c == nil:
			s += " ."
		case c.Len() != b.Len:
			s += fmt.Sprintf(" LENGTH %d", c.Len())
		case c.IsNull(i):
			s += " NULL"
		case c.F64 != nil:
			s += fmt.Sprintf(" %x", math.Float64bits(c.F64[i]))
		case c.Codes != nil:
			s += fmt.Sprintf(" %q", c.Str(i))
		default:
			s += fmt.Sprintf(" %d", c.I64[i])
		}
	}
	return s
}

func testStreams(columns []int) []Stream {
	return []Stream{{Schema: busSchema(), Columns: columns}, {Schema: tramSchema()}}
}

// The scanner gives what the library gives, whatever is wanted and wherever the input is cut.
func sameAsLibrary(t testing.TB, text []byte) {
	t.Helper()
	for _, columns := range [][]int{nil, {0, 2, 3}, {0}, {}, {1, 5, 9}} {
		want := transcript(t, bytes.NewReader(text), ReaderOptions{Streams: testStreams(columns), LibraryOnly: true, Rows: 1000})
		for _, rows := range []int{1000, 7} {
			got := transcript(t, bytes.NewReader(text), ReaderOptions{Streams: testStreams(columns), Rows: rows})
			if got != want {
				t.Fatalf("columns %v, %d rows:\nscanner: %s\nlibrary: %s\ntext: %q", columns, rows, got, want, text)
			}
		}
	}
	all := ReaderOptions{Streams: testStreams(nil)}
	whole := transcript(t, bytes.NewReader(text), all)
	if cut := transcript(t, iotest.OneByteReader(bytes.NewReader(text)), all); cut != whole {
		t.Fatalf("byte by byte:\n%s\nat once:\n%s\ntext: %q", cut, whole, text)
	}
}

var seeds = []string{
	"bus,bus=B1,route=R1 passengers=3i,capacity=60i,speed=1.5 1767247200000000000\n",
	"# comment\n\n  \r\nbus,bus=B1 passengers=3i 1\r\nbus,bus=B1 passengers=-4i 2\r\n",
	"bus,bus=B1 note=\"a\nb\",door=t 5\nbus,bus=B1 note=\"x\",door=false 6\nbus,bus=B1 note=\"x\\\"y\",door=T 7\n",
	"bus passengers=1.5 1\nbus passengers=1i 1\nbus speed=7i 2\nbus speed=7i 3\nbus small=70000i 4\nbus small=70i 5\nbus small=70i 6\n",
	"bus,route=a\\ b speed=1e3 9\nbus,route=a\\ b speed=1e3 9\nbus f32=0.1 1\nbus f32=0.1 2\n",
	"tram,id=x load=3i 1\nbus passengers=1i 1\ntram,id=x load=3.25 2\nferry x=1 1\n",
	"bus lat=60.17123,lon=-24.94 1\nbus lat=60.171234567890123,lon=-0.0 2\nbus lat=1.,lon=.5 3\nbus lat=1.,lon=.5 4\n",
	"bus passengers=9223372036854775807i 9223372036854775807\nbus passengers=9223372036854775808i 1\nbus passengers=1i 9223372036854775808\nbus passengers=18446744073709551615u 1\nbus passengers=5u 1\n",
	"bus passengers=1i\nbus passengers=1i -5\nbus passengers=1i 007\nbus passengers=1i 1 2\nbus passengers=1i  8\n",
	"bus,bus=a,bus=b passengers=1i 1\nbus,passengers=x passengers=1i 1\nbus passengers=1i,passengers=2i 1\nbus passengers=1i,passengers=2i 2\nbus,bus=x bus=\"y\" 1\nbus,bus=x bus=\"y\" 2\n",
	"bus note=\"unterminated\nbus passengers=1i 1\n",
	"bus,time=x time=5i,passengers=1i 3\nbus x=1 \ry\nbus passengers=1i 3\n",
	"bus passengers=1i 3",
	"bus note=\"a\\tb\\\\n\" 1\nbus,bus=x\x01y note=\"c\\\n\" 2\nbus,bus=x\x01y note=\"\" 3\nbus,bus=x\x01y note=\"\" 3\n",
}

func TestScannerIsLibrary(t *testing.T) {
	for _, s := range seeds {
		sameAsLibrary(t, []byte(s))
		sameAsLibrary(t, []byte(s+s+s))
	}
	for seed := range uint64(300) {
		sameAsLibrary(t, randomText(rand.New(rand.NewPCG(seed, 7))))
	}
}

// randomText is mostly regular, with a few bytes changed.
func randomText(r *rand.Rand) []byte {
	var b []byte
	values := []string{"1i", "-17i", "12345678i", "123456789012345i", "1.5", "-0.25", "60.17123", "123456.123456789", "9007199254740993.5", "1e5", "t", "false", `"s"`, `"ß"`, `"a\"b"`, "3u", "99999i", "0.1", "12345678.5", "1.123456789012345678"}
	names := []string{"passengers", "capacity", "speed", "lat", "lon", "door", "note", "small", "f32", "other", "averylongfieldname"}
	for range 5 + r.IntN(20) {
		b = append(b, []string{"bus", "bus", "bus", "tram", "x"}[r.IntN(5)]...)
		for _, k := range []string{"bus", "route"} {
			if r.IntN(4) > 0 {
				b = fmt.Appendf(b, ",%s=%s", k, []string{"B1", "R22", "a-rather-long-tag-value", "ü"}[r.IntN(4)])
			}
		}
		b = append(b, ' ')
		start := r.IntN(3)
		for i := range 1 + r.IntN(4) {
			if i > 0 {
				b = append(b, ',')
			}
			n := names[(start+i)%len(names)]
			v := values[r.IntN(len(values))]
			if r.IntN(4) > 0 {
				v = map[bool]string{true: fmt.Sprintf("%di", r.IntN(1000)), false: fmt.Sprintf("%d.%d", r.IntN(100), r.IntN(100000))}[start+i < 2]
			}
			b = fmt.Appendf(b, "%s=%s", n, v)
		}
		b = fmt.Appendf(b, " %d\n", r.Int64N(int64(math.Pow10(1+r.IntN(18)))))
	}
	for range r.IntN(4) {
		b[r.IntN(len(b))] = []byte("\n\r ,=\"\\i.0-#\x00\xff")[r.IntN(14)]
	}
	return b
}

func FuzzScannerIsLibrary(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
		f.Add([]byte(s + s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > MaxLine/2 {
			return
		}
		sameAsLibrary(t, text)
		sameAsLibrary(t, append(append([]byte("bus,bus=B1 passengers=3i,speed=1.5 17\n"), text...), text...))
	})
}

// The scanner really is used, and does not allocate.
func TestScannerTakesOrdinaryLines(t *testing.T) {
	text := w1Text(2000)
	r, err := NewReader(bytes.NewReader(text), ReaderOptions{Streams: testStreams(nil)})
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := r.Next(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if r.Lines() != 2000 || r.Slow() > 60 {
		t.Errorf("%d of %d lines went through the library", r.Slow(), r.Lines())
	}
}

func TestScannerDoesNotAllocate(t *testing.T) {
	text := w1Text(8192)
	src := &repeat{text: text}
	r, err := NewReader(src, ReaderOptions{Streams: testStreams(nil), Rows: 4096})
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(10, func() {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations for 4096 lines", n)
	}
}

// repeat is a text without end.
type repeat struct {
	text []byte
	at   int
}

func (r *repeat) Read(p []byte) (int, error) {
	n := copy(p, r.text[r.at:])
	r.at = (r.at + n) % len(r.text)
	return n, nil
}

// w1Text looks like the bus workload: n lines of 40 buses.
func w1Text(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	var b []byte
	for i := range n {
		b = fmt.Appendf(b, "bus,bus=B%04d,route=R%02d passengers=%di,capacity=%di,speed=%g,lat=%g,lon=%g %d\n", i%40+1, i%40, r.IntN(100), 60+10*r.IntN(4),
			float64(r.IntN(2500))/100, float64(6017000+r.IntN(20000))/1e5, float64(2494000+r.IntN(20000))/1e5, 1767247200000000000+int64(i)*500000)
	}
	return b
}

// A line longer than the limit is refused alone, quoted newlines or not.
func TestLongLines(t *testing.T) {
	long := "bus note=\"" + strings.Repeat("x", 2*MaxLine) + "\" 1\n"
	open := "bus note=\"" + strings.Repeat("y\n", MaxLine) + "\n"
	text := "bus passengers=1i 1\n" + long + "bus passengers=2i 2\n" + open + "bus passengers=3i 3\n"
	reasons := map[Reason]int{}
	var last *column.Batch
	r, err := NewReader(strings.NewReader(text), ReaderOptions{Streams: testStreams(nil), OnError: func(e *LineError) {
		reasons[e.Reason]++
		if len(e.Text) > MaxText {
			t.Errorf("an error of %d bytes", len(e.Text))
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for {
		b, err := r.Next()
		if err != nil {
			break
		}
		last = b[0]
		rows += last.Len
	}
	if rows != 3 || reasons[TooLong] != 2 || reasons[Malformed] != MaxLine-1 {
		t.Errorf("%d rows, refused %v", rows, reasons)
	}
}

func TestReadErrorIsReported(t *testing.T) {
	broken := io.MultiReader(strings.NewReader("bus passengers=1i 1\n"), iotest.ErrReader(errors.New("disk on fire")))
	r, err := NewReader(broken, ReaderOptions{Streams: testStreams(nil)})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := r.Next(); err != nil || b[0].Len != 1 {
		t.Fatalf("first: %v, %v", b, err)
	}
	if _, err := r.Next(); err == nil || err == io.EOF || !strings.Contains(err.Error(), "disk on fire") {
		t.Errorf("second: %v", err)
	}
}
