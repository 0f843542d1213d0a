// Package bootclock reads the time since the host's boot, which changes of the wall clock do not affect.
//
// DHCP leases use it. It must not be used for times that people see.
package bootclock

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/services/netagent/internal/lease"
)

const bootIDFile = "/proc/sys/kernel/random/boot_id"

// Now returns the current boot and the time since it started, suspension included. It returns the
// zero Clock if the kernel does not report them.
func Now() lease.Clock {
	id, err := os.ReadFile(bootIDFile)
	if err != nil {
		return lease.Clock{}
	}

	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return lease.Clock{}
	}

	return lease.Clock{Boot: strings.TrimSpace(string(id)), Uptime: time.Duration(ts.Nano())}
}
