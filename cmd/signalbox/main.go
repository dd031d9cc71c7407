// Command signalbox is the operator's program: demo, replay, check, explain,
// apply, query, status and schema.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

var version = "dev"

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := rootCommand()
	root.SetArgs(args)
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "signalbox:", err)
		return 1
	}
	return 0
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{Use: "signalbox", Short: "Telemetry from devices to answers and alerts", Version: version, SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(replayCommand(), queryCommand(), statusCommand(), applyCommand(), checkCommand(), explainCommand(), schemaCommand(), demoCommand(), coreCommand())
	return root
}
