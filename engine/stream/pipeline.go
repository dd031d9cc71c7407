package stream

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/plan"
)

// noMark is the watermark of a plan without one: nothing is late, nothing closes.
const noMark = math.MinInt64

// operator is one step of a pipeline.
type operator interface {
	// push takes rows; they are valid only during the call.
	push(c *chunk)
	// close ends a pass: windows close, results that wait for the end of an entry go on.
	// It is called on every operator, inputs first.
	close()
	// wants reports whether the operator has something to do for a new watermark without new rows.
	wants() bool
	// stateful operators write and read their state.
	save(e *encoder)
	load(d *decoder)
}

// Pipeline is a compiled query and its state.
type Pipeline struct {
	opt   Options
	root  plan.Node
	mode  plan.Mode
	sink  *sink
	ops   []operator // inputs before consumers
	scans []*scanOp
	names []string
	marks []*mark
	wms   []*watermarkOp
	ttl   *watermarkOp // implicit event time of a query with state_ttl and no WATERMARK

	wm    int64 // the query's watermark, noMark when it has none
	age   int64 // of a query with implicit event time: what expires keys, noMark until something was seen
	index uint64
	tick  int64
	count Counters
	res   Result
	fail  error // first failing row, when Strict
	data  bool  // this pass has a batch of a source
	empty bool  // this pass is Spark's batch without data
	ended bool

	lagging bool // see lags

	clock *expr.Clock // what current_timestamp() reads, nil when the query does not ask

	seed   [16]byte
	idbuf  []byte
	idlast idOrigin
}

// mark is the watermark at one point of the plan: late judges rows, evict closes windows.
type mark struct {
	inputs      []*mark
	source      bool  // the query's watermark enters here
	hold        int64 // the operator holds back output up to this much behind its own watermark
	late, evict int64
}

func (m *mark) advance(global int64) {
	m.late = m.evict
	if m.source {
		m.evict = global
		return
	}
	v := int64(noMark)
	for _, in := range m.inputs {
		if in.evict != noMark && (v == noMark || in.evict < v) {
			v = in.evict
		}
	}
	if v != noMark && v != math.MaxInt64 {
		v -= m.hold
	}
	m.evict = v
}

// Compile builds the pipeline of a streaming query.
func Compile(q *plan.Query, opt Options) (*Pipeline, error) {
	p := &Pipeline{opt: opt, root: q.Root, mode: q.Mode, clock: q.Clock, wm: noMark, age: noMark}
	if p.mode == "" {
		p.mode = opt.Table.Mode
	}
	if p.mode == "" {
		p.mode = plan.Append
	}
	id := append([]byte(opt.ID), 0)
	p.seed = hashID(binary.LittleEndian.AppendUint64(id, opt.Version))
	p.sink = newSink(p, q.Root.Schema())
	if err := checkLateness(q.Root, opt.Table.AllowedLateness); err != nil {
		return nil, err
	}
	b := &builder{p: p}
	if _, err := b.build(q.Root, p.sink); err != nil {
		return nil, err
	}
	p.ops = append(p.ops, p.sink)
	p.lagging = p.lags()
	plan.Counted(q.Root, func(s *plan.Scan, _ plan.Node) {
		for _, sc := range p.scans {
			sc.counted = sc.counted || sc.node == s
		}
	})
	p.slackOf()
	p.listWindows()
	if len(p.wms) > 0 {
		p.wm = 0
		for _, m := range p.marks {
			m.evict = noMark
		}
		p.advanceMarks()
		p.advanceMarks()
	} else if opt.Table.StateTTL > 0 {
		b.implicitTime()
	}
	return p, nil
}

// Sources returns the names of the relations the pipeline reads as streams, in order of the plan; do not modify.
func (p *Pipeline) Sources() []string {
	if len(p.names) < len(p.scans) {
		p.names = p.names[:0]
		for _, s := range p.scans {
			p.names = append(p.names, s.node.Table)
		}
	}
	return p.names
}

// Schema returns the schema of the results.
func (p *Pipeline) Schema() *column.Schema { return p.root.Schema() }

// Mode returns the output mode.
func (p *Pipeline) Mode() plan.Mode { return p.mode }

// Stateful reports whether an operator remembers rows, groups or keys between entries.
func (p *Pipeline) Stateful() bool {
	for _, op := range p.ops {
		if _, ok := op.(interface{ size() (keys, bytes int64) }); ok {
			return true
		}
	}
	return false
}

