// Package catalog applies pipeline SQL, rule files and static tables to the
// cluster: it reads and checks them here, then proposes entries.
//
// It promises that what does not parse or plan is refused before it reaches the
// log, that a dry run changes nothing, and that a static table becomes visible
// at once or not at all. It refuses to know HTTP.
package catalog

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"signalbox/core/codec"
	"signalbox/core/fsm"
	"signalbox/engine"
	"signalbox/engine/column"
	"signalbox/engine/static"
)

// State is the replicated state, as far as the catalog needs it.
type State interface {
	Tables() []engine.TableInfo
	Documents() (scripts, rules []fsm.Document)
	Chain() (index, hash uint64) // of the last entry applied here
}

// Submitter proposes an item and waits until it is applied.
type Submitter interface {
	Submit(ctx context.Context, it fsm.Item) (fsm.Result, error)
}

// Catalog changes what the cluster runs.
type Catalog struct {
	State  State
	Submit Submitter
	Engine fsm.EngineFactory // for dry runs
}

// Kind of a document.
type Kind string

// The kinds.
const (
	SQL   Kind = "sql"
	Rules Kind = "rules"
)

// Document is a file to apply. An empty Text removes a rule file.
type Document struct {
	Name string `json:"name"`
	Kind Kind   `json:"kind"`
	Text string `json:"text"`
}

// KindOf guesses the kind from the file name.
func KindOf(name string) (Kind, error) {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".sql":
		return SQL, nil
	case ".yaml", ".yml":
		return Rules, nil
	}
	return "", fmt.Errorf("catalog: %s: cannot tell from the name whether it is SQL (.sql) or rules (.yaml)", name)
}

// Outcome of one document.
type Outcome struct {
	Name      string         `json:"name"`
	Index     uint64         `json:"index,omitempty"` // log index, 0 for a dry run
	Unchanged bool           `json:"unchanged,omitempty"`
	Tables    []TableOutcome `json:"tables,omitempty"` // what happens to the state of each streaming table of a script
}

// TableOutcome is what becomes of the state of one streaming table.
type TableOutcome struct {
	Table   string `json:"table"`
	Verdict string `json:"verdict"` // new, unchanged, keeps state, adds a column, starts anew
	Reason  string `json:"reason,omitempty"`
}

// ErrRefused is wrapped by errors that the author of the document has to mend.
var ErrRefused = errors.New("catalog: refused")

// Apply applies documents in order and stops at the first that is refused. All are checked together first.
func (c *Catalog) Apply(ctx context.Context, docs []Document, dryRun bool) ([]Outcome, error) {
	for i := range docs {
		if docs[i].Kind == "" {
			k, err := KindOf(docs[i].Name)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", ErrRefused, err)
			}
			docs[i].Kind = k
		}
	}
	tables, err := c.check(docs)
	if err != nil {
		return nil, err
	}
	var out []Outcome
	for i, d := range docs {
		o := Outcome{Name: d.Name, Unchanged: c.unchanged(d), Tables: tables[i]}
		if !dryRun && !o.Unchanged {
			it := fsm.ScriptItem(d.Name, d.Text)
			if d.Kind == Rules {
				it = fsm.RulesItem(d.Name, d.Text)
			}
			r, err := c.submit(ctx, it)
			if err != nil {
				return out, fmt.Errorf("%s: %w", d.Name, err)
			}
			o.Index = r.Index
		}
		out = append(out, o)
	}
	return out, nil
}

func (c *Catalog) unchanged(d Document) bool {
	scripts, rules := c.State.Documents()
	if d.Kind == Rules {
		scripts = rules
	}
	for _, s := range scripts {
		if s.Name == d.Name {
			return s.Text == d.Text
		}
	}
	return false
}

// verdicts asks what a script would do to the state of its tables; an engine of a test may not know.
func verdicts(e fsm.Engine, text string) ([]TableOutcome, error) {
	x, ok := e.(interface {
		Verdicts(script string) ([]engine.TableVerdict, error)
	})
	if !ok {
		return nil, nil
	}
	list, err := x.Verdicts(text)
	var out []TableOutcome
	for _, v := range list {
		out = append(out, TableOutcome{Table: v.Table, Verdict: string(v.Verdict), Reason: v.Reason})
	}
	return out, err
}

// check runs everything on a scratch engine: what is applied already, then the
// new documents. It returns the verdicts for each document's tables.
func (c *Catalog) check(docs []Document) ([][]TableOutcome, error) {
	scripts, rules := c.State.Documents()
	e := c.Engine.New(nil)
	for _, s := range scripts {
		if err := e.Execute(s.Text); err != nil {
			return nil, fmt.Errorf("catalog: script %s applied at entry %d no longer runs: %w", s.Name, s.Index, err)
		}
	}
	tables := make([][]TableOutcome, len(docs))
	for i, d := range docs {
		switch d.Kind {
		case SQL:
			list, unclear := verdicts(e, d.Text)
			err := e.Execute(d.Text) // names every error of the script
			if err == nil {
				err = unclear
			}
			tables[i] = list
			if err != nil {
				return nil, fmt.Errorf("%w: %s: %w", ErrRefused, d.Name, err)
			}
		case Rules:
			next := rules[:0:0]
			for _, r := range rules {
				if r.Name != d.Name {
					next = append(next, r)
				}
			}
			if d.Text != "" {
				next = append(next, fsm.Document{Name: d.Name, Text: d.Text})
			}
			if err := e.SetRules(next); err != nil {
				return nil, fmt.Errorf("%w: %s: %w", ErrRefused, d.Name, err)
			}
			rules = next
		default:
			return nil, fmt.Errorf("%w: %s: kind %q, want sql or rules", ErrRefused, d.Name, d.Kind)
		}
	}
	return tables, nil
}

