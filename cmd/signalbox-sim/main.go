// Command signalbox-sim makes a bus fleet from a seed and sends its readings
// to a real MQTT broker, to a file, or as a load whose results it measures.
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
	root := &cobra.Command{Use: "signalbox-sim", Short: "A simulated bus fleet", Version: version, SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(generateCommand(), runCommand(), playCommand(), loadCommand(), w1Command(), loopCommand(), benchCommand())
	root.SetArgs(args)
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "signalbox-sim:", err)
		return 1
	}
	return 0
}
