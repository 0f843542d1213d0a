// Package holder keeps open files for the next process of an agent where no service manager does: in a process of its own, without
// privileges, that ends with the last file.
//
// Client is the agent's side, Run the holder's. They speak over a Unix socket that the client creates and the holder inherits. A
// file has a name; what it is, neither side knows.
package holder

import (
	"encoding/json"
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

const (
	maxFiles   = 64 // in one message
	maxMessage = 16 << 10
)

// What a client asks for.
const (
	opPut  = "put"  // hold the files that come with it under these names, in place of those there were
	opDrop = "drop" // close those of these names
	opTake = "take" // send duplicates of all
	opEnd  = "end"  // close all
)

// message is a request or a part of its response. The files beside it have the names, in their order, but for drop.
type message struct {
	Op    string   `json:",omitempty"`
	Names []string `json:",omitempty"`
	More  bool     `json:",omitempty"` // another part follows
	Ended bool     `json:",omitempty"` // nothing is held any more, and the holder exits
	Error string   `json:",omitempty"`
}

func send(conn *net.UnixConn, m message, fds []int) error {
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	_, _, err = conn.WriteMsgUnix(data, rights, nil)
	return err
}

// receive returns descriptors that the caller closes.
func receive(conn *net.UnixConn) (m message, fds []int, err error) {
	data, control := make([]byte, maxMessage), make([]byte, unix.CmsgSpace(maxFiles*4))
	n, controls, _, _, err := conn.ReadMsgUnix(data, control)
	if err != nil {
		return m, nil, err
	}
	parts, err := unix.ParseSocketControlMessage(control[:controls])
	for _, part := range parts {
		more, perr := unix.ParseUnixRights(&part)
		fds, err = append(fds, more...), errors.Join(err, perr)
	}
	if err = errors.Join(err, json.Unmarshal(data[:n], &m)); err != nil {
		closeAll(fds)
		return m, nil, err
	}
	return m, fds, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}
