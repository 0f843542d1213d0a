package command

import (
	"errors"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/agent/internal/run"
	"github.com/fairlead/fairlead/agent/service"
)

// cleanupName is the subcommand that removes the network state.
const cleanupName = "cleanup"

func newCleanup(all []service.Spec, o *options) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: cleanupName, Short: "Remove all network state from the host",
		Long: `Removes bridges, links, routes, firewall rules and namespaces, and restores sysctls. The agent must be
stopped. Containers, images and networks stay on disk.`,
		SilenceUsage: true, SilenceErrors: true, Args: refuseArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return cleanup(cmd, all, o, force) },
	}
	cmd.Flags().BoolVar(&force, "force", false, "Clean up even if containers are running")
	return cmd
}

func cleanup(cmd *cobra.Command, all []service.Spec, o *options, force bool) error {
	cfg, _, log, err := configure(cmd, o, all)
	if err != nil {
		return err
	}

	if _, err := os.Stat(cfg.DataRoot); errors.Is(err, fs.ErrNotExist) {
		log.Info("nothing to clean up, data root does not exist", "data-root", cfg.DataRoot)
		return nil
	}
	return run.Clean(cmd.Context(), run.Options{Name: cmd.Name(), Config: cfg, Log: log, Services: all, All: all,
		Holder: program()}, force)
}
