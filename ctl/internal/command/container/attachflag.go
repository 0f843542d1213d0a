package container

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// streams holds the values of --attach.
type streams struct{ names []string }

func (s *streams) flag(f *pflag.FlagSet) {
	f.StringArrayVarP(&s.names, "attach", "a", nil, "Attach a stream: stdin, stdout or stderr")
}

// check validates the names.
func (s *streams) check(detach bool) error {
	for i, name := range s.names {
		s.names[i] = strings.ToLower(name)
		if !slices.Contains([]string{"stdin", "stdout", "stderr"}, s.names[i]) {
			return fmt.Errorf("invalid argument %q for \"-a, --attach\" flag: "+
				"valid streams are STDIN, STDOUT and STDERR", name)
		}
	}
	if detach && len(s.names) > 0 {
		return errors.New("conflicting options: cannot specify both --attach and --detach")
	}
	return nil
}

// attached returns the streams that are attached: those of --attach, or else output and, if it is
// open, input.
func (s *streams) attached(openStdin, detach bool) []string {
	switch {
	case detach:
		return nil
	case len(s.names) > 0:
		return s.names
	case openStdin:
		return []string{"stdin", "stdout", "stderr"}
	}
	return []string{"stdout", "stderr"}
}
