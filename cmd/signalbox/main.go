// Command signalbox is the operator's program: demo, replay, check, explain,
// apply, query, status, agents and schema.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
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
	if c, err := root.ExecuteContextC(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "signalbox:", explained(c, err))
		return 1
	}
	return 0
}

// explained adds how a command is written to an error that cobra found in its arguments.
func explained(c *cobra.Command, err error) string {
	text := strings.TrimSpace(err.Error())
	for _, start := range []string{"accepts ", "requires at least ", "required flag", "unknown flag", "unknown shorthand", "unknown command", "flag needs an argument", "invalid argument"} {
		if strings.HasPrefix(text, start) {
			if c.Runnable() {
				text += "\nUsage: " + c.UseLine()
			}
			return text + "\nTry: " + c.CommandPath() + " --help"
		}
	}
	return text
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{Use: "signalbox", Short: "Telemetry from devices to answers and alerts", Version: version, SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(replayCommand(), queryCommand(), statusCommand(), agentsCommand(), applyCommand(), checkCommand(), explainCommand(), schemaCommand(), demoCommand(), coreCommand())
	return root
}
