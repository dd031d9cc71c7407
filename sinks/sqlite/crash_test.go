package sqlite

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"signalbox/sinks"
)

// crashEnv makes the test binary write until it is killed, instead of testing.
const crashEnv = "SIGNALBOX_SQLITE_CRASH_TEST"

func TestMain(m *testing.M) {
	if path := os.Getenv(crashEnv); path != "" {
		if err := writeForEver(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// writeForEver goes on where the cursor stands, some entries at a time, and
// repeats a few, as a node does that starts again.
func writeForEver(path string) error {
	s, err := Open(Options{Path: path})
	if err != nil {
		return err
	}
	upTo, _, err := s.Cursor(context.Background())
	if err != nil {
		return err
	}
	t := counterTable()
	for {
		var batches []sinks.Batch
		for i := max(1, upTo-min(upTo, 3)); i <= upTo+5; i++ {
			batches = append(batches, counterBatch(t, i, int64(i)))
		}
		if err := s.Write(context.Background(), batches, upTo+5); err != nil {
			return err
		}
		upTo += 5
		fmt.Println(upTo) // told only after Write returned
	}
}

// TestKilledWhileWriting kills a writer again and again: rows and cursor always
// agree, and nothing that was acknowledged is gone.
func TestKilledWhileWriting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.db")
	rng := rand.New(rand.NewPCG(1, 1))
	var told uint64
	for round := range 8 {
		told = writeUntilKilled(t, path, told, 5+rng.Uint64N(200), time.Duration(rng.IntN(2000))*time.Microsecond)
		s, err := Open(Options{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		upTo, _, err := s.Cursor(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		rows, sum := count(t, s, `SELECT count(*) FROM counts`), count(t, s, `SELECT sum(n) FROM counts`)
		if upTo < told {
			t.Fatalf("round %d: %d was acknowledged, the cursor is %d", round, told, upTo)
		}
		if rows != int64(upTo) || sum != int64(upTo)*int64(upTo+1)/2 {
			t.Fatalf("round %d: cursor %d, but %d rows with the sum %d", round, upTo, rows, sum)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// writeUntilKilled runs a writer until it has told of enough entries above told,
// kills it a moment later, and returns the last it told of.
func writeUntilKilled(t *testing.T, path string, told, enough uint64, moment time.Duration) uint64 {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), crashEnv+"="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var killed <-chan time.Time
	lines := readLines(out)
	for first := told; ; {
		select {
		case line, ok := <-lines:
			if !ok {
				cmd.Wait()
				return told
			}
			n, err := strconv.ParseUint(line, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			if told = n; n >= first+enough && killed == nil {
				killed = time.After(moment)
			}
		case <-killed:
			cmd.Process.Kill()
		}
	}
}

func readLines(r io.Reader) <-chan string {
	out := make(chan string)
	go func() {
		defer close(out)
		for s := bufio.NewScanner(r); s.Scan(); {
			out <- s.Text()
		}
	}()
	return out
}
