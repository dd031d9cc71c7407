package spool

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"signalbox/edge/wire"
)

// agentModel is what an agent and a core know, while the disk under the agent's spool loses power again and again.
type agentModel struct {
	t       *testing.T
	r       *rand.Rand
	fs      *memFS
	s       *Spool
	n       int
	durable map[string]bool   // readings that Append reported as durable
	numbers map[string]uint64 // of those that this process may seal
	batches map[wire.Hash][]string
	core    map[uint64]wire.Hash // applied by the core, of the current epoch
	applied uint64
	epoch   uint64
	counted map[string]int // readings applied by the core
	known   map[wire.Hash]bool
}

func (m *agentModel) open() {
	cfg := small()
	cfg.SegmentBytes = 700
	s, err := Open(m.fs, cfg, [16]byte{1})
	if err != nil {
		m.t.Fatal(err)
	}
	m.s = s
	m.numbers = map[string]uint64{}
	ds, err := s.ReadBacklog(1<<62, 1<<30, 1<<30)
	if err != nil {
		m.t.Fatal(err)
	}
	for _, d := range ds {
		if d.Gap != nil {
			m.t.Fatalf("a gap after a power cut: %+v", d.Gap)
		}
		m.numbers[string(d.Payload)] = d.Number
	}
}

func (m *agentModel) append(wait bool) {
	m.n++
	x := fmt.Sprintf("r%d%s", m.n, strings.Repeat("-", m.r.IntN(80)))
	ch := make(chan uint64, 1)
	if err := m.s.Append(reading(x), func(n uint64, err error) {
		if err != nil {
			m.t.Errorf("append: %v", err)
		}
		ch <- n
	}); err != nil {
		m.t.Fatal(err)
	}
	if wait || m.r.IntN(8) > 0 {
		m.numbers[x] = <-ch
		m.durable[x] = true
	}
}

func (m *agentModel) seal() {
	st := m.s.State()
	if st.Epoch == 0 || len(m.numbers) == 0 {
		return
	}
	b := &Sealed{Epoch: st.Epoch, Seq: st.NextSeq}
	var ids []string
	for x, n := range m.numbers {
		if len(ids) < 5 {
			ids = append(ids, x)
			b.Consumes = b.Consumes.AddNumber(n)
		}
	}
	for _, x := range ids {
		delete(m.numbers, x)
	}
	if m.r.IntN(3) == 0 { // and one that comes with the batch
		m.n++
		ids = append(ids, fmt.Sprintf("fresh%d", m.n))
	}
	b.Body = []byte(strings.Join(ids, " "))
	b.Hash, b.Readings = wire.HashBody(b.Body), len(ids)
	m.batches[b.Hash] = ids
	ch := make(chan error, 1)
	if err := m.s.Seal(b, 0, func(err error) { ch <- err }); err != nil {
		m.t.Fatal(err)
	}
	if m.r.IntN(5) > 0 {
		if err := <-ch; err != nil {
			m.t.Fatal(err)
		}
		for _, x := range ids {
			m.durable[x] = true
		}
		m.send()
	}
}

// send gives the core what waits, after an fsync: what is sealed is sent only when it is durable.
func (m *agentModel) send() {
	m.append(true)
	for _, b := range m.s.Waiting() {
		if b.Seq != m.applied+1 || b.Epoch != m.epoch {
			continue
		}
		body, err := m.s.Body(b)
		if err != nil || wire.HashBody(body) != b.Hash {
			m.t.Fatalf("batch %d: %v", b.Seq, err)
		}
		m.applied++
		m.core[b.Seq] = b.Hash
		m.known[b.Hash] = true
		for _, x := range strings.Fields(string(body)) {
			m.counted[x]++
		}
	}
	if m.r.IntN(2) == 0 {
		m.s.Acked(m.epoch, m.applied)
	}
}

func (m *agentModel) newEpoch() {
	known := m.known
	ch := make(chan error, 1)
	if err := m.s.SetEpoch(m.epoch+1, 0, known, func(err error) { ch <- err }); err != nil {
		m.t.Fatal(err)
	}
	if err := <-ch; err != nil {
		m.t.Fatal(err)
	}
	m.epoch++
	m.applied, m.core = 0, map[uint64]wire.Hash{}
}

// crash cuts the power, opens the disk again and checks it against what was promised.
func (m *agentModel) crash() {
	old := m.s
	m.fs = m.fs.Crash(m.r)
	m.open()
	go old.Close()
	if st := m.s.State(); st.Epoch != m.epoch {
		m.t.Fatalf("epoch %d, want %d", st.Epoch, m.epoch)
	}
	where := map[string]string{}
	put := func(x, place string) {
		if before, twice := where[x]; twice {
			m.t.Fatalf("%s is in %s and in %s", x, before, place)
		}
		where[x] = place
	}
	for x := range m.numbers {
		put(x, "the backlog")
		if m.counted[x] > 0 {
			m.t.Fatalf("%s was applied and is unsealed again", x)
		}
	}
	for _, b := range m.s.Waiting() {
		body, err := m.s.Body(b)
		if err != nil || wire.HashBody(body) != b.Hash {
			m.t.Fatalf("batch %d: %v", b.Seq, err)
		}
		if h, applied := m.core[b.Seq]; applied && h != b.Hash {
			m.t.Fatalf("batch %d has other bytes than the one that was sent", b.Seq)
		}
		for _, x := range strings.Fields(string(body)) {
			put(x, fmt.Sprint("batch ", b.Seq))
		}
	}
	for x := range m.durable {
		if where[x] == "" && m.counted[x] == 0 {
			m.t.Fatalf("%s was durable and is gone", x)
		}
	}
	m.s.Acked(m.epoch, m.applied)
	if next := m.s.State().NextSeq; next <= m.applied {
		m.t.Fatalf("the next sequence is %d, the core has %d", next, m.applied)
	}
}

func (m *agentModel) run(steps int) {
	m.open()
	m.newEpoch()
	for range steps {
		switch k := m.r.IntN(100); {
		case k < 50:
			m.append(false)
		case k < 85:
			m.seal()
		case k < 90:
			m.send()
		case k < 92:
			m.newEpoch()
		case k < 97:
			m.crash()
		}
	}
	m.crash()
	for i := 0; i < 50 && len(m.numbers) > 0; i++ {
		m.seal()
	}
	for x, n := range m.counted {
		if n != 1 {
			m.t.Fatalf("%s was applied %d times", x, n)
		}
	}
	m.s.Close()
}

func TestReadingsAreInOneBatchWhateverHappens(t *testing.T) {
	for seed := range uint64(150) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			m := &agentModel{t: t, r: rand.New(rand.NewPCG(seed, 5)), fs: newMemFS(), durable: map[string]bool{}, batches: map[wire.Hash][]string{},
				core: map[uint64]wire.Hash{}, counted: map[string]int{}, known: map[wire.Hash]bool{}}
			m.run(300)
		})
	}
}

func TestAFullDiskIsWaitedFor(t *testing.T) {
	fs := newMemFS()
	s := open(t, fs, small())
	fs.mu.Lock()
	fs.full = 1
	fs.mu.Unlock()
	put(t, s, "waits for the disk")
	if st := s.Stats(); st.DiskFull != 1 {
		t.Errorf("%+v", st)
	}
	if texts, _ := backlog(t, s); len(texts) != 1 {
		t.Errorf("%q", texts)
	}
	if errors.Is(s.Err(), ErrFailed) {
		t.Error(s.Err())
	}
}
