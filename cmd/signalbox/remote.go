package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"signalbox/cmd/signalbox/client"
	"signalbox/cmd/signalbox/output"
	"signalbox/core/api"
	"signalbox/core/catalog"
	"signalbox/engine/column"
	"signalbox/sinks/row"
)

// defaultCore is where a node listens unless told otherwise.
const defaultCore = "http://127.0.0.1:7400"

func coreFlag(c *cobra.Command) *string {
	d := defaultCore
	if env := os.Getenv("SIGNALBOX_CORE"); env != "" {
		d = env
	}
	return c.Flags().String("core", d, "address of a core node, or several with commas (or SIGNALBOX_CORE)")
}

func queryCommand() *cobra.Command {
	c := &cobra.Command{Use: "query SQL", Short: "Ask the running cluster: streaming tables, $late, $rejected and live state", Args: cobra.ExactArgs(1)}
	node := coreFlag(c)
	format := c.Flags().String("format", "table", "one of "+output.Formats)
	c.RunE = func(c *cobra.Command, args []string) error {
		if !slices.Contains(strings.Split(output.Formats, ", "), *format) {
			return fmt.Errorf("unknown format %q: write one of %s", *format, output.Formats)
		}
		rows, err := client.New(*node).Query(c.Context(), args[0])
		if err != nil {
			return err
		}
		if err := printRows(c.OutOrStdout(), *format, rows); err != nil {
			return err
		}
		_, err = fmt.Fprintf(c.ErrOrStderr(), "%s as of log index %d\n", count(len(rows.Rows), "row"), rows.Index)
		return err
	}
	return c
}

// printRows prints an answer in one of output.Formats, as replay prints its rows.
func printRows(w io.Writer, format string, rows *client.Rows) error {
	out := bufio.NewWriterSize(w, 64<<10)
	var err error
	switch format {
	case "jsonl":
		err = printJSON(out, rows)
	case "csv":
		err = printCSV(out, rows)
	default:
		err = printTable(out, rows)
	}
	return errors.Join(err, out.Flush())
}

func printJSON(w *bufio.Writer, rows *client.Rows) error {
	names := make([][]byte, len(rows.Columns))
	for i, c := range rows.Columns {
		names[i] = append(row.AppendString(nil, c.Name), ':')
	}
	var line []byte
	for _, r := range rows.Rows {
		line = append(line[:0], '{')
		for i, v := range r {
			if i > 0 {
				line = append(line, ',')
			}
			line = append(append(line, names[i]...), number(rows.Columns[i].Type, v)...)
		}
		if _, err := w.Write(append(line, "}\n"...)); err != nil {
			return err
		}
	}
	return nil
}

// printCSV writes NULL as nothing and the empty string as "".
func printCSV(w *bufio.Writer, rows *client.Rows) error {
	var line []byte
	for i, c := range rows.Columns {
		if i > 0 {
			line = append(line, ',')
		}
		line = output.AppendCSV(line, c.Name)
	}
	for _, r := range rows.Rows {
		if _, err := w.Write(append(line, '\n')); err != nil {
			return err
		}
		line = line[:0]
		for i, v := range r {
			if i > 0 {
				line = append(line, ',')
			}
			if string(v) != "null" {
				line = output.AppendCSV(line, plain(number(rows.Columns[i].Type, v)))
			}
		}
	}
	_, err := w.Write(append(line, '\n'))
	return err
}

// number writes a floating number so that it never looks like a whole one; other values stay as they are.
func number(typeName string, v json.RawMessage) json.RawMessage {
	kind, bits := column.Double, 64
	switch strings.ToLower(typeName) {
	case "double":
	case "float":
		kind, bits = column.Float, 32
	default:
		return v
	}
	f, err := strconv.ParseFloat(string(v), bits)
	if err != nil { // NULL, and what is written in words
		return v
	}
	return output.AppendFloat(nil, f, kind)
}

// plain is a JSON value as people write it: strings without quotes, null as NULL.
func plain(v json.RawMessage) string {
	var s string
	switch {
	case string(v) == "null":
		return "NULL"
	case len(v) > 0 && v[0] == '"' && json.Unmarshal(v, &s) == nil:
		return s
	}
	return string(v)
}

func printTable(w io.Writer, rows *client.Rows) error {
	names, numbers := make([]string, len(rows.Columns)), make([]bool, len(rows.Columns))
	for i, c := range rows.Columns {
		names[i], numbers[i] = c.Name, isNumber(c.Type)
	}
	t := output.NewTable(w, names, numbers)
	for _, r := range rows.Rows {
		cells := make([]string, len(r))
		for i, v := range r {
			cells[i] = plain(number(rows.Columns[i].Type, v))
		}
		if err := t.Row(cells); err != nil {
			return err
		}
	}
	return t.Close()
}

func isNumber(typeName string) bool {
	name, _, _ := strings.Cut(strings.ToLower(typeName), "(")
	return slices.Contains([]string{"tinyint", "smallint", "int", "bigint", "float", "double", "decimal"}, name)
}

