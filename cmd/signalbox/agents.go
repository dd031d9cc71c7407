package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"signalbox/cmd/signalbox/client"
	"signalbox/core/api"
)

func agentsCommand() *cobra.Command {
	c := &cobra.Command{Use: "agents", Short: "The agents, up to when each has sent everything, and who is missing", Args: cobra.NoArgs}
	node := coreFlag(c)
	asJSON := c.Flags().Bool("json", false, "the answer as the node gives it")
	c.RunE = func(c *cobra.Command, _ []string) error {
		s, err := client.New(*node).Status(c.Context())
		if err != nil {
			return err
		}
		if *asJSON {
			return printIndented(c.OutOrStdout(), s.Agents)
		}
		return printAgents(c.OutOrStdout(), s)
	}
	c.AddCommand(retireCommand())
	return c
}

func printAgents(w io.Writer, s *api.Status) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "AGENT\tSTANDING\tEPOCH\tNEWEST READING\tEVERYTHING SENT UP TO\tLAG\tWAITING\tLAST SEEN")
	for _, a := range s.Agents {
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%s\t%d\t%s\n", a.ID, a.Standing, a.Epoch, a.Frontier, a.LowWater, a.Lag, a.Waiting, a.LastSeen)
	}
	for _, st := range s.Streams {
		fmt.Fprintf(t, "\nstream %s: %s", st.Stream, completeness(st))
	}
	fmt.Fprintln(t)
	return t.Flush()
}

// completeness says in words who stands behind the newest results of a stream.
func completeness(st api.StreamStatus) string {
	text := fmt.Sprintf("%d of %d agents certify up to %s", st.Complete, st.Expected, st.LowWater)
	if st.Missing != "" {
		text += "; missing: " + st.Missing
	}
	return text
}

func retireCommand() *cobra.Command {
	c := &cobra.Command{Use: "retire NAME …", Short: "Say that agents will not come back: nothing waits for them, until they speak again", Args: cobra.MinimumNArgs(1)}
	node := coreFlag(c)
	c.RunE = func(c *cobra.Command, names []string) error {
		core := client.New(*node)
		for _, name := range names {
			done, err := core.Retire(c.Context(), name)
			if err != nil {
				return err
			}
			text := fmt.Sprintf("%s: retired at log index %d", name, done.Index)
			if done.Note != "" {
				text += "; " + done.Note
			}
			fmt.Fprintln(c.OutOrStdout(), text)
		}
		return nil
	}
	return c
}
