// Package holder keeps open files for the next process of an agent if the service manager has no fd
// store: in a separate process without privileges, which exits some time after the last file.
//
// Client is used by the agent, Run by the holder. They communicate over a Unix socket that the
// client creates and the holder inherits. Neither depends on the type of the files.
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

// The operations.
const (
	opPut  = "put"  // hold the attached files under these names, replacing former ones
	opDrop = "drop" // close the files with these names
	opTake = "take" // send duplicates of all files
	opEnd  = "end"  // close all files and exit
	opIdle = "idle" // exit if nothing is held
)

// message is a request or a part of its response. Except for drop, it has one file for each name,
// in order.
type message struct {
	Op    string   `json:",omitempty"`
	Names []string `json:",omitempty"`
	More  bool     `json:",omitempty"` // another part follows
	Ended bool     `json:",omitempty"` // the holder exits
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

// receive returns a message and its descriptors, which the caller closes.
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
