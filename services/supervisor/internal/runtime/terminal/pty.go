package terminal

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// OpenPty creates a pseudo-terminal and returns the agent's end and the process's end.
func OpenPty(rows, cols uint16) (host, container *os.File, err error) {
	host, err = os.OpenFile("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}

	conn, err := host.SyscallConn()
	if err != nil {
		return nil, nil, errors.Join(err, host.Close())
	}

	var number int
	var ierr error
	err = conn.Control(func(fd uintptr) {
		number, ierr = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		ierr = errors.Join(ierr, unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0),
			unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols}))
	})
	if err = errors.Join(err, ierr); err == nil {
		container, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), unix.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		return nil, nil, errors.Join(err, host.Close())
	}

	return host, container, nil
}
