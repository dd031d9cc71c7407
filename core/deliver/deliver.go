// Package deliver drains the outbox into the sinks: each with its own cursor,
// its own retries and its own pace.
//
// It promises that a cursor moves only after the sink has stored everything
// before it, that a dead sink delays only itself, that a row which a sink
// refuses for good is isolated, counted and reported while the others go on,
// and that a leader-scope sink is written only by the node that leads. It
// refuses to know what the rows mean and how a sink stores them.
package deliver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"

	"signalbox/core/fsm"
	"signalbox/core/outbox"
	"signalbox/engine/alert"
	"signalbox/sinks"
)

// Bounds and waits.
const (
	ReadBytes      = 1 << 20 // read from the outbox at a time
	WriteTimeout   = 60 * time.Second
	RetryFirst     = 100 * time.Millisecond
	RetryMax       = 30 * time.Second
	AckEvery       = time.Second           // cursors are replicated at most this often, or at most every
	AckAlerts      = 20 * time.Millisecond // when alerts were delivered: the next leader would tell people again
	RemindEvery    = time.Minute           // a sink that may forget what is true now is reminded, and at the start of a term
	MaxResolved    = 1000                  // alerts that are over, the latest: what a broker shows of them may be older still
	maxRefusals    = 256                   // reported in one entry; more are counted only
	refusalRowSize = 1 << 10
)

// Source is the replicated state, as far as delivery needs it.
type Source interface {
	Outbox() *outbox.Outbox // another one after a restore
}

// Leadership says whether this node may write leader-scope sinks.
type Leadership interface {
	Ready() bool
	Changed() <-chan struct{}
}

// Submitter replicates cursors.
type Submitter interface {
	Submit(ctx context.Context, it fsm.Item) (fsm.Result, error)
}

// Copier is a sink that can be filled from another node's copy, when the outbox no longer holds what it missed.
type Copier interface {
	CopyTo(ctx context.Context, path string) (upTo uint64, err error)
	Install(ctx context.Context, path string) (upTo uint64, err error)
}

// Options of a Delivery.
type Options struct {
	Node       string
	Sinks      []sinks.Sink
	Source     Source
	Leadership Leadership
	Submit     Submitter
	Rand       *rand.Rand // jitter
	// Alerts returns the alerts that are active, and the latest that are over; nil = sinks are not reminded.
	Alerts func(resolved int) (active, over []alert.Active, index uint64)
	// FetchCopy brings a copy of the sink from the leader, or to the leader from another node, to a file next to the sink's own; nil = never.
	FetchCopy func(ctx context.Context, sink string) (path string, err error)
}

// gatherFor is the least time between two writes to a sink that every node keeps for itself, while it keeps up: what
// comes meanwhile shares a transaction and its fsync, which the log needs more. Nobody is alerted from there.
const gatherFor = 200 * time.Millisecond

// CursorName is the name under which a sink's position is replicated.
func CursorName(s sinks.Sink, node string) string {
	if s.Scope() == sinks.EveryNode {
		return s.Name() + "@" + node
	}
	return s.Name()
}

// Delivery runs one worker per sink.
type Delivery struct {
	opts    Options
	workers []*worker
	mu      sync.Mutex
	acks    map[string]uint64
	refused []fsm.SinkRefusal
	dirty   chan struct{}
	hurry   chan struct{} // alerts were delivered by a leader-scope sink
}

// New returns a delivery; Run starts it.
func New(opts Options) *Delivery {
	d := &Delivery{opts: opts, acks: map[string]uint64{}, dirty: make(chan struct{}, 1), hurry: make(chan struct{}, 1)}
	for _, s := range opts.Sinks {
		d.workers = append(d.workers, &worker{d: d, sink: s, cursor: CursorName(s, opts.Node)})
	}
	return d
}

// Run delivers until ctx ends.
func (d *Delivery) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, w := range d.workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			w.run(ctx)
		}()
	}
	replicated := make(chan struct{})
	go func() {
		defer close(replicated)
		d.replicate(ctx)
	}()
	wg.Wait()
	<-replicated
	// What was delivered in the last moments is told now, or the next leader would deliver it again.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), AckEvery)
	defer cancel()
	d.flush(last)
}

