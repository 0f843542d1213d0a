// Package fdpass hands open files from one service of a host to another, over a unix socket.
//
// One request, one answer, one connection: the asker says what it wants, the giver answers with descriptors or with a fault. It is
// for what a service without privileges must have and cannot open itself. What the words of a request mean is between the two.
package fdpass

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/proto/fault"
)

const (
	maxFiles   = 8    // in one answer
	maxMessage = 4096 // bytes of a request, or of an answer
	timeLimit  = 10 * time.Second
)

// Request says what is wanted.
type Request struct {
	Kind  string // the kind of thing
	Owner string // whose
}

// answer is what comes beside the descriptors.
type answer struct {
	Kind          fault.Kind // 0: here they are
	Subject, Text string
	Hint          string
}

// Fetch gets files. The caller closes them. Several processes may hold the same open file then.
func Fetch(ctx context.Context, path string, r Request) ([]*os.File, error) {
	subject := "socket " + path
	ctx, cancel := context.WithTimeout(ctx, timeLimit)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unixpacket", path)
	if err != nil {
		return nil, fault.New(fault.Unavailable, subject, "nobody hands over files there", fault.WithCause(err))
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	data, err := json.Marshal(r)
	if err == nil {
		_, err = conn.Write(data)
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, subject, "cannot be asked")
	}
	files, a, err := receive(conn.(*net.UnixConn))
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, subject, "does not answer")
	}
	if a.Kind != 0 {
		return nil, errors.Join(fault.New(a.Kind, a.Subject, a.Text, fault.WithHint("%s", a.Hint)), closeAll(files))
	}
	return files, nil
}

// retryEvery is how often AskAgain asks.
const retryEvery = 50 * time.Millisecond

// AskAgain is Ask that survives a restart of the giver: while nobody answers it asks again, until ctx ends, at most for 10 seconds. The
// giver must answer a repeated request as it did the first one.
func AskAgain(ctx context.Context, path string, r Request) ([]*os.File, error) {
	ctx, cancel := context.WithTimeout(ctx, timeLimit)
	defer cancel()
	for {
		files, err := Fetch(ctx, path, r)
		if err == nil || !fault.Is(err, fault.Unavailable) {
			return files, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(retryEvery):
		}
	}
}

func receive(conn *net.UnixConn) ([]*os.File, answer, error) {
	var a answer
	data, control := make([]byte, maxMessage), make([]byte, unix.CmsgSpace(maxFiles*4))
	n, controls, _, _, err := conn.ReadMsgUnix(data, control) // descriptors that it makes are closed on exec
	if err != nil {
		return nil, a, err
	}
	files, err := filesOf(control[:controls])
	if err == nil {
		err = json.Unmarshal(data[:n], &a)
	}
	if err != nil {
		return nil, a, errors.Join(err, closeAll(files))
	}
	return files, a, nil
}

func filesOf(control []byte) ([]*os.File, error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil, err
	}
	var files []*os.File
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			return files, err
		}
		for i, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), fmt.Sprintf("handed over %d", i)))
		}
	}
	return files, nil
}

func closeAll(files []*os.File) error {
	var all error
	for _, f := range files {
		all = errors.Join(all, f.Close())
	}
	return all
}
