package agg

import "io"

// chains keeps for each group a list of entries (small integers given from
// outside, each in at most one list), in order, without a pointer per group.
type chains struct {
	head, tail []int32 // per group, entry+1, 0 = none
	next       []int32 // per entry, following+1, 0 = none
	in         []bool  // per entry: it is in a list
}

func (c *chains) grow(n int) { c.head, c.tail = growTo(c.head, n), growTo(c.tail, n) }

// link appends an entry to a group's list; false when it is in a list already.
func (c *chains) link(group, entry int32) bool {
	if n := int(entry) + 1; n > len(c.next) {
		c.next, c.in = growTo(c.next, n), growTo(c.in, n)
	}
	if c.in[entry] {
		return false
	}
	c.in[entry] = true
	c.next[entry] = 0
	if t := c.tail[group]; t > 0 {
		c.next[t-1] = entry + 1
	} else {
		c.head[group] = entry + 1
	}
	c.tail[group] = entry + 1
	return true
}

func (c *chains) first(group int32) int32     { return c.head[group] - 1 }
func (c *chains) following(entry int32) int32 { return c.next[entry] - 1 }

// unlink marks an entry of a list that is being cleared as free.
func (c *chains) unlink(entry int32) { c.in[entry] = false }

func (c *chains) clear(group int32) { c.head[group], c.tail[group] = 0, 0 }

func (c *chains) encode(w io.Writer, n int) error {
	e := newEncoder(w)
	for g := 0; g < n; g++ {
		count := 0
		for x := c.first(int32(g)); x >= 0; x = c.following(x) {
			count++
		}
		e.uvarint(uint64(count))
		for x := c.first(int32(g)); x >= 0; x = c.following(x) {
			e.uvarint(uint64(x))
		}
	}
	return e.flush()
}

// decode reads lists whose entries are below limit.
func (c *chains) decode(r io.Reader, n, limit int) error {
	d := newDecoder(r)
	*c = chains{}
	for g := 0; g < n && d.err == nil; g++ {
		c.grow(g + 1)
		for count := d.count(); count > 0 && d.err == nil; count-- {
			x := d.count()
			if d.err == nil && (x >= limit || !c.link(int32(g), int32(x))) {
				d.fail("a list entry is out of range or there twice")
			}
		}
	}
	return d.err
}

// bytes is the memory of lists with that many entries in all.
func (c *chains) bytes(entries int) int { return 8*len(c.head) + 5*entries }