// Sink returns a sink by name.
func (d *Delivery) Sink(name string) (sinks.Sink, bool) {
	i := slices.IndexFunc(d.opts.Sinks, func(s sinks.Sink) bool { return s.Name() == name })
	if i < 0 {
		return nil, false
	}
	return d.opts.Sinks[i], true
}

func (d *Delivery) ack(name string, upTo uint64, refused []fsm.SinkRefusal) {
	d.mu.Lock()
	d.acks[name] = max(d.acks[name], upTo)
	if room := maxRefusals - len(d.refused); room > 0 {
		d.refused = append(d.refused, refused[:min(room, len(refused))]...)
	}
	d.mu.Unlock()
	select {
	case d.dirty <- struct{}{}:
	default:
	}
}

// replicate proposes the newest cursors together, at most every AckEvery, or AckAlerts when somebody was alerted.
func (d *Delivery) replicate(ctx context.Context) {
	for {
		select {
		case <-d.dirty:
		case <-ctx.Done():
			return
		}
		late := time.NewTimer(AckEvery)
		select {
		case <-late.C:
		case <-d.hurry:
			late.Stop()
			if !pause(ctx, AckAlerts) {
				return
			}
		case <-ctx.Done():
			late.Stop()
			return
		}
		d.flush(ctx)
	}
}

// flush proposes what has not been told.
func (d *Delivery) flush(ctx context.Context) {
	d.mu.Lock()
	a := fsm.SinkAck{Refused: d.refused}
	for name, upTo := range d.acks {
		a.Cursors = append(a.Cursors, fsm.SinkCursor{Name: name, UpTo: upTo})
	}
	d.refused = nil
	clear(d.acks)
	d.mu.Unlock()
	if len(a.Cursors) == 0 && len(a.Refused) == 0 {
		return
	}
	slices.SortFunc(a.Cursors, func(x, y fsm.SinkCursor) int { return cmp.Compare(x.Name, y.Name) })
	if _, err := d.opts.Submit.Submit(ctx, fsm.SinkAckItem(a)); err != nil && ctx.Err() == nil {
		for _, c := range a.Cursors { // an acknowledgement may come twice, a refusal too: better than never
			d.ack(c.Name, c.UpTo, nil)
		}
		d.mu.Lock()
		d.refused = append(a.Refused, d.refused...)
		d.mu.Unlock()
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Status is what an operator asks for.
type Status struct {
	Name      string
	Scope     string
	Active    bool   // this node writes it
	UpTo      uint64 // log index stored
	Lag       uint64 // entries behind the newest output
	Rows      uint64 // rows and transitions written by this node
	Refused   uint64 // rows it refused for good
	Retries   uint64
	Skipped   uint64 // times that output was gone before the sink had it
	LastError string
}

// Status describes the sinks.
func (d *Delivery) Status() []Status {
	newest := d.opts.Source.Outbox().Stats().Newest
	var out []Status
	for _, w := range d.workers {
		out = append(out, w.status(newest))
	}
	return out
}

// worker drains into one sink.
type worker struct {
	d        *Delivery
	sink     sinks.Sink
	cursor   string
	outbox   *outbox.Outbox
	drained  time.Time // when the last write ended, if it took all there was
	prepared int       // table definitions the sink was prepared for
	reminded time.Time // when it was reminded in this term

	mu      sync.Mutex
	at      uint64
	lost    uint64 // rows up to here are gone, and this sink goes on without them
	active  bool
	rows    uint64
	refused uint64
	retries uint64
	skipped uint64
	lastErr string
}

func (w *worker) status(newest uint64) Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := Status{Name: w.sink.Name(), Scope: "leader", Active: w.active, UpTo: w.at, Rows: w.rows, Refused: w.refused,
		Retries: w.retries, Skipped: w.skipped, LastError: w.lastErr}
	if w.sink.Scope() == sinks.EveryNode {
		s.Scope = "every node"
	}
	if newest > w.at {
		s.Lag = newest - w.at
	}
	return s
}

// run delivers whenever this node may; every term starts at the cursor that the state, or the sink itself, holds.
func (w *worker) run(ctx context.Context) {
	for ctx.Err() == nil {
		changed := w.d.opts.Leadership.Changed()
		if w.sink.Scope() == sinks.Leader && !w.d.opts.Leadership.Ready() {
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		}
		term, cancel := context.WithCancel(ctx)
		if w.sink.Scope() == sinks.Leader {
			go w.revoke(term, cancel)
		}
		w.set(func() { w.active = true })
		w.drain(term)
		w.set(func() { w.active = false })
		cancel()
	}
}

// revoke ends a leader's work as soon as it is not the leader any more.
func (w *worker) revoke(term context.Context, cancel context.CancelFunc) {
	for {
		changed := w.d.opts.Leadership.Changed()
		if !w.d.opts.Leadership.Ready() {
			cancel()
			return
		}
		select {
		case <-changed:
		case <-term.Done():
			return
		}
	}
}

func (w *worker) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *worker) drain(ctx context.Context) {
	failures := 0
	w.outbox, w.reminded = nil, time.Time{}
	for ctx.Err() == nil {
		err := w.step(ctx)
		if err == nil {
			failures = 0
			continue
		}
		if ctx.Err() != nil {
			return
		}
		failures++
		w.set(func() { w.retries++; w.lastErr = err.Error() })
		if !pause(ctx, w.backoff(failures)) {
			return
		}
	}
}

