// Package fdpass passes open files from one service of a host to another, over a Unix socket.
//
// Each connection has one request and one response, with descriptors or a fault. It is for files
// that a service without privileges cannot open itself. The two services define the requests.
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
	maxFiles   = 8    // in one response
	maxMessage = 4096 // bytes of a request or response
	timeLimit  = 10 * time.Second
)

// Request names the requested files.
type Request struct {
	Kind  string // the type of files
	Owner string // the owner of the files
}

// response is the message that is sent with the descriptors.
type response struct {
	Kind          fault.Kind // 0: success
	Subject, Text string
	Hint          string
}

// Fetch requests files. The caller closes them. Several processes can hold the same open file.
func Fetch(ctx context.Context, path string, r Request) ([]*os.File, error) {
	subject := "socket " + path
	ctx, cancel := context.WithTimeout(ctx, timeLimit)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unixpacket", path)
	if err != nil {
		return nil, fault.New(fault.Unavailable, subject, "no service is listening", fault.WithCause(err))
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	data, err := json.Marshal(r)
	if err == nil {
		_, err = conn.Write(data)
	}
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, subject, "cannot send the request")
	}

	files, a, err := receive(conn.(*net.UnixConn))
	if err != nil {
		return nil, fault.Wrap(err, fault.Unavailable, subject, "is not responding")
	}
	if a.Kind != 0 {
		return nil, errors.Join(fault.New(a.Kind, a.Subject, a.Text, fault.WithHint("%s", a.Hint)), closeAll(files))
	}
	return files, nil
}

// retryInterval is the time between two attempts of AskAgain.
const retryInterval = 50 * time.Millisecond

// AskAgain is Fetch that retries while the service is unavailable, for example during a restart:
// until ctx ends, at most 10 seconds. The service must respond to repeated requests in the same
// way.
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
		case <-time.After(retryInterval):
		}
	}
}

func receive(conn *net.UnixConn) ([]*os.File, response, error) {
	var a response
	data, control := make([]byte, maxMessage), make([]byte, unix.CmsgSpace(maxFiles*4))
	n, controls, _, _, err := conn.ReadMsgUnix(data, control) // sets close-on-exec
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
			files = append(files, os.NewFile(uintptr(fd), fmt.Sprintf("passed %d", i)))
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
