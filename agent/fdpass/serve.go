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

// maxAtOnce bounds how many requests are worked on at the same time.
const maxAtOnce = 64

// Handler opens what is asked for. The descriptors are closed after they were sent, so it gives duplicates of what it keeps. They are
// plain numbers, as an os.File would make this process watch for each packet that comes in for the other one. Nothing given and no
// error is a fine answer too.
type Handler func(ctx context.Context, r Request) (fds []int, err error)

// Listen opens the socket for root and for the user that the process is; a file that a process before has left is replaced. The
// caller holds the lock on the folder, so nobody else listens there.
func Listen(path string) (*net.UnixListener, error) {
	subject := "socket " + path
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fault.Wrap(err, fault.Unavailable, subject, "a stale one cannot be removed")
	}
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, subject, "cannot be listened on")
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fault.Wrap(err, fault.Unavailable, subject, "cannot be kept from others"), l.Close())
	}
	return l, nil
}

// Serve answers until ctx ends, and closes the listener.
func Serve(ctx context.Context, l *net.UnixListener, give Handler) error {
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	var all sync.WaitGroup
	defer all.Wait()
	turns := make(chan struct{}, maxAtOnce)
	for {
		conn, err := l.AcceptUnix()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ECONNABORTED):
			time.Sleep(10 * time.Millisecond) // others give some back
			continue
		case err != nil:
			return fault.Wrap(err, fault.Internal, "socket "+l.Addr().String(), "failed")
		}
		turns <- struct{}{}
		all.Go(func() {
			defer func() { <-turns }()
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(timeLimit))
			defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
			handle(ctx, conn, give)
		})
	}
}

// handle answers one request. An asker that has gone is no error of anybody's.
func handle(ctx context.Context, conn *net.UnixConn, give Handler) {
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
		fds, err = give(ctx, r)
	}
	var rights []byte
	if err == nil && len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	if data, merr := json.Marshal(answerOf(err)); merr == nil {
		_, _, _ = conn.WriteMsgUnix(data, rights, nil)
	}
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}

func answerOf(err error) answer {
	if err == nil {
		return answer{}
	}
	f, ok := errors.AsType[*fault.Fault](err)
	if !ok {
		return answer{Kind: fault.Internal, Text: err.Error()}
	}
	text := f.Message
	if f.Cause != nil {
		text += ": " + f.Cause.Error()
	}
	return answer{f.Kind, f.Subject, text[:min(len(text), maxMessage/4)], f.Hint}
}

// isSameUser tells whether the asker is root or the user that we are. The file's mode says so too, but only when it is opened.
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
