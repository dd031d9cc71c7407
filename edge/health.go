package edge

import (
	"fmt"
	"slices"
	"time"
)

// Bounds of health: beyond them the agent says that it is not ready, and why.
const (
	coreAway    = time.Minute      // without a core, or with one that takes nothing: from then on what waits alerts nobody
	diskSlow    = 10 * time.Second // for one write
	lossShown   = time.Minute      // how long readings that a policy dropped are a reason
	clockFar    = 5 * time.Minute  // by which the core's clock differs: devices that take their time from here are rejected as future
	expiresSoon = 72 * time.Hour   // certificate; named in the status, no reason yet
)

// health is what the loop remembers to tell how the agent is.
type health struct {
	progress  time.Time // last moment at which the core was there and nothing waited, or it took something
	applied   uint64    // acknowledged then
	linkError string    // why there is no link
	refusal   string    // of the core, "" = none
	refusals  uint64
	committed time.Time // when the write that is under way began
	drops     uint64    // as of the last look
	dropped   time.Time
	offset    time.Duration // of the device's clock: core's less ours
}

// look is called with every heartbeat and before a status is given.
func (a *Agent) look() {
	l := &a.loop
	h := &l.health
	if l.session.Up() && (l.session.Waiting() == 0 && l.tail.empty() || l.session.Applied() != h.applied) {
		h.progress, h.applied = time.Now(), l.session.Applied()
	}
	n := uint64(0)
	for _, k := range a.spool.Stats().Dropped {
		n += k
	}
	if n > h.drops {
		h.drops, h.dropped = n, time.Now()
	}
}

// notReady returns why the agent does not do its work as it should, or cannot for long. It is empty when all is well.
func (a *Agent) notReady() []string {
	var out []string
	bad := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	l, src := &a.loop, a.source.Stats()
	h := &l.health
	switch {
	case !src.Connected:
		bad("no broker: %s", orNot(src.LastError))
	case src.Fought():
		bad("the broker ended the last %d connections soon after they were made: does another client use the id %q?", src.Fights, a.cfg.MQTT.ClientID)
	}
	switch away := time.Since(h.progress).Truncate(time.Second); {
	case h.refusal != "":
		bad("refused by the core: %s", h.refusal)
	case away > coreAway && l.session.Up():
		bad("the core takes nothing for %v: readings wait in the spool and will be history", away)
	case away > coreAway:
		bad("no core for %v: readings wait in the spool and will be history: %s", away, orNot(h.linkError))
	}
	st := a.spool.Stats()
	switch err := a.spool.Err(); {
	case err != nil:
		bad("spool: %v", err)
	case st.DiskWaits || st.DiskTight:
		bad("disk full: free some on the disk of %s; until then spool.policy %s holds, and what waits is sent with the room that was reserved", a.cfg.DataDir, a.cfg.Spool.Policy)
	case (l.committing || l.sealing > 0) && time.Since(h.committed) > diskSlow:
		bad("the disk of %s takes %v for one write", a.cfg.DataDir, time.Since(h.committed).Truncate(time.Second))
	case l.blocked != nil || l.full:
		bad("spool full: %d of %d bytes (spool.quota_bytes), policy %s: the broker keeps what comes", st.Bytes, a.cfg.Spool.QuotaBytes, a.cfg.Spool.Policy)
	case !h.dropped.IsZero() && time.Since(h.dropped) < lossShown:
		bad("spool full: readings are dropped, policy %s: %d so far, reported as gaps", a.cfg.Spool.Policy, h.drops)
	}
	if end := a.identity.expires(); !end.IsZero() && time.Now().After(end) {
		bad("the certificate %s expired at %s: replace it, it is read again with the next connection", a.cfg.TLS.CertFile, end.UTC().Format(time.RFC3339))
	}
	return out
}

func orNot(why string) string {
	if why == "" {
		return "not connected yet"
	}
	return why
}

// warnings are what somebody should look at before it becomes a reason.
func (a *Agent) warnings() []string {
	var out []string
	if d := a.loop.health.offset; d.Abs() > clockFar {
		out = append(out, fmt.Sprintf("this device's clock differs from the core's by %v: the core's counts", -d.Truncate(time.Second)))
	}
	if end := a.identity.expires(); !end.IsZero() && time.Until(end) < expiresSoon && time.Now().Before(end) {
		out = append(out, fmt.Sprintf("the certificate expires at %s", end.UTC().Format(time.RFC3339)))
	}
	if n := a.loop.restored; n > 0 {
		out = append(out, fmt.Sprintf("an old image was restored: %d readings that it held unsent may have been sent before, and count again unless the query says DEDUP BY", n))
	}
	return slices.Clip(out)
}