func (w *worker) backoff(failures int) time.Duration {
	d := RetryFirst << min(failures-1, 10)
	d = min(d, RetryMax)
	w.d.mu.Lock()
	defer w.d.mu.Unlock()
	return d/2 + time.Duration(w.d.opts.Rand.Int64N(int64(d/2)+1))
}

// step delivers one piece, or waits for one.
func (w *worker) step(ctx context.Context) error {
	ob := w.d.opts.Source.Outbox()
	if ob != w.outbox { // first step of a term, or the state was restored from a snapshot
		if err := w.start(ctx, ob); err != nil {
			return err
		}
		w.outbox = ob
	}
	if d := gatherFor - time.Since(w.drained); w.sink.Scope() == sinks.EveryNode && d > 0 && !pause(ctx, d) {
		return nil
	}
	changed := ob.Changed()
	w.mu.Lock()
	at, lost := w.at, w.lost
	w.mu.Unlock()
	end := ob.Stats().End
	batches, upTo, err := ob.Read(at, ReadBytes, lost)
	if errors.Is(err, outbox.ErrGap) {
		return w.refill(ctx, ob)
	}
	if err != nil {
		return err
	}
	if len(batches) == 0 {
		w.set(func() { w.at = max(w.at, upTo); w.lastErr = "" })
		if err := w.remind(ctx, ob); err != nil {
			return err
		}
		return w.wait(ctx, changed)
	}
	if err := w.prepare(ctx, ob); err != nil {
		return err
	}
	if err := w.write(ctx, batches, upTo); err != nil {
		return err
	}
	if w.drained = time.Now(); upTo < end {
		w.drained = time.Time{} // more was there than one write takes: no pause
	}
	w.set(func() { w.at, w.lastErr = upTo, "" })
	return nil
}

// remind shows the sink the newest states when it has everything: an older state must never come after a newer one.
func (w *worker) remind(ctx context.Context, ob *outbox.Outbox) error {
	r, ok := w.sink.(sinks.Reminder)
	if !ok || w.d.opts.Alerts == nil || time.Since(w.reminded) < RemindEvery {
		return nil
	}
	active, over, _ := w.d.opts.Alerts(MaxResolved)
	w.mu.Lock()
	at := w.at
	w.mu.Unlock()
	if ob.Stats().Newest > at {
		return nil // something happened meanwhile: the next time
	}
	rctx, cancel := context.WithTimeout(ctx, WriteTimeout)
	defer cancel()
	if err := r.Remind(rctx, append(active, over...)); err != nil {
		return err
	}
	w.reminded = time.Now()
	return nil
}

// restoreCheck is how often an idle worker looks whether its outbox was replaced by a restore.
const restoreCheck = time.Second

func (w *worker) wait(ctx context.Context, changed <-chan struct{}) error {
	t := time.NewTimer(restoreCheck)
	defer t.Stop()
	select {
	case <-changed:
	case <-t.C:
	case <-ctx.Done():
	}
	return nil
}

