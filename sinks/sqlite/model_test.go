package sqlite

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"signalbox/engine/column"
	"signalbox/sinks"
)

// modelRow is what the latest revision says.
type modelRow struct {
	index    uint64
	revision uint32
	time, n  int64
}

// TestAsAModel writes random rows, revisions, deletions and failures, and compares with rows applied one by one.
func TestAsAModel(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { againstModel(t, rand.New(rand.NewPCG(seed, 7)), seed%4) })
	}
}

func againstModel(t *testing.T, rng *rand.Rand, kind uint64) {
	path := filepath.Join(t.TempDir(), "r.db")
	s := openTest(t, Options{Path: path, Retention: -1})
	model := map[byte]modelRow{}
	index, next := uint64(0), byte(0)
	for range 60 {
		var batches []sinks.Batch
		for range 1 + rng.IntN(4) {
			index += uint64(rng.IntN(2))
			if len(batches) == 0 {
				index++
			}
			batches = append(batches, randomRows(rng, kind, index, &next, model))
		}
		if rng.IntN(5) == 0 {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := s.Write(ctx, batches, index); err == nil && !s.relaid {
				t.Fatal("a write that was out of time came through")
			}
		}
		if rng.IntN(6) == 0 { // refused for now in the last batch
			bad := batches[len(batches)-1]
			bad.Index, bad.IDs = index+1, nil
			bad.Rows = column.NewBatch(bad.Table.Schema, 1)
			bad.Rows.AppendRow(column.I64(0), column.I64(0))
			if err := s.Write(t.Context(), append(batches[:len(batches):len(batches)], bad), index+1); err == nil {
				t.Fatal("a bad batch was taken")
			}
		}
		for range 1 + rng.IntN(2) {
			if err := s.Write(t.Context(), batches, index); err != nil {
				t.Fatal(err)
			}
		}
		if rng.IntN(10) == 0 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openTest(t, Options{Path: path, Retention: -1})
		}
		sameAsModel(t, s, model)
	}
}

// randomRows makes a batch and applies it to the model. Kind 0 only adds rows; 1 revises them; 2 moves them in time and
// deletes; 3 also leaves the time out.
func randomRows(rng *rand.Rand, kind, index uint64, next *byte, model map[byte]modelRow) sinks.Batch {
	var rows []seen
	for range rng.IntN(30) {
		id := *next
		if *next++; kind > 0 && *next > 0 || *next == 255 {
			id = byte(rng.IntN(int(*next)))
		}
		if *next == 255 {
			*next = 254
		}
		was, ok := model[id]
		r := seen{id: id, revision: 1, time: int64(id) * 1e6, n: rng.Int64N(1000)}
		if ok {
			if r.revision, r.time = was.revision+1, was.time; kind == 0 {
				continue
			}
		}
		if kind >= 2 && rng.IntN(8) == 0 {
			r.time = rng.Int64N(100) * 1e6
		}
		if kind == 3 && rng.IntN(20) == 0 {
			r.time = -1
		}
		if kind >= 2 && ok && rng.IntN(5) == 0 {
			r.deleted = true
			delete(model, id)
		} else {
			model[id] = modelRow{index, r.revision, r.time, r.n}
		}
		rows = append(rows, r)
	}
	return seenBatch(index, rows...)
}

func sameAsModel(t *testing.T, s *Sink, model map[byte]modelRow) {
	t.Helper()
	if s.tables["seen"] == nil && len(model) == 0 {
		return
	}
	n := 0
	err := s.conn.query(`SELECT unicode(substr(hex(_id), 31, 1)) * 1000 + unicode(substr(hex(_id), 32, 1)), _index, _revision, coalesce(unixepoch(start) * 1000000, -1), n FROM seen`, nil, func(r *stmt) error {
		digits := s.conn.int64(r, 0)
		id := hexDigit(digits/1000)<<4 | hexDigit(digits%1000)
		got := modelRow{uint64(s.conn.int64(r, 1)), uint32(s.conn.int64(r, 2)), s.conn.int64(r, 3), s.conn.int64(r, 4)}
		if want := model[id]; got != want {
			t.Errorf("row %d is %+v, want %+v", id, got, want)
		}
		n++
		return nil
	})
	if err != nil || n != len(model) {
		t.Fatalf("%d rows, want %d, %v", n, len(model), err)
	}
}

func hexDigit(c int64) byte {
	if c >= 'A' {
		return byte(c - 'A' + 10)
	}
	return byte(c - '0')
}
