package stream

import (
	"bufio"
	"bytes"
	"slices"
	"sync"

	"signalbox/engine/agg"
)

// Capture is the state of a Pipeline at one moment. Taking it costs next to
// nothing: what is per group stays where it is and is read when the capture is
// written, and an operator that is about to change a group saves a block of
// groups around it first, once. So an entry that touches k groups saves at
// most k blocks, whatever the size of the state.
//
// Write may run while the pipeline goes on: it holds the lock that was given
// to Capture for one slice of groups at a time, and whoever changes the
// pipeline holds it meanwhile.
type Capture struct {
	lock  sync.Locker
	head  []byte
	parts []func(e *encoder)
	undo  []func()
}

// capturer is an operator that does not have to encode its state at once.
type capturer interface {
	// capture returns what writes the state as of now, without the lock.
	capture(c *Capture) func(e *encoder)
}

const (
	blockGroups = agg.BlockGroups
	sliceBlocks = 16 // blocks written under one lock
	sliceGroups = blockGroups * sliceBlocks
)

// Capture takes the state; the caller holds the lock.
func (p *Pipeline) Capture(lock sync.Locker) (*Capture, error) {
	c := &Capture{lock: lock}
	var err error
	if c.head, err = eager(p.saveHead); err != nil {
		return nil, err
	}
	for _, op := range p.ops {
		if x, ok := op.(capturer); ok {
			c.parts = append(c.parts, x.capture(c))
			continue
		}
		b, err := eager(op.save)
		if err != nil {
			c.Release()
			return nil, err
		}
		c.parts = append(c.parts, func(e *encoder) { e.Write(b) })
	}
	return c, nil
}

// saveCaptured writes the state of an operator at once, as a capture of it would.
func saveCaptured(e *encoder, op capturer) {
	c := &Capture{lock: noLock{}}
	op.capture(c)(e)
	c.Release()
}

func eager(save func(e *encoder)) ([]byte, error) {
	var buf bytes.Buffer
	e := newEncoder(&buf)
	save(e)
	e.fail(e.w.Flush())
	return buf.Bytes(), e.err
}

// Write writes the captured state, once.
func (c *Capture) Write(s *Encoder) {
	s.e.Write(c.head)
	for _, part := range c.parts {
		part(s.e)
	}
}

// Release ends the capture; the caller holds the lock.
func (c *Capture) Release() {
	for _, f := range c.undo {
		f()
	}
	c.undo, c.parts = nil, nil
}

// table captures a key table and returns what writes it.
func (c *Capture) table(t *agg.GroupTable) func(e *encoder) {
	x := t.Capture()
	c.undo = append(c.undo, x.Release)
	return func(e *encoder) {
		e.fail(x.WriteHead(e))
		var buf bytes.Buffer
		for i := 0; i*blockGroups < x.Len() && e.err == nil; {
			buf.Reset()
			locked(c.lock, func() {
				for k := 0; k < sliceBlocks && i*blockGroups < x.Len(); k++ {
					e.fail(x.WriteBlock(&buf, i))
					i++
				}
			})
			e.Write(buf.Bytes())
		}
	}
}

// locked calls f under a lock that a panic does not leave locked: a reader's bug must not stop whoever changes the state.
func locked(lock sync.Locker, f func()) {
	lock.Lock()
	defer lock.Unlock()
	f()
}

func loadTableBlocks(d *decoder, t *agg.GroupTable) {
	if d.err == nil {
		if err := t.DecodeBlocks(d); err != nil {
			d.fail(err)
		}
	}
}

// groupState is what an operator keeps per group, beside its key.
type groupState struct {
	accs []agg.Accumulator
	revs []uint32 // nil or one per group
	ages []int64  // nil or one per group
}

// groupCapture is the state of groups 0..n-1 at one moment.
type groupCapture struct {
	groupState // as it was taken: the live one, or owned when its operator gave it up
	calls      *calls
	n          int
	place      []int32      // per block: where it was saved + 1, 0 = not
	saved      []groupState // of sliceGroups each
	used       int          // blocks saved
	next       int          // blocks below it were written
	err        error
}

// captures are those that still have to be written; usually none.
type captures []*groupCapture

// groups registers a capture of n groups with its operator's list.
func (c *Capture) groups(list *captures, k *calls, n int, s groupState) *groupCapture {
	g := &groupCapture{groupState: s, calls: k, n: n, place: make([]int32, (n+blockGroups-1)/blockGroups)}
	g.accs = slices.Clone(s.accs)
	if len(s.revs) == 0 {
		g.revs = nil
	}
	if len(s.ages) == 0 {
		g.ages = nil
	}
	*list = append(*list, g)
	c.undo = append(c.undo, func() { list.remove(g) })
	return g
}

func (l *captures) remove(g *groupCapture) {
	if *l = slices.DeleteFunc(*l, func(x *groupCapture) bool { return x == g }); len(*l) == 0 {
		*l = nil
	}
}

// before must be called with the groups that are about to change.
func (l captures) before(gids []int32) {
	for _, c := range l {
		for _, g := range gids {
			c.save(g)
		}
	}
}

// beforeOne is before for one group.
func (l captures) beforeOne(g int32) {
	for _, c := range l {
		c.save(g)
	}
}

func (c *groupCapture) save(g int32) {
	b := int(g) / blockGroups
	if int(g) >= c.n || c.place[b] != 0 || b < c.next {
		return
	}
	seg, at := c.used/sliceBlocks, c.used%sliceBlocks*blockGroups
	if seg == len(c.saved) {
		c.saved = append(c.saved, c.blank(sliceGroups))
	}
	c.used++
	c.place[b] = int32(c.used)
	from := b * blockGroups
	c.copy(&c.saved[seg], at, &c.groupState, from, min(blockGroups, c.n-from))
}

