package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"signalbox/cmd/signalbox/output"
	"signalbox/cmd/signalbox/replay"
	"signalbox/engine/lineproto"
)

func replayCommand() *cobra.Command {
	var opt replay.Options
	var schemas, tables []string
	var query string
	var progress bool
	c := &cobra.Command{
		Use:   "replay --schema S.sql --query Q.sql --input F.lp",
		Short: "Run a pipeline over recorded readings, without a cluster",
		Long: `Run a pipeline over recorded readings, without a cluster.

A SELECT that reads FROM STREAM runs continuously, entry by entry, with Spark's
watermark; one that reads no stream continuously is answered over the whole
input at once, as Spark's batch mode does. Rows go to standard output,
diagnostics to standard error; any error gives a non-zero exit status.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := readTexts(&opt, schemas, query); err != nil {
				return err
			}
			var err error
			if opt.Tables, err = tableFiles(tables); err != nil {
				return err
			}
			opt.Stdin = c.InOrStdin()
			if progress || term.IsTerminal(int(os.Stderr.Fd())) {
				opt.Progress = progressBar(opt.Inputs)
			}
			return replay.Run(c.Context(), opt, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	f := c.Flags()
	f.StringArrayVar(&schemas, "schema", nil, "file with CREATE STREAM, CREATE TABLE and streaming tables (repeatable)")
	f.StringVar(&query, "query", "", "file with the SELECT or CREATE STREAMING TABLE to show, - for standard input")
	f.StringArrayVar(&opt.Inputs, "input", nil, "line protocol or a recording, plain, gzip or zstd, - for standard input (repeatable)")
	f.StringArrayVar(&tables, "table", nil, "NAME=FILE.csv or NAME=FILE.jsonl, the rows of a static table (repeatable)")
	f.StringVar(&opt.Format, "format", "table", "one of "+output.Formats)
	f.BoolVar(&opt.Strict, "strict", false, "end at the first row on which an expression fails, as Spark does; default: reject that row and go on")
	f.IntVar(&opt.BatchRows, "batch-rows", lineproto.DefaultRows, "readings per entry; a row is late against the watermark of earlier entries")
	f.BoolVar(&opt.Changes, "changes", false, "print every revision of an update-mode table, not only the last")
	f.BoolVar(&progress, "progress", false, "show progress on standard error even when it is no terminal")
	for _, name := range []string{"schema", "query", "input"} {
		if err := c.MarkFlagRequired(name); err != nil {
			panic(err) // a flag declared above
		}
	}
	return c
}

func readTexts(opt *replay.Options, schemas []string, query string) error {
	for _, name := range schemas {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		opt.Schema = append(opt.Schema, replay.File{Name: name, Text: string(text)})
	}
	if query == "-" {
		for _, in := range opt.Inputs {
			if in == "-" {
				return fmt.Errorf("--query - and --input - cannot both read standard input")
			}
		}
		text, err := io.ReadAll(os.Stdin)
		opt.Query = replay.File{Name: "stdin", Text: string(text)}
		return err
	}
	text, err := os.ReadFile(query)
	opt.Query = replay.File{Name: query, Text: string(text)}
	return err
}

func tableFiles(args []string) (map[string]string, error) {
	out := map[string]string{}
	for _, a := range args {
		name, file, ok := strings.Cut(a, "=")
		if !ok || name == "" || file == "" {
			return nil, fmt.Errorf("--table %s: write NAME=FILE.csv or NAME=FILE.jsonl", a)
		}
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("--table %s: %s is given twice", a, name)
		}
		out[name] = file
	}
	return out, nil
}

func progressBar(inputs []string) func(bytes, lines int64) {
	total := int64(0)
	for _, in := range inputs {
		info, err := os.Stat(in)
		if err != nil || strings.HasSuffix(in, ".gz") || strings.HasSuffix(in, ".zst") {
			total = -1
			break
		}
		total += info.Size()
	}
	bar := progressbar.NewOptions64(total, progressbar.OptionSetDescription("replaying"), progressbar.OptionSetWriter(os.Stderr),
		progressbar.OptionShowBytes(true), progressbar.OptionThrottle(200*time.Millisecond), progressbar.OptionClearOnFinish())
	return func(bytes, _ int64) { _ = bar.Set64(bytes) } // a bar that cannot draw is no reason to stop
}
