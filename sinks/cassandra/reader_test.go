package cassandra

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gocql/gocql"
	"gopkg.in/inf.v0"

	"signalbox/engine/column"
	"signalbox/sinks"
	"signalbox/sinks/row"
	"signalbox/sinks/sinktest"
)

// connectReader opens a session of its own, as another program would.
func connectReader(t testing.TB, host string) *gocql.Session {
	t.Helper()
	c := gocql.NewCluster(host)
	c.Consistency, c.Timeout, c.Logger, c.ProtoVersion = gocql.Quorum, 20*time.Second, silent{}, 4
	s, err := c.CreateSession()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// readRows reads a whole table back into what the contract compares.
func readRows(s *gocql.Session, keyspace string, t sinks.Table) (map[[16]byte]sinktest.Row, error) {
	l := layoutOf(&t)
	out := map[[16]byte]sinktest.Row{}
	iter := s.Query(fmt.Sprintf("SELECT * FROM %s.%s", quote(keyspace), quote(l.name))).Iter()
	for {
		m := map[string]any{}
		if !iter.MapScan(m) {
			break
		}
		r := sinktest.Row{Revision: uint32(m[row.Revision].(int64)), Complete: -1, Expected: -1, Values: map[string]string{}}
		present, err := nonNull(s, keyspace, l, m)
		if err != nil {
			return nil, err
		}
		if present[row.Complete] {
			r.Complete, r.Expected = int32(m[row.Complete].(int)), int32(m[row.Expected].(int))
		}
		altered := map[string]string{}
		if present[keysColumn] {
			if err := json.Unmarshal([]byte(m[keysColumn].(string)), &altered); err != nil {
				return nil, err
			}
		}
		for i, f := range t.Schema.Fields {
			name := l.names[i]
			switch {
			case altered[name] == "empty":
				r.Values[f.Name] = ""
			case altered[name] == "" && present[name]:
				r.Values[f.Name] = readValue(f.Type, m[name], m[microPrefix+name])
			}
		}
		out[[16]byte(m[row.ID].([]byte))] = r
	}
	return out, iter.Close()
}

// nonNull asks which columns of a row have a value: the driver's maps show NULL as zero.
func nonNull(s *gocql.Session, keyspace string, l *layout, m map[string]any) (map[string]bool, error) {
	out := map[string]bool{}
	var where []string
	var args []any
	for _, n := range append(slices.Clone(l.partition), l.clustering...) {
		where, args = append(where, quote(n)+" = ?"), append(args, m[n])
		out[n] = true
	}
	iter := s.Query(fmt.Sprintf("SELECT * FROM %s.%s WHERE %s", quote(keyspace), quote(l.name), strings.Join(where, " AND ")), args...).Iter()
	columns := iter.Columns()
	raw := make([]present, len(columns))
	into := make([]any, len(columns))
	for i := range raw {
		into[i] = &raw[i]
	}
	if !iter.Scan(into...) {
		return nil, fmt.Errorf("row not found again: %v", iter.Close())
	}
	for i, c := range columns {
		out[c.Name] = raw[i].there
	}
	return out, iter.Close()
}

type present struct{ there bool }

// UnmarshalCQL notes whether there is a value.
func (p *present) UnmarshalCQL(_ gocql.TypeInfo, data []byte) error {
	p.there = data != nil
	return nil
}

func readValue(t column.Type, v, micro any) string {
	d := column.Datum{}
	switch x := v.(type) {
	case bool:
		d = column.Bool(x)
	case int8:
		d.I = int64(x)
	case int16:
		d.I = int64(x)
	case int:
		d.I = int64(x)
	case int64:
		d.I = x
	case float32:
		d.F = float64(x)
	case float64:
		d.F = x
	case *inf.Dec:
		return x.String()
	case []byte:
		d.S = string(x)
	case time.Time:
		if t.Kind == column.Date {
			d.I = x.Unix() / 86400
			break
		}
		us, _ := micro.(int16)
		d.I = x.UnixMilli()*1000 + int64(us)
	case string:
		if t.Kind != column.String {
			return x
		}
		d.S = x
	}
	return row.Text(t, d)
}
