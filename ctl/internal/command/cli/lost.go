package cli

import (
	"fmt"

	"github.com/fairlead/fairlead/proto/fault"
)

// Lost replaces the hint of an error if the connection to the agent was lost during a call. The
// hint describes the state of the container and the command that returns to it. Other errors are
// returned unchanged.
func Lost(err error, format string, args ...any) error {
	f, ok := err.(*fault.Fault)
	if !ok || f.Reason != fault.ReasonConnectionLost {
		return err
	}
	changed := *f
	changed.Hint = fmt.Sprintf(format, args...)
	return &changed
}