// Watermark returns the query's watermark in µs; ok is false when it has none.
func (p *Pipeline) Watermark() (int64, bool) { return p.wm, p.wm != noMark }

func (p *Pipeline) advanceMarks() {
	for _, m := range p.marks {
		m.advance(p.wm)
	}
}

// Apply runs one entry through the pipeline. The error is the first failing row under Strict.
func (p *Pipeline) Apply(en *Entry) (*Result, error) {
	p.index, p.tick = en.Index, en.Time
	if p.clock != nil {
		p.clock.Now = en.Time
	}
	p.res.Late, p.res.Partly, p.res.Revised, p.res.Failed = p.res.Late[:0], p.res.Partly[:0], p.res.Revised[:0], p.res.Failed[:0]
	p.sink.reset()
	p.data = false
	if !p.lagging || hasRows(en) {
		p.advanceMarks()
	}
	for i := range en.Sources {
		p.pushSource(&en.Sources[i])
	}
	p.closeAll()
	p.data = false
	next, age := p.nextWatermark(), int64(noMark)
	if p.ttl != nil && (p.ttl.seen || p.ttl.scan.certified) {
		age = p.ttl.value()
	}
	if next > p.wm || age > p.age {
		p.wm, p.age = max(next, p.wm), max(age, p.age)
		p.emptyPass()
	}
	if en.End && !p.ended {
		p.ended = true
		if p.wm != noMark {
			p.wm = math.MaxInt64
			p.emptyPass()
		}
	}
	p.sink.finish(&p.res)
	err := p.fail
	p.fail = nil
	return &p.res, err
}

func hasRows(en *Entry) bool {
	for i := range en.Sources {
		for _, b := range en.Sources[i].Batches {
			if b.Rows != nil && b.Rows.Len > 0 {
				return true
			}
		}
	}
	return false
}

// lags reports whether all state is that of joins which never forget a row:
// Spark runs no batch without data for them, so that rows are late against the
// watermark of the last batch that had some.
func (p *Pipeline) lags() bool {
	found := false
	for _, op := range p.ops {
		if j, ok := op.(*streamJoinOp); ok {
			if j.node.Bound != nil || j.byKey {
				return false
			}
			found = true
		} else if _, ok := op.(interface{ size() (keys, bytes int64) }); ok {
			return false
		}
	}
	return found
}

// emptyPass is Spark's batch without data: it runs only when an operator has a use for it.
func (p *Pipeline) emptyPass() {
	for _, op := range p.ops {
		if op.wants() {
			p.advanceMarks()
			p.empty = true
			p.closeAll()
			p.empty = false
			return
		}
	}
}

func (p *Pipeline) closeAll() {
	for _, op := range p.ops {
		op.close()
	}
}

func (p *Pipeline) pushSource(s *Source) {
	for _, sc := range p.scans {
		if !strings.EqualFold(sc.node.Table, s.Name) {
			continue
		}
		if s.Certified {
			sc.certified, sc.low, sc.agents = true, max(sc.low, s.LowWater), s.Agents
		}
		for i := range s.Batches {
			b := &s.Batches[i]
			b.no = i
			p.data = true // an empty batch is a batch: complete mode and one group without keys answer it, as in Spark
			if b.Rows.Len > 0 && (b.Sel == nil || len(b.Sel) > 0) {
				sc.pushBatch(b)
			}
		}
	}
}

// nextWatermark applies the policy over all WATERMARK clauses. A source that
// has seen nothing holds the minimum at 0.
func (p *Pipeline) nextWatermark() int64 {
	if len(p.wms) == 0 {
		return noMark
	}
	next := p.wms[0].value()
	for _, w := range p.wms[1:] {
		if v := w.value(); p.opt.Table.WatermarkMax == (v > next) {
			next = v
		}
	}
	return next
}

// ttlMark is the event time that expires keys.
func (p *Pipeline) ttlMark() int64 {
	switch {
	case p.ttl != nil:
		return p.age
	case p.wm != noMark:
		return p.wm
	}
	return noMark
}

// ForgetSources forgets what each source has seen, as a restart of Spark does;
// the query's watermark stays.
func (p *Pipeline) ForgetSources() {
	for _, w := range p.wms {
		w.seen = false
	}
}

func (p *Pipeline) refuse(c *chunk, row int, reason string, err error) {
	p.count.Failed++
	if p.opt.Strict && p.fail == nil {
		p.fail = err
	}
	detail := ""
	if err != nil {
		detail = err.Error()
	}
	p.res.Failed = append(p.res.Failed, p.refused(c, row, reason, detail, err))
}

