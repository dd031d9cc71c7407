// Package ingest takes what agents and operators send, gathers it into log
// entries and answers once it is committed and applied. Any node takes it; a
// follower passes it on to the leader.
//
// It promises order (what one connection sends is proposed in that order), that
// nothing is acknowledged before it is applied on a majority's disks, and that
// overload is answered early and within bounds. It refuses to know what the
// readings mean.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"signalbox/core/fsm"
	"signalbox/raftstore"
)

// Bounds of the proposer.
const (
	EntryBytes    = 256 << 10 // an entry is closed when it has this many bytes; one batch may be larger
	EntryItems    = 128
	InFlight      = 4        // entries proposed and not yet applied; more items gather meanwhile
	BusyBytes     = 64 << 10 // under way: then the next entry waits until it is full or one of them is done, because an entry costs more than its bytes
	MaxQueueBytes = 64 << 20 // items waiting; beyond it callers are told to slow down
)

// Errors a caller branches on. All but Indeterminate mean: nothing was proposed.
var (
	ErrNoLeader      = errors.New("ingest: no leader is known now")
	ErrOverloaded    = raftstore.ErrOverloaded
	ErrIndeterminate = raftstore.ErrIndeterminate
	ErrClosed        = errors.New("ingest: node is shutting down")
)

// Log is what the proposer needs of a raftstore.Store.
type Log interface {
	Begin(data []byte) (wait func(context.Context) (any, error), err error) // it does not keep data
	IsLeader() bool
	Ready() bool
	Leader() (id, addr string)
	Changed() <-chan struct{}
}

// Remote passes items on to the leader at addr. done is called once; order is kept. Follow names the node that
// leads now ("" = none is known): what others were sent is then answered as indeterminate.
type Remote interface {
	Send(addr string, items []fsm.Item, done func([]fsm.Result, error))
	Follow(addr string)
}

// Options of a Proposer.
type Options struct {
	Log               Log
	Remote            Remote
	Clock             func() time.Time
	Stamp             func() time.Time // the time entries carry; nil = Clock
	Group, Generation uint32
	Chain             func() (index, hash uint64) // of this node's state, for the others to compare; nil = never told
}

// Proposer gathers items into entries: what arrives while entries are in flight shares the next one;
// an idle proposer sends at once.
type Proposer struct {
	opts   Options
	mu     sync.Mutex
	queue  []waiting
	bytes  int
	flying int // bytes proposed and not yet answered
	wake   chan struct{}
	slots  chan struct{}
	closed bool
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	stats  ProposerStats
	last   time.Time // of the last entry, for ticks
	entry  []byte    // memory for the next entry: the log takes a copy
}

type waiting struct {
	item fsm.Item
	done func(fsm.Result, error)
}

// ProposerStats counts.
type ProposerStats struct {
	Entries, Items, Forwarded, Overloaded uint64
	QueuedBytes, QueuedItems              int
}

// NewProposer starts a proposer.
func NewProposer(opts Options) *Proposer {
	if opts.Stamp == nil {
		opts.Stamp = opts.Clock
	}
	p := &Proposer{opts: opts, wake: make(chan struct{}, 1), slots: make(chan struct{}, InFlight)}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.wg.Add(1)
	go p.run()
	if opts.Remote != nil {
		p.wg.Add(1)
		go p.follow()
	}
	return p
}

// follow tells the remote who leads. It has a goroutine of its own: run may be waiting for the old leader's answers.
func (p *Proposer) follow() {
	defer p.wg.Done()
	for {
		changed := p.opts.Log.Changed()
		_, addr := p.opts.Log.Leader()
		p.opts.Remote.Follow(addr)
		select {
		case <-changed:
		case <-p.ctx.Done():
			return
		}
	}
}

// Enqueue adds an item; done is called once, from another goroutine and in the order of the log. It must not block.
func (p *Proposer) Enqueue(it fsm.Item, done func(fsm.Result, error)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	if p.bytes+len(it.Data) > MaxQueueBytes && p.bytes > 0 {
		p.stats.Overloaded++
		return fmt.Errorf("%w: %d bytes are queued", ErrOverloaded, p.bytes)
	}
	p.queue = append(p.queue, waiting{it, done})
	p.bytes += len(it.Data)
	p.signal()
	return nil
}

func (p *Proposer) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// submitRetry is the pause between attempts while there is no leader.
const submitRetry = 50 * time.Millisecond

// Submit proposes one item and waits. While there is no leader it tries again until ctx ends;
// an outcome that nobody knows is returned as ErrIndeterminate.
func (p *Proposer) Submit(ctx context.Context, it fsm.Item) (fsm.Result, error) {
	for {
		changed := p.opts.Log.Changed()
		type answer struct {
			r   fsm.Result
			err error
		}
		got := make(chan answer, 1)
		err := p.Enqueue(it, func(r fsm.Result, err error) { got <- answer{r, err} })
		if err == nil {
			select {
			case a := <-got:
				if a.err == nil {
					return a.r, nil
				}
				err = a.err
			case <-ctx.Done():
				return fsm.Result{}, fmt.Errorf("%w: %w", ErrIndeterminate, ctx.Err())
			}
		}
		if errors.Is(err, ErrIndeterminate) || errors.Is(err, ErrClosed) {
			return fsm.Result{}, err
		}
		select {
		case <-ctx.Done():
			return fsm.Result{}, err
		case <-changed:
		case <-time.After(submitRetry):
		}
	}
}

func (p *Proposer) run() {
	defer p.wg.Done()
	for {
		select {
		case <-p.wake:
		case <-p.ctx.Done():
			return
		}
		for {
			select {
			case p.slots <- struct{}{}:
			case <-p.ctx.Done():
				return
			}
			batch := p.take()
			if len(batch) == 0 { // or it waits: finish wakes us
				<-p.slots
				break
			}
			p.dispatch(batch)
		}
	}
}