// blank makes room for n groups.
func (c *groupCapture) blank(n int) groupState {
	s := groupState{}
	if c.accs != nil {
		s.accs = c.calls.newAccs()
		growAccs(s.accs, n)
	}
	if c.revs != nil {
		s.revs = make([]uint32, n)
	}
	if c.ages != nil {
		s.ages = make([]int64, n)
	}
	return s
}

func (c *groupCapture) copy(dst *groupState, at int, src *groupState, from, n int) {
	for i, a := range dst.accs {
		if err := agg.CopyGroups(a, at, src.accs[i], from, n); err != nil && c.err == nil {
			c.err = err
		}
	}
	if dst.revs != nil {
		copy(dst.revs[at:at+n], src.revs[from:from+n])
	}
	if dst.ages != nil {
		copy(dst.ages[at:at+n], src.ages[from:from+n])
	}
}

// slice copies the groups from group from on; the caller holds the lock.
func (c *groupCapture) slice(from, n int) groupState {
	out := c.blank(n)
	for at := 0; at < n; at += blockGroups {
		k := min(blockGroups, n-at)
		b := (from + at) / blockGroups
		if p := c.place[b]; p > 0 {
			x := int(p) - 1
			c.copy(&out, at, &c.saved[x/sliceBlocks], x%sliceBlocks*blockGroups, k)
		} else {
			c.copy(&out, at, &c.groupState, from+at, k)
		}
	}
	c.next = (from + n + blockGroups - 1) / blockGroups
	return out
}

// write writes the groups in slices.
func (c *groupCapture) write(e *encoder, lock sync.Locker) {
	e.int(c.n)
	for from := 0; from < c.n && e.err == nil; from += sliceGroups {
		n := min(sliceGroups, c.n-from)
		var s groupState
		locked(lock, func() { s = c.slice(from, n) })
		if c.err != nil {
			e.fail(c.err)
			return
		}
		for _, r := range s.revs {
			e.uvarint(uint64(r))
		}
		for _, t := range s.ages {
			e.varint(t)
		}
		saveAccs(e, s.accs, n)
	}
}

// loadGroups reads what write wrote into s, whose accumulators have no groups yet.
func loadGroups(d *decoder, k *calls, s *groupState, revs, ages bool) (n int) {
	n = d.int()
	if d.err != nil {
		return 0
	}
	for from := 0; from < n && d.err == nil; from += sliceGroups {
		size := min(sliceGroups, n-from)
		for i := 0; i < size && revs && d.err == nil; i++ {
			s.revs = append(s.revs, uint32(d.uvarint()))
		}
		for i := 0; i < size && ages && d.err == nil; i++ {
			s.ages = append(s.ages, d.varint())
		}
		if s.accs == nil {
			continue
		}
		part := k.savedAccs()
		growAccs(part, size)
		loadAccs(d, part, size)
		if d.err != nil {
			return 0
		}
		growAccs(s.accs, from+size)
		for i, a := range part {
			if err := agg.CopyGroups(s.accs[k.place(i)], from, a, 0, size); err != nil {
				d.fail(err)
			}
		}
	}
	return n
}

// rowBlock is the number of rows that a rowCapture saves at once.
const rowBlock = 8

// rowCapture is the encoded state of rows 0..n-1 of an operator whose rows are
// not accumulators: the rows of a join, the keys below a total.
type rowCapture struct {
	n      int
	encode func(e *encoder, from, to int)
	saved  map[int][]byte
	next   int // rows below it were written
	err    error
}

type rowCaptures []*rowCapture

// rows registers a capture of n rows; encode writes rows as they are when it is called.
func (c *Capture) rows(list *rowCaptures, n int, encode func(e *encoder, from, to int)) *rowCapture {
	r := &rowCapture{n: n, encode: encode}
	*list = append(*list, r)
	c.undo = append(c.undo, func() { *list = slices.DeleteFunc(*list, func(x *rowCapture) bool { return x == r }) })
	return r
}

// before must be called with a row that is about to change.
func (l rowCaptures) before(row int32) {
	for _, c := range l {
		b := int(row) / rowBlock
		if int(row) >= c.n || int(row) < c.next || c.saved[b] != nil {
			continue
		}
		if c.saved == nil {
			c.saved = map[int][]byte{}
		}
		var buf bytes.Buffer
		e := &encoder{w: bufio.NewWriterSize(&buf, 256)}
		c.encode(e, b*rowBlock, min(c.n, (b+1)*rowBlock))
		e.fail(e.w.Flush())
		if c.saved[b] = buf.Bytes(); e.err != nil {
			c.err = e.err
		}
	}
}

// write writes the rows in slices.
func (c *rowCapture) write(e *encoder, lock sync.Locker) {
	e.int(c.n)
	var buf bytes.Buffer
	for from := 0; from < c.n && e.err == nil; from += sliceGroups {
		buf.Reset()
		s := newEncoder(&buf)
		locked(lock, func() {
			for at := from; at < min(c.n, from+sliceGroups); at += rowBlock {
				if b, ok := c.saved[at/rowBlock]; ok {
					s.Write(b)
					delete(c.saved, at/rowBlock)
					continue
				}
				c.encode(s, at, min(c.n, at+rowBlock))
			}
			s.fail(s.w.Flush())
			s.fail(c.err)
			c.next = from + sliceGroups
		})
		e.fail(s.err)
		e.Write(buf.Bytes())
	}
}
