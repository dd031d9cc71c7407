package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"signalbox/cmd/signalbox/replay"
	"signalbox/engine"
	"signalbox/engine/column"
	"signalbox/engine/lineproto"
	"signalbox/engine/sql"
	"signalbox/sinks"
	"signalbox/sinks/cassandra"
)

func schemaCommand() *cobra.Command {
	c := &cobra.Command{Use: "schema", Short: "Write declarations: of streams from a recording, of Cassandra tables from a pipeline", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return errors.New("schema of what? write schema infer FILE or schema cassandra PIPELINE.sql")
		}}
	c.AddCommand(inferCommand(), cassandraCommand())
	return c
}

func inferCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "infer FILE.lp",
		Short: "Write the CREATE STREAM statements that fit a line-protocol file, plain, gzip or zstd (- for standard input)",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			in, name := c.InOrStdin(), "stdin"
			if args[0] != "-" {
				name = args[0]
				f, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer f.Close()
				in = f
			}
			plain, err := replay.Decompress(in)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return infer(plain, name, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
}

// inferred is a stream and its columns in the order in which they were first seen.
type inferred struct {
	name   string
	fields []column.Field
}

// infer reads the whole input in pieces; a column that is an integer here and a float there is DOUBLE.
func infer(in io.Reader, name string, out, diagnostics io.Writer) error {
	text, err := io.ReadAll(io.LimitReader(in, maxInferBytes))
	if err != nil {
		return err
	}
	refused := 0
	d := lineproto.NewDecoder(lineproto.DecoderOptions{OnError: func(e *lineproto.LineError) {
		if refused++; refused <= 10 {
			fmt.Fprintf(diagnostics, "%s:%d: refused (%s): %s\n", name, e.Line, e.Reason, e.Detail)
		}
	}})
	d.Append(text, 0)
	streams := map[string]*inferred{}
	var order []*inferred
	for _, b := range d.Take() {
		s := streams[b.Schema.Name]
		if s == nil {
			s = &inferred{name: b.Schema.Name}
			streams[b.Schema.Name] = s
			order = append(order, s)
		}
		for _, f := range b.Schema.Fields {
			if err := s.add(f); err != nil {
				return err
			}
		}
	}
	if len(order) == 0 {
		return fmt.Errorf("%s: no line could be read: is it line protocol?", name)
	}
	for _, s := range order {
		s.print(out)
	}
	return nil
}

// maxInferBytes is how much of a file is looked at.
const maxInferBytes = 256 << 20

func (s *inferred) add(f column.Field) error {
	if f.Type.Kind == column.TimestampNS {
		f.Type = column.Of(column.Timestamp)
	}
	for i := range s.fields {
		have := &s.fields[i]
		if have.Name != f.Name {
			continue
		}
		a, b := have.Type.Kind, f.Type.Kind
		switch {
		case a == b, a == column.Double && b == column.BigInt:
		case a == column.BigInt && b == column.Double:
			have.Type = f.Type
		default:
			return fmt.Errorf("stream %s: column %s is %s in one reading and %s in another; readings that do not fit the declaration are rejected, so decide and declare it yourself", s.name, f.Name, have.Type, f.Type)
		}
		return nil
	}
	s.fields = append(s.fields, f)
	return nil
}

func (s *inferred) print(w io.Writer) {
	fmt.Fprintf(w, "CREATE STREAM %s (\n", sql.QuoteName(s.name))
	for i, f := range s.fields {
		comma := ","
		if i == len(s.fields)-1 {
			comma = ""
		}
		fmt.Fprintf(w, "  %s %s%s\n", sql.QuoteName(f.Name), strings.ToUpper(f.Type.String()), comma)
	}
	fmt.Fprintln(w, ");")
}

func cassandraCommand() *cobra.Command {
	var o cassandra.SchemaOptions
	c := &cobra.Command{
		Use:   "cassandra PIPELINE.sql …",
		Short: "Write the CQL that creates keyspace and tables for a pipeline's results",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			tables, err := resultTables(args)
			if err != nil {
				return err
			}
			for _, statement := range cassandra.Schema(tables, o) {
				fmt.Fprintln(c.OutOrStdout(), statement+";")
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&o.Keyspace, "keyspace", "signalbox", "one for all result tables")
	f.StringVar(&o.Replication, "replication", "{'class': 'NetworkTopologyStrategy', 'replication_factor': 3}", "CQL map")
	f.DurationVar(&o.Bucket, "bucket", 24*time.Hour, "time that one partition of an entity holds")
	f.DurationVar(&o.TTL, "ttl", 90*24*time.Hour, "how long rows live; negative for ever")
	return c
}

// resultTables declares a pipeline in an engine and returns its streaming tables as sinks see them.
func resultTables(files []string) ([]sinks.Table, error) {
	eng := engine.New(engine.DefaultOptions())
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		if err := eng.Execute(string(text)); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	var out []sinks.Table
	for _, t := range eng.Tables() {
		if t.Kind == engine.KindStreaming {
			out = append(out, sinks.Table{Name: t.Name, Schema: t.Schema, Key: t.Key, Entity: t.Entity, Time: t.Time})
		}
	}
	return out, nil
}
