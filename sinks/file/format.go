package file

import (
	"fmt"
	"hash/fnv"
	"net/url"
	"strconv"
	"strings"

	"signalbox/engine/alert"
	"signalbox/engine/column"
	"signalbox/sinks"
	"signalbox/sinks/row"
)

// maxFolder bounds the name of a table's folder in bytes; file systems allow 255.
const maxFolder = 200

// folder is the name of a table's folder. Names that differ stay different,
// also on file systems that ignore letter case as far as SQL does.
func folder(table string) string {
	name := url.PathEscape(row.Escape(table))
	name = strings.ReplaceAll(name, ".", "%2E")
	if table == "alerts" {
		return "_" + name
	}
	if len(name) > maxFolder {
		name = name[:maxFolder] + "-" + hash([]byte(table))
	}
	return name
}

func hash(b []byte) string {
	h := fnv.New32a()
	h.Write(b)
	return fmt.Sprintf("%08x", h.Sum32())
}

func appendJSONL(dst []byte, b *sinks.Batch) []byte {
	names := row.Names(b.Rows.Schema)
	for i := range b.Rows.Len {
		dst = fmt.Appendf(dst, `{"_id":"%x","_revision":%d,"_index":%d`, b.IDs[i], b.Revisions[i], b.Index)
		if b.Complete != nil {
			dst = fmt.Appendf(dst, `,"_complete":%d`, b.Complete[i])
		}
		if b.Expected != nil {
			dst = fmt.Appendf(dst, `,"_expected":%d`, b.Expected[i])
		}
		dst = fmt.Appendf(dst, `,"_deleted":%t`, row.Deleted(b, i))
		for c, f := range b.Rows.Schema.Fields {
			dst = append(row.AppendString(append(dst, ','), names[c]), ':')
			dst = row.AppendJSON(dst, f.Type, row.Cell(b.Rows, c, i))
		}
		dst = append(dst, '}', '\n')
	}
	return dst
}

func csvHeader(s *column.Schema) []byte {
	var dst []byte
	for i, n := range append([]string{row.ID, row.Revision, row.Index, row.Complete, row.Expected, "_deleted"}, row.Names(s)...) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendField(dst, n)
	}
	return append(dst, '\n')
}

func appendCSV(dst []byte, b *sinks.Batch) []byte {
	number := func(values []int32, i int) {
		dst = append(dst, ',')
		if values != nil {
			dst = strconv.AppendInt(dst, int64(values[i]), 10)
		}
	}
	for i := range b.Rows.Len {
		dst = fmt.Appendf(dst, "%x,%d,%d", b.IDs[i], b.Revisions[i], b.Index)
		number(b.Complete, i)
		number(b.Expected, i)
		dst = strconv.AppendBool(append(dst, ','), row.Deleted(b, i))
		for c, f := range b.Rows.Schema.Fields {
			dst = append(dst, ',')
			if d := row.Cell(b.Rows, c, i); !d.Null {
				dst = appendField(dst, row.Text(f.Type, d))
			}
		}
		dst = append(dst, '\n')
	}
	return dst
}

// appendField quotes where it must, and the empty string, which differs from NULL.
func appendField(dst []byte, s string) []byte {
	if s != "" && !strings.ContainsAny(s, "\",\r\n") && s[0] != ' ' && s[len(s)-1] != ' ' {
		return append(dst, s...)
	}
	dst = append(dst, '"')
	dst = append(dst, strings.ReplaceAll(s, `"`, `""`)...)
	return append(dst, '"')
}

func appendAlerts(dst []byte, b *sinks.Batch) []byte {
	for i := range b.Alerts {
		dst = appendAlert(dst, b.Index, &b.Alerts[i])
	}
	return dst
}

func appendAlert(dst []byte, index uint64, a *alert.Transition) []byte {
	pair := func(name, value string) {
		dst = append(row.AppendString(append(dst, ','), name), ':')
		dst = row.AppendString(dst, value)
	}
	dst = row.AppendString(append(dst, `{"id":`...), a.ID)
	dst = fmt.Appendf(dst, `,"seq":%d,"_index":%d,"historical":%t`, a.Seq, index, a.Historical)
	pair("at", row.Timestamp(a.At))
	pair("episode", row.Timestamp(a.Episode))
	pair("group", a.Group)
	pair("rule", a.Rule)
	pair("from", string(a.From))
	pair("state", string(a.To))
	pair("value", a.Value)
	dst = append(dst, `,"labels":`...)
	dst = append(dst, row.Labels(a.Labels)...)
	dst = append(dst, `,"annotations":`...)
	dst = append(dst, row.Labels(a.Annotations)...)
	return append(dst, '}', '\n')
}
