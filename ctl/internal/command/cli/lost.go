package cli

import (
	"fmt"

	"github.com/fairlead/fairlead/proto/fault"
)

// Lost adds to an error of an open call, if the agent or the way to it went away meanwhile, what became of the container and
// which command returns to it. Other errors stay as they are.
func Lost(err error, format string, args ...any) error {
	f, ok := err.(*fault.Fault)
	if !ok || f.Reason != fault.ReasonConnectionLost {
		return err
	}
	changed := *f
	changed.Hint = fmt.Sprintf(format, args...)
	return &changed
}
