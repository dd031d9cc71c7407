package edge

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"signalbox/edge/decode"
	"signalbox/edge/mqtt"
	"signalbox/edge/session"
	"signalbox/edge/spool"
	"signalbox/edge/wire"
	"signalbox/engine/column"
)

// Bounds of a group of messages that is decoded and made durable together.
const (
	groupBytes  = 1 << 20 // payloads; a batch has room for four times as much
	groupFrames = wire.MaxFramesPerBatch - 56
)

// groupBytes bounds a group by what a full spool still has room for: it keeps an eighth for batches.
func (a *Agent) groupBytes() int { return int(min(groupBytes, a.cfg.Spool.QuotaBytes/16)) }

// loop is the state of the agent's one working goroutine.
type loop struct {
	session *session.Session
	fronts  session.Frontiers
	encoder wire.Encoder
	readers wire.Decoder
	coder   *wire.Coder
	link    *link
	bodies  map[uint64]*spool.Sealed // sealed and not acknowledged, by sequence

	ready      bool // the source has messages
	committing bool // a group of messages is on its way to the disk
	blocked    *group
	number     uint64 // lower bound of the record number of what is being committed
	oldest     int64  // its oldest event time
	msgs       []mqtt.Message

	clock   clock
	tail    tail
	due     bool // the tail has waited for its linger
	backlog bool // the spool may hold unsealed readings older than the tail
	held    []spool.Data
	sealing int

	hold, linger, resume *time.Timer
	holding              bool            // for credit, until hold
	space                <-chan struct{} // not nil while something waits for space: a group, or sealing
	full                 bool            // the spool took no sealed batch
	lastReading          time.Time
	closing              bool
	failed               error
	health               health
	unsealed             uint64 // readings that the spool held unsealed when it was opened
	restored             uint64 // readings of an old image that were unsent in it and may have been sent since

	received, rejected, shipped, recovered uint64
	batches, conflicts, slowdowns, demoted uint64
}

// group is what one round of ingest took from the source.
type group struct {
	msgs   []mqtt.Message
	part   part
	urgent bool
	rest   []*column.Batch // what comes in further records
}

// ingest takes what the source has queued, decodes it and makes it durable. While
// one group is on its way to the disk the next one gathers in the source. With
// credit and linger 0 the group becomes a sealed batch in the same fsync.
func (a *Agent) ingest(force bool) {
	l := &a.loop
	if !l.ready || l.committing || l.blocked != nil || l.closing {
		return
	}
	direct := a.cfg.Linger == 0 && l.tail.empty()
	if direct && !force && l.session.Up() && !l.session.CanSeal(l.clock.since(), l.sealing) {
		if !l.holding { // an acknowledgement is about to bring credit
			l.holding = true
			l.hold.Reset(a.cfg.HoldDelay)
		}
		return
	}
	l.hold.Stop()
	l.holding, l.ready = false, false
	l.msgs = a.source.Take(l.msgs[:0], a.cfg.BatchReadings, a.groupBytes())
	if len(l.msgs) == 0 {
		return
	}
	g := a.decode(append([]mqtt.Message(nil), l.msgs...))
	if g.part.rows == 0 { // comments, empty payloads: there is nothing to keep
		a.source.Ack(g.msgs)
		return
	}
	if direct && l.session.CanSeal(l.clock.since(), l.sealing) && time.Since(g.part.at) <= a.cfg.LiveWindow {
		if lane, _ := l.session.Lane(true, a.hasBacklog()); lane == wire.Live && a.sealGroup(g) {
			return
		}
	}
	a.store(g)
}

