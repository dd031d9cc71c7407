package sinktest

import (
	"context"
	"fmt"
	"math/rand/v2"

	"signalbox/sinks"
)

// randomSeeds are the histories every sink lives through.
var randomSeeds = []uint64{1, 2, 3, 4}

// randomHistory writes a random log in random pieces, with pieces written again
// from an older place, restarts in between, and compares with a plain map.
func randomHistory(ctx context.Context, target Target) error {
	tables := make([]sinks.Table, len(randomSeeds))
	for i, seed := range randomSeeds {
		tables[i] = loadTable(fmt.Sprintf("history_%d", seed))
	}
	s, err := start(ctx, target, tables...)
	if err != nil {
		return err
	}
	defer func() { s.Close() }()
	var base uint64
	for i, seed := range randomSeeds {
		log, want := randomLog(rand.New(rand.NewPCG(seed, 1)), tables[i], base)
		base += uint64(len(log))
		if err := playLog(s, rand.New(rand.NewPCG(seed, 2)), tables[i], log); err != nil {
			return fmt.Errorf("seed %d: %w", seed, err)
		}
		if err := s.rowsAre(tables[i], want); err != nil {
			return fmt.Errorf("seed %d: %w", seed, err)
		}
	}
	return nil
}

// randomLog makes entries after base and says what must remain of them.
func randomLog(rng *rand.Rand, t sinks.Table, base uint64) ([]sinks.Batch, map[[16]byte]Row) {
	const entries, ids = 40, 12
	var log []sinks.Batch
	alive := map[byte]change{}
	for n := range uint64(entries) {
		var changes []change
		for range 1 + rng.IntN(4) {
			c := randomChange(rng, byte(rng.IntN(ids)), alive)
			changes = append(changes, c)
			if c.deleted {
				delete(alive, c.id)
			} else {
				alive[c.id] = c
			}
		}
		log = append(log, batch(t, base+n+1, changes...))
	}
	want := map[[16]byte]Row{}
	for _, c := range alive {
		want[rowID(c.id)] = expect(c)
	}
	return log, want
}

func randomChange(rng *rand.Rand, id byte, alive map[byte]change) change {
	was, there := alive[id]
	c := change{id: id, revision: 1, n: rng.Int64()}
	if there {
		c.revision = was.revision + 1
		c.deleted = rng.IntN(4) == 0
	}
	if rng.IntN(2) == 0 {
		c.note = fmt.Sprintf("note %d", rng.IntN(1000))
	}
	return c
}

func playLog(s *session, rng *rand.Rand, t sinks.Table, log []sinks.Batch) error {
	for done := 0; done < len(log); {
		from := max(0, done-rng.IntN(6)) // some entries come again
		done = min(len(log), done+1+rng.IntN(5))
		if err := s.write(log[done-1].Index, log[from:done]...); err != nil {
			return err
		}
		if err := s.cursorIs(log[done-1].Index); err != nil {
			return err
		}
		if rng.IntN(8) == 0 {
			if err := s.reopen(); err != nil {
				return err
			}
		}
	}
	return nil
}
