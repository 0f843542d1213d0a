// Package procfile reads small files of /proc and of cgroups. os.ReadFile needs seven system calls for a
// file, Read four, and Files one for a file that it has read before. Packages cgroup and stats read
// thousands of files a second.
package procfile

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Read reads a file. It reads into buf, which it extends if it is too small, and returns a copy.
func Read(path string, buf *[]byte) (string, error) {
	fd, err := open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = unix.Close(fd) }()

	n := 0
	for {
		if n == len(*buf) {
			*buf = append(*buf, make([]byte, max(len(*buf), 512))...)
		}
		got, err := retry(func() (int, error) { return unix.Read(fd, (*buf)[n:]) })
		if err != nil {
			return "", err
		}
		if got == 0 {
			return string((*buf)[:n]), nil
		}
		n += got
	}
}

func open(path string) (int, error) {
	return retry(func() (int, error) { return unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0) })
}

// retry repeats a system call that a signal has interrupted.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
