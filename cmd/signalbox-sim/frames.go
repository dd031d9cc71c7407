package main

import (
	"github.com/spf13/cobra"

	"signalbox/simulator/load/frames"
)

func benchFramesCommand() *cobra.Command {
	return &cobra.Command{Use: "frames", Short: "Measure the columnar frames beside line protocol", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		rows, err := frames.Measure()
		if err != nil {
			return err
		}
		return frames.Print(c.OutOrStdout(), rows)
	}}
}