// take removes the items of the next entry; an item that changes the catalog gets its own.
func (p *Proposer) take() []waiting {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.flying > BusyBytes && p.bytes < EntryBytes {
		return nil
	}
	n, size := 0, 0
	for n < len(p.queue) && n < EntryItems {
		it := p.queue[n].item
		if n > 0 && (size+len(it.Data) > EntryBytes || it.Control()) {
			break
		}
		size += len(it.Data)
		n++
		if it.Control() {
			break
		}
	}
	batch := make([]waiting, n)
	copy(batch, p.queue)
	clear(p.queue[:n])
	p.queue = p.queue[n:]
	if len(p.queue) == 0 {
		p.queue = nil // its memory grew with the backlog
	}
	p.bytes -= size
	p.flying += size
	return batch
}

func (p *Proposer) dispatch(batch []waiting) {
	items := make([]fsm.Item, len(batch))
	for i := range batch {
		items[i] = batch[i].item
	}
	p.mu.Lock()
	p.stats.Items += uint64(len(items))
	p.last = p.opts.Clock()
	p.mu.Unlock()
	if p.opts.Log.IsLeader() {
		p.local(batch, items)
		return
	}
	_, addr := p.opts.Log.Leader()
	if addr == "" || p.opts.Remote == nil {
		p.finish(batch, nil, ErrNoLeader)
		return
	}
	p.count(&p.stats.Forwarded)
	p.opts.Remote.Send(addr, items, func(res []fsm.Result, err error) { p.finish(batch, res, err) })
}

func (p *Proposer) count(c *uint64) {
	p.mu.Lock()
	*c++
	p.mu.Unlock()
}

func (p *Proposer) local(batch []waiting, items []fsm.Item) {
	// Before the term has begun only its first entry is proposed: batches would be applied correctly, but ticks and acks wait for it.
	if !p.opts.Log.Ready() && items[0].Kind != fsm.ItemLeaderReady {
		p.finish(batch, nil, ErrNoLeader)
		return
	}
	p.count(&p.stats.Entries)
	p.entry = fsm.EncodeEntry(p.entry[:0], p.header(), items)
	wait, err := p.opts.Log.Begin(p.entry)
	if cap(p.entry) > 2*EntryBytes {
		p.entry = nil
	}
	if err != nil {
		p.finish(batch, nil, err)
		return
	}
	p.wg.Add(1)
	go func() {
		defer p.wg.Done()
		v, err := wait(p.ctx)
		res, ok := v.([]fsm.Result)
		if err == nil && !ok {
			err = fmt.Errorf("%w: state machine answered %T", ErrIndeterminate, v)
		}
		p.finish(batch, res, err)
	}()
}

func (p *Proposer) header() fsm.Header {
	return fsm.Header{Group: p.opts.Group, Generation: p.opts.Generation, Clock: p.opts.Stamp().UnixMicro()}
}

// LeaderReady proposes the first entry of a term, past the queue.
func (p *Proposer) LeaderReady(ctx context.Context, l fsm.LeaderReady) error {
	wait, err := p.opts.Log.Begin(fsm.EncodeEntry(nil, p.header(), []fsm.Item{fsm.LeaderReadyItem(l)}))
	if err != nil {
		return err
	}
	_, err = wait(ctx)
	return err
}

func (p *Proposer) finish(batch []waiting, res []fsm.Result, err error) {
	<-p.slots
	p.mu.Lock()
	for _, w := range batch {
		p.flying -= len(w.item.Data)
	}
	more := len(p.queue) > 0
	p.mu.Unlock()
	if more {
		p.signal()
	}
	if err == nil && len(res) != len(batch) {
		err = fmt.Errorf("%w: %d results for %d items", ErrIndeterminate, len(res), len(batch))
		if len(res) == 1 && res[0].Verdict == fsm.Refused {
			err = fmt.Errorf("ingest: %s", res[0].Reason)
		}
	}
	for i, w := range batch {
		if err != nil {
			w.done(fsm.Result{}, err)
		} else {
			w.done(res[i], nil)
		}
	}
}

// checkEvery is how often the leader tells its chain, busy or not.
const checkEvery = 10 * time.Second

// Tick keeps time moving: every interval it proposes a tick, unless another entry carried the time. It returns when ctx ends.
func (p *Proposer) Tick(ctx context.Context, every time.Duration) {
	t := time.NewTicker(every)
	defer t.Stop()
	var checked time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		p.mu.Lock()
		now := p.opts.Clock()
		busy := len(p.queue) > 0 || now.Sub(p.last) < every
		p.mu.Unlock()
		if !p.opts.Log.Ready() || busy && now.Sub(checked) < checkEvery {
			continue
		}
		it := fsm.TickItem()
		if p.opts.Chain != nil && now.Sub(checked) >= checkEvery {
			it, checked = fsm.CheckItem(p.opts.Chain()), now
		}
		_ = p.Enqueue(it, func(fsm.Result, error) {})
	}
}

// Stats returns the counters.
func (p *Proposer) Stats() ProposerStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.QueuedBytes, s.QueuedItems = p.bytes, len(p.queue)
	return s
}

// Close answers what is queued with ErrClosed and waits for what is in flight.
func (p *Proposer) Close() {
	p.mu.Lock()
	p.closed = true
	queue := p.queue
	p.queue, p.bytes = nil, 0
	p.mu.Unlock()
	p.cancel()
	p.wg.Wait()
	for _, w := range queue {
		w.done(fsm.Result{}, ErrClosed)
	}
}