// count writes "1 row", "2 rows".
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// printIndented writes what a node said for programs to read.
func printIndented(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func statusCommand() *cobra.Command {
	c := &cobra.Command{Use: "status", Short: "Nodes, leader, agents, lag, sinks and refused readings", Args: cobra.NoArgs}
	node := coreFlag(c)
	asJSON := c.Flags().Bool("json", false, "the answer as the node gives it")
	c.RunE = func(c *cobra.Command, _ []string) error {
		s, err := client.New(*node).Status(c.Context())
		if err != nil {
			return err
		}
		if *asJSON {
			return printIndented(c.OutOrStdout(), s)
		}
		return printStatus(c.OutOrStdout(), s)
	}
	return c
}

func printStatus(w io.Writer, s *api.Status) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "node %s (%s), term %d, log entries applied %d of %d\n", s.Node, strings.ToLower(s.Role), s.Term, s.Index, s.Commit)
	if s.Fault != "" {
		fmt.Fprintf(t, "FAULT: %s\n", s.Fault)
	}
	r := s.Readings
	fmt.Fprintf(t, "readings: received %d = applied %d + duplicate %d + rejected %d; late rows %d\n", r.Received, r.Applied, r.Duplicate, r.Rejected, r.Late)
	for _, reason := range sortedKeys(s.Rejected) {
		fmt.Fprintf(t, "  rejected %s: %d\n", reason, s.Rejected[reason])
	}
	fmt.Fprintln(t, "\nNODE\tADDRESS\tROLE")
	for _, n := range s.Nodes {
		role := "follower"
		switch {
		case n.Leader:
			role = "leader"
		case n.Reachable != nil && !*n.Reachable:
			role = "not reachable from " + s.Node
		}
		if n.Clock != "" {
			role = strings.TrimPrefix(role+", ", ", ") + "its clock is " + n.Clock + " of the others': set it right (NTP)"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", n.ID, n.Address, role)
	}
	fmt.Fprintln(t, "\nAGENT\tSTANDING\tBATCHES\tLAG\tWAITING\tREADINGS\tDUPLICATE\tREJECTED\tLAST SEEN")
	for _, a := range s.Agents {
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%d\t%d\t%d\t%d\t%s\n", a.ID, a.Standing, a.AppliedSeq, a.Lag, a.Waiting, a.Applied, a.Duplicate, a.Rejected, a.LastSeen)
	}
	fmt.Fprintln(t, "\nSINK\tSCOPE\tENTRIES BEHIND\tROWS WRITTEN HERE\tREFUSED\tRETRIES\tERROR")
	for _, k := range s.Sinks {
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%d\t%s\n", k.Name, k.Scope, k.Lag, k.Rows, k.Refused, k.Retries, k.Error)
	}
	fmt.Fprintln(t, "\nTABLE\tKIND\tROWS\tWATERMARK")
	for _, x := range s.Tables {
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\n", x.Name, x.Kind, x.Rows, x.Watermark)
	}
	return t.Flush()
}

func applyCommand() *cobra.Command {
	c := &cobra.Command{Use: "apply FILE.sql RULES.yaml TABLE=FILE.csv …", Short: "Load pipeline SQL, rule files and static tables into the running cluster", Args: cobra.MinimumNArgs(1)}
	node := coreFlag(c)
	dry := c.Flags().Bool("dry-run", false, "check everything and change nothing")
	c.RunE = func(c *cobra.Command, args []string) error {
		files, tables, err := applyArgs(args)
		if err != nil {
			return err
		}
		return apply(c, client.New(*node), files, tables, *dry)
	}
	return c
}

// upload is a static table and the file of its rows.
type upload struct{ table, file string }

func applyArgs(args []string) (files []catalog.Document, tables []upload, err error) {
	for _, a := range args {
		if table, file, ok := strings.Cut(a, "="); ok {
			tables = append(tables, upload{table, file})
			continue
		}
		text, err := os.ReadFile(a)
		if err != nil {
			return nil, nil, err
		}
		kind, err := catalog.KindOf(a)
		if err != nil {
			return nil, nil, err
		}
		files = append(files, catalog.Document{Name: a, Kind: kind, Text: string(text)})
	}
	return files, tables, nil
}

func apply(c *cobra.Command, core *client.Client, files []catalog.Document, tables []upload, dry bool) error {
	out := c.OutOrStdout()
	if len(files) > 0 {
		res, err := core.Apply(c.Context(), files, dry)
		if err != nil {
			return err
		}
		for _, o := range res.Applied {
			fmt.Fprintln(out, o.Name+": "+outcome(o, dry))
			for _, t := range o.Tables {
				fmt.Fprintln(out, "  "+t.Table+": "+tableOutcome(t))
			}
		}
		if res.Error != "" {
			return fmt.Errorf("%s", res.Error)
		}
	}
	for _, t := range tables {
		if dry {
			fmt.Fprintf(out, "%s: not uploaded (dry run)\n", t.table)
			continue
		}
		if err := core.Upload(c.Context(), t.table, t.file); err != nil {
			return fmt.Errorf("%s=%s: %w", t.table, t.file, err)
		}
		fmt.Fprintf(out, "%s: rows of %s are active\n", t.table, t.file)
	}
	return nil
}

func outcome(o catalog.Outcome, dry bool) string {
	switch {
	case o.Unchanged:
		return "unchanged"
	case dry:
		return "would be applied"
	}
	return fmt.Sprintf("applied at log index %d", o.Index)
}

// tableOutcome says what happens to the state of a streaming table.
func tableOutcome(t catalog.TableOutcome) string {
	if t.Reason == "" {
		return t.Verdict
	}
	return t.Verdict + ": " + t.Reason
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
