package kernel

import (
	"errors"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestRetryRepeatsInterruptedRequests(t *testing.T) {
	for name, c := range map[string]struct {
		fails int // number of failures before the success
		with  error
		calls int
		err   error
	}{
		"works":                 {0, nil, 1, nil},
		"a signal":              {3, unix.EINTR, 4, nil},
		"an interrupted dump":   {3, netlink.ErrDumpInterrupted, 4, nil},
		"another error":         {3, unix.EPERM, 1, unix.EPERM},
		"interrupted all along": {1000, unix.EINTR, attempts, unix.EINTR},
	} {
		calls := 0
		err := retry(func() error {
			if calls++; calls <= c.fails {
				return c.with
			}
			return nil
		})
		if calls != c.calls || !errors.Is(err, c.err) {
			t.Errorf("%s: %d calls, %v; want %d, %v", name, calls, err, c.calls, c.err)
		}
	}
}
