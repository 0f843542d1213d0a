package command

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/agent/internal/logging"
	"github.com/fairlead/fairlead/agent/internal/run"
	"github.com/fairlead/fairlead/agent/service"
	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/version"
)

// The subcommands for the state of all services.
const (
	backupName  = "backup"
	restoreName = "restore"
)

func newBackup(all []service.Spec, o *options) *cobra.Command {
	return &cobra.Command{
		Use: backupName + " FILE|DIR", Short: "Copy the state of all services",
		Long: `Copies the state of all services to a new compressed tar archive or to an existing empty directory. The
agent can be running. Image layers, files of containers and volumes are not copied.`,
		SilenceUsage: true, SilenceErrors: true, Args: onePath,
		RunE: func(cmd *cobra.Command, args []string) error { return backup(cmd, all, o, args[0]) },
	}
}

func newRestore(all []service.Spec, o *options) *cobra.Command {
	var only []string
	cmd := &cobra.Command{
		Use: restoreName + " FILE|DIR", Short: "Restore the state of services from a backup",
		Long: `Restores the state of services from a backup, or from one state file such as net.db.v1 or backup/net.db.
The agent must be stopped. The former state is moved to DATA-ROOT/quarantine. Image layers, files of
containers and volumes are not changed.`,
		SilenceUsage: true, SilenceErrors: true, Args: onePath,
		RunE: func(cmd *cobra.Command, args []string) error { return restore(cmd, all, o, args[0], only) },
	}
	cmd.Flags().StringSliceVar(&only, "store", nil, "Restore only this state file, such as net.db")
	return cmd
}

func onePath(cmd *cobra.Command, args []string) error {
	if len(args) == 1 && args[0] != "" {
		return nil
	}
	return fault.New(fault.Invalid, "command "+cmd.Name(), fmt.Sprintf("requires one path, not %d", len(args)),
		fault.WithHint("see fairlead-agent %s --help", cmd.Name()))
}

// backup copies the state to an existing directory or a new archive.
func backup(cmd *cobra.Command, all []service.Spec, o *options, to string) error {
	cfg, _, err := load(cmd.Flags(), o.configFile, all)
	if err != nil {
		return err
	}

	info, err := os.Stat(to)
	if err == nil && info.IsDir() {
		return backupDirectory(cmd, cfg.DataRoot, to)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.Exists, "file "+to, "already exists",
			fault.WithHint("use a new file, or an empty directory"))
	}
	return backupFile(cmd, cfg.DataRoot, to)
}

func backupDirectory(cmd *cobra.Command, root, to string) error {
	if entries, err := os.ReadDir(to); err != nil || len(entries) > 0 {
		return fault.New(fault.Invalid, "directory "+to, "is not empty", fault.WithCause(err),
			fault.WithHint("use an empty directory, or a new file"))
	}
	m, err := state.Save(cmd.Context(), root, to, version.Version)
	if err != nil {
		return err
	}
	return reportBackup(cmd, m, to)
}

func backupFile(cmd *cobra.Command, root, to string) (err error) {
	dir, err := os.MkdirTemp(filepath.Dir(to), ".backup-")
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "file "+to, "cannot be written")
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	m, err := state.Save(cmd.Context(), root, dir, version.Version)
	if err != nil {
		return err
	}

	out, err := os.CreateTemp(filepath.Dir(to), ".backup-*")
	if err != nil {
		return fault.Wrap(err, fault.Unavailable, "file "+to, "cannot be written")
	}
	if err := errors.Join(state.Pack(dir, out), out.Sync(), out.Close()); err != nil {
		return fault.Wrap(errors.Join(err, os.Remove(out.Name())), fault.Unavailable, "file "+to, "cannot be written")
	}
	if err := os.Rename(out.Name(), to); err != nil {
		return fault.Wrap(err, fault.Unavailable, "file "+to, "cannot be written")
	}
	return reportBackup(cmd, m, to)
}

func reportBackup(cmd *cobra.Command, m state.Manifest, to string) error {
	for _, s := range m.Stores {
		if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: %d records\n", s.Name, s.Records); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), "written to "+to)
	return err
}

// restore replaces the state while no agent is running.
func restore(cmd *cobra.Command, all []service.Spec, o *options, from string, only []string) error {
	cfg, _, err := load(cmd.Flags(), o.configFile, all)
	if err != nil {
		return err
	}

	dir, err := os.MkdirTemp("", "fairlead-restore-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	source, err := restoreSource(from, dir)
	if err != nil {
		return err
	}

	log := logging.New(cmd.ErrOrStderr(), cfg.LogLevel, cfg.LogFormat)
	return run.WithClaims(run.Options{Name: cmd.Name(), Config: cfg, Log: log, Services: all, All: all}, func() error {
		names, aside, err := state.Restore(cfg.DataRoot, source, only...)
		for _, name := range names {
			_, _ = fmt.Fprintln(cmd.OutOrStdout(), "restored "+name)
		}
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), "the former state is in "+aside)
		return err
	})
}

// storeFile matches the file name of one store: the store itself, the copy from before an upgrade,
// or an automatic backup.
var storeFile = regexp.MustCompile(`^([a-z]+\.db)(\.v1|\.1)?$`)

// restoreSource returns a directory with the state files of a directory, an archive or one file. It
// unpacks to dir.
func restoreSource(from, dir string) (string, error) {
	info, err := os.Stat(from)
	if err != nil {
		return "", fault.Wrap(err, fault.NotFound, "backup "+from, "cannot be read")
	}
	if info.IsDir() {
		return from, nil
	}
	if m := storeFile.FindStringSubmatch(filepath.Base(from)); m != nil {
		data, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, m[1]), data, 0o600)
		}
		return dir, fault.Wrap(err, fault.Unavailable, "file "+from, "cannot be copied")
	}

	f, err := os.Open(from)
	if err != nil {
		return "", fault.Wrap(err, fault.Unavailable, "backup "+from, "cannot be read")
	}
	defer func() { _ = f.Close() }()
	if err := state.Unpack(f, dir); err != nil {
		return "", fault.New(fault.Invalid, "backup "+from, "is not an archive of fairlead-agent backup",
			fault.WithCause(err))
	}
	return dir, nil
}
