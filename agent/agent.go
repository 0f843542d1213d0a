// Package agent runs services as a daemon: listeners, TLS, client identity, authorization, logging,
// health, configuration, reload, backup and cleanup. It names no service: the program passes their
// specs. Services use the packages below it; its internal packages are for the daemon only.
//
// Only package main of the daemon uses it.
package agent

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/agent/internal/command"
	"github.com/fairlead/fairlead/agent/internal/holder"
	"github.com/fairlead/fairlead/agent/internal/run"
	"github.com/fairlead/fairlead/agent/metrics"
	"github.com/fairlead/fairlead/agent/service"
)

// Main runs the command line of the daemon with the given services, in their order of dependence,
// and returns the exit status of the process.
func Main(services []service.Spec) int {
	if holder.IsHolder(os.Args) {
		return status(holder.Run(os.Args))
	}

	unix.Umask(0o022) // files that containers read must not depend on the shell that starts the agent
	return status(command.New(services).ExecuteContext(context.Background()))
}

// Metrics returns the metrics of the daemon itself.
func Metrics() []metrics.Family { return run.Families() }

// status prints an error and returns the exit status.
func status(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}
