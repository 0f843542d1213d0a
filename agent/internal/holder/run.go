package holder

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Command is the argument that makes an agent's program a holder.
const Command = "hold-files"

const (
	listenerFD = 3                // the inherited listener
	idleTime   = 30 * time.Second // time that a holder without files waits for the next one
	checkTime  = 5 * time.Second  // interval of checking that its socket still exists
)

// IsHolder reports whether the program was started as a holder.
func IsHolder(args []string) bool { return len(args) == 3 && args[1] == Command }

// Run holds files until there are none for some time. The last argument is the user ID that may connect, besides
// root.
func Run(args []string) error {
	user, err := strconv.Atoi(args[2])
	if err != nil {
		return fmt.Errorf("user %q is not a number", args[2])
	}

	file := os.NewFile(listenerFD, "listener")
	l, err := net.FileListener(file)
	if err != nil {
		return fmt.Errorf("inherited listener: %w", err)
	}

	_ = file.Close()
	listener, ok := l.(*net.UnixListener)
	if !ok {
		return fmt.Errorf("inherited a %T, want a Unix listener", l)
	}

	gone, err := socketGone(listener.Addr().String())
	if err != nil {
		return fmt.Errorf("inspect the socket: %w", err)
	}
	if err := dropPrivileges(); err != nil {
		return fmt.Errorf("drop privileges: %w", err)
	}

	h := newHeld(user, idleTime)
	go h.watch(gone)
	return h.serve(listener)
}

// held is the state of a holder.
type held struct {
	user     int
	idleTime time.Duration
	done     chan struct{} // closed when the holder exits

	mu    sync.Mutex
	files map[string]int
	idle  *time.Timer // runs while there are no files
	ended bool
}

func newHeld(user int, idleTime time.Duration) *held {
	h := &held{user: user, idleTime: idleTime, done: make(chan struct{}), files: map[string]int{}}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.idle = time.AfterFunc(idleTime, h.endIfEmpty)
	return h
}

func (h *held) serve(l *net.UnixListener) error {
	go func() {
		<-h.done
		_ = l.Close()
	}()
	for {
		conn, err := l.AcceptUnix()
		select {
		case <-h.done:
			return nil
		default:
		}
		switch {
		case errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ECONNABORTED):
			time.Sleep(10 * time.Millisecond)
		case err != nil:
			return err
		default:
			go h.serveClient(conn)
		}
	}
}

// serveClient serves one client until it disconnects.
func (h *held) serveClient(conn *net.UnixConn) {
	defer conn.Close()
	if !h.allowed(conn) {
		return
	}

	for {
		m, fds, err := receive(conn)
		if err != nil {
			return
		}
		if err := h.do(conn, m, fds); err != nil {
			return
		}
	}
}

// allowed reports whether a client is root or the user that started the holder.
func (h *held) allowed(conn *net.UnixConn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	var cred *unix.Ucred
	var cerr error
	err = raw.Control(func(fd uintptr) {
		cred, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET,
			unix.SO_PEERCRED)
	})
	return err == nil && cerr == nil && (cred.Uid == 0 || int(cred.Uid) == h.user)
}

func (h *held) do(conn *net.UnixConn, m message, fds []int) error {
	if m.Op == opTake {
		closeAll(fds)
		return h.sendAll(conn)
	}
	response, ended := h.change(m, fds)
	err := send(conn, response, nil)
	if ended {
		close(h.done)
	}
	return err
}

// change applies a request. ended is true if the holder must exit; later requests are rejected.
func (h *held) change(m message, fds []int) (response message, ended bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.ended:
		closeAll(fds)
		return message{Ended: true, Error: "ended"}, false
	case m.Op == opPut && len(fds) == len(m.Names):
		for i, name := range m.Names {
			h.drop(name)
			h.files[name] = fds[i]
		}
		h.idle.Stop()
	case m.Op == opDrop && len(fds) == 0:
		for _, name := range m.Names {
			h.drop(name)
		}
		if len(h.files) == 0 {
			h.idle.Reset(h.idleTime)
		}
	case m.Op == opEnd && len(fds) == 0:
		for name := range h.files {
			h.drop(name)
		}
		h.ended = true
	case m.Op == opIdle && len(fds) == 0:
		h.ended = len(h.files) == 0
	default:
		closeAll(fds)
		return message{Error: "not a valid request"}, false
	}
	return message{Ended: h.ended}, h.ended
}

func (h *held) drop(name string) {
	if fd, ok := h.files[name]; ok {
		_ = unix.Close(fd)
		delete(h.files, name)
	}
}

func (h *held) endIfEmpty() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.files) == 0 && !h.ended {
		h.ended = true
		close(h.done)
	}
}

// socketGone returns a function that reports whether a socket was deleted or replaced. Once
// created, it needs no permissions on the parent directories.
func socketGone(path string) (func() bool, error) {
	dir, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}

	var own unix.Stat_t
	if err := unix.Fstatat(dir, filepath.Base(path), &own, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return nil, errors.Join(err, unix.Close(dir))
	}
	return func() bool {
		var now unix.Stat_t
		err := unix.Fstatat(dir, filepath.Base(path), &now, unix.AT_SYMLINK_NOFOLLOW)
		return errors.Is(err, unix.ENOENT) || err == nil && (now.Ino != own.Ino || now.Dev != own.Dev)
	}, nil
}

// watch stops the holder when its socket is gone: no agent can request the files any more, and the
// next one starts another holder.
func (h *held) watch(gone func() bool) {
	tick := time.NewTicker(checkTime)
	defer tick.Stop()
	for {
		select {
		case <-h.done:
			return
		case <-tick.C:
		}
		if gone() {
			h.endNow()
			return
		}
	}
}

// endNow closes all files and stops the holder.
func (h *held) endNow() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name := range h.files {
		h.drop(name)
	}
	if !h.ended {
		h.ended = true
		close(h.done)
	}
}

// sendAll sends all files in several messages.
func (h *held) sendAll(conn *net.UnixConn) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	_ = conn.SetWriteDeadline(time.Now().Add(requestTimeout))
	defer conn.SetWriteDeadline(time.Time{})
	names := slices.Sorted(maps.Keys(h.files))
	for {
		part := names[:min(len(names), maxFiles)]
		names = names[len(part):]
		var fds []int
		for _, name := range part {
			fds = append(fds, h.files[name])
		}
		if err := send(conn, message{Names: part, More: len(names) > 0}, fds); err != nil {
			return err
		}
		if len(names) == 0 {
			return nil
		}
	}
}
