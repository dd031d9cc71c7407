package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"signalbox/core"
	"signalbox/core/catalog"
	"signalbox/engine"
	"signalbox/engine/alert"
	"signalbox/engine/plan"
	"signalbox/engine/sql"
)

// checkCommand reports every error of every file at once, as a compiler does.
func checkCommand() *cobra.Command {
	var running []string
	cmd := &cobra.Command{
		Use:   "check FILE.sql RULES.yaml …",
		Short: "Report all errors of pipeline SQL and rule files, with position and hint",
		Long: "Report all errors of pipeline SQL and rule files, with position and hint.\nFiles are read in order: a later file sees what an earlier one declares.\n" +
			"With --running, what a change does to the state of each streaming table is shown too, as apply --dry-run shows it of a cluster.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			found := 0
			k := &checking{eng: engine.New(core.EngineOptions()), errors: c.ErrOrStderr()}
			for _, name := range args {
				n, err := k.file(name)
				if err != nil {
					return err
				}
				found += n
			}
			if found > 0 {
				return errors.New(count(found, "error"))
			}
			if err := printVerdicts(c.OutOrStdout(), running, args); err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "%s checked, no errors\n", count(len(args), "file"))
			return nil
		},
	}
	runningFlag(cmd, &running)
	return cmd
}

func runningFlag(cmd *cobra.Command, running *[]string) {
	cmd.Flags().StringArrayVar(running, "running", nil, "SQL file of the version that runs now; says which tables keep their state (may be repeated)")
}

