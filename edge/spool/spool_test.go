package spool

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"signalbox/edge/wire"
)

func small() Config {
	c := DefaultConfig()
	c.QuotaBytes, c.SegmentBytes = 1<<20, 4096
	return c
}

func open(t testing.TB, fs FS, cfg Config) *Spool {
	t.Helper()
	s, err := Open(fs, cfg, [16]byte{1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func reading(text string) Data {
	return Data{Readings: 1, Received: 5, MinTime: 7, Payload: []byte(text)}
}

// put appends and waits for the fsync.
func put(t testing.TB, s *Spool, text string) uint64 {
	t.Helper()
	ch := make(chan error, 1)
	var number uint64
	if err := s.Append(reading(text), func(n uint64, err error) { number = n; ch <- err }); err != nil {
		t.Fatal(err)
	}
	if err := <-ch; err != nil {
		t.Fatal(err)
	}
	return number
}

func setEpoch(t testing.TB, s *Spool, epoch, applied uint64, known map[wire.Hash]bool) {
	t.Helper()
	ch := make(chan error, 1)
	if err := s.SetEpoch(epoch, applied, known, func(err error) { ch <- err }); err != nil {
		t.Fatal(err)
	}
	if err := <-ch; err != nil {
		t.Fatal(err)
	}
}

func seal(t testing.TB, s *Spool, body string, numbers ...uint64) *Sealed {
	t.Helper()
	st := s.State()
	b := &Sealed{Epoch: st.Epoch, Seq: st.NextSeq, Hash: wire.HashBody([]byte(body)), Body: []byte(body), Readings: len(numbers)}
	for _, n := range numbers {
		b.Consumes = b.Consumes.AddNumber(n)
	}
	ch := make(chan error, 1)
	if err := s.Seal(b, 0, func(err error) { ch <- err }); err != nil {
		t.Fatal(err)
	}
	if err := <-ch; err != nil {
		t.Fatal(err)
	}
	return b
}

func backlog(t testing.TB, s *Spool) (texts []string, gaps []wire.Gap) {
	t.Helper()
	ds, err := s.ReadBacklog(1<<62, 1<<30, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range ds {
		if d.Gap != nil {
			gaps = append(gaps, *d.Gap)
			continue
		}
		texts = append(texts, string(d.Payload))
	}
	return texts, gaps
}

func TestReadingsSurviveARestart(t *testing.T) {
	fs := newMemFS()
	s := open(t, fs, small())
	for i := range 300 {
		put(t, s, fmt.Sprintf("reading %03d %s", i, strings.Repeat("x", 100)))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, fs, small())
	texts, _ := backlog(t, s)
	if len(texts) != 300 || !slices.IsSorted(texts) || s.Stats().UnsealedReadings != 300 || s.State().Install != [16]byte{1, 2, 3} {
		t.Fatalf("%d readings, %+v, %+v", len(texts), s.Stats(), s.State())
	}
	if again, _ := backlog(t, s); len(again) != 0 {
		t.Errorf("%d readings came twice", len(again))
	}
}

func TestSealedBatchesKeepTheirBytes(t *testing.T) {
	fs := newMemFS()
	s := open(t, fs, small())
	a, b, c := put(t, s, "a"), put(t, s, "b"), put(t, s, "c")
	setEpoch(t, s, 4, 0, nil)
	seal(t, s, "body of a and c", a, c)
	if err := s.Append(reading("d"), func(uint64, error) {}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = open(t, fs, small())
	texts, _ := backlog(t, s)
	w := s.Waiting()
	if !slices.Equal(texts, []string{"b", "d"}) || len(w) != 1 {
		t.Fatalf("backlog %q, waiting %v", texts, w)
	}
	body, err := s.Body(w[0])
	if err != nil || string(body) != "body of a and c" || w[0].Seq != 1 || w[0].Epoch != 4 || wire.HashBody(body) != w[0].Hash {
		t.Fatalf("%+v %q %v", w[0], body, err)
	}
	if err := s.Seal(&Sealed{Epoch: 4, Seq: 2, Consumes: Ranges{{a, b}}}, 0, nil); !errors.Is(err, ErrGone) {
		t.Errorf("a reading went into two batches: %v", err)
	}
	if err := s.Seal(&Sealed{Epoch: 4, Seq: 3}, 0, nil); err == nil {
		t.Error("a sequence was left out")
	}
	if n := s.Acked(4, 1); n != 2 || len(s.Waiting()) != 0 {
		t.Errorf("%d readings acknowledged", n)
	}
}

func TestNewEpochRenumbers(t *testing.T) {
	fs := newMemFS()
	s := open(t, fs, small())
	setEpoch(t, s, 1, 0, nil)
	for _, x := range []string{"one", "two", "three"} {
		seal(t, s, x, put(t, s, x))
	}
	setEpoch(t, s, 2, 10, map[wire.Hash]bool{wire.HashBody([]byte("two")): true})
	check := func(s *Spool) {
		t.Helper()
		var got []string
		for _, b := range s.Waiting() {
			body, err := s.Body(b)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprintf("%d/%d %s", b.Epoch, b.Seq, body))
		}
		if !slices.Equal(got, []string{"2/11 one", "2/12 three"}) || s.State().NextSeq != 13 {
			t.Fatalf("%q next %d", got, s.State().NextSeq)
		}
	}
	check(s)
	s.Close()
	check(open(t, fs, small()))
}

func TestSegmentsAreFreed(t *testing.T) {
	fs := newMemFS()
	s := open(t, fs, small())
	setEpoch(t, s, 1, 0, nil)
	stuck := put(t, s, "stays "+strings.Repeat("x", 3000))
	for i := range 200 {
		b := seal(t, s, fmt.Sprintf("body %d", i), put(t, s, strings.Repeat("y", 500)))
		s.Acked(1, b.Seq)
	}
	put(t, s, "one more") // its fsync comes after the checkpoint's
	if n := s.Stats().Bytes; n > 40000 {
		t.Errorf("%d bytes are still used", n)
	}
	s.Close()
	s = open(t, fs, small())
	texts, _ := backlog(t, s)
	if len(texts) != 2 || !strings.HasPrefix(texts[0], "stays") || texts[1] != "one more" {
		t.Fatalf("readings that were acknowledged came back: %.200q (record %d)", texts, stuck)
	}
}

func TestPolicies(t *testing.T) {
	for _, policy := range []Policy{StopAcknowledging, DropNew, DropOldest} {
		cfg := small()
		cfg.Policy = policy
		fs := newMemFS()
		s := open(t, fs, cfg)
		accepted, dropped, full := 0, 0, 0
		for again := 0; accepted+dropped+full < 3000 && again < 30000; {
			space := s.Space()
			switch err := s.Append(reading(strings.Repeat("z", 1000)), func(uint64, error) {}); {
			case err == nil:
				accepted++
			case errors.Is(err, ErrDropped):
				dropped++
			case errors.Is(err, ErrFull) && policy == DropOldest: // nothing old is on the disk yet
				<-space
				again++
			case errors.Is(err, ErrFull):
				full++
			default:
				t.Fatal(err)
			}
		}
		s.Close()
		if st := s.Stats(); st.Bytes > cfg.QuotaBytes {
			t.Errorf("%s: %d bytes of %d", policy, st.Bytes, cfg.QuotaBytes)
		}
		s = open(t, fs, cfg)
		texts, gaps := backlog(t, s)
		lost := uint64(0)
		for _, g := range gaps {
			lost += g.Readings
		}
		ok := map[Policy]bool{
			StopAcknowledging: full > 0 && dropped == 0 && len(texts) == accepted && lost == 0,
			DropNew:           full == 0 && dropped > 0 && len(texts) == accepted && int(lost) == dropped,
			DropOldest:        full == 0 && dropped == 0 && len(texts) < accepted && len(texts)+int(lost) == accepted,
		}[policy]
		if !ok {
			t.Errorf("%s: accepted %d dropped %d full %d, then %d readings and a gap of %d", policy, accepted, dropped, full, len(texts), lost)
		}
	}
}

func TestSpaceComesBack(t *testing.T) {
	s := open(t, newMemFS(), small())
	setEpoch(t, s, 1, 0, nil)
	var numbers []uint64
	var wg sync.WaitGroup
	var mu sync.Mutex
	for {
		wg.Add(1)
		if err := s.Append(reading(strings.Repeat("z", 1000)), func(n uint64, err error) {
			mu.Lock()
			numbers = append(numbers, n)
			mu.Unlock()
			wg.Done()
		}); err != nil {
			wg.Done()
			break
		}
	}
	wg.Wait()
	space := s.Space()
	b := seal(t, s, strings.Repeat("s", 10000), numbers...)
	s.Acked(1, b.Seq)
	<-space
	put(t, s, "fits again")
}

func TestAFailedFsyncIsFinal(t *testing.T) {
	fs := newMemFS()
	s := open(t, fs, small())
	put(t, s, "good")
	fs.mu.Lock()
	fs.fail = errors.New("EIO")
	fs.mu.Unlock()
	ch := make(chan error, 1)
	if err := s.Append(reading("bad"), func(_ uint64, err error) { ch <- err }); err != nil {
		t.Fatal(err)
	}
	if err := <-ch; !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
	fs.mu.Lock()
	fs.fail = nil
	fs.mu.Unlock()
	if err := s.Append(reading("after"), nil); !errors.Is(err, ErrFailed) {
		t.Errorf("went on after a failed fsync: %v", err)
	}
}

// Every byte of a file of three records, flipped and cut: what is not damaged comes back, what is lost is counted.
func TestEveryDamage(t *testing.T) {
	fs := newMemFS()
	s := open(t, fs, small())
	want := []string{"first reading", "second reading", "third reading"}
	for _, x := range want {
		put(t, s, x)
	}
	name := segmentName(1)
	whole := slices.Clone(fs.names[name].data)
	try := func(what string, data []byte, damaged int, boundary bool) {
		t.Helper()
		disk := fs.with(name, data)
		for opening := range 2 { // the second opening finds everything repaired
			s, err := Open(disk, small(), [16]byte{})
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			put(t, s, "after") // its fsync comes after that of the gap
			texts, gaps := backlog(t, s)
			st := s.Stats()
			s.Close()
			lost := uint64(0)
			for _, g := range gaps {
				lost += g.Readings
			}
			for i, w := range want {
				if has := slices.Contains(texts, w); has != (i != damaged && (i < damaged || len(data) == len(whole))) {
					t.Fatalf("%s: reading %d there: %v (%q)", what, i, has, texts)
				}
			}
			inside := damaged < 2 && len(data) == len(whole)
			if inside && lost != 1 || !inside && lost != 0 {
				t.Fatalf("%s: gap of %d", what, lost)
			}
			if opening == 0 && !inside && !boundary && st.TornBytes == 0 {
				t.Fatalf("%s: a torn tail was not counted: %+v", what, st)
			}
		}
	}
	ends := []int{headerBytes}
	for range want {
		_, n, err := parseRecord(whole[ends[len(ends)-1]:])
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, ends[len(ends)-1]+n)
	}
	for at := headerBytes; at < ends[3]; at++ {
		rec := 0
		for at >= ends[rec+1] {
			rec++
		}
		for bit := range 8 {
			data := slices.Clone(whole)
			data[at] ^= 1 << bit
			try(fmt.Sprintf("byte %d bit %d of record %d flipped", at, bit, rec), data, rec, false)
		}
		try(fmt.Sprintf("cut at %d in record %d", at, rec), whole[:at], rec, at == ends[rec])
	}
}

// powerCut appends from several goroutines, cuts the power at a random moment and says which acknowledged readings are missing.
func powerCut(t *testing.T, seed uint64, noSync, ackEarly bool) (missing []string) {
	r := rand.New(rand.NewPCG(seed, 9))
	fs := newMemFS()
	fs.noSync = noSync
	s, err := Open(fs, small(), [16]byte{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var mu sync.Mutex
	acked := map[string]bool{}
	ack := func(x string) { mu.Lock(); acked[x] = true; mu.Unlock() }
	cut := 1 + r.IntN(60)
	var after *memFS
	var promised []string
	for i := range cut {
		x := fmt.Sprintf("%d-%s", i, strings.Repeat("x", r.IntN(300)))
		done := make(chan struct{})
		if ackEarly {
			ack(x)
		}
		if err := s.Append(reading(x), func(_ uint64, err error) {
			if err == nil {
				ack(x)
			}
			close(done)
		}); err != nil {
			t.Fatal(err)
		}
		if i == cut-1 { // what is acknowledged before the cut has to be on the disk after it
			mu.Lock()
			for x := range acked {
				promised = append(promised, x)
			}
			after = fs.Crash(r)
			mu.Unlock()
		}
		if r.IntN(3) == 0 {
			<-done
		}
	}
	again, err := Open(after, small(), [16]byte{})
	if err != nil {
		return []string{err.Error()}
	}
	defer again.Close()
	texts, _ := backlog(t, again)
	for _, x := range promised {
		if !slices.Contains(texts, x) {
			missing = append(missing, x)
		}
	}
	return missing
}

func TestPowerCuts(t *testing.T) {
	for seed := range uint64(300) {
		if m := powerCut(t, seed, false, false); len(m) > 0 {
			t.Fatalf("seed %d: acknowledged and lost: %q", seed, m)
		}
	}
}

// The test above is worth something only if it catches these.
func TestPowerCutsCatchPlantedBugs(t *testing.T) {
	for name, bug := range map[string][2]bool{"fsync that does nothing": {true, false}, "acknowledged before the fsync": {false, true}} {
		caught := 0
		for seed := range uint64(100) {
			if len(powerCut(t, seed, bug[0], bug[1])) > 0 {
				caught++
			}
		}
		if caught == 0 {
			t.Errorf("%s: not caught in 100 power cuts", name)
		}
	}
}

func TestOnARealDisk(t *testing.T) {
	dir := t.TempDir()
	for i := range 3 {
		fs, err := Dir(dir)
		if err != nil {
			t.Fatal(err)
		}
		s := open(t, fs, small())
		put(t, s, fmt.Sprint("run ", i))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	fs, _ := Dir(dir)
	if texts, _ := backlog(t, open(t, fs, small())); len(texts) != 3 {
		t.Errorf("%q", texts)
	}
	if st, err := os.Stat(dir + "/" + segmentName(1)); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st, err)
	}
}

func TestRanges(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		var s Ranges
		oracle := map[uint64]bool{}
		for range 30 {
			from := r.Uint64N(100)
			x := Range{from, from + r.Uint64N(6)}
			s = s.Add(x)
			for n := x.From; n <= x.To; n++ {
				oracle[n] = true
			}
		}
		for n := range uint64(110) {
			if s.Has(n) != oracle[n] {
				t.Fatalf("%v has %d: %v", s, n, s.Has(n))
			}
		}
		for i := 1; i < len(s); i++ {
			if s[i].From <= s[i-1].To+1 {
				t.Fatalf("%v touches", s)
			}
		}
	}
}
