package e2e

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gocql/gocql"
	_ "modernc.org/sqlite" // the driver

	"signalbox/cmd/signalbox/client"
)

// resultTable is a result table as the comparison sees it: a name and its columns with a type letter each
// (i integer, f double, t time, s string).
type resultTable struct {
	name    string
	columns []string
	types   string
}

func (r resultTable) list(quote string) string {
	q := make([]string, len(r.columns))
	for i, c := range r.columns {
		q[i] = quote + c + quote
	}
	return strings.Join(q, ", ")
}

const stamp = "2006-01-02T15:04:05.000000Z"

func micros(us int64) string { return time.UnixMicro(us).UTC().Format(stamp) }

func double(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

// line joins cells to the text that is compared.
func line(cells ...any) string {
	out := make([]string, len(cells))
	for i, c := range cells {
		switch v := c.(type) {
		case nil:
			out[i] = "NULL"
		case float64:
			out[i] = double(v)
		default:
			out[i] = fmt.Sprint(v)
		}
	}
	return strings.Join(out, "|")
}

// fromAPI reads a table through /v1/query of one node.
func fromAPI(ctx context.Context, c *client.Client, r resultTable) ([]string, error) {
	rows, err := c.Query(ctx, "SELECT "+r.list("`")+" FROM "+r.name)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, row := range rows.Rows {
		cells := make([]any, len(row))
		for i, v := range row {
			if cells[i], err = jsonCell(v, r.types[i]); err != nil {
				return nil, fmt.Errorf("%s.%s: %w", r.name, r.columns[i], err)
			}
		}
		out = append(out, line(cells...))
	}
	slices.Sort(out)
	return out, nil
}

func jsonCell(v json.RawMessage, kind byte) (any, error) {
	if string(v) == "null" {
		return nil, nil
	}
	switch kind {
	case 'f':
		f, err := strconv.ParseFloat(string(v), 64)
		return f, err
	case 'i':
		n, ok := new(big.Int).SetString(string(v), 10)
		if !ok {
			return nil, fmt.Errorf("%s is not an integer", v)
		}
		return n, nil
	}
	var s string
	err := json.Unmarshal(v, &s)
	return s, err
}

// fromSQLite reads a table of a node's database while the node runs.
func fromSQLite(ctx context.Context, path string, r resultTable) ([]string, error) {
	db, err := sql.Open("sqlite", "file:"+path+"?mode=ro&_pragma=busy_timeout(5000)")
	if err != nil {
		return nil, err
	}
	defer db.Close()
	rows, err := db.QueryContext(ctx, "SELECT "+r.list(`"`)+` FROM "`+r.name+`"`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		cells, into := make([]any, len(r.columns)), make([]any, len(r.columns))
		for i := range cells {
			into[i] = &cells[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		for i, v := range cells {
			if b, ok := v.([]byte); ok {
				cells[i] = string(b)
			}
		}
		out = append(out, line(cells...))
	}
	slices.Sort(out)
	return out, rows.Err()
}

// fromCassandra reads a table with a session of its own, as another program would.
func fromCassandra(ctx context.Context, s *gocql.Session, keyspace string, r resultTable) ([]string, error) {
	columns := r.list(`"`)
	for i, c := range r.columns {
		if r.types[i] == 't' {
			columns += `, "_us_` + c + `"` // what a timestamp there cannot hold
		}
	}
	iter := s.Query(fmt.Sprintf(`SELECT %s FROM "%s"."%s"`, columns, keyspace, r.name)).WithContext(ctx).Iter()
	var out []string
	for {
		cells, into := cqlRow(r)
		if !iter.Scan(into...) {
			break
		}
		out = append(out, line(cells()...))
	}
	slices.Sort(out)
	return out, iter.Close()
}

// cqlRow returns where to scan a row, and how to read it afterwards.
func cqlRow(r resultTable) (cells func() []any, into []any) {
	var beyond []any
	var read []func() any
	for _, kind := range r.types {
		switch kind {
		case 'i':
			v := new(*int64)
			into, read = append(into, v), append(read, func() any { return orNil(*v) })
		case 'f':
			v := new(*float64)
			into, read = append(into, v), append(read, func() any { return orNil(*v) })
		case 's':
			v := new(*string)
			into, read = append(into, v), append(read, func() any { return orNil(*v) })
		case 't':
			v, us := new(*time.Time), new(*int16)
			into, beyond = append(into, v), append(beyond, us)
			read = append(read, func() any {
				if *v == nil {
					return nil
				}
				at := (*v).UnixMicro()
				if *us != nil {
					at += int64(**us)
				}
				return micros(at)
			})
		}
	}
	return func() []any {
		out := make([]any, len(read))
		for i, f := range read {
			out[i] = f()
		}
		return out
	}, append(into, beyond...)
}

func orNil[T any](p *T) any {
	if p == nil {
		return nil
	}
	return *p
}

// difference describes the first difference of two sorted lists, "" when they are equal.
func difference(got, want []string) string {
	if slices.Equal(got, want) {
		return ""
	}
	var extra, missing []string
	for i, j := 0, 0; i < len(got) || j < len(want); {
		switch {
		case j == len(want) || i < len(got) && got[i] < want[j]:
			extra = append(extra, got[i])
			i++
		case i == len(got) || got[i] > want[j]:
			missing = append(missing, want[j])
			j++
		default:
			i, j = i+1, j+1
		}
	}
	return fmt.Sprintf("%d rows, want %d; %d too many (%s); %d missing (%s)", len(got), len(want),
		len(extra), strings.Join(extra[:min(3, len(extra))], "; "), len(missing), strings.Join(missing[:min(3, len(missing))], "; "))
}

// cassandraSession opens a session that waits for a quorum.
func cassandraSession(t testing.TB, host string) *gocql.Session {
	t.Helper()
	cfg := gocql.NewCluster(host)
	cfg.Consistency, cfg.Timeout, cfg.ProtoVersion, cfg.PageSize = gocql.Quorum, 20*time.Second, 4, 1000
	var s *gocql.Session
	eventually(t, time.Minute, "a session with Cassandra", func(context.Context) (err error) {
		s, err = cfg.CreateSession()
		return err
	})
	t.Cleanup(s.Close)
	return s
}
