package session

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"signalbox/edge/wire"
)

// core is the slow, obvious other side: it applies a batch when it is the next one.
type core struct {
	epoch, applied uint64
	history        []wire.Hash // everything ever applied
	hashes         []wire.SeqHash
	prev           []wire.SeqHash
	install        [16]byte
}

func (c *core) hello(h *wire.Hello) *wire.Welcome {
	switch {
	case c.epoch == 0:
		c.epoch, c.install = 1, h.Install
	case h.Install != c.install || h.Epoch != c.epoch && !(h.Epoch == 0 && c.applied == 0) || h.Epoch != 0 && h.NextSeq <= c.applied:
		c.epoch++
		c.prev = append(c.prev, c.hashes...) // an epoch that was granted and never used must not hide the one before
		c.prev = c.prev[max(0, len(c.prev)-wire.MaxHashes):]
		c.hashes, c.applied, c.install = nil, 0, h.Install
	}
	w := &wire.Welcome{Epoch: c.epoch, Applied: c.applied, Hashes: c.prev, Credit: wire.MaxInFlight}
	return w
}

func (c *core) batch(epoch uint64, it Item) wire.Message {
	switch {
	case epoch != c.epoch:
		return &wire.Goodbye{Code: wire.GoodbyeShutdown, Reason: "old epoch"}
	case it.Seq > c.applied+1:
		return &wire.Expect{Epoch: c.epoch, Seq: c.applied + 1, Credit: wire.MaxInFlight}
	case it.Seq <= c.applied:
		for _, h := range c.hashes {
			if h.Seq == it.Seq && h.Hash != it.Hash {
				return &wire.Conflict{Epoch: c.epoch, Seq: it.Seq, Reason: "another hash"}
			}
		}
	default:
		c.applied = it.Seq
		c.hashes = append(c.hashes, wire.SeqHash{Seq: it.Seq, Hash: it.Hash})
		c.history = append(c.history, it.Hash)
	}
	return &wire.Ack{Epoch: c.epoch, Applied: c.applied, Credit: wire.MaxInFlight}
}

// disk is what the spool does for the session.
type disk struct {
	epoch, next, applied uint64
	queue                []Item
	made                 []wire.Hash
	install              [16]byte
}

func (d *disk) clone() *disk {
	c := *d
	c.queue = append([]Item(nil), d.queue...)
	c.made = append([]wire.Hash(nil), d.made...)
	return &c
}

type world struct {
	r      *rand.Rand
	c      core
	d      *disk
	s      *Session
	toCore []func() []wire.Message
	toEdge []wire.Message
	now    int64
	bodies uint64
	mad    bool // the core may make no sense
}

func (w *world) start() {
	w.s = New(Config{Agent: "a", Install: w.d.install}, w.d.epoch, w.d.next, w.d.applied, append([]Item(nil), w.d.queue...))
	w.connect()
}

func (w *world) connect() {
	w.toCore, w.toEdge = nil, nil
	h := w.s.Connect(w.now)
	w.toCore = append(w.toCore, func() []wire.Message { return []wire.Message{w.c.hello(h)} })
}

func (w *world) seal() {
	if !w.s.CanSeal(w.now, 0) {
		return
	}
	w.bodies++
	h := wire.HashBody([]byte(fmt.Sprint("body ", w.bodies)))
	it := Item{Seq: w.d.next, Hash: h, Lane: wire.Lane(w.r.IntN(2))}
	w.d.next++
	w.d.queue = append(w.d.queue, it)
	w.d.made = append(w.d.made, h)
	w.s.Sealed(it)
}

func (w *world) send() {
	it, ok := w.s.Next(w.now)
	if !ok {
		return
	}
	epoch := w.s.Epoch()
	w.toCore = append(w.toCore, func() []wire.Message {
		if w.r.IntN(20) == 0 { // the core loses it, as a leader does that steps down
			return nil
		}
		if w.r.IntN(30) == 0 {
			return []wire.Message{&wire.SlowDown{RetryAfter: int64(w.r.IntN(100)), Seq: it.Seq}}
		}
		m := w.c.batch(epoch, it)
		if w.r.IntN(20) == 0 {
			return []wire.Message{m, w.c.batch(epoch, it)} // delivered twice
		}
		return []wire.Message{m}
	})
}

func (w *world) handle(t *testing.T, m wire.Message) {
	fx, err := w.s.Handle(m, w.now)
	switch {
	case err != nil && w.mad: // what the agent does: connect again
		w.connect()
	case err != nil:
		t.Fatalf("%T %+v: %v", m, m, err)
	case fx.Grant != nil:
		var kept []Item
		seq := fx.Grant.Applied
		for _, it := range w.d.queue {
			if !fx.Grant.Known[it.Hash] {
				seq++
				it.Seq = seq
				kept = append(kept, it)
			}
		}
		w.d.epoch, w.d.applied, w.d.next, w.d.queue = fx.Grant.Epoch, fx.Grant.Applied, seq+1, kept
		w.s.Granted(fx.Grant, w.d.next, append([]Item(nil), kept...))
	case fx.Acked:
		for len(w.d.queue) > 0 && w.d.queue[0].Seq <= fx.Applied {
			w.d.queue = w.d.queue[1:]
		}
		w.d.applied = fx.Applied
	case fx.Conflict != "":
		w.d.install[0]++
		w.s.Renew(w.d.install)
		w.connect()
	case fx.Close != "":
		w.connect()
	}
}

