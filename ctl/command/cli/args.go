package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// AtLeast wants n arguments or more.
func AtLeast(n int) cobra.PositionalArgs { return between(n, -1) }

// Exactly wants n arguments.
func Exactly(n int) cobra.PositionalArgs { return between(n, n) }

// From wants as many arguments as low to high.
func From(low, high int) cobra.PositionalArgs { return between(low, high) }

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
		return &UsageError{cmd.CommandPath(), Failed, fmt.Errorf("'%s' requires %s", cmd.CommandPath(), wants)}
	}
}

// FlagError turns what is wrong with a flag into a usage error, with the flag that was likely meant.
func FlagError(cmd *cobra.Command, err error) error {
	message := err.Error()
	if missing, ok := errors.AsType[*pflag.NotExistError](err); ok {
		if near := nearestFlag(cmd, missing.GetSpecifiedName()); near != "" {
			message += "; did you mean --" + near + "?"
		}
	}
	return &UsageError{cmd.CommandPath(), FailedToRun, errors.New(message)}
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

// Group makes a command that only holds others.
func Group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use + " COMMAND", Short: short, Args: cobra.ArbitraryArgs, RunE: UnknownCommand}
	cmd.AddCommand(commands...)
	return cmd
}

// UnknownCommand is what a group does itself: it shows its help, or says that it has no such command and which one was likely meant.
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
	message := fmt.Sprintf("unknown command: %s %s", cmd.CommandPath(), args[0])
	if near := nearest(args[0], names); near != "" {
		message += fmt.Sprintf("; did you mean %s?", near)
	}
	return &UsageError{cmd.CommandPath(), Failed, errors.New(message)}
}

// nearest is the name that takes the fewest changes to make from what was typed, empty if they all take too many.
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

// distance is how many characters must be added, removed, replaced or swapped with their neighbour to make b of a.
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
