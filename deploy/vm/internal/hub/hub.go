// Package hub is an Ethernet hub for virtual machines: each frame is sent to all other ports. It
// uses unnamed sockets, which are closed with the process.
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
	// longest is more than the longest frame of a machine.
	longest = 1 << 17
	// waiting is the number of queued frames for a port; more are dropped.
	waiting = 1024
)

// Hub is an Ethernet hub.
type Hub struct {
	mu    sync.Mutex
	ports []*port
	work  sync.WaitGroup
}

type port struct {
	socket *os.File
	out    chan []byte
}

// AddPort adds a port and returns its file. Each read and write is one frame. The caller must close
// the file.
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
	return os.NewFile(uintptr(ends[1]), "hub port"), nil
}

// listen forwards the frames of a port to all others.
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

// send writes the queued frames of a port. Frames that the machine does not read are dropped.
func (p *port) send() {
	for frame := range p.out {
		_, _ = p.socket.Write(frame)
	}
}

// Close closes the hub.
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
