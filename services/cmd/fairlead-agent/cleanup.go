package main

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/agent/daemon"
	"github.com/fairlead/fairlead/agent/logging"
)

// cleanupName is the one subcommand that carries no service.
const cleanupName = "cleanup"

func newCleanup(all []daemon.ServiceSpec, o *options) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: cleanupName, Short: "Take what the agent keeps in the host's network away, before it is uninstalled",
		Long: `Takes away all bridges, links, routes, rules and namespaces that the agent keeps in the host's network, and puts the host's parameters
back that it has changed. The agent must not run. Containers, images and networks stay on disk: the next start makes the network again.`,
		SilenceUsage: true, SilenceErrors: true, Args: refuseArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return cleanup(cmd, all, o, force) },
	}
	cmd.Flags().BoolVar(&force, "force", false, "Do so even while containers run, which lose their network")
	return cmd
}

func cleanup(cmd *cobra.Command, all []daemon.ServiceSpec, o *options, force bool) error {
	cfg, warnings, err := load(cmd.Flags(), o.configFile)
	if err != nil {
		return err
	}
	level := new(slog.LevelVar)
	level.Set(cfg.LogLevel)
	log := logging.New(cmd.ErrOrStderr(), level, cfg.LogFormat)
	for _, w := range warnings {
		log.Warn(w)
	}
	if _, err := os.Stat(cfg.DataRoot); errors.Is(err, fs.ErrNotExist) {
		log.Info("nothing to clean: no agent has ever run here", "data-root", cfg.DataRoot)
		return nil
	}
	return daemon.Clean(cmd.Context(), daemon.Options{Name: cmd.Name(), Config: cfg, Log: log, Services: all, Holder: program()}, force)
}
