package engine

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"signalbox/engine/alert"
	"signalbox/engine/column"
	"signalbox/engine/plan"
	"signalbox/engine/sql"
	"signalbox/engine/stream"
)

// alerting evaluates the alert rules over streams and streaming tables.
type alerting struct {
	e       *Engine
	set     *alert.Set
	pipes   []rulePipe
	pending []alert.Transition // of SetRules, told with the next entry
	entry   stream.Entry
	source  [1]stream.Source
	batch   [1]stream.Batch
}

// rulePipe is the stateless query of one rule.
type rulePipe struct {
	query *plan.Query
	pipe  *stream.Pipeline
	names []string // what it reads as a stream
}

func newAlerting(e *Engine) *alerting {
	set, err := alert.NewSet(nil, alert.Options{})
	if err != nil {
		panic("engine: no rules are always valid: " + err.Error())
	}
	return &alerting{e: e, set: set}
}

// SetRules replaces the alert rules, all or none. A rule with the same group,
// name and by keeps its alerts; alerts of rules that are gone are resolved with
// the next entry. The error joins what is wrong with each rule.
func (e *Engine) SetRules(rules []alert.Rule) error {
	pipes, err := e.alerts.plan(rules)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	told, err := e.alerts.set.Replace(rules, e.tick)
	if err != nil {
		return err
	}
	e.alerts.pipes = pipes
	e.alerts.pending = append(e.alerts.pending, told...)
	return nil
}

// Rules returns the alert rules in force.
func (e *Engine) Rules() []alert.Rule { return e.alerts.set.Rules() }

// ActiveAlerts lists the alerts that are pending, firing or without data.
func (e *Engine) ActiveAlerts() []alert.Active { return e.alerts.set.Active() }

// AlertView is the alerts as they were at one entry; it is read beside Apply, and has to be released.
type AlertView struct {
	*alert.Capture
	held *heldState
}

// Alerts captures the alerts in little time, however many they are.
func (e *Engine) Alerts() *AlertView {
	e.mu.Lock()
	defer e.mu.Unlock()
	v := &AlertView{held: &heldState{lock: &e.mu}}
	v.Capture = e.alerts.set.Capture(&e.mu)
	v.held.give = append(v.held.give, v.Capture.Release)
	hold(e, v, v.held)
	return v
}

// Release ends the view.
func (v *AlertView) Release() {
	v.held.lock.Lock()
	defer v.held.lock.Unlock()
	v.held.release()
}

// AlertStats returns the counters of the rules since this engine was made or restored.
func (e *Engine) AlertStats() alert.Stats { return e.alerts.set.Stats() }

func (a *alerting) plan(rules []alert.Rule) ([]rulePipe, error) {
	var out []rulePipe
	var errs []error
	for _, r := range rules {
		p, err := a.planRule(r)
		if err != nil {
			errs = append(errs, fmt.Errorf("group %q, rule %q: %w", r.Group, r.Name, err))
		}
		out = append(out, p)
	}
	return out, errors.Join(errs...)
}

// unplaced is an error without its position, which is in a statement that the author of the rule never saw.
func unplaced(err error) error {
	if line, _ := plan.Position(err); line > 0 {
		if _, rest, ok := strings.Cut(err.Error(), ": "); ok {
			return errors.New(rest)
		}
	}
	return err
}

func (a *alerting) planRule(r alert.Rule) (rulePipe, error) {
	if err := r.Validate(); err != nil {
		return rulePipe{}, err
	}
	text := alert.SelectSQL(r)
	st, err := sql.ParseSelect(text)
	if err != nil {
		return rulePipe{}, unplaced(err)
	}
	q, err := plan.Analyze(st, continuous{a.e.cat}, plan.AnalyzeOptions{Streaming: true, Mode: plan.Append, Text: text})
	if err != nil {
		return rulePipe{}, unplaced(err)
	}
	if !q.Streaming {
		return rulePipe{}, fmt.Errorf("from %s reads no stream", r.From)
	}
	pipe, err := a.e.compile(&relation{name: "alert " + r.Group + "/" + r.Name, query: q})
	if err != nil {
		return rulePipe{}, err
	}
	if pipe.Stateful() {
		return rulePipe{}, fmt.Errorf("expr and from of a rule look at one row at a time; put aggregates, functions with state, joins of streams and DEDUP into a streaming table and watch that")
	}
	return rulePipe{query: q, pipe: pipe, names: pipe.Sources()}, nil
}

// rebind plans every rule again after the catalog changed.
func (a *alerting) rebind() error {
	pipes, err := a.plan(a.set.Rules())
	if err != nil {
		return fmt.Errorf("engine: an alert rule would not work any more: %w", err)
	}
	a.pipes = pipes
	return nil
}

func (a *alerting) markUsed(name string, used []bool) {
	for _, p := range a.pipes {
		markUsed(p.query.Root, name, used)
	}
}

// run evaluates the rules for the entry that was just applied: first the rows
// in order of arrival, then the clock.
func (a *alerting) run() error {
	e := a.e
	e.out.Alerts = append(e.out.Alerts, a.pending...)
	a.pending = nil
	for i := range a.pipes {
		for _, name := range a.pipes[i].names {
			if err := a.feed(i, name); err != nil {
				return err
			}
		}
		e.out.Alerts = append(e.out.Alerts, a.set.AdvanceRule(i, a.clock(&a.pipes[i]))...)
	}
	return nil
}

