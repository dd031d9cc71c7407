package file

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"signalbox/engine/alert"
	"signalbox/engine/column"
	"signalbox/sinks"
	"signalbox/sinks/row"
	"signalbox/sinks/sinktest"
)

func TestContract(t *testing.T) {
	for _, o := range []Options{{Format: JSONL, RangeEntries: 3}, {Format: CSV, RangeEntries: 1}, {Format: CSV, RangeEntries: 1000}} {
		t.Run(fmt.Sprint(o.Format, o.RangeEntries), func(t *testing.T) {
			sinktest.Run(t, func(t *testing.T) sinktest.Target {
				o.Dir = filepath.Join(t.TempDir(), "out")
				return sinktest.Target{
					Open:   func() (sinks.Sink, error) { return Open(o) },
					Rows:   func(table sinks.Table) (map[[16]byte]sinktest.Row, error) { return foldRows(o, table) },
					Alerts: func() (map[string]sinktest.Alert, error) { return foldAlerts(o.Dir) },
				}
			})
		})
	}
}

// files returns the paths of a table's files, in order of their ranges.
func files(dir, folder string) []string {
	paths, _ := filepath.Glob(filepath.Join(dir, strings.ReplaceAll(folder, "%", "[%]"), "*"))
	slices.Sort(paths)
	return paths
}

// record is one line, as text by column; NULL is absent.
type record map[string]string

func foldRows(o Options, t sinks.Table) (map[[16]byte]sinktest.Row, error) {
	var records []record
	for _, path := range files(o.Dir, folder(t.Name)) {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		more, err := readJSONL(text)
		if o.Format == CSV {
			more, err = readCSV(text)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		records = append(records, more...)
	}
	// files of two schemas in one range: back into log order
	slices.SortStableFunc(records, func(a, b record) int { return number(a, row.Index) - number(b, row.Index) })
	out, seen := map[[16]byte]sinktest.Row{}, map[string]bool{}
	for _, r := range records {
		var id [16]byte
		hex.Decode(id[:], []byte(r[row.ID]))
		if change := fmt.Sprint(r); seen[change] {
			return nil, fmt.Errorf("a change is there twice: %s", change)
		} else {
			seen[change] = true
		}
		if r["_deleted"] == "true" {
			delete(out, id)
			continue
		}
		stored := sinktest.Row{Revision: uint32(number(r, row.Revision)), Complete: int32(number(r, row.Complete)), Expected: int32(number(r, row.Expected)), Values: map[string]string{}}
		for i, name := range row.Names(t.Schema) {
			if v, ok := r[name]; ok {
				stored.Values[t.Schema.Fields[i].Name] = v
			}
		}
		out[id] = stored
	}
	return out, nil
}

func number(r record, name string) int {
	n, err := strconv.Atoi(r[name])
	if err != nil {
		return -1
	}
	return n
}

func readJSONL(text []byte) (out []record, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	for d.More() {
		var raw map[string]json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return nil, err
		}
		r := record{}
		for k, v := range raw {
			var s string
			switch {
			case string(v) == "null":
			case json.Unmarshal(v, &s) == nil:
				r[k] = s
			default:
				r[k] = string(v)
			}
		}
		out = append(out, r)
	}
	return out, nil
}

// readCSV is a parser that knows the difference between nothing and "".
func readCSV(text []byte) (out []record, err error) {
	var header []string
	var fields []string
	var null []bool
	for len(text) > 0 {
		var field []byte
		quoted := text[0] == '"'
		if quoted {
			text = text[1:]
			for {
				i := bytes.IndexByte(text, '"')
				if i < 0 {
					return nil, fmt.Errorf("open quote")
				}
				field, text = append(field, text[:i]...), text[i+1:]
				if len(text) == 0 || text[0] != '"' {
					break
				}
				field, text = append(field, '"'), text[1:]
			}
		} else {
			i := bytes.IndexAny(text, ",\n")
			field, text = text[:i], text[i:]
		}
		fields, null = append(fields, string(field)), append(null, len(field) == 0 && !quoted)
		end := text[0] == '\n'
		text = text[1:]
		if !end {
			continue
		}
		if header == nil {
			header = fields
		} else {
			r := record{}
			for i, f := range fields {
				if !null[i] {
					r[header[i]] = f
				}
			}
			out = append(out, r)
		}
		fields, null = nil, nil
	}
	return out, nil
}

