package mqtt

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	devservices "signalbox/deploy/dev"
)

// A process that is killed when its messages are durable and the broker does not know: the next one gets them again.
func TestDurableMessagesAreNotTakenAgainAfterAKill(t *testing.T) {
	broker := devservices.Mosquitto(t)
	publish := publisher(t, broker.URL)
	path := filepath.Join(t.TempDir(), "receipts")
	durable := func(p Place) bool { return p.Number < 5 && p.Epoch == 0 || p.Epoch == 1 && p.Seq < 5 }
	open := func(receipts string) (*Source, func()) {
		cfg := DefaultConfig()
		cfg.Brokers, cfg.ClientID, cfg.MaxBackoff = []string{broker.URL}, "agent", time.Second
		s, err := New(cfg, []string{"a/#"}, time.Now, rand.New(rand.NewPCG(1, 2)))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Remember(receipts, durable); err != nil {
			t.Fatal(err)
		}
		return s, run(t, s)
	}
	const n = 20
	s, kill := open(path)
	for i := range n {
		publish("a/b", fmt.Sprint("reading ", i%7)) // some are equal: each counts
	}
	msgs := take(t, s, n)
	s.Receipt(msgs[:9], Place{Number: 4})
	s.Receipt(msgs[9:n-2], Place{Epoch: 1, Seq: 4})
	s.Receipt(msgs[n-2:n-1], Place{Number: 5}) // did not come to the disk
	s.Receipt(msgs[n-1:], Place{Epoch: 1, Seq: 5})
	kill()
	if _, _, err := openReceipts(path, durable); err != nil { // a process that comes no further
		t.Fatal(err)
	}
	durable = func(Place) bool { return true } // others are where those two should have been
	s, kill = open(path)
	got := take(t, s, 2) // those that were not durable
	if st := s.Stats(); st.Redelivered != n-2 || st.Received != 2 {
		t.Errorf("%d of %d were known, %d are taken again: %s", st.Redelivered, n-2, st.Received, texts(got))
	}
	s.Ack(got)
	publish("a/b", "reading 3") // equal to one that is known, and another
	s.Ack(take(t, s, 1))
	kill()
	s, kill = open(path + "-2")
	publish("a/b", "last")
	if got := texts(take(t, s, 1)); got != "a/b=last" {
		t.Errorf("the broker still holds %s", got)
	}
	kill()
}

// The file is a ring; a torn receipt says nothing; a packet id that came round speaks of its last message; ids that do not
// follow each other say nothing at all.
func TestReceipts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "receipts")
	open := func() (*receipts, map[uint16]*entry) {
		t.Helper()
		r, known, err := openReceipts(path, func(Place) bool { return true })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.file.Close() })
		return r, known
	}
	r, known := open()
	if len(known) != 0 {
		t.Fatal(known)
	}
	id := uint16(65000)
	give := func(n int) {
		var b []byte
		for range n {
			b, _ = r.add(b, id, receiptGiven, uint64(id)*3, Place{Number: 1})
			if id++; id == 0 {
				id = 1
			}
		}
		if err := r.write(b); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		give(3001)
	}
	if _, known = open(); len(known) != receiptsKept {
		t.Fatalf("%d receipts are kept", len(known))
	}
	newest := id - 1
	if known[newest] == nil || known[newest].hash != uint64(newest)*3 || known[newest-receiptsKept] != nil {
		t.Errorf("the newest receipt is %v, an overwritten one %v", known[newest], known[newest-receiptsKept])
	}
	b, _ := r.add(nil, newest, receiptVoid, 0, Place{})
	if err := r.write(b); err != nil {
		t.Fatal(err)
	}
	if _, err := r.file.WriteAt([]byte{1, 2, 3}, int64((r.next-3)%receiptsKept*receiptBytes)); err != nil {
		t.Fatal(err)
	}
	again, known := open()
	if known[newest] != nil || known[newest-1] != nil || known[newest-2] == nil || again.next != r.next {
		t.Errorf("void %v, torn %v, well %v, next %d of %d", known[newest], known[newest-1], known[newest-2], again.next, r.next)
	}
	path = filepath.Join(t.TempDir(), "lowest")
	r, _ = open()
	for range 40 {
		id = 1
		give(2)
	}
	if _, known = open(); len(known) != 0 {
		t.Errorf("a broker that gives the lowest free id: %d receipts are believed", len(known))
	}
}
