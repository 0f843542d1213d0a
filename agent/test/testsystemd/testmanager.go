// Package testsystemd is a service manager for tests: it hears what an agent tells it, and keeps descriptors for the agent's next
// process, as systemd does for a unit with FileDescriptorStoreMax (sd_notify(3), sd_listen_fds(3)).
package testsystemd

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// maxFiles is how many descriptors a message may bring.
const maxFiles = 16

// Manager is one. It listens until Close.
type Manager struct {
	conn *net.UnixConn
	path string
	done chan struct{}

	mu   sync.Mutex
	kept []*os.File // by the names that they were left under
}

// Start makes a manager whose socket is in a folder.
func Start(dir string) (*Manager, error) {
	path := filepath.Join(dir, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	m := &Manager{conn: conn, path: path, done: make(chan struct{})}
	go m.listen()
	return m, nil
}

// Close ends it, and lets go of all that it keeps.
func (m *Manager) Close() error {
	err := m.conn.Close()
	<-m.done
	m.drop(func(string) bool { return true })
	return err
}

// Socket is what is in NOTIFY_SOCKET.
func (m *Manager) Socket() string { return m.path }

// Names are those of the descriptors that it keeps, sorted.
func (m *Manager) Names() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for _, f := range m.kept {
		names = append(names, f.Name())
	}
	slices.Sort(names)
	return names
}

func (m *Manager) listen() {
	defer close(m.done)
	text, control := make([]byte, 4096), make([]byte, unix.CmsgSpace(maxFiles*4))
	for {
		n, controls, _, _, err := m.conn.ReadMsgUnix(text, control)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			m.hear(string(text[:n]), control[:controls])
		}
	}
}

// hear does what one message says.
func (m *Manager) hear(text string, control []byte) {
	said := map[string]string{}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		said[key] = value
	}
	name := said["FDNAME"]
	if said["FDSTOREREMOVE"] == "1" {
		m.drop(func(kept string) bool { return kept == name })
	}
	for _, fd := range descriptors(control) {
		if said["FDSTORE"] != "1" {
			_ = unix.Close(fd)
			continue
		}
		m.mu.Lock()
		m.kept = append(m.kept, os.NewFile(uintptr(fd), name))
		m.mu.Unlock()
	}
}

func descriptors(control []byte) []int {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil
	}
	var all []int
	for _, message := range messages {
		if fds, err := unix.ParseUnixRights(&message); err == nil {
			all = append(all, fds...)
		}
	}
	return all
}

func (m *Manager) drop(gone func(name string) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept = slices.DeleteFunc(m.kept, func(f *os.File) bool {
		if gone(f.Name()) {
			_ = f.Close()
			return true
		}
		return false
	})
}

// PassedFiles are duplicates of what it keeps, as a process gets them that is started now.
func (m *Manager) PassedFiles() ([]*os.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []*os.File
	for _, f := range m.kept {
		raw, err := f.SyscallConn()
		if err != nil {
			return nil, err
		}
		fd, duplicated := -1, error(nil)
		err = raw.Control(func(of uintptr) { fd, duplicated = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0) })
		if err := errors.Join(err, duplicated); err != nil {
			return nil, err
		}
		all = append(all, os.NewFile(uintptr(fd), f.Name()))
	}
	return all, nil
}

// Prepare changes a command that is not started yet so that its process is this manager's, and has what is kept. The returned function
// is to be called after the start.
func (m *Manager) Prepare(cmd *exec.Cmd) (started func(), err error) {
	files, err := m.PassedFiles()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, f := range files {
		names = append(names, f.Name())
	}
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+m.path, "LISTEN_FDS="+strconv.Itoa(len(files)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
	cmd.Args = append([]string{"/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...) // only the process knows its id
	cmd.Path, cmd.ExtraFiles = "/bin/sh", files
	return func() {
		for _, f := range files {
			_ = f.Close()
		}
	}, nil
}