// printVerdicts says what applying files over those of the running version does to the state of each table.
func printVerdicts(w io.Writer, running, files []string) error {
	if len(running) == 0 {
		return nil
	}
	eng := engine.New(core.EngineOptions())
	for _, name := range running {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if err := eng.Execute(string(text)); err != nil {
			return fmt.Errorf("%s (the running version): %w", name, err)
		}
	}
	for _, name := range files {
		if kind, err := catalog.KindOf(name); err == nil && kind == catalog.Rules {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		list, err := eng.Verdicts(string(text))
		if err != nil {
			return fmt.Errorf("%s over the running version: %w", name, err)
		}
		for _, v := range list {
			fmt.Fprintf(w, "%s: %s\n", v.Table, tableOutcome(catalog.TableOutcome{Table: v.Table, Verdict: string(v.Verdict), Reason: v.Reason}))
		}
		if err := eng.Execute(string(text)); err != nil {
			return fmt.Errorf("%s over the running version: %w", name, err)
		}
	}
	return nil
}

// checking reads files one after another.
type checking struct {
	eng     *engine.Engine
	checker plan.Checker
	errors  io.Writer
	broken  bool // an SQL file had errors
}

func (k *checking) file(name string) (int, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	kind, err := catalog.KindOf(name)
	if err != nil {
		return 0, err
	}
	if kind == catalog.Rules {
		if k.broken { // what its rules read may be what could not be declared
			fmt.Fprintf(k.errors, "%s: only its form is checked while the SQL has errors\n", name)
			return checkRules(k.errors, nil, name, text), nil
		}
		return checkRules(k.errors, k.eng, name, text), nil
	}
	errs := k.checker.Check(string(text), known(k.eng))
	if len(errs) == 0 && !k.broken {
		errs = declare(k.eng, string(text)) // what only the executor can refuse
	}
	k.broken = k.broken || len(errs) > 0
	for _, e := range errs {
		fmt.Fprint(k.errors, render(name, string(text), e))
	}
	return len(errs), nil
}

// declare runs the declarations of a script, so that later files and the executor see them.
func declare(eng *engine.Engine, text string) (errs []error) {
	statements, _ := sql.ParseScript(text) // checked before
	for _, s := range statements {
		if _, query := s.(*sql.SelectStatement); query {
			continue
		}
		if err := eng.Execute(s.SQL()); err != nil {
			errs = append(errs, fmt.Errorf("statement at line %d: %w", s.Position().Line, err))
		}
	}
	return errs
}

// checkRules checks the form of rules and, with an engine, the tables they read.
func checkRules(w io.Writer, eng *engine.Engine, name string, text []byte) int {
	rules, errs := alert.ParseRules(text, name)
	if len(errs) == 0 && eng != nil {
		for _, line := range strings.Split(errorText(eng.SetRules(rules)), "\n") {
			if line != "" {
				errs = append(errs, fmt.Errorf("%s: %s", name, line))
			}
		}
	}
	for _, e := range errs {
		fmt.Fprintln(w, e)
	}
	return len(errs)
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func render(name, text string, err error) string {
	var syntax *sql.Error
	line, col := plan.Position(err)
	if line > 0 && !errors.As(err, &syntax) {
		return sql.RenderAt(name, text, sql.Pos{Line: line, Col: col}, afterPosition(err), "")
	}
	return strings.TrimRight(sql.Render(name, text, err), "\n") + "\n"
}

// afterPosition is the message without the "line:col: " that RenderAt writes itself.
func afterPosition(err error) string {
	if _, rest, ok := strings.Cut(err.Error(), ": "); ok {
		return rest
	}
	return err.Error()
}

// known is what an engine has declared, as the analyser's catalog.
func known(eng *engine.Engine) plan.Catalog {
	c := relations{}
	for _, t := range eng.Tables() {
		c[strings.ToLower(t.Name)] = plan.Relation{Schema: t.Schema, Stream: t.Kind != engine.KindStatic, Told: t.Told}
	}
	return c
}

type relations map[string]plan.Relation

func (r relations) Relation(name string) (plan.Relation, bool) {
	x, ok := r[strings.ToLower(name)]
	return x, ok
}

func (r relations) Names() []string { return sortedKeys(r) }

func explainCommand() *cobra.Command {
	var running []string
	cmd := &cobra.Command{
		Use:   "explain FILE.sql …",
		Short: "Show plan, time column, watermark, state and every default of each query",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			eng := engine.New(core.EngineOptions())
			for _, name := range args {
				if kind, err := catalog.KindOf(name); err == nil && kind == catalog.Rules {
					return fmt.Errorf("%s: explain shows the queries of SQL files; rule files are checked with signalbox check", name)
				}
				text, err := os.ReadFile(name)
				if err != nil {
					return err
				}
				if err := explainScript(c.OutOrStdout(), eng, name, string(text)); err != nil {
					return err
				}
			}
			printLimits(c.OutOrStdout())
			return printVerdicts(c.OutOrStdout(), running, args)
		},
	}
	runningFlag(cmd, &running)
	return cmd
}

func explainScript(w io.Writer, eng *engine.Engine, name, text string) error {
	if errs := plan.Check(text, known(eng)); len(errs) > 0 {
		for i, e := range errs {
			errs[i] = errors.New(render(name, text, e))
		}
		return errors.Join(errs...)
	}
	statements, _ := sql.ParseScript(text) // checked before
	for _, s := range statements {
		if q, ok := s.(*sql.SelectStatement); ok {
			p, err := plan.Analyze(q.Query, known(eng), plan.AnalyzeOptions{Text: q.SQL()})
			if err != nil {
				return errors.New(render(name, text, err))
			}
			fmt.Fprintf(w, "%s:%d: SELECT\n%s\n", name, q.Line, plan.Explain(p, plan.Options{}))
			continue
		}
		if err := eng.Execute(s.SQL()); err != nil {
			return fmt.Errorf("%s:%d: %w", name, s.Position().Line, err)
		}
		if t, ok := s.(*sql.CreateStreamingTable); ok {
			explainTable(w, eng, t.Name)
		}
	}
	return nil
}

func explainTable(w io.Writer, eng *engine.Engine, name string) {
	for _, t := range eng.Tables() {
		if !strings.EqualFold(t.Name, name) {
			continue
		}
		q := &plan.Query{Root: t.Plan, Streaming: true, Mode: t.Mode, SQL: t.SQL}
		fmt.Fprintf(w, "STREAMING TABLE %s, version %d\n%s", t.Name, t.Version, plan.Explain(q, t.Options))
		none := "its origin: agent, epoch, sequence and ordinal"
		if t.Mode != plan.Append {
			none = "being the only one"
		}
		fmt.Fprintf(w, "a row is identified by  %s\n\n", orNone(t.Key, none))
	}
}

func orNone(names []string, none string) string {
	if len(names) == 0 {
		return none
	}
	return strings.Join(names, ", ")
}

// printLimits shows every bound of the engine with its default.
func printLimits(w io.Writer) {
	o := core.EngineOptions()
	fmt.Fprintf(w, `limits of every query (defaults)
  max_state_bytes   %-10d  beyond it rows with a new key go to $rejected{state_limit}
  max_keys          %-10d  likewise
  result_rows       %-10d  latest rows kept per streaming table for queries; the oldest leave, counted
  ring_rows         %-10d  rows kept in each $late and $rejected; the oldest leave, counted
  allowed_lateness  %-10s  of a table that says none, where the query allows one; 0 in replay
  max_closed_bytes  %-10d  closed windows kept for allowed_lateness; the oldest leave, counted
  future_limit      %-10s  a reading later than its receipt by more is rejected and moves no watermark
  max_alert_age     %-10s  an older reading never fires or resolves an alert now
  revise_every      %-10s  at most one revision per key and closed window in this time
`, o.MaxStateBytes, o.MaxKeys, o.ResultRows, o.RingRows, seconds(o.DefaultLateness), o.MaxClosedBytes, seconds(o.FutureLimit), seconds(o.MaxAlertAge), seconds(o.ReviseEvery))
}

// seconds writes microseconds.
func seconds(us int64) string { return fmt.Sprintf("%d s", us/1e6) }
