package spool

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"signalbox/edge/wire"
)

// A disk that is full because of others, with each policy: what was accepted is there, what was not is counted, and what waits can be
// sealed and forgotten although there is no room, so that room comes back.
func TestADiskThatIsFullBecauseOfOthers(t *testing.T) {
	for _, policy := range []Policy{StopAcknowledging, DropNew, DropOldest} {
		synctest.Test(t, func(t *testing.T) {
			cfg := small()
			cfg.QuotaBytes, cfg.SegmentBytes, cfg.Policy = 8<<20, 16<<10, policy
			fs := newMemFS()
			fs.room = 1 << 20
			s := open(t, fs, cfg)
			setEpoch(t, s, 1, 0, nil)
			accepted, dropped, full := map[uint64]string{}, 0, 0
			tight := false
			for i := 0; i < 3000 && full < 200; i++ {
				ch := make(chan error, 1)
				number, text := uint64(0), fmt.Sprintf("%04d %s", i, strings.Repeat("z", 1000))
				err := s.Append(reading(text), func(n uint64, err error) { number = n; ch <- err })
				tight = tight || s.Stats().DiskTight
				switch {
				case err == nil:
					if err := <-ch; err != nil {
						t.Fatal(err)
					}
					accepted[number] = text
				case errors.Is(err, ErrDropped):
					dropped++
				case errors.Is(err, ErrFull):
					full++
					time.Sleep(100 * time.Millisecond)
				default:
					t.Fatal(err)
				}
			}
			if !tight {
				t.Fatalf("%s: the disk was not full: %d accepted", policy, len(accepted))
			}
			if ok := map[Policy]bool{StopAcknowledging: full == 200 && dropped == 0, DropNew: full == 0 && dropped > 1000, DropOldest: dropped == 0 && len(accepted) > 2000}[policy]; !ok {
				t.Errorf("%s: %d accepted, %d dropped, %d times full", policy, len(accepted), dropped, full)
			}
			lost, sealed := uint64(0), 0
			for { // the core is back, the disk is as full as before
				time.Sleep(2 * time.Second)
				ds, err := s.ReadBacklog(1<<62, 20, 1<<20)
				if err != nil {
					t.Fatal(err)
				}
				if len(ds) == 0 {
					break
				}
				b := &Sealed{Epoch: 1, Seq: s.State().NextSeq}
				for _, d := range ds {
					if b.Consumes = b.Consumes.AddNumber(d.Number); d.Gap != nil {
						lost += d.Gap.Readings
						continue
					}
					b.Body = append(b.Body, d.Payload...)
					b.Readings += d.Readings
				}
				b.Hash = wire.HashBody(b.Body)
				ch := make(chan error, 1)
				if err := s.Seal(b, 0, func(err error) { ch <- err }); err != nil {
					t.Fatal(err)
				}
				select {
				case err := <-ch:
					if err != nil {
						t.Fatal(err)
					}
				case <-time.After(time.Hour):
					t.Fatalf("%s: a batch cannot be sealed on the full disk", policy)
				}
				sealed += b.Readings
				s.Acked(1, b.Seq)
			}
			if policy == DropOldest {
				dropped = int(lost)
				sealed += int(lost)
			}
			time.Sleep(3 * time.Second)
			if st := s.Stats(); st.DiskTight || st.DiskWaits {
				t.Errorf("%s: still full: %+v", policy, st)
			}
			put(t, s, "fits again")
			if _, gaps := backlog(t, s); len(gaps) > 0 { // what drop_new gave up is reported with the next reading
				lost += gaps[0].Readings
			}
			if sealed != len(accepted) || int(lost) != dropped {
				t.Errorf("%s: %d accepted, %d sealed; %d dropped, a gap of %d", policy, len(accepted), sealed, dropped, lost)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
