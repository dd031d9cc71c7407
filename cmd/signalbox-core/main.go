// Command signalbox-core is a core node of the cluster.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"signalbox/cmd/corecmd"
)

var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := corecmd.Command("signalbox-core", version).ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "signalbox-core:", err)
		os.Exit(1)
	}
}
