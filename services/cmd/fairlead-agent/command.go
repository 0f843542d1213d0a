package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fairlead/fairlead/agent/config"
	"github.com/fairlead/fairlead/agent/config/file"
	"github.com/fairlead/fairlead/agent/daemon"
	"github.com/fairlead/fairlead/agent/listen"
	"github.com/fairlead/fairlead/agent/logging"
	"github.com/fairlead/fairlead/agent/process"
	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/version"
	"github.com/fairlead/fairlead/services/netagent"
)

const defaultFile = file.DefaultPath

// options are the flags that are no keys of the configuration.
type options struct {
	configFile string
	validate   bool
	recover    bool
	startEmpty bool
}

// newCommand makes the command line: the root runs all services, a subcommand one.
func newCommand(all []daemon.ServiceSpec) *cobra.Command {
	var o options
	root := newServiceCommand("fairlead-agent", "Carry container networking services on this host", all, &o)
	root.Version = version.Version
	root.CompletionOptions.DisableDefaultCmd = true
	root.PersistentFlags().StringVar(&o.configFile, "config-file", defaultFile, "Configuration file")
	root.PersistentFlags().BoolVar(&o.validate, "validate", false, "Check the configuration and exit")
	addKeys(root.PersistentFlags())
	root.SetFlagErrorFunc(flagError)
	for _, s := range all {
		root.AddCommand(newServiceCommand(s.Name, "Carry only the service "+s.Name, []daemon.ServiceSpec{s}, &o))
	}
	root.AddCommand(newCleanup(all, &o), newBackup(&o), newRestore(all, &o))
	return root
}

func newServiceCommand(use, short string, carried []daemon.ServiceSpec, o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, SilenceUsage: true, SilenceErrors: true,
		Args: refuseArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return run(cmd, carried, o) },
	}
	cmd.Flags().BoolVar(&o.recover, "recover", false, "Rebuild lost state from its backup and log")
	cmd.Flags().BoolVar(&o.startEmpty, "start-empty", false, "Set lost state aside and start without it")
	return cmd
}

func refuseArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, sub := range cmd.Commands() {
		if sub.RunE != nil && !slices.Contains([]string{cleanupName, backupName, restoreName}, sub.Name()) {
			names = append(names, sub.Name())
		}
	}
	hint := "leave it out"
	if names != nil {
		hint = "name one of " + strings.Join(names, ", ") + ", or none for all of them"
	}
	return fault.New(fault.Invalid, fmt.Sprintf("argument %q", args[0]), "is no service", fault.WithHint("%s", hint))
}

// flagError puts the flag first, and names the one that was likely meant.
func flagError(cmd *cobra.Command, err error) error {
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok {
		return err
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	hint := "see --help"
	if near, ok := config.Suggest(unknown.GetSpecifiedName(), names); ok {
		hint = "did you mean --" + near + "?"
	}
	return fault.New(fault.Invalid, "flag "+flagText(unknown), "there is no such flag", fault.WithHint("%s", hint))
}

func flagText(unknown *pflag.NotExistError) string {
	if unknown.GetSpecifiedShortnames() != "" {
		return "-" + unknown.GetSpecifiedShortnames()
	}
	return "--" + unknown.GetSpecifiedName()
}

// run reads the configuration and carries the services until a signal.
func run(cmd *cobra.Command, carried []daemon.ServiceSpec, o *options) error {
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
	if o.validate {
		_, noTLS := listen.TLS(cfg)
		_, noGroup := listen.PublicAccess(cfg.Group)
		if err := errors.Join(noTLS, noGroup); err != nil {
			return err
		}
		_, err := fmt.Fprintln(cmd.OutOrStdout(), "configuration OK")
		return err
	}
	choice, err := o.choice()
	if err != nil {
		return err
	}
	notifier, err := process.NotifierFromEnv()
	if err != nil {
		return err
	}
	sockets, left := process.InheritedFiles()
	ctx, hangups, restore := process.SignalContext(cmd.Context(), log, func() { os.Exit(130) })
	defer restore()
	public := len(carried) > 1 || carried[0].Public
	return daemon.Run(ctx, daemon.Options{
		Name: cmd.Name(), Config: cfg, Log: log, Services: carried, Public: public, Notifier: notifier,
		Sockets: sockets, InheritedFDs: left, Choice: choice, Holder: program(),
		Reread:  func() (*config.Config, []string, error) { return load(cmd.Flags(), o.configFile) },
		Hangups: hangups, Level: level,
	})
}

// choice is what to do with state that is lost.
func (o *options) choice() (state.Choice, error) {
	switch {
	case o.recover && o.startEmpty:
		return state.Refuse, fault.New(fault.Invalid, "--recover and --start-empty", "exclude each other", fault.WithHint("give one of them"))
	case o.recover:
		return state.Recover, nil
	case o.startEmpty:
		return state.StartEmpty, nil
	}
	return state.Refuse, nil
}

// program is this one, to be started again. Once it was replaced or removed, only the kernel knows it.
func program() []string {
	path, err := os.Executable()
	if err == nil {
		if _, err = os.Stat(path); err == nil {
			return []string{path}
		}
	}
	return []string{"/proc/self/exe"}
}

// load merges what file, environment and flags say.
func load(flags *pflag.FlagSet, path string) (*config.Config, []string, error) {
	fromFile, warnings, unreadable := file.Read(path, flags.Changed("config-file"))
	fromEnvironment, more := config.FromEnvironment(os.Environ())
	cfg, wrong := config.Build(fromFile, fromEnvironment, fromFlags(flags))
	if err := errors.Join(unreadable, wrong, netagent.Config{NetworkOptions: cfg.NetworkOptions}.CheckOptions()); err != nil {
		return nil, nil, err
	}
	return cfg, append(warnings, more...), nil
}