func (a *Agent) decode(msgs []mqtt.Message) *group {
	l := &a.loop
	g := &group{msgs: msgs, part: part{oldest: math.MaxInt64}}
	for i := range msgs {
		if a.decoder.Open() > groupFrames { // more streams than a batch has room for: the rest comes next
			a.source.Return(msgs[i:])
			g.msgs = msgs[:i]
			break
		}
		ok, bad := a.decoder.Decode(msgs[i].Topic, msgs[i].Payload, msgs[i].Received)
		g.part.rows += ok + bad
		l.rejected += uint64(bad)
		if msgs[i].At.After(g.part.at) {
			g.part.at = msgs[i].At
		}
	}
	g.part.received = l.clock.stamp(g.part.at)
	g.part.batches = a.decoder.Take()
	l.received += uint64(g.part.rows)
	limit := g.part.received + session.MaxFuture
	for _, b := range g.part.batches {
		if b.Schema.Name == decode.RejectedStream || b.Schema.Time < 0 {
			continue
		}
		l.lastReading = time.Now()
		if oldest, newest, ok := decode.MaxTime(b, limit); ok {
			l.fronts.Note(b.Schema.Name, newest)
			g.part.oldest = min(g.part.oldest, oldest)
		}
	}
	g.part.oldest = min(g.part.oldest, g.part.received)
	if a.watch != nil {
		g.urgent = a.watch.Observe(g.part.batches, g.part.received)
	}
	return g
}

// store makes a group durable without sealing it.
func (a *Agent) store(g *group) {
	l := &a.loop
	if g.part.payload == nil {
		if err := a.encode(g); err != nil {
			a.tooLarge(g, err)
			return
		}
	}
	l.committing, l.number, l.oldest = true, a.spool.NextNumber(), g.part.oldest
	g.part.received = l.clock.stamp(g.part.at)
	l.clock.wrote(l.number, g.part.at)
	l.health.committed = time.Now()
	space := a.spool.Space()
	err := a.spool.Append(spool.Data{Readings: g.part.rows, Received: g.part.received, MinTime: g.part.oldest, Payload: g.part.payload},
		func(number uint64, err error) { a.post(func() { a.stored(g, number, err) }) })
	switch {
	case err == nil:
		if len(g.rest) == 0 {
			a.source.Receipt(g.msgs, mqtt.Place{Number: l.number})
		}
	case errors.Is(err, spool.ErrDropped): // the declared policy: counted, reported as a gap, acknowledged
		l.committing = false
		a.next(g)
	case errors.Is(err, spool.ErrFull): // not acknowledged: the broker keeps what comes after
		l.committing, l.blocked, l.space = false, g, space
	case errors.Is(err, spool.ErrTooLarge):
		l.committing = false
		if a.halve(g) {
			a.store(g)
			return
		}
		a.tooLarge(g, err)
	default:
		l.failed = err
	}
}

func (a *Agent) stored(g *group, number uint64, err error) {
	l := &a.loop
	l.committing = false
	if err != nil {
		l.failed = err
		return
	}
	g.part.number = number
	if l.tail.empty() && a.cfg.Linger > 0 {
		l.linger.Reset(a.cfg.Linger)
	}
	l.tail.add(g.part)
	l.due = l.due || a.cfg.Linger == 0 || g.urgent || l.tail.rows >= a.cfg.BatchReadings
	a.next(g)
}

// next goes on after a record of a group is taken care of: with the rest of it, or with an acknowledgement to the broker.
func (a *Agent) next(g *group) {
	if len(g.rest) > 0 {
		g.part = part{at: g.part.at, oldest: g.part.oldest, batches: g.rest, rows: rowsOf(g.rest)}
		g.rest = nil
		a.store(g)
		return
	}
	a.source.Ack(g.msgs)
	a.seal()
	a.again()
}

// again goes on with what gathered meanwhile.
func (a *Agent) again() {
	a.loop.ready = true // Take finds out
	a.ingest(false)
}

func (a *Agent) hasBacklog() bool { return a.loop.backlog || len(a.loop.held) > 0 }

// sealGroup seals a fresh group: one fsync makes readings durable and the batch final.
func (a *Agent) sealGroup(g *group) bool {
	fs, err := pack(&a.loop.encoder, g.part.batches)
	if err != nil {
		return false // more than one batch: by way of the disk
	}
	a.loop.committing, a.loop.number, a.loop.oldest = true, a.spool.NextNumber(), g.part.oldest
	a.loop.health.committed = time.Now()
	st := a.spool.State()
	body := wire.Batch{Lane: wire.Live, Received: g.part.received, Frames: fs}
	ok := a.sealBatch(body, g.part.rows, g.part.rows, nil, func() {
		a.loop.committing = false
		a.source.Ack(g.msgs)
	}, false)
	if !ok {
		a.loop.committing = false
	} else {
		a.source.Receipt(g.msgs, mqtt.Place{Epoch: st.Epoch, Seq: st.NextSeq})
	}
	return ok
}

