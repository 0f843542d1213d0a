package cli

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/proto/fault"
)

// FilterError returns the error of a list. The agent's fault about a filter is about the flag --filter.
func FilterError(cmd *cobra.Command, err error) error {
	f, ok := errors.AsType[*fault.Fault](err)
	if !ok || !strings.HasPrefix(f.Subject, "filter ") {
		return err
	}
	about := *f
	about.Subject = "--" + f.Subject
	if f.Kind != fault.Invalid {
		return &about
	}
	return &UsageError{Command: cmd.CommandPath(), Code: ExitFailure, Err: &about}
}
