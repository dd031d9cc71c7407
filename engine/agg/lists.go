package agg

import (
	"io"

	"signalbox/engine/column"
)

// lists keeps for each group a sequence of rows of one or more values, in
// order of arrival, in columns: what collect_list, percentile, mode and
// listagg are made of.
type lists struct {
	chains chains
	cells  []cells
	slots  int     // slots handed out
	free   []int32 // slots of cleared groups
}

func newLists(types ...column.Type) lists {
	l := lists{}
	for _, t := range types {
		l.cells = append(l.cells, newCells(t))
	}
	return l
}

func (l *lists) grow(n int) { l.chains.grow(n) }

// slot makes room for a row of a group.
func (l *lists) slot(group int32) int32 {
	var s int32
	if n := len(l.free); n > 0 {
		s, l.free = l.free[n-1], l.free[:n-1]
	} else {
		s = int32(l.slots)
		l.slots++
		for c := range l.cells {
			l.cells[c].grow(l.slots)
		}
	}
	l.chains.link(group, s)
	return s
}

// add appends row of cols.
func (l *lists) add(group int32, cols []*column.Column, row int) {
	s := l.slot(group)
	for c := range l.cells {
		l.cells[c].set(s, cols[c], row)
	}
}

// of returns the slots of a group in order.
func (l *lists) of(group int32) []int32 {
	var out []int32
	for s := l.chains.first(group); s >= 0; s = l.chains.following(s) {
		out = append(out, s)
	}
	return out
}

func (l *lists) merge(into int32, o *lists, from int32) {
	for _, s := range o.of(from) {
		t := l.slot(into)
		for c := range l.cells {
			l.cells[c].copy(t, &o.cells[c], s)
		}
	}
}

func (l *lists) clear(group int32) {
	for _, s := range l.of(group) {
		for c := range l.cells {
			l.cells[c].clear(s)
		}
		l.chains.unlink(s)
		l.free = append(l.free, s)
	}
	l.chains.clear(group)
}

// encode writes the rows of each group; slots are not kept.
func (l *lists) encode(w io.Writer, n int) error {
	e := newEncoder(w)
	for g := int32(0); g < int32(n); g++ {
		slots := l.of(g)
		e.uvarint(uint64(len(slots)))
		for c := range l.cells {
			for _, s := range slots {
				e.blob(appendDatum(nil, l.cells[c].typ, l.cells[c].datum(s), false))
			}
		}
	}
	return e.flush()
}

func (l *lists) decode(r io.Reader, n int) error {
	d := newDecoder(r)
	types := make([]column.Type, len(l.cells))
	for c := range l.cells {
		types[c] = l.cells[c].typ
	}
	*l = newLists(types...)
	for g := 0; g < n && d.err == nil; g++ {
		l.grow(g + 1)
		rows := d.count()
		var slots []int32
		for c := range l.cells {
			for i := 0; i < rows && d.err == nil; i++ {
				v := column.New(types[c], 1)
				v.Append(d.datum(types[c]))
				if c == 0 {
					slots = append(slots, l.slot(int32(g)))
				}
				if d.err == nil {
					l.cells[c].set(slots[i], v, 0)
				}
			}
		}
	}
	return d.err
}

func (l *lists) bytes() int {
	used := l.slots - len(l.free)
	n := l.chains.bytes(used)
	for c := range l.cells {
		n += used*l.cells[c].width() + l.cells[c].raw.live()
	}
	return n
}