// sealBatch completes a batch, makes it durable and hands it to the session. It
// returns false when the spool does not take it now.
func (a *Agent) sealBatch(b wire.Batch, rows, fresh int, consumes spool.Ranges, then func(), unsent bool) bool {
	l := &a.loop
	oldest, some := a.unsent(fresh > 0, unsent)
	b.Sealed = l.clock.stamp(time.Now())
	b.Frontiers = l.fronts.Certify(oldest, some, 0)
	body, err := wire.AppendBatch(nil, &b)
	if err != nil {
		l.failed = err
		return true
	}
	st := a.spool.State()
	s := &spool.Sealed{Epoch: st.Epoch, Seq: st.NextSeq, Hash: wire.HashBody(body), Readings: rows, Lane: b.Lane, Body: body, Consumes: consumes}
	space := a.spool.Space()
	err = a.spool.Seal(s, fresh, func(err error) { a.post(func() { a.sealed(s, err, then) }) })
	switch {
	case err == nil:
		if l.sealing++; l.sealing == 1 && !l.committing {
			l.health.committed = time.Now()
		}
		return true
	case errors.Is(err, spool.ErrFull):
		l.space, l.full = space, true
	case errors.Is(err, spool.ErrGone): // the policy dropped some of it meanwhile: that is a gap now
		l.tail.filter(a.spool.Unsealed)
		a.tailChanged()
		l.held = slices.DeleteFunc(l.held, func(d spool.Data) bool { return !a.spool.Unsealed(d.Number) })
		l.backlog = true
	default:
		l.failed = err
	}
	return false
}

// unsent is the oldest event time that is in no batch once the one being sealed is: a lower
// bound, or false when there is none. The batch is fresh when it is the group being committed itself.
func (a *Agent) unsent(fresh, more bool) (oldest int64, some bool) {
	l := &a.loop
	if more || a.hasBacklog() {
		oldest, some = a.spool.OldestUnsealed()
	}
	if l.committing && !fresh && (!some || l.oldest < oldest) {
		oldest, some = l.oldest, true
	}
	if l.blocked != nil && (!some || l.blocked.part.oldest < oldest) {
		oldest, some = l.blocked.part.oldest, true
	}
	return oldest, some
}

func (a *Agent) sealed(s *spool.Sealed, err error, then func()) {
	l := &a.loop
	l.sealing--
	if err != nil {
		l.failed = err
		return
	}
	l.batches++
	l.bodies[s.Seq] = s
	l.session.Sealed(session.Item{Seq: s.Seq, Hash: s.Hash, Lane: s.Lane})
	l.health.committed = time.Now() // of the next one
	a.pump()                        // first on its way, then the acknowledgement to the broker
	if then != nil {
		then()
	}
	a.seal()
	a.again()
}

// seal makes batches of what is durable, as long as there is credit for them.
func (a *Agent) seal() {
	l := &a.loop
	a.demote()
	for !l.closing && l.failed == nil && !l.full && l.session.CanSeal(l.clock.since(), l.sealing) {
		lane, some := l.session.Lane(l.due && !l.tail.empty(), a.hasBacklog())
		if !some {
			return
		}
		if lane == wire.Live {
			a.sealTail()
		} else {
			a.sealBacklog()
		}
	}
}

// sealTail seals the oldest of the live readings.
func (a *Agent) sealTail() {
	l := &a.loop
	list, n, err := a.gather()
	var fs [][]byte
	if err == nil {
		fs, err = pack(&l.encoder, list)
	}
	if errors.Is(err, errTooMuch) { // together; each alone was made to fit
		n = 1
		if list, err = l.tail.parts[0].read(&l.readers); err == nil {
			fs, err = pack(&l.encoder, list)
		}
	}
	if err != nil {
		l.failed = fmt.Errorf("edge: live readings: %w", err)
		return
	}
	var consumes spool.Ranges
	received, rows := int64(0), 0
	for i := range l.tail.parts[:n] {
		p := &l.tail.parts[i]
		consumes = consumes.AddNumber(p.number)
		received = max(received, l.clock.stamp(p.at))
		rows += p.rows
	}
	if !a.sealBatch(wire.Batch{Lane: wire.Live, Received: received, Frames: fs}, rows, 0, consumes, nil, n < len(l.tail.parts)) {
		return
	}
	l.tail.drop(n)
	l.due = true // those that are left have waited as long
	a.tailChanged()
}

