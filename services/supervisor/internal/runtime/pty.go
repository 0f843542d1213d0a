package runtime

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// openPty makes a pseudo-terminal: the end that is read and written here, and the one for a process.
func openPty(rows, cols uint16) (ours, theirs *os.File, err error) {
	ours, err = os.OpenFile("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	conn, err := ours.SyscallConn()
	if err != nil {
		return nil, nil, errors.Join(err, ours.Close())
	}
	var number int
	var ierr error
	err = conn.Control(func(fd uintptr) {
		number, ierr = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		ierr = errors.Join(ierr, unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0),
			unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols}))
	})
	if err = errors.Join(err, ierr); err == nil {
		theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), unix.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		return nil, nil, errors.Join(err, ours.Close())
	}
	return ours, theirs, nil
}
