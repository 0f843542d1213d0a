package e2e

import (
	"net"
	"os"
	"path/filepath"
)

// fakeJournal is the program `journal FILE`. It listens where systemd-journald does, and appends the
// records that it receives to a file: lines of NAME=VALUE.
func fakeJournal() {
	const socket = "/run/systemd/journal/socket"
	stopOn(os.MkdirAll(filepath.Dir(socket), 0o755))
	out, err := os.OpenFile(os.Args[1], os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	stopOn(err)
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	stopOn(err)

	buf := make([]byte, 1<<20)
	for {
		n, err := conn.Read(buf)
		stopOn(err)
		_, err = out.Write(append(buf[:n:n], '\n'))
		stopOn(err)
	}
}
