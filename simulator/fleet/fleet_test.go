package fleet

import (
	"bytes"
	"hash/crc32"
	"testing"
	"time"

	"github.com/influxdata/line-protocol/v2/lineprotocol"
)

func lines(cfg Config, n int) []byte {
	f := New(cfg)
	var out []byte
	for range n {
		out = AppendLine(out, f.Next())
	}
	return out
}

func TestSameSeedSameReadings(t *testing.T) {
	a, b := lines(Config{Seed: 7}, 5000), lines(Config{Seed: 7}, 5000)
	if !bytes.Equal(a, b) {
		t.Fatal("the same seed gave other readings")
	}
	if bytes.Equal(a, lines(Config{Seed: 8}, 5000)) {
		t.Fatal("another seed gave the same readings")
	}
	t.Logf("crc32 of 5000 readings of seed 7: %08x", crc32.ChecksumIEEE(a))
}

func TestLinesAreLineProtocol(t *testing.T) {
	d := lineprotocol.NewDecoderWithBytes(lines(Config{Seed: 1}, 2000))
	n := 0
	for d.Next() {
		if _, err := d.Measurement(); err != nil {
			t.Fatal(err)
		}
		for {
			if k, _, err := d.NextTag(); err != nil {
				t.Fatal(err)
			} else if k == nil {
				break
			}
		}
		for {
			if k, _, err := d.NextField(); err != nil {
				t.Fatal(err)
			} else if k == nil {
				break
			}
		}
		if _, err := d.Time(lineprotocol.Nanosecond, time.Time{}); err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 2000 {
		t.Fatalf("%d lines decoded, want 2000", n)
	}
}

// Buses must get full and then emptier again, or no alert ever fires or resolves.
func TestCrowdsFillAndEmptyBuses(t *testing.T) {
	f := New(Config{Seed: 3, Buses: 20, Pace: 20, Crowding: 0.05})
	full, cleared := map[int]bool{}, map[int]bool{}
	missing := 0
	for range 20 * 600 {
		r := f.Next()
		if r.Passengers < 0 || r.Passengers > r.Capacity+2 {
			t.Fatalf("impossible load %d of %d", r.Passengers, r.Capacity)
		}
		if !r.HasPosition {
			missing++
		}
		if r.Passengers >= r.Capacity {
			full[r.Bus] = true
		} else if full[r.Bus] && float64(r.Passengers) < 0.9*float64(r.Capacity) {
			cleared[r.Bus] = true
		}
	}
	if len(full) < 5 || len(cleared) < 5 {
		t.Fatalf("only %d buses got full and %d empty again in ten minutes", len(full), len(cleared))
	}
	if share := float64(missing) / 12000; share < 0.2 || share > 0.3 {
		t.Fatalf("%.2f of the readings lack a position, want about a quarter", share)
	}
}

func TestSenderFaults(t *testing.T) {
	s := NewSender(New(Config{Seed: 5, Buses: 10}), Faults{Seed: 9, Duplicates: .1, Disorder: .2, Outages: 60, Skewed: .3, Malformed: .05})
	seen := map[string]int{}
	var dup, bad, late, ahead int
	var last, newest int64
	for range 20000 {
		d := s.Next()
		if d.At < last {
			t.Fatal("messages are not in the order of sending")
		}
		last = d.At
		if d.Reading.Time < newest {
			late++
		}
		newest = max(newest, d.Reading.Time)
		if d.Reading.Time > d.At {
			ahead++
		}
		switch {
		case d.Malformed:
			bad++
		case d.Duplicate:
			dup++
			if seen[string(d.Payload)] != 1 {
				t.Fatal("a duplicate came before its original or twice")
			}
		}
		seen[string(d.Payload)]++
	}
	for name, n := range map[string]int{"duplicates": dup, "malformed": bad, "late": late, "ahead": ahead} {
		if n == 0 {
			t.Errorf("no %s among 20000 messages", name)
		}
	}
}
