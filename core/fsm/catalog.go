package fsm

import (
	"bytes"
	"fmt"
	"slices"

	"signalbox/core/codec"
	"signalbox/engine/column"
)

// upload is a static table on its way in.
type upload struct {
	Upload
	parts [][]byte
	bytes int
}

// catalog executes an item that changes pipelines, rules or static tables. It changes all or nothing.
func (m *Machine) catalog(it Item) Result {
	var err error
	switch it.Kind {
	case ItemScript:
		err = m.script(it.Data)
	case ItemRules:
		err = m.ruleFile(it.Data)
	case ItemChunk:
		err = m.chunk(it.Data)
	case ItemActivate:
		err = m.activate(it.Data)
	default:
		err = fmt.Errorf("item kind %d is not known to this program", it.Kind)
	}
	if err != nil {
		return Result{Verdict: Refused, Reason: err.Error()}
	}
	return Result{Verdict: Applied}
}

func (m *Machine) script(d []byte) error {
	name, text, err := decodeText(d)
	if err != nil {
		return err
	}
	if len(text) > MaxScriptBytes {
		return fmt.Errorf("script %s has %d bytes, at most %d are allowed", name, len(text), MaxScriptBytes)
	}
	if err := m.st.engine.Execute(text); err != nil {
		return err
	}
	m.st.scripts = slices.DeleteFunc(m.st.scripts, func(d Document) bool { return d.Name == name })
	m.st.scripts = append(m.st.scripts, Document{Name: name, Text: text, Index: m.st.index})
	m.st.outbox.Define(m.st.tables())
	return nil
}

func (m *Machine) ruleFile(d []byte) error {
	name, text, err := decodeText(d)
	if err != nil {
		return err
	}
	if len(text) > MaxScriptBytes {
		return fmt.Errorf("rule file %s has %d bytes, at most %d are allowed", name, len(text), MaxScriptBytes)
	}
	next := slices.DeleteFunc(slices.Clone(m.st.rules), func(f Document) bool { return f.Name == name })
	if text != "" {
		next = append(next, Document{Name: name, Text: text, Index: m.st.index})
	}
	if err := m.st.engine.SetRules(next); err != nil {
		return err
	}
	m.st.rules = next
	return nil
}

func (m *Machine) chunk(d []byte) error {
	r := codec.NewReader(d, "chunk")
	u := readUpload(r)
	part := int(min(r.Uvarint(), 1<<20))
	rows := r.Take(r.Left())
	if err := r.End(); err != nil {
		return err
	}
	if len(rows) > MaxChunkBytes+4096 || part >= u.Parts || u.Parts > MaxTableBytes/1024 {
		return fmt.Errorf("chunk %d of %d with %d bytes: out of bounds", part, u.Parts, len(rows))
	}
	s := m.st
	i := slices.IndexFunc(s.uploads, func(x upload) bool { return x.ID == u.ID && x.Table == u.Table && x.Parts == u.Parts })
	if i < 0 {
		if len(s.uploads) >= MaxUploads {
			s.uploads = slices.Delete(s.uploads, 0, 1)
		}
		s.uploads = append(s.uploads, upload{Upload: u, parts: make([][]byte, u.Parts)})
		i = len(s.uploads) - 1
	}
	up := &s.uploads[i]
	if up.bytes+len(rows)-len(up.parts[part]) > MaxTableBytes {
		return fmt.Errorf("static table %s is larger than %d bytes", u.Table, MaxTableBytes)
	}
	up.bytes += len(rows) - len(up.parts[part])
	up.parts[part] = bytes.Clone(rows)
	return nil
}

func (m *Machine) activate(d []byte) error {
	r := codec.NewReader(d, "activation")
	u := readUpload(r)
	if err := r.End(); err != nil {
		return err
	}
	s := m.st
	i := slices.IndexFunc(s.uploads, func(x upload) bool { return x.ID == u.ID && x.Table == u.Table && x.Parts == u.Parts })
	if i < 0 {
		return fmt.Errorf("static table %s: no such upload, start again", u.Table)
	}
	schema := m.staticSchema(u.Table)
	if schema == nil {
		return fmt.Errorf("static table %s is not declared: CREATE TABLE %s (...) first", u.Table, u.Table)
	}
	all := column.NewBatch(schema, 0)
	for p, part := range s.uploads[i].parts {
		if part == nil {
			return fmt.Errorf("static table %s: part %d of %d is missing", u.Table, p, u.Parts)
		}
		r := codec.NewReader(part, "chunk of "+u.Table)
		rows := r.Rows(schema)
		if err := r.End(); err != nil {
			return err
		}
		for j := range rows.Len {
			all.AppendRow(rows.Row(j)...)
		}
	}
	if err := s.engine.LoadTable(u.Table, s.index, all); err != nil {
		return err
	}
	s.uploads = slices.Delete(s.uploads, i, i+1)
	return nil
}

func (m *Machine) staticSchema(name string) *column.Schema {
	for _, t := range m.st.engine.Tables() {
		if t.Name == name && t.Kind == "static" {
			return t.Schema
		}
	}
	return nil
}