func (w *worker) start(ctx context.Context, ob *outbox.Outbox) error {
	w.prepared = -1
	if err := w.prepare(ctx, ob); err != nil {
		return err
	}
	upTo, own, err := w.sink.Cursor(ctx)
	if err != nil {
		return fmt.Errorf("cursor: %w", err)
	}
	if !own {
		upTo = 0
		for _, c := range ob.Cursors() {
			if c.Name == w.cursor {
				upTo = c.UpTo
			}
		}
		upTo = max(upTo, w.unreplicated())
	}
	w.set(func() { w.at = upTo })
	return nil
}

// unreplicated is what this process delivered and has not yet told the others.
func (w *worker) unreplicated() uint64 {
	w.d.mu.Lock()
	defer w.d.mu.Unlock()
	return w.d.acks[w.cursor]
}

func (w *worker) prepare(ctx context.Context, ob *outbox.Outbox) error {
	defs := ob.Definitions()
	if defs == w.prepared {
		return nil
	}
	if err := w.sink.Prepare(ctx, ob.Tables()); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	w.prepared = defs
	return nil
}

// refill closes a gap between the sink's cursor and the oldest output kept: by a copy from another node where the sink
// can take one, else by going on with what is left, counted and visible. A follower waits for the leader's copy; the
// leader asks once, because the others may be waiting for its own.
func (w *worker) refill(ctx context.Context, ob *outbox.Outbox) error {
	if c, ok := w.sink.(Copier); ok && w.d.opts.FetchCopy != nil {
		upTo, err := w.install(ctx, c)
		switch {
		case err != nil && !w.d.opts.Leadership.Ready():
			return err
		case err != nil:
			w.set(func() { w.lastErr = err.Error() })
		default:
			w.set(func() { w.at = upTo })
			if upTo >= ob.Stats().Trimmed {
				return nil
			}
		}
	}
	trimmed := ob.Stats().Trimmed
	w.set(func() { w.lost = trimmed; w.skipped++ })
	return nil
}

func (w *worker) install(ctx context.Context, c Copier) (upTo uint64, err error) {
	path, err := w.d.opts.FetchCopy(ctx, w.sink.Name())
	if err != nil {
		return 0, fmt.Errorf("copy from another node: %w", err)
	}
	w.prepared = -1 // for the tables as they are in the copy
	if upTo, err = c.Install(ctx, path); err != nil {
		_ = os.Remove(path) // as large as the database, and another comes with the next attempt
		return 0, fmt.Errorf("install another node's copy: %w", err)
	}
	return upTo, nil
}

// write stores batches; a batch refused for good is halved until the row is alone.
func (w *worker) write(ctx context.Context, batches []sinks.Batch, upTo uint64) error {
	refused, err := w.try(ctx, batches, upTo)
	if err != nil {
		return err
	}
	n := uint64(0)
	for i := range batches {
		if n += uint64(len(batches[i].Alerts)); batches[i].Rows != nil {
			n += uint64(batches[i].Rows.Len)
		}
	}
	w.set(func() { w.rows += n - min(n, uint64(len(refused))); w.refused += uint64(len(refused)) })
	w.d.ack(w.cursor, upTo, refused)
	if w.sink.Scope() == sinks.Leader && slices.ContainsFunc(batches, func(b sinks.Batch) bool { return len(b.Alerts) > 0 }) {
		select {
		case w.d.hurry <- struct{}{}:
		default:
		}
	}
	return nil
}

func (w *worker) try(ctx context.Context, batches []sinks.Batch, upTo uint64) ([]fsm.SinkRefusal, error) {
	wctx, cancel := context.WithTimeout(ctx, WriteTimeout)
	err := w.sink.Write(wctx, batches, upTo)
	cancel()
	if err == nil || !errors.Is(err, sinks.ErrPermanent) {
		return nil, err
	}
	left, right, ok := halve(batches)
	if !ok {
		// Alone and refused: the position still has to move for sinks that keep it themselves.
		wctx, cancel := context.WithTimeout(ctx, WriteTimeout)
		defer cancel()
		if err := w.sink.Write(wctx, nil, upTo); err != nil {
			return nil, err
		}
		return []fsm.SinkRefusal{refusal(w.sink.Name(), batches, err)}, nil
	}
	// The first half must not claim the position of the second.
	a, err := w.try(ctx, left, cursorBefore(right))
	if err != nil {
		return nil, err
	}
	b, err := w.try(ctx, right, upTo)
	return append(a, b...), err
}
