package edge

import (
	"errors"
	"time"

	"signalbox/edge/session"
	"signalbox/edge/wire"
)

// behindAfter is how far behind with its live readings an agent names itself as one with a backlog: results then say that it
// is missing, and do not wait for it.
const behindAfter = 10 * time.Second

func (a *Agent) linkUp(l *link) {
	a.loop.link = l
	l.send(a.loop.session.Connect(a.loop.clock.since()))
}

func (a *Agent) linkDown(l *link, err error) {
	if l != nil && a.loop.link == l {
		a.loop.link = nil
		a.loop.session.Disconnect()
	}
	if err != nil && !errors.Is(err, errRefused) {
		a.loop.health.linkError = err.Error()
	}
	if err != nil && !a.loop.closing {
		a.log.Warn("no link to the core; readings wait in the spool, the next attempt follows", "error", err)
	}
}

// linkMessage gives a message of the core to the session and does what follows from it.
func (a *Agent) linkMessage(from *link, m wire.Message) {
	l := &a.loop
	if l.link != from {
		return // of a connection that was given up
	}
	if _, ok := m.(*wire.SlowDown); ok {
		l.slowdowns++
	}
	fx, err := l.session.Handle(m, l.clock.since())
	switch {
	case err != nil:
		from.close(err)
		return
	case fx.Redirect != "":
		from.redirectTo(fx.Redirect)
		return
	case fx.Refused:
		l.health.refusal, l.health.refusals = fx.Close, l.health.refusals+1
		a.log.Error("the core refuses this agent; the next attempt follows in a while", "reason", fx.Close)
		from.close(errRefused)
		return
	case fx.Close != "":
		a.log.Warn("the core closes the link", "reason", fx.Close)
		l.health.linkError = fx.Close
		from.close(errGoodbye)
		return
	case fx.Conflict != "":
		a.conflict(from, fx.Conflict)
		return
	}
	if fx.Clock != 0 {
		l.clock.hear(fx.Clock)
		l.health.offset = time.Duration(fx.Clock - time.Now().UnixNano())
		l.health.refusal, l.health.linkError = "", "" // it was a welcome
	}
	if w, ok := m.(*wire.Welcome); ok && w.Leader != "" {
		from.prefer(w.Leader)
	}
	if fx.Grant != nil {
		a.grant(from, fx.Grant)
		return
	}
	if fx.Acked {
		a.acked(fx.Applied)
	}
	if now := l.clock.since(); l.session.Paused(now) != 0 {
		l.resume.Reset(time.Duration(l.session.Paused(now) - now))
	}
	a.goOn()
}

// goOn does whatever credit allows.
func (a *Agent) goOn() {
	a.pump()
	a.seal()
	if a.loop.ready {
		a.ingest(false)
	}
}

func (a *Agent) acked(applied uint64) {
	l := &a.loop
	l.shipped += uint64(a.spool.Acked(l.session.Epoch(), applied))
	for seq := range l.bodies {
		if seq <= applied {
			delete(l.bodies, seq)
		}
	}
}

// grant makes a new epoch durable before anything is sent in it.
func (a *Agent) grant(from *link, g *session.Grant) {
	if g.Restored {
		a.restoredImage(g)
	}
	before := a.spool.Stats().AckedReadings
	err := a.spool.SetEpoch(g.Epoch, g.Applied, g.Known, func(err error) {
		a.post(func() {
			if err != nil {
				a.loop.failed = err
				return
			}
			if a.loop.link != from {
				return // asked again on the next connection
			}
			a.loop.session.Granted(g, a.spool.State().NextSeq, a.waiting())
			a.log.Info("new epoch", "epoch", g.Epoch, "waiting", a.loop.session.Waiting())
			a.goOn()
		})
	})
	if err != nil {
		a.loop.failed = err
		return
	}
	a.loop.shipped += a.spool.Stats().AckedReadings - before // the core had them all along
}

