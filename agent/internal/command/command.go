// Package command is the command line of the daemon. The root command runs all services, a subcommand one of them.
// Other subcommands back up, restore or remove their state.
//
// Package agent uses it. The services are parameters: the package names none.
package command

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
	"github.com/fairlead/fairlead/agent/internal/listen"
	"github.com/fairlead/fairlead/agent/internal/logging"
	"github.com/fairlead/fairlead/agent/internal/process"
	"github.com/fairlead/fairlead/agent/internal/run"
	"github.com/fairlead/fairlead/agent/manpage"
	"github.com/fairlead/fairlead/agent/service"
	"github.com/fairlead/fairlead/agent/state"
	"github.com/fairlead/fairlead/proto/fault"
	"github.com/fairlead/fairlead/proto/version"
)

const defaultFile = file.DefaultPath

// options holds the flags that are not configuration keys.
type options struct {
	configFile string
	validate   bool
	recover    bool
	startEmpty bool
}

// New returns the command line. The root command runs all services, a subcommand one.
func New(all []service.Spec) *cobra.Command {
	var o options
	root := newServiceCommand("fairlead-agent", "Run the Fairlead services on this host", all, all, &o)
	root.Version = version.Version
	root.CompletionOptions.DisableDefaultCmd = true
	root.PersistentFlags().StringVar(&o.configFile, "config-file", defaultFile, "Configuration file")
	root.PersistentFlags().BoolVar(&o.validate, "validate", false, "Validate the configuration and exit")
	addKeys(root.PersistentFlags())
	root.SetFlagErrorFunc(flagError)
	for _, s := range all {
		root.AddCommand(newServiceCommand(s.Name, "Run only the "+s.Name+" service", []service.Spec{s}, all, &o))
	}

	root.AddCommand(newCleanup(all, &o), newBackup(all, &o), newRestore(all, &o), manpage.NewCommand(8, filePage))
	return root
}

func newServiceCommand(use, short string, specs, all []service.Spec, o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, SilenceUsage: true, SilenceErrors: true,
		Args: refuseArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return runServices(cmd, specs, all, o) },
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
		if sub.RunE != nil && !sub.Hidden &&
			!slices.Contains([]string{cleanupName, backupName, restoreName}, sub.Name()) {
			names = append(names, sub.Name())
		}
	}

	hint := "remove it"
	if names != nil {
		hint = "use one of " + strings.Join(names, ", ") + ", or none for all"
	}
	return fault.New(fault.Invalid, fmt.Sprintf("argument %q", args[0]), "is not a service", fault.WithHint("%s", hint))
}

// flagError names an unknown flag and suggests a similar one.
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
	return fault.New(fault.Invalid, "flag "+flagText(unknown), "unknown flag", fault.WithHint("%s", hint))
}

func flagText(unknown *pflag.NotExistError) string {
	if unknown.GetSpecifiedShortnames() != "" {
		return "-" + unknown.GetSpecifiedShortnames()
	}
	return "--" + unknown.GetSpecifiedName()
}

// configure loads the configuration and opens the log, with the warnings of the configuration.
func configure(cmd *cobra.Command, o *options, all []service.Spec) (
	cfg *config.Config, level *slog.LevelVar, log *slog.Logger, err error) {
	cfg, warnings, err := load(cmd.Flags(), o.configFile, all)
	if err != nil {
		return cfg, nil, nil, err
	}

	level = new(slog.LevelVar)
	level.Set(cfg.LogLevel)
	log = logging.New(cmd.ErrOrStderr(), level, cfg.LogFormat)
	for _, w := range warnings {
		log.Warn(w)
	}
	return cfg, level, log, nil
}

// runServices reads the configuration and runs the services until a signal arrives.
func runServices(cmd *cobra.Command, specs, all []service.Spec, o *options) error {
	cfg, level, log, err := configure(cmd, o, all)
	if err != nil {
		return err
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

	sockets, stored := process.InheritedFiles()
	ctx, hangups, restore := process.SignalContext(cmd.Context(), log, func() { os.Exit(130) })
	defer restore()
	public := len(specs) > 1 || specs[0].Public
	return run.Run(ctx, run.Options{
		Name: cmd.Name(), Config: cfg, Log: log, Services: specs, All: all, Public: public, Notifier: notifier,
		Sockets: sockets, InheritedFDs: stored, Choice: choice, Holder: program(),
		Reread:  func() (*config.Config, []string, error) { return load(cmd.Flags(), o.configFile, all) },
		Hangups: hangups, Level: level,
	})
}

// choice returns what to do with lost state.
func (o *options) choice() (state.Choice, error) {
	switch {
	case o.recover && o.startEmpty:
		return state.Refuse, fault.New(fault.Invalid, "--recover and --start-empty", "exclude each other",
			fault.WithHint("use one of them"))
	case o.recover:
		return state.Recover, nil
	case o.startEmpty:
		return state.StartEmpty, nil
	}
	return state.Refuse, nil
}

// program returns the command of this program, for starting it again. /proc/self/exe is used if its
// file was replaced or removed.
func program() []string {
	path, err := os.Executable()
	if err == nil {
		if _, err = os.Stat(path); err == nil {
			return []string{path}
		}
	}
	return []string{"/proc/self/exe"}
}

// load merges the layers of file, environment and flags. All services check the result, whichever run in this process.
func load(flags *pflag.FlagSet, path string, all []service.Spec) (*config.Config, []string, error) {
	fromFile, warnings, unreadable := file.Read(path, flags.Changed("config-file"))
	fromEnvironment, more := config.FromEnvironment(os.Environ())
	cfg, wrong := config.Build(fromFile, fromEnvironment, fromFlags(flags))
	err := errors.Join(unreadable, wrong)
	for _, s := range all {
		if s.CheckConfig != nil {
			err = errors.Join(err, s.CheckConfig(cfg))
		}
	}
	if err != nil {
		return nil, nil, err
	}
	return cfg, append(warnings, more...), nil
}