// gather merges the readings of the oldest parts, as many as a batch should have.
func (a *Agent) gather() (list []*column.Batch, n int, err error) {
	var m merger
	size := 0
	for parts := a.loop.tail.parts; n < len(parts) && (n == 0 || m.rows+parts[n].rows <= 2*a.cfg.BatchReadings && size+parts[n].size <= a.groupBytes()); n++ {
		batches, err := parts[n].read(&a.loop.readers)
		if err != nil {
			return nil, 0, fmt.Errorf("record %d of the spool, as it is kept in memory: %w", parts[n].number, err)
		}
		if n > 0 && len(m.list)+len(batches) > groupFrames {
			break
		}
		for _, b := range batches {
			m.add(b)
		}
		size += parts[n].size
	}
	return m.list, n, nil
}

// sealBacklog reads older readings back and seals some.
func (a *Agent) sealBacklog() {
	l := &a.loop
	if len(l.held) == 0 {
		before := uint64(math.MaxUint64)
		if l.committing {
			before = l.number
		}
		if !l.tail.empty() {
			before = min(before, l.tail.parts[0].number)
		}
		var err error
		l.held, err = a.spool.ReadBacklog(before, a.cfg.BatchReadings, session.BacklogBytes(!l.tail.empty() || l.committing))
		if err != nil {
			l.failed = err
			return
		}
		if len(l.held) == 0 {
			l.backlog = false
			return
		}
	}
	b, rows, consumes, rest, err := a.rebuild(l.held)
	if err != nil {
		l.failed = err
		return
	}
	if a.sealBatch(b, rows, 0, consumes, nil, true) {
		l.held = rest
	}
}

// rebuild makes one batch of records that were read back. What has no room in it is returned.
func (a *Agent) rebuild(data []spool.Data) (b wire.Batch, rows int, consumes spool.Ranges, rest []spool.Data, err error) {
	b, rows, list, n := a.join(data)
	b.Frames, err = pack(&a.loop.encoder, list)
	if errors.Is(err, errTooMuch) && n > 1 { // together; each alone was made to fit
		b, rows, list, n = a.join(data[:1])
		b.Frames, err = pack(&a.loop.encoder, list)
	}
	for _, d := range data[:n] {
		consumes = consumes.AddNumber(d.Number)
	}
	return b, rows, consumes, data[n:], err
}

// join merges records; a single one is left as it is. It says how many it took.
func (a *Agent) join(data []spool.Data) (b wire.Batch, rows int, list []*column.Batch, n int) {
	l := &a.loop
	var m merger
	b.Lane = wire.Backlog
	for ; n < len(data) && len(b.Gaps) < wire.MaxGaps; n++ {
		d := &data[n]
		if d.Gap != nil {
			b.Gaps = append(b.Gaps, *d.Gap)
			continue
		}
		p := part{payload: d.Payload}
		batches, err := p.read(&l.readers)
		if err != nil { // its CRC was right, so a bug wrote it: it must not stop what comes after it
			a.log.Error("a record of the spool cannot be read; it is reported as a gap", "record", d.Number, "readings", d.Readings, "error", err)
			b.Gaps = append(b.Gaps, wire.Gap{Reason: "unreadable", From: d.MinTime, To: d.Received, Readings: uint64(d.Readings)})
		}
		if n > 0 && len(m.list)+len(batches) > wire.MaxFramesPerBatch {
			break
		}
		if len(data) == 1 {
			m.list = batches
		}
		for i := 0; i < len(batches) && len(data) > 1; i++ {
			m.add(batches[i])
		}
		rows += d.Readings
		b.Received = max(b.Received, l.clock.corrected(d.Number, d.Received))
	}
	if b.Received == 0 {
		b.Received = l.clock.stamp(time.Now())
	}
	return b, rows, m.list, n
}

// retry goes on after space came back.
func (a *Agent) retry() {
	l := &a.loop
	l.full = false
	if g := l.blocked; g != nil {
		l.blocked = nil
		a.store(g)
	}
	a.seal()
	a.again()
}