// Retired is the answer to Retire.
type Retired struct {
	Agent string `json:"agent"`
	Index uint64 `json:"index"`
	Note  string `json:"note,omitempty"`
}

// Retire takes an agent that will not come back out of those that are expected.
func (c *Catalog) Retire(ctx context.Context, agent string) (Retired, error) {
	r, err := c.submit(ctx, fsm.RetireItem(agent))
	if err != nil {
		return Retired{}, fmt.Errorf("agent %s: %w", agent, err)
	}
	return Retired{Agent: agent, Index: r.Index, Note: r.Reason}, nil
}

func (c *Catalog) submit(ctx context.Context, it fsm.Item) (fsm.Result, error) {
	r, err := c.Submit.Submit(ctx, it)
	if err != nil {
		return r, err
	}
	if r.Verdict != fsm.Applied {
		return r, fmt.Errorf("%w: %s", ErrRefused, r.Reason)
	}
	return r, c.caughtUp(ctx, r.Index)
}

// lookAgain is how often a follower looks whether it has applied what the leader answered for.
const lookAgain = 2 * time.Millisecond

// caughtUp waits until this node has applied an entry: who applied a script here may use its tables here, also on a follower.
func (c *Catalog) caughtUp(ctx context.Context, index uint64) error {
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		if at, _ := c.State.Chain(); at >= index {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("catalog: done at entry %d, but this node is behind it: %w", index, ctx.Err())
		case <-tick.C:
		}
	}
}

// Loaded says what an upload did.
type Loaded struct {
	Table string `json:"table"`
	Rows  int    `json:"rows"`
	Index uint64 `json:"index"` // the version: results carry it
}

// Upload replaces a static table's rows: read and typed here, sent in chunks, activated by one entry.
func (c *Catalog) Upload(ctx context.Context, table string, format static.Format, in io.Reader) (Loaded, error) {
	var schema *column.Schema
	for _, t := range c.State.Tables() {
		if strings.EqualFold(t.Name, table) && t.Kind == engine.KindStatic {
			schema, table = t.Schema, t.Name
		}
	}
	if schema == nil {
		return Loaded{}, fmt.Errorf("%w: no static table %s: CREATE TABLE %s (…) first", ErrRefused, table, table)
	}
	rows, err := static.Read(in, format, schema)
	if err != nil {
		return Loaded{}, fmt.Errorf("%w: table %s: %w", ErrRefused, table, err)
	}
	u := fsm.Upload{Table: table}
	if _, err := rand.Read(u.ID[:]); err != nil {
		return Loaded{}, err
	}
	parts := Chunks(rows, fsm.MaxChunkBytes)
	u.Parts = len(parts)
	for i, p := range parts {
		if _, err := c.submit(ctx, fsm.ChunkItem(u, i, p)); err != nil {
			return Loaded{}, fmt.Errorf("table %s, part %d of %d: %w", table, i+1, len(parts), err)
		}
	}
	r, err := c.submit(ctx, fsm.ActivateItem(u))
	if err != nil {
		return Loaded{}, fmt.Errorf("table %s: %w", table, err)
	}
	return Loaded{Table: table, Rows: rows.Len, Index: r.Index}, nil
}

// Chunks encodes rows in pieces of at most limit bytes each, unless a single row is larger.
func Chunks(rows *column.Batch, limit int) [][]byte {
	var enc codec.RowEncoder
	var out [][]byte
	var split func(from, to int)
	split = func(from, to int) {
		b := enc.AppendRows(nil, part(rows, from, to))
		if len(b) > limit && to-from > 1 {
			pieces := len(b)/limit + 1
			size := max(1, (to-from)/pieces)
			for at := from; at < to; at += size {
				split(at, min(to, at+size))
			}
			return
		}
		out = append(out, b)
	}
	split(0, rows.Len)
	return out
}

func part(b *column.Batch, from, to int) *column.Batch {
	if from == 0 && to == b.Len {
		return b
	}
	list := make([]int32, 0, to-from)
	for i := from; i < to; i++ {
		list = append(list, int32(i))
	}
	out := &column.Batch{Schema: b.Schema, Cols: make([]*column.Column, len(b.Cols)), Len: to - from}
	for i, c := range b.Cols {
		out.Cols[i] = column.New(c.Type, len(list))
		out.Cols[i].Take(c, list)
	}
	return out
}
