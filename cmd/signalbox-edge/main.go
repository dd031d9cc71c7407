// Command signalbox-edge is the agent on a device or gateway.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"signalbox/cmd/config"
	"signalbox/cmd/datadir"
	"signalbox/edge"
)

var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "signalbox-edge:", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	var cfg edge.Config
	c := config.Command("signalbox-edge", "The agent on a device or gateway", "SIGNALBOX_EDGE_", &cfg, func(c *cobra.Command) error {
		log := slog.New(slog.NewTextHandler(c.ErrOrStderr(), nil))
		if err := cfg.Validate(); err != nil { // before anything is written
			return fmt.Errorf("configuration: %w", err)
		}
		release, err := datadir.Lock(cfg.DataDir, "edge agent") // it may be given another name
		if err != nil {
			return err
		}
		defer release()
		agent, err := edge.New(cfg, edge.Options{Logger: log, Version: version})
		if err != nil {
			return err
		}
		return agent.Run(c.Context())
	})
	c.Version = version
	return c
}
