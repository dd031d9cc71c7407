package session

import (
	"math"
	"math/rand/v2"
	"testing"

	"signalbox/edge/wire"
)

// nonsense is something that a core may say at any time without lying about what it has: late, repeated, of another epoch, or
// out of place.
func (w *world) nonsense() wire.Message {
	epoch := w.s.epoch
	if w.r.IntN(4) == 0 {
		epoch += uint64(w.r.IntN(3)) - 1
	}
	credit := []uint32{0, 1, wire.MaxInFlight, math.MaxUint32}[w.r.IntN(4)]
	if w.r.IntN(20) > 0 {
		credit = wire.MaxInFlight
	}
	known := w.c.applied
	if known > 0 && w.r.IntN(2) == 0 {
		known = w.r.Uint64N(known + 1)
	}
	if epoch == w.s.epoch && epoch != w.c.epoch {
		known = w.s.applied // what the core had in the epoch before, at the least
	}
	if epoch != w.s.epoch {
		known = w.r.Uint64N(w.d.next + 3) // an epoch of its own has sequences of its own
	}
	switch w.r.IntN(9) {
	case 0:
		return &wire.SlowDown{RetryAfter: []int64{math.MinInt64, -1, 0, 100, 1 << 61, math.MaxInt64}[w.r.IntN(6)], Seq: w.r.Uint64N(w.d.next + 3)}
	case 1:
		return &wire.Expect{Epoch: epoch, Seq: known + 1, Credit: credit}
	case 2:
		return &wire.Expect{Epoch: epoch, Seq: w.d.next + 1 + w.r.Uint64N(5), Credit: credit}
	case 3:
		return &wire.Conflict{Epoch: epoch, Seq: known, Reason: "any"}
	case 4, 5:
		return &wire.Ack{Epoch: epoch, Applied: known, Credit: credit}
	case 6:
		return &wire.Goodbye{Code: wire.GoodbyeCode(w.r.IntN(8)), Reason: "any"}
	case 7:
		return &wire.Welcome{Epoch: epoch, Applied: known, Credit: credit}
	}
	return []wire.Message{&wire.Redirect{Leader: "other"}, &wire.Hello{}, &wire.BatchMessage{}, &wire.Heartbeat{}}[w.r.IntN(4)]
}

// Whatever a core answers, in whatever order: at most the credit is in flight, and once it makes sense again each batch is there once.
func TestACoreThatAnswersInAnyOrder(t *testing.T) {
	refused, conflicts := 0, 0
	for seed := range uint64(400) {
		w := &world{r: rand.New(rand.NewPCG(seed, 11)), d: &disk{next: 1}, mad: true}
		w.start()
		for range 2000 {
			if w.r.IntN(60) == 0 {
				m := w.nonsense()
				_, first := m.(*wire.Welcome)
				if first && !w.s.up { // before the true one it would be the true one
					continue
				}
				if _, bad := m.(*wire.Conflict); bad {
					conflicts++
				}
				if fx, err := w.s.Handle(m, w.now); err != nil {
					refused++
					w.connect()
				} else if fx.Redirect != "" || fx.Close != "" {
					w.connect()
				} else if fx.Conflict != "" {
					w.d.install[0]++
					w.d.install[1] += w.d.install[0] / 255
					w.s.Renew(w.d.install)
					w.connect()
				} else if fx.Acked {
					for len(w.d.queue) > 0 && w.d.queue[0].Seq <= fx.Applied {
						w.d.queue = w.d.queue[1:]
					}
					w.d.applied = fx.Applied
				}
			}
			w.step(t, true)
			if n := w.s.InFlight(); n > wire.MaxInFlight {
				t.Fatalf("seed %d: %d in flight", seed, n)
			}
		}
		for range 40000 {
			if len(w.d.queue) == 0 {
				break
			}
			w.step(t, false)
		}
		count := map[wire.Hash]int{}
		for _, h := range w.c.history {
			count[h]++
		}
		for i, h := range w.d.made {
			if count[h] != 1 {
				t.Fatalf("seed %d: batch %d of %d applied %d times, %d wait", seed, i+1, len(w.d.made), count[h], len(w.d.queue))
			}
		}
	}
	if refused < 100 || conflicts < 100 {
		t.Errorf("%d messages refused, %d conflicts: nothing was tried", refused, conflicts)
	}
}