func foldAlerts(dir string) (map[string]sinktest.Alert, error) {
	out := map[string]sinktest.Alert{}
	for _, path := range files(dir, "alerts") {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		for _, line := range bytes.Split(bytes.TrimSpace(text), []byte("\n")) {
			var a struct {
				ID         string
				Seq        uint64
				State      alert.State
				Historical bool
				Labels     map[string]string
			}
			if err := json.Unmarshal(line, &a); err != nil {
				return nil, err
			}
			if !a.Historical {
				out[a.ID] = sinktest.Alert{Seq: a.Seq, State: a.State, Label: a.Labels["bus_id"]}
			}
		}
	}
	return out, nil
}

func oneRow(index uint64, n int64) sinks.Batch {
	schema := &column.Schema{Name: "t", Fields: []column.Field{{Name: "n", Type: column.Of(column.BigInt)}}}
	b := sinks.Batch{Index: index, Table: sinks.Table{Name: "t", Schema: schema}, Rows: column.NewBatch(schema, 1), IDs: [][16]byte{{byte(n)}}, Revisions: []uint32{1}}
	b.Rows.AppendRow(column.I64(n))
	return b
}

// contents reads a whole folder, the cursor file left out.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "cursor.json" {
			return err
		}
		text, err := os.ReadFile(path)
		out[strings.TrimPrefix(path, dir)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestBytesFollowFromTheLogAlone writes one log in many ways, with crashes
// simulated by copying the folder's state at random moments: all give the same files.
func TestBytesFollowFromTheLogAlone(t *testing.T) {
	const entries = 100
	var want map[string]string
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 0))
		o := Options{Dir: t.TempDir(), RangeEntries: 7}
		s, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		for done := uint64(0); done < entries; {
			upTo := min(entries, done+1+rng.Uint64N(10))
			var batches []sinks.Batch
			for i := max(1, done-min(done, rng.Uint64N(5))); i <= upTo; i++ {
				batches = append(batches, oneRow(i, int64(i)))
			}
			if rng.IntN(2) == 0 { // a write that got as far as the parts and no further
				texts, _, err := s.render(batches)
				if err != nil {
					t.Fatal(err)
				}
				for name, text := range texts {
					cut := text[:rng.IntN(len(text)+1)]
					if err := appendPart(filepath.Join(o.Dir, name)+".part", s.state.Open[name], cut); err != nil {
						t.Fatal(err)
					}
				}
				if s, err = Open(o); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Write(t.Context(), batches, upTo); err != nil {
				t.Fatal(err)
			}
			done = upTo
		}
		got := contents(t, o.Dir)
		if want == nil {
			want = got
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("seed %d gives other files:\n%v\nwant\n%v", seed, got, want)
		}
	}
	if len(want) != entries/7+1 {
		t.Errorf("%d files, want %d", len(want), entries/7+1)
	}
}

// TestCrashBetweenCommitAndRename finds the manifest ahead of the renames, and the renames ahead of the manifest.
func TestCrashBetweenCommitAndRename(t *testing.T) {
	o := Options{Dir: t.TempDir(), RangeEntries: 2}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	batches := []sinks.Batch{oneRow(1, 1), oneRow(2, 2), oneRow(3, 3)}
	texts, _, err := s.render(batches)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.commit(texts, 3); err != nil { // no finish
		t.Fatal(err)
	}
	for range 2 { // the second time the renames are done and the manifest still names the parts
		s, err = Open(o)
		if err != nil {
			t.Fatal(err)
		}
		if got := contents(t, o.Dir); len(got) != 2 || got["/t/00000000000000000002-00000000000000000003.jsonl"] == "" {
			t.Errorf("files are %v", got)
		}
	}
	if upTo, _, _ := s.Cursor(t.Context()); upTo != 3 {
		t.Errorf("cursor is %d", upTo)
	}
}

func TestOldFilesLeaveAndRangesDoNotChangeUnderway(t *testing.T) {
	o := Options{Dir: t.TempDir(), RangeEntries: 2, KeepFiles: 2}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	for i := uint64(1); i <= 10; i++ {
		if err := s.Write(t.Context(), []sinks.Batch{oneRow(i, int64(i))}, i); err != nil {
			t.Fatal(err)
		}
	}
	if got := contents(t, o.Dir); len(got) != 3 {
		t.Errorf("%d files, want two finished and one open", len(got))
	}
	o.RangeEntries = 5
	if _, err := Open(o); err == nil {
		t.Error("another range while a file is open was accepted")
	}
}