func (w *world) step(t *testing.T, faults bool) {
	w.now += int64(w.r.IntN(50))
	switch k := w.r.IntN(100); {
	case k < 25:
		w.seal()
	case k < 50:
		w.send()
	case k < 75 && len(w.toCore) > 0:
		f := w.toCore[0]
		w.toCore = w.toCore[1:]
		w.toEdge = append(w.toEdge, f()...)
	case k < 97 && len(w.toEdge) > 0:
		m := w.toEdge[0]
		w.toEdge = w.toEdge[1:]
		w.handle(t, m)
	case k == 97 && faults:
		w.s.Disconnect()
		w.connect()
	case k == 98 && faults: // the process dies; the disk stays
		w.start()
	case k == 99:
		w.now += expectQuiet // a lost batch behind which nothing follows is found by time
		if w.s.Stalled(w.now + ackTimeout) {
			w.s.Disconnect()
			w.connect()
		}
	}
	if n := w.s.InFlight(); n > wire.MaxInFlight {
		t.Fatalf("%d in flight", n)
	}
}

func run(t *testing.T, seed uint64, restore bool) {
	w := &world{r: rand.New(rand.NewPCG(seed, 3)), d: &disk{next: 1}}
	w.start()
	var image *disk
	for i := range 2000 {
		if restore && i == 800 { // fewer than wire.MaxHashes batches before the restore: the core remembers no more
			image = w.d.clone()
		}
		if restore && i == 1000 { // an old image comes back: what it had not acknowledged then may be applied by now
			w.d = image
			w.start()
		}
		w.step(t, true)
	}
	for range 20000 { // the faults stop: everything has to arrive
		if len(w.d.queue) == 0 {
			break
		}
		w.step(t, false)
	}
	if len(w.d.queue) > 0 {
		t.Fatalf("seed %d: %d batches never arrived; session %+v core %d", seed, len(w.d.queue), w.s, w.c.applied)
	}
	count := map[wire.Hash]int{}
	for _, h := range w.c.history {
		count[h]++
	}
	for h, n := range count {
		if n != 1 {
			t.Fatalf("seed %d: %x applied %d times", seed, h, n)
		}
	}
	for i, h := range w.d.made {
		if count[h] != 1 {
			t.Fatalf("seed %d: batch %d applied %d times", seed, i+1, count[h])
		}
	}
	if len(w.d.made) < 100 {
		t.Fatalf("seed %d: only %d batches were made", seed, len(w.d.made))
	}
}

func TestEachBatchOnceUnderFaults(t *testing.T) {
	for seed := range uint64(300) {
		run(t, seed, false)
	}
}

func TestRestoredImage(t *testing.T) {
	for seed := range uint64(300) {
		run(t, seed, true)
	}
}

func TestLanes(t *testing.T) {
	s := New(Config{}, 1, 1, 0, nil)
	var got strings.Builder
	for range 12 {
		lane, ok := s.Lane(true, true)
		if !ok {
			t.Fatal("nothing to seal")
		}
		got.WriteString(map[wire.Lane]string{wire.Live: "L", wire.Backlog: "b"}[lane])
		s.Sealed(Item{Seq: s.nextSeq, Lane: lane})
	}
	if got.String() != "LLLbLLLLLLLL" { // the second backlog batch waits for the first one's acknowledgement
		t.Errorf("lanes %s", &got)
	}
	if l, ok := s.Lane(false, true); !ok || l != wire.Backlog {
		t.Error("backlog alone")
	}
	if _, ok := s.Lane(false, false); ok {
		t.Error("sealed nothing")
	}
}

func TestANonsensicalCoreIsRefused(t *testing.T) {
	for name, m := range map[string]wire.Message{
		"ack of the future":    &wire.Ack{Epoch: 3, Applied: 9},
		"expects the past":     &wire.Expect{Epoch: 3, Seq: 0},
		"expects the future":   &wire.Expect{Epoch: 3, Seq: 4},
		"speaks like an agent": &wire.Hello{},
		"welcomes twice":       &wire.Welcome{Epoch: 3},
	} {
		s := New(Config{}, 3, 3, 0, []Item{{Seq: 1}, {Seq: 2}})
		if _, err := s.Handle(m, 0); err == nil && name != "welcomes twice" {
			t.Errorf("%s before the welcome was taken", name)
		}
		s.Connect(0)
		if _, err := s.Handle(&wire.Welcome{Epoch: 3, Credit: 1}, 0); err != nil {
			t.Fatal(err)
		}
		s.Next(0)
		if _, err := s.Handle(m, 0); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	s := New(Config{}, 3, 3, 0, nil)
	s.Connect(0)
	if _, err := s.Handle(&wire.Welcome{Epoch: 2}, 0); err == nil {
		t.Error("went back to an old epoch")
	}
}

func TestFrontiersNeverCertifyWhatIsUnsent(t *testing.T) {
	var f Frontiers
	f.Note("b", 100)
	f.Note("a", 50)
	f.Note("b", 90)
	for _, c := range []struct {
		unsent int64
		some   bool
		idle   int64
		want   string
	}{{0, false, 0, "[{a 50 50} {b 100 100}]"}, {70, true, 0, "[{a 50 50} {b 100 70}]"}, {0, false, 200, "[{a 50 200} {b 100 200}]"}, {70, true, 200, "[{a 50 50} {b 100 70}]"}} {
		if got := fmt.Sprint(f.Certify(c.unsent, c.some, c.idle)); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}