// restoredImage counts what may be sent twice: readings that the image held unsealed and that were sealed after it was taken, and
// batches that the core applied so long ago that it does not know their hashes any more. They are sent: of a copy that lives
// beside its original they are new, and nothing that was acknowledged is lost. DEDUP BY in the query counts them once.
func (a *Agent) restoredImage(g *session.Grant) {
	n := a.loop.unsealed
	for _, b := range a.spool.Waiting() {
		if !g.Known[b.Hash] {
			n += uint64(b.Readings)
		}
	}
	a.loop.restored += n
	a.loop.unsealed = 0
	a.log.Warn("this spool is an old image or a copy: the core has more of it than it knows itself. What it held unsent may have been sent before",
		"agent", a.cfg.Agent, "readings", n, "what to do", "DEDUP BY in the query counts them once; a copy needs a name of its own")
}

// conflict: the core knows another batch under one of our sequences. This spool is a
// restored image or a clone; as a new install it gets an epoch of its own.
func (a *Agent) conflict(from *link, reason string) {
	a.loop.conflicts++
	a.log.Warn("conflict: this agent becomes a new install; is there another device of this name, or was an old image restored?", "agent", a.cfg.Agent, "reason", reason)
	id := random()
	if err := a.spool.SetInstall(id); err != nil {
		a.loop.failed = err
		return
	}
	a.loop.session.Renew(id)
	from.close(errConflict)
}

// pump sends what the session allows.
func (a *Agent) pump() {
	l := &a.loop
	for l.link != nil {
		it, ok := l.session.Next(l.clock.since())
		if !ok {
			return
		}
		b := l.bodies[it.Seq]
		body, err := a.spool.Body(b)
		if err != nil {
			l.failed = err
			return
		}
		l.link.send(l.coder.Pack(b.Epoch, b.Seq, b.Hash, body))
	}
}

// beat sends a heartbeat, gives up a link that is silent, and moves on what became old.
func (a *Agent) beat() {
	l := &a.loop
	a.demote()
	a.look()
	if l.link != nil && l.session.Stalled(l.clock.since()) {
		l.link.close(errSilent)
		return
	}
	if l.link == nil || !l.session.Up() {
		return
	}
	st := a.spool.Stats()
	dropped := uint64(0)
	for _, n := range st.Dropped {
		dropped += n
	}
	oldest, some := a.spool.OldestUnsealed()
	if l.committing && (!some || l.oldest < oldest) {
		oldest, some = l.oldest, true
	}
	idle, now := int64(0), time.Now()
	quiet := !some && !l.ready && l.blocked == nil && now.Sub(l.lastReading) >= a.cfg.IdleAfter
	if quiet && a.source.Stats().Queued == 0 {
		idle = l.clock.stamp(now) - int64(a.cfg.IdleAfter)
	}
	hb := &wire.Heartbeat{Epoch: l.session.Epoch(), Sent: a.spool.State().NextSeq - 1, Clock: now.UnixNano(), Idle: idle != 0,
		Frontiers: l.fronts.Certify(oldest, some, idle), Received: l.received, Rejected: l.rejected, Dropped: dropped,
		Live: wire.Queue{Readings: uint64(l.tail.rows)}}
	if !l.tail.empty() {
		hb.Live.Oldest = l.tail.parts[0].received
	}
	if n := st.UnsealedReadings - min(st.UnsealedReadings, uint64(l.tail.rows)); n > 0 && a.hasBacklog() {
		hb.Backlog = wire.Queue{Readings: n, Bytes: st.UnsealedBytes, Oldest: oldest}
	} else if n, since := l.tail.since(now.Add(-behindAfter - a.cfg.Linger)); n > 0 { // they may still alert, but windows do not wait for them
		hb.Backlog = wire.Queue{Readings: uint64(n), Bytes: uint64(l.tail.bytes), Oldest: since}
	}
	l.link.send(hb)
}
