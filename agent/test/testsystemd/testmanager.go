// Package testsystemd is a service manager for tests. It receives the notifications of an agent and
// stores descriptors for its next process, as systemd does for a unit with FileDescriptorStoreMax.
// See sd_notify(3) and sd_listen_fds(3).
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

	"github.com/fairlead/fairlead/agent/internal/process"
	"github.com/fairlead/fairlead/agent/service"
)

// maxFiles is the maximum number of descriptors in a message.
const maxFiles = 16

// Manager is a service manager. It receives notifications until Close.
type Manager struct {
	conn *net.UnixConn
	path string
	done chan struct{}

	mu     sync.Mutex
	stored []*os.File // named by FDNAME
}

// Start starts a manager with its socket in the directory dir.
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

// Close stops the manager and closes all stored descriptors.
func (m *Manager) Close() error {
	err := m.conn.Close()
	<-m.done
	m.drop(func(string) bool { return true })
	return err
}

// Socket returns the value for NOTIFY_SOCKET.
func (m *Manager) Socket() string { return m.path }

// Names returns the names of the stored descriptors, sorted.
func (m *Manager) Names() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for _, f := range m.stored {
		names = append(names, f.Name())
	}
	slices.Sort(names)
	return names
}

// Store returns the fd store of a service, as the next process of an agent opens it.
func (m *Manager) Store(name string) (service.FDStore, error) {
	stored, err := m.PassedFiles()
	if err != nil {
		return nil, err
	}
	return process.NewStore(process.NotifierTo(m.path), name, stored), nil
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
			m.handle(string(text[:n]), control[:controls])
		}
	}
}

// handle applies one notification.
func (m *Manager) handle(text string, control []byte) {
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		fields[key] = value
	}

	name := fields["FDNAME"]
	if fields["FDSTOREREMOVE"] == "1" {
		m.drop(func(stored string) bool { return stored == name })
	}

	for _, fd := range descriptors(control) {
		if fields["FDSTORE"] != "1" {
			_ = unix.Close(fd)
			continue
		}
		m.mu.Lock()
		m.stored = append(m.stored, os.NewFile(uintptr(fd), name))
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

func (m *Manager) drop(match func(name string) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stored = slices.DeleteFunc(m.stored, func(f *os.File) bool {
		if match(f.Name()) {
			_ = f.Close()
			return true
		}
		return false
	})
}

// PassedFiles returns duplicates of the stored descriptors, as passed to the next process.
func (m *Manager) PassedFiles() ([]*os.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []*os.File
	for _, f := range m.stored {
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

// Prepare changes a command that is not started yet: its process notifies this manager and inherits
// the stored descriptors. The caller must call the returned function after the start.
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
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+m.path, "LISTEN_FDS="+strconv.Itoa(len(files)),
		"LISTEN_FDNAMES="+strings.Join(names, ":"))

	// The shell sets LISTEN_PID, which is unknown before the start.
	cmd.Args = append([]string{"/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
	cmd.Path, cmd.ExtraFiles = "/bin/sh", files
	return func() {
		for _, f := range files {
			_ = f.Close()
		}
	}, nil
}