func (p *Pipeline) late(c *chunk, row int, detail string) {
	p.count.Late++
	p.res.Late = append(p.res.Late, p.refused(c, row, "late", detail, nil))
}

// revised reports a row of another streaming table that is told again.
func (p *Pipeline) revised(c *chunk, row int) {
	p.count.Revised++
	if !p.opt.ListPartly {
		return
	}
	detail := fmt.Sprintf("revision %d of a row of %s, which counts as it was told first", c.revs[row], c.b.Schema.Name)
	if c.deleted(row) {
		detail = fmt.Sprintf("revision %d of a row of %s took it back; if it had counted, it still does", c.revs[row], c.b.Schema.Name)
	}
	p.res.Revised = append(p.res.Revised, p.refused(c, row, "revised", detail, nil))
}

func (p *Pipeline) refused(c *chunk, row int, reason, detail string, err error) Refused {
	r := Refused{Reason: reason, Detail: detail, Err: err, Time: c.eventTime(row)}
	b, at := c.b, row
	if c.src != nil {
		r.Origin, r.Ordinal = c.src.Origin, c.ordinal(row)
		b, at = c.src.Rows, r.Ordinal
	}
	r.Schema = b.Schema
	if at < b.Len {
		r.Row = b.Row(at)
	}
	return r
}

func (p *Pipeline) limited(c *chunk, row int, what string) {
	p.count.StateLimited++
	p.res.Failed = append(p.res.Failed, p.refused(c, row, "state_limit", what, nil))
}

// Counters returns the accounts; Keys and StateBytes are computed now.
func (p *Pipeline) Counters() Counters {
	c := p.count
	c.Keys, c.StateBytes, c.ClosedBytes = 0, 0, 0
	for _, op := range p.ops {
		if s, ok := op.(interface{ size() (keys, bytes int64) }); ok {
			k, b := s.size()
			c.Keys += k
			c.StateBytes += b
		}
		if w, ok := op.(*paneOp); ok {
			c.ClosedBytes += w.closedBytes
			c.Incomplete += w.incomplete()
		}
	}
	return c
}

// checkLateness refuses allowed_lateness where a revision would need retractions.
func checkLateness(n plan.Node, lateness int64) error {
	if lateness == 0 {
		return nil
	}
	aggs := 0
	var walk func(n plan.Node) error
	walk = func(n plan.Node) error {
		switch x := n.(type) {
		case *plan.Aggregate:
			aggs++
			if x.Kind != plan.TimeWindow || x.EventKey < 0 {
				return latenessError("the aggregate has no time window with a watermark")
			}
		case *plan.Join:
			if hasStream(x.Left) && hasStream(x.Right) {
				return latenessError("it joins two streams")
			}
		case *plan.KeyedState:
			if hasAggregate(x.Input) {
				return latenessError("a function with state is over the aggregation")
			}
		case *plan.Dedup, *plan.Distinct, *plan.Limit, *plan.Union, *plan.Sort:
			return latenessError(fmt.Sprintf("it contains %s", strings.TrimPrefix(fmt.Sprintf("%T", n), "*plan.")))
		}
		for _, in := range n.Inputs() {
			if hasStream(in) {
				if err := walk(in); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := walk(n); err != nil {
		return err
	}
	if aggs != 1 {
		return latenessError(fmt.Sprintf("it has %d aggregations", aggs))
	}
	return nil
}

// MayBeLate reports whether allowed_lateness is possible for a query.
func MayBeLate(q *plan.Query) bool { return checkLateness(q.Root, 1) == nil }

func hasAggregate(n plan.Node) bool {
	_, ok := n.(*plan.Aggregate)
	for _, in := range n.Inputs() {
		ok = ok || hasAggregate(in)
	}
	return ok
}

func latenessError(why string) error {
	return &expr.Error{Phase: expr.Analysis, Condition: "ALLOWED_LATENESS", SQLState: "0A000",
		Message: "allowed_lateness is possible only for a single time-window aggregation over filters and static joins: " + why + "; leave the option out, or split the query"}
}

func hasStream(n plan.Node) bool {
	if s, ok := n.(*plan.Scan); ok {
		return s.Stream
	}
	for _, in := range n.Inputs() {
		if hasStream(in) {
			return true
		}
	}
	return false
}
