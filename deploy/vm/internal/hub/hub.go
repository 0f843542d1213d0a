// Package hub is a cable that several virtual machines are plugged into: what one sends, all others hear. It is made of sockets that
// nobody else can open, and gone with the process that made it.
package hub

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	// longest is more than the longest frame that a machine sends.
	longest = 1 << 17
	// waiting is how many frames wait for a machine that does not listen; more are lost, as on any wire.
	waiting = 1024
)

// Hub is one cable.
type Hub struct {
	mu    sync.Mutex
	ports []*port
	work  sync.WaitGroup
}

type port struct {
	socket *os.File
	out    chan []byte
}

// AddPort adds a port. What is written to the file, a frame at a time, is heard at the others, and what is heard there is read from it.
// The file is the caller's to close.
func (w *Hub) AddPort() (*os.File, error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socketpair: %w", err)
	}
	p := &port{socket: os.NewFile(uintptr(ends[0]), "wire"), out: make(chan []byte, waiting)}
	w.mu.Lock()
	w.ports = append(w.ports, p)
	w.mu.Unlock()
	w.work.Go(func() { w.listen(p) })
	w.work.Go(p.send)
	return os.NewFile(uintptr(ends[1]), "plug"), nil
}

// listen hands what comes from a port to all others.
func (w *Hub) listen(from *port) {
	buffer := make([]byte, longest)
	for {
		n, err := from.socket.Read(buffer)
		if errors.Is(err, io.EOF) {
			continue // an empty frame
		}
		if err != nil {
			return
		}
		frame := append([]byte(nil), buffer[:n]...)
		w.mu.Lock()
		for _, to := range w.ports {
			if to == from {
				continue
			}
			select {
			case to.out <- frame:
			default:
			}
		}
		w.mu.Unlock()
	}
}

// send sends what waits for a port. What its machine does not take, or no longer, is lost.
func (p *port) send() {
	for frame := range p.out {
		_, _ = p.socket.Write(frame)
	}
}

// Close takes the wire away.
func (w *Hub) Close() error {
	var errs []error
	w.mu.Lock()
	ports := w.ports
	w.ports = nil
	w.mu.Unlock()
	for _, p := range ports {
		errs = append(errs, p.socket.Close())
		close(p.out)
	}
	w.work.Wait()
	return errors.Join(errs...)
}
