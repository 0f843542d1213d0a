package cli

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fairlead/fairlead/ctl/internal/missing"
)

// MinArgs requires n arguments or more.
func MinArgs(n int) cobra.PositionalArgs { return between(n, -1) }

// ExactArgs requires n arguments.
func ExactArgs(n int) cobra.PositionalArgs { return between(n, n) }

// RangeArgs requires low to high arguments. A negative high is no limit.
func RangeArgs(low, high int) cobra.PositionalArgs { return between(low, high) }

func between(low, high int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if n := len(args); n >= low && (high < 0 || n <= high) {
			return nil
		}

		wants := fmt.Sprintf("at least %d argument", low)
		switch {
		case high == 0:
			wants = "no argument"
		case high == low:
			wants = fmt.Sprintf("exactly %d argument", low)
		case high > low:
			wants = fmt.Sprintf("%d to %d argument", low, high)
		}

		if max(low, high) != 1 {
			wants += "s"
		}

		return &UsageError{cmd.CommandPath(), ExitFailure, fmt.Errorf("'%s' requires %s", cmd.CommandPath(), wants)}
	}
}

// FlagError converts an error of a flag to a usage error. It names the alternative to an
// unsupported flag of docker, or the most similar flag. A request for help is returned unchanged.
func FlagError(cmd *cobra.Command, err error) error {
	if errors.Is(err, pflag.ErrHelp) {
		return err
	}

	message := err.Error()
	if number, ok := errors.AsType[*strconv.NumError](err); ok {
		message = strings.Replace(message, number.Error(), wanted(number), 1)
	}
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		name := unknown.GetSpecifiedName()
		if instead, ok := insteadOfFlag(cmd, name); ok {
			return &UsageError{Code: ExitRunFailed, Err: unsupported(dockerName(cmd)+" "+dashed(name), instead)}
		} else if near := nearestFlag(cmd, name); near != "" && len(name) > 1 {
			message += "; did you mean --" + near + "?"
		}
	}

	return &UsageError{cmd.CommandPath(), ExitRunFailed, errors.New(message)}
}

// wanted returns what a flag accepts whose value is not a number or a boolean.
func wanted(e *strconv.NumError) string {
	switch {
	case errors.Is(e.Err, strconv.ErrRange):
		return "is out of range"
	case e.Func == "ParseBool":
		return "must be true or false"
	case e.Func == "ParseUint":
		return "must be a whole number, 0 or more"
	case e.Func == "ParseInt", e.Func == "Atoi":
		return "must be a whole number"
	}
	return "must be a number"
}

// insteadOfFlag returns the alternative to a flag of docker, which is searched under each name of
// the command.
func insteadOfFlag(cmd *cobra.Command, flag string) (instead string, ok bool) {
	if !cmd.HasParent() {
		return missing.Flag("", flag)
	}

	names := append([]string{cmd.Name()}, cmd.Aliases...)
	if cmd.Parent().Name() == "image" {
		names = []string{map[string]string{"ls": "images", "rm": "rmi"}[cmd.Name()], cmd.Name()}
	}

	for _, name := range names {
		if instead, ok = missing.Flag(name, flag); ok {
			return instead, true
		}
	}

	return "", false
}

func dashed(flag string) string {
	if len(flag) == 1 {
		return "-" + flag
	}
	return "--" + flag
}

// dockerName returns the docker command with the same function.
func dockerName(cmd *cobra.Command) string {
	_, below, _ := strings.Cut(cmd.CommandPath(), " ")
	return strings.TrimSpace("docker " + below)
}

// unsupported returns the error for a command or flag of docker that Fairlead does not have.
func unsupported(what, instead string) error {
	if strings.HasPrefix(instead, "Fairlead ") {
		return errors.New(what + " is not supported; " + instead)
	}
	return errors.New(what + " is not supported; instead: " + instead)
}

func nearestFlag(cmd *cobra.Command, name string) string {
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	return nearest(name, names)
}

// Command is a command of the top level, which is created when it is needed.
type Command struct {
	Name string
	New  func(*CLI) *cobra.Command
}

// Group returns a command that only has subcommands.
func Group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use + " COMMAND", Short: short, Args: cobra.ArbitraryArgs, RunE: UnknownCommand}
	cmd.Flags().SetInterspersed(false) // the flags of an unknown command are not parsed
	cmd.AddCommand(commands...)
	return cmd
}

// UnknownCommand prints the help of a group. With arguments it returns an error that names the
// alternative to a docker command, or the most similar command.
func UnknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}

	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(append(names, c.Name()), c.Aliases...)
		}
	}

	message := fmt.Sprintf("unknown command: %s %s", cmd.CommandPath(), cmp.Or(args[0], `""`))
	_, group, _ := strings.Cut(cmd.CommandPath(), " ")
	if name, instead, ok := missing.Verb(append(strings.Fields(group), args...)...); ok {
		return &UsageError{Code: ExitFailure, Err: unsupported("docker "+name, instead)}
	}

	if near := nearest(args[0], names); near != "" {
		message += fmt.Sprintf("; did you mean %s?", near)
	}

	return &UsageError{cmd.CommandPath(), ExitFailure, errors.New(message)}
}

// nearest returns the name with the smallest distance to the typed one, or an empty string if all
// are too different.
func nearest(typed string, names []string) string {
	best, least := "", len(typed)/3+2
	slices.Sort(names)
	for _, n := range names {
		if d := distance(strings.ToLower(typed), n); d < least {
			best, least = n, d
		}
	}
	return best
}

// distance returns the edit distance of a and b. Adding, removing, replacing a character and
// swapping two adjacent ones count as one.
func distance(a, b string) int {
	var before []int
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}

	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+differ(a[i], b[j]))
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}

	return last[len(b)]
}

func differ(a, b byte) int {
	if a == b {
		return 0
	}
	return 1
}
