package main

import (
	"time"

	"github.com/spf13/cobra"

	"signalbox/cmd/corecmd"
	"signalbox/cmd/signalbox/demo"
	"signalbox/core/catalog"
	"signalbox/deploy/bus"
)

func demoCommand() *cobra.Command {
	opt := demo.Options{
		Pipeline: []catalog.Document{{Name: "pipeline.sql", Kind: catalog.SQL, Text: bus.Pipeline}, {Name: "rules.yaml", Kind: catalog.Rules, Text: bus.Rules}},
		Vehicles: bus.VehicleTypes, Version: version,
	}
	c := &cobra.Command{
		Use:   "demo",
		Short: "Three core nodes, agents, buses and a live page, with nothing installed",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			opt.Out = c.OutOrStdout()
			return demo.Run(c.Context(), opt)
		},
	}
	f := c.Flags()
	f.DurationVar(&opt.Duration, "duration", 0, "stop after this time; 0 runs until ctrl-C")
	f.BoolVar(&opt.Headless, "headless", false, "for scripts: the last line is a summary, and the exit status is not 0 when reconciliation fails")
	f.StringVar(&opt.Listen, "listen", "127.0.0.1:0", "address of the live page; port 0 takes a free one")
	f.IntVar(&opt.Agents, "agents", 3, "edge agents")
	f.IntVar(&opt.Buses, "buses", 60, "buses")
	f.Uint64Var(&opt.Seed, "seed", uint64(time.Now().Unix()), "seed of the fleet")
	f.StringVar(&opt.Dir, "data", "", "folder for data and logs, kept afterwards; empty = a temporary one")
	f.BoolVar(&opt.Kill, "kill", false, "kill -9 the leading core node half-way (with --duration)")
	return c
}

// coreCommand runs a core node inside this program: the demo's child processes.
func coreCommand() *cobra.Command {
	c := corecmd.Command("core", version)
	c.Hidden = true
	return c
}
