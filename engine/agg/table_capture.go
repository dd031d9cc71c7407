package agg

import (
	"bytes"
	"fmt"
	"io"
	"slices"

	"signalbox/engine/column"
)

// BlockGroups is the number of groups that a capture saves at once before one of them changes.
const BlockGroups = 64

// TableCapture is the state of a GroupTable at one moment, taken without
// copying the keys: they are read when they are wanted, and a key that is
// removed before that is saved first. Its methods and those of the table must
// not run at the same time.
type TableCapture struct {
	t     *GroupTable
	n     int
	free  []int32
	dead  []uint64 // bit per group, nil = none was removed
	saved map[int][]byte
	next  int // blocks below it were written
}

// Capture remembers the table as it is now until Release.
func (t *GroupTable) Capture() *TableCapture {
	free := t.free
	if t.single {
		free = t.interns[0].free
	}
	c := &TableCapture{t: t, n: t.n, free: slices.Clone(free)}
	if len(free) > 0 {
		c.dead = make([]uint64, (t.n+63)/64)
		for _, g := range free {
			c.dead[g>>6] |= 1 << (g & 63)
		}
	}
	t.captures = append(t.captures, c)
	return c
}

// Release ends the capture.
func (c *TableCapture) Release() {
	c.t.captures = slices.DeleteFunc(c.t.captures, func(x *TableCapture) bool { return x == c })
	c.saved = nil
}

// Len is the number of ids at the time of the capture.
func (c *TableCapture) Len() int { return c.n }

// WriteHead writes what comes before the keys.
func (c *TableCapture) WriteHead(w io.Writer) error {
	e := newEncoder(w)
	e.uvarint(uint64(c.n))
	e.uvarint(uint64(len(c.free)))
	for _, f := range c.free {
		e.uvarint(uint64(f))
	}
	return e.flush()
}

// WriteBlock writes the keys of groups i*BlockGroups and following; blocks are
// written once each, in ascending order.
func (c *TableCapture) WriteBlock(w io.Writer, i int) error {
	c.next = i + 1
	if b, ok := c.saved[i]; ok {
		delete(c.saved, i)
		_, err := w.Write(b)
		return err
	}
	return c.encode(w, i)
}

func (c *TableCapture) encode(w io.Writer, i int) error {
	e := newEncoder(w)
	for g := i * BlockGroups; g < min(c.n, (i+1)*BlockGroups); g++ {
		if c.dead != nil && c.dead[g>>6]&(1<<(g&63)) != 0 {
			continue
		}
		for k := range c.t.types {
			c.t.encodeKey(e, g, k)
		}
	}
	return e.flush()
}

// save keeps the keys of a block that is about to change.
func (c *TableCapture) save(group int32) {
	i := int(group) / BlockGroups
	if int(group) >= c.n || i < c.next {
		return
	}
	if _, there := c.saved[i]; there {
		return
	}
	var b bytes.Buffer
	_ = c.encode(&b, i) // a bytes.Buffer takes everything
	if c.saved == nil {
		c.saved = map[int][]byte{}
	}
	c.saved[i] = b.Bytes()
}

// beforeChange lets captures save the key of a group.
func (t *GroupTable) beforeChange(group int32) {
	for _, c := range t.captures {
		c.save(group)
	}
}

// DecodeBlocks replaces the table by what WriteHead and then WriteBlock for every block wrote.
func (t *GroupTable) DecodeBlocks(r io.Reader) error {
	d := newDecoder(r)
	*t = *NewGroupTable(t.types)
	n, free, dead := d.ids()
	cols := make([]*column.Column, len(t.types))
	for c := range t.types {
		cols[c] = column.New(t.types[c], 0)
	}
	for g := 0; g < n && d.err == nil; g++ {
		if dead[int32(g)] {
			continue
		}
		for c := range t.types {
			cols[c].Append(d.datum(t.types[c]))
		}
	}
	if d.err != nil {
		return fmt.Errorf("group table: %w", d.err)
	}
	return t.rebuild(n, free, dead, cols)
}

// ids reads the number of ids and those that are free.
func (d *decoder) ids() (n int, free []int32, dead map[int32]bool) {
	n = d.count()
	nfree := d.count()
	if d.err == nil && nfree > n {
		d.fail("more free ids than ids")
	}
	dead, free = map[int32]bool{}, []int32{}
	for i := 0; i < nfree && d.err == nil; i++ {
		f := d.count()
		if f >= n || dead[int32(f)] {
			d.fail("bad free id")
		}
		dead[int32(f)] = true
		free = append(free, int32(f))
	}
	return n, free, dead
}
