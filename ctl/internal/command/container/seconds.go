package container

import (
	"fmt"
	"math"
	"strconv"
)

// seconds is a flag value in seconds. As in Docker, -1 means no limit.
type seconds int64

func (s *seconds) Set(text string) error {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < -1 || n >= math.MaxUint32 {
		return fmt.Errorf("must be a number of seconds, or -1 for no limit")
	}
	*s = seconds(n)
	return nil
}

func (s *seconds) String() string { return strconv.FormatInt(int64(*s), 10) }

// Type returns the type name for pflag.
func (s *seconds) Type() string { return "int" }

// wire returns the value for the agent. No limit is the largest number, 136 years.
func (s *seconds) wire() *uint32 {
	n := uint32(math.MaxUint32)
	if *s >= 0 {
		n = uint32(*s)
	}
	return &n
}