// feed runs a rule over what one relation brought.
func (a *alerting) feed(rule int, name string) error {
	e := a.e
	r := e.cat.find(name)
	if r == nil {
		return nil
	}
	history := len(e.batches) > 0
	for i := range e.batches {
		history = history && e.batches[i].replayed
		if e.batches[i].rel == r {
			if err := a.observe(rule, r, e.batches[i].b, e.batches[i].replayed); err != nil {
				return err
			}
		}
	}
	if r.kind != KindStreaming {
		return nil
	}
	for _, c := range e.out.Changes {
		if c.Table == r.name {
			b := stream.Batch{Rows: c.Rows, Sel: c.news(), IDs: c.IDs, Revisions: c.Revisions, Deleted: c.Deleted}
			if err := a.observe(rule, r, b, history); err != nil {
				return err
			}
		}
	}
	return nil
}

// news lists the rows that do not only repeat what was told; nil = all.
func (c *Changes) news() []int32 {
	if c.Same == nil {
		return nil
	}
	sel := []int32{}
	for i, same := range c.Same {
		if !same {
			sel = append(sel, int32(i))
		}
	}
	return sel
}

func (a *alerting) observe(rule int, r *relation, b stream.Batch, replayed bool) error {
	e, p := a.e, &a.pipes[rule]
	a.batch[0] = b
	a.source[0] = stream.Source{Name: r.name, Batches: a.batch[:]}
	a.entry = stream.Entry{Index: e.last, Time: e.tick, Sources: a.source[:]}
	res, err := p.pipe.Apply(&a.entry)
	if err != nil {
		return fmt.Errorf("engine: %s: %w", a.name(rule), err)
	}
	for i := range res.Failed {
		x := Refused{Stream: r.name, Query: a.name(rule), Reason: res.Failed[i].Reason, Detail: res.Failed[i].Detail, Time: res.Failed[i].Time,
			Origin: res.Failed[i].Origin, Ordinal: res.Failed[i].Ordinal, Row: rowJSON(res.Failed[i].Schema, res.Failed[i].Row)}
		e.reject(r, x)
	}
	rows := res.Rows
	if res.Deleted != nil {
		rows = withoutDeleted(res)
	}
	e.out.Alerts = append(e.out.Alerts, a.set.Observe(rule, rows, alert.Observation{Tick: e.tick, MaxAge: e.opt.MaxAlertAge, Replayed: replayed})...)
	return nil
}

func withoutDeleted(res *stream.Result) *column.Batch {
	out := column.NewBatch(res.Rows.Schema, res.Rows.Len)
	for i := range res.Rows.Len {
		if !res.Deleted[i] {
			out.AppendRow(res.Rows.Row(i)...)
		}
	}
	return out
}

func (a *alerting) name(rule int) string {
	r := a.set.Rules()[rule]
	return "alert " + r.Group + "/" + r.Name
}

// clock is how far event time has certainly come for a rule: what its source
// certified, and what is too old to change an alert anyway.
func (a *alerting) clock(p *rulePipe) int64 {
	c := int64(math.MinInt64)
	if a.e.tick > 0 {
		c = a.e.tick - a.e.opt.MaxAlertAge
	}
	for _, name := range p.names {
		switch r := a.e.cat.find(name); {
		case r == nil:
		case r.certified:
			c = max(c, r.low)
		case r.kind == KindStreaming:
			if w, ok := r.pipe.Watermark(); ok && w != math.MaxInt64 {
				c = max(c, w)
			}
		}
	}
	return c
}

// encodePending writes the transitions that the next entry will tell.
func (a *alerting) encodePending(s *stream.Encoder) {
	s.Uvarint(uint64(len(a.pending)))
	for _, t := range a.pending {
		for _, x := range []string{t.ID, t.Group, t.Rule, string(t.From), string(t.To), t.Value} {
			s.String(x)
		}
		s.Varint(t.Episode)
		s.Uvarint(t.Seq)
		s.Varint(t.At)
		s.Bool(t.Historical)
		for _, list := range [][]alert.Label{t.Labels, t.Annotations} {
			s.Uvarint(uint64(len(list)))
			for _, l := range list {
				s.String(l.Name)
				s.String(l.Value)
			}
		}
	}
}

func (a *alerting) decode(d *stream.Decoder) error {
	b := d.Bytes()
	if d.Err() != nil {
		return d.Err()
	}
	set, err := alert.DecodeSet(b, alert.Options{})
	if err != nil {
		return err
	}
	a.set = set
	for n := d.Uvarint(); n > 0 && d.Err() == nil; n-- {
		var t alert.Transition
		t.ID, t.Group, t.Rule, t.From, t.To, t.Value = d.String(), d.String(), d.String(), alert.State(d.String()), alert.State(d.String()), d.String()
		t.Episode, t.Seq, t.At, t.Historical = d.Varint(), d.Uvarint(), d.Varint(), d.Bool()
		for _, list := range []*[]alert.Label{&t.Labels, &t.Annotations} {
			for k := d.Uvarint(); k > 0 && d.Err() == nil; k-- {
				*list = append(*list, alert.Label{Name: d.String(), Value: d.String()})
			}
		}
		a.pending = append(a.pending, t)
	}
	if d.Err() != nil {
		return d.Err()
	}
	return a.rebind()
}
