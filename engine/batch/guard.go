package batch

import (
	"fmt"

	"signalbox/engine/column"
	"signalbox/engine/expr"
)

// guard ends a run that holds too much memory or is not wanted any more. It
// panics with stop, which RunNode turns into an error: loops deep inside an
// operator, comparisons of a sort among them, need no way out of their own.
type guard struct {
	interrupt func() error
	calls     uint32
	bytes     int64                  // held by the operators that are at work
	max       int64                  // 0 = no bound
	dicts     map[*column.Dict]int64 // bytes of those of the tables that are read
}

type stop struct{ err error }

// askEvery is how many rows are looked at between two questions to Options.Interrupt.
const askEvery = 1024

// TooManyBytes is the error of a query that would hold more memory than it may.
func TooManyBytes(max int64) error {
	return &expr.Error{Phase: expr.Runtime, Condition: "QUERY_TOO_LARGE", SQLState: "54000",
		Message: fmt.Sprintf("the query would hold more than %d bytes of memory; add a filter, name the columns instead of *, or aggregate", max)}
}

// poll is called once a row.
func (g *guard) poll() {
	if g == nil || g.interrupt == nil {
		return
	}
	if g.calls++; g.calls%askEvery == 0 {
		g.ask()
	}
}

func (g *guard) ask() {
	if g == nil || g.interrupt == nil {
		return
	}
	if err := g.interrupt(); err != nil {
		panic(stop{err})
	}
}

// hold notes memory that is about to be taken.
func (g *guard) hold(bytes int64) {
	if g == nil || g.max <= 0 {
		return
	}
	if g.bytes += bytes; g.bytes > g.max {
		panic(stop{TooManyBytes(g.max)})
	}
}

// now says that of what was taken since before only out is still held.
func (g *guard) now(before int64, out *column.Batch) {
	if g.max > 0 {
		g.bytes = before
		g.hold(g.batchBytes(out))
	}
}

// know remembers how large the dictionaries of a table are: what is made of its rows shares them.
func (g *guard) know(b *column.Batch) {
	if g.max <= 0 {
		return
	}
	if g.dicts == nil {
		g.dicts = map[*column.Dict]int64{}
	}
	for _, c := range b.Cols {
		if c != nil && c.Dict != nil && g.dicts[c.Dict] == 0 {
			g.dicts[c.Dict] = dictBytes(c.Dict)
		}
	}
}

func dictBytes(d *column.Dict) (n int64) {
	for _, s := range d.Values {
		n += textBytes + int64(len(s))
	}
	return n
}

// rows notes memory for copies of n rows of the columns.
func (g *guard) rows(n int, list ...[]*column.Column) {
	if g == nil || g.max <= 0 {
		return
	}
	width := int64(0)
	for _, cols := range list {
		for _, c := range cols {
			if c != nil {
				width += rowBytes(c.Type)
			}
		}
	}
	g.hold(int64(n) * width)
}

// caught turns the panic of a guard into its error.
func caught(err *error) {
	switch p := recover().(type) {
	case nil:
	case stop:
		*err = p.err
	default:
		panic(p)
	}
}

// Estimates of memory.
const (
	datumBytes = 88 // a boxed value
	textBytes  = 16 // the head of a text
	groupBytes = 64 // a key of a grouper, beside its bytes
)

// rowBytes is what a value of a type takes, without texts and what is nested in it.
func rowBytes(t column.Type) int64 {
	switch t.Kind.Storage() {
	case column.StoreI64, column.StoreF64:
		return 8
	case column.StoreDict:
		return 4
	case column.StoreDec:
		return 16
	case column.StoreAny:
		return datumBytes
	}
	return 0
}

// batchBytes estimates what a batch takes; a dictionary that columns share counts once.
func (g *guard) batchBytes(b *column.Batch) int64 {
	n := int64(0)
	var seen map[*column.Dict]bool
	for _, c := range b.Cols {
		if c == nil {
			continue
		}
		n += int64(b.Len) * rowBytes(c.Type)
		if c.Type.Kind.Storage() == column.StoreAny {
			n += nestedBytes(c.Any)
		}
		if c.Dict == nil || c.Dict.Len() == 0 || seen[c.Dict] {
			continue
		}
		if seen == nil {
			seen = map[*column.Dict]bool{}
		}
		seen[c.Dict] = true
		if known, ok := g.dicts[c.Dict]; ok {
			n += known
		} else {
			n += dictBytes(c.Dict)
		}
	}
	return n
}

func nestedBytes(list []column.Datum) int64 {
	n := int64(0)
	for i := range list {
		n += int64(len(list[i].S) + datumBytes*len(list[i].L))
		n += nestedBytes(list[i].L)
	}
	return n
}
