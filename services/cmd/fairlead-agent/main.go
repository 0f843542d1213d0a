// Command fairlead-agent runs the Fairlead services of a host, or only the named one.
package main

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/holder"
)

func main() {
	if holder.IsHolder(os.Args) {
		if err := holder.Run(os.Args); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}

	unix.Umask(0o022) // files that containers read must not depend on the shell that starts the agent
	cmd := newCommand(services())
	if err := cmd.ExecuteContext(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
