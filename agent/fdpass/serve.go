package fdpass

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
)

// maxConcurrent is the maximum number of concurrent requests.
const maxConcurrent = 64

// Handler opens the requested files. The descriptors are closed after they were sent, so it must
// return duplicates of those that it keeps. They are plain numbers, because an os.File would be
// added to the poller of this process. No files and no error is a valid result.
type Handler func(ctx context.Context, r Request) (fds []int, err error)

// Listen opens the socket for root and the agent's own user and replaces a stale socket file. The
// caller must hold the lock on the directory.
func Listen(path string) (*net.UnixListener, error) {
	subject := "socket " + path
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fault.Wrap(err, fault.Unavailable, subject, "stale socket cannot be removed")
	}
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, subject, "cannot listen")
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fault.Wrap(err, fault.Unavailable, subject, "cannot restrict access"), l.Close())
	}
	return l, nil
}

// Serve handles requests until ctx ends, and closes the listener.
func Serve(ctx context.Context, l *net.UnixListener, open Handler) error {
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	var all sync.WaitGroup
	defer all.Wait()
	slots := make(chan struct{}, maxConcurrent)
	for {
		conn, err := l.AcceptUnix()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ECONNABORTED):
			time.Sleep(10 * time.Millisecond) // until descriptors are closed
			continue
		case err != nil:
			return fault.Wrap(err, fault.Internal, "socket "+l.Addr().String(), "failed")
		}
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(timeLimit))
			defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
			handle(ctx, conn, open)
		})
	}
}

// handle handles one request. A client that disconnects is not an error.
func handle(ctx context.Context, conn *net.UnixConn, open Handler) {
	ctx, cancel := context.WithTimeout(ctx, timeLimit)
	defer cancel()
	data := make([]byte, maxMessage)
	n, err := conn.Read(data)
	if err != nil || !isSameUser(conn) {
		return
	}

	var r Request
	var fds []int
	if err = json.Unmarshal(data[:n], &r); err != nil {
		err = fault.Wrap(err, fault.Invalid, "request", "cannot be read")
	} else {
		fds, err = open(ctx, r)
	}

	var rights []byte
	if err == nil && len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	if data, merr := json.Marshal(responseOf(err)); merr == nil {
		_, _, _ = conn.WriteMsgUnix(data, rights, nil)
	}

	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}

func responseOf(err error) response {
	if err == nil {
		return response{}
	}
	f, ok := errors.AsType[*fault.Fault](err)
	if !ok {
		return response{Kind: fault.Internal, Text: err.Error()}
	}
	text := f.Message
	if f.Cause != nil {
		text += ": " + f.Cause.Error()
	}
	return response{f.Kind, f.Subject, text[:min(len(text), maxMessage/4)], f.Hint}
}

// isSameUser reports whether the client is root or the agent's own user. The mode of the socket
// file is only checked at connect.
func isSameUser(conn *net.UnixConn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	var who *unix.Ucred
	var cerr error
	err = raw.Control(func(fd uintptr) { who, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	return err == nil && cerr == nil && (who.Uid == 0 || int(who.Uid) == os.Geteuid())
}
