package macvlan

import (
	"errors"
	"os"
	"sync"
	"time"

	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// maxFrame is more than answers are long that the host waits for.
const maxFrame = 2048

// lanLinks are the links by which the host hears a network's LAN: the parent and, if there is one, the shim. The last one is that by which it
// speaks: by the shim, as its frames reach the parent's other children too.
func (d *Driver) lanLinks(n network.Network, parent kernel.Link) ([]kernel.Link, error) {
	shim, ok, err := d.host.Link(shimName(n))
	if err == nil && ok && shim.Up {
		return []kernel.Link{parent, shim}, nil
	}
	return []kernel.Link{parent}, err
}

// query is a question of the host's to a LAN.
type query struct {
	by       []kernel.Link // answers are heard by all of them, the question goes out by the last
	hear     kernel.FrameFilter
	question []byte
	times    int           // it is sent
	pause    time.Duration // between two of them
	limit    time.Duration // for which answers are waited for
}

// sendQuery sends a question some times, and waits until somebody answers or it is over; false then. read tells whether a frame is an answer.
func sendQuery[T any](host *kernel.Host, q query, read func(data []byte, unsummed bool) (T, bool)) (answer T, ok bool, err error) {
	end := time.Now().Add(q.limit)
	var sockets []*kernel.PacketSocket
	for _, link := range q.by {
		s, err := host.Packets(link.Index, q.hear)
		if err != nil {
			return answer, false, errors.Join(err, closeAll(sockets))
		}
		sockets = append(sockets, s)
		_ = s.SetReadDeadline(end) // a socket has deadlines
	}
	found := make(chan T, len(sockets))
	var all sync.WaitGroup
	for _, s := range sockets {
		all.Go(func() { hearAnswer(s, read, found) })
	}
	answer, ok, err = put(sockets[len(sockets)-1], q, end, found)
	err = errors.Join(err, closeAll(sockets))
	all.Wait()
	return answer, ok, err
}

func put[T any](on *kernel.PacketSocket, q query, end time.Time, found <-chan T) (answer T, ok bool, err error) {
	for sent := 0; ; {
		wait := time.Until(end)
		if sent < q.times {
			if err := on.Write(q.question); err != nil {
				return answer, false, err
			}
			if sent++; sent < q.times {
				wait = min(wait, q.pause)
			}
		}
		select {
		case answer = <-found:
			return answer, true, nil
		case <-time.After(wait):
			if !time.Now().Before(end) {
				return answer, false, nil
			}
		}
	}
}

// hearAnswer reads until there is an answer or the socket's time is over.
func hearAnswer[T any](s *kernel.PacketSocket, read func([]byte, bool) (T, bool), found chan<- T) {
	buf := make([]byte, maxFrame)
	for {
		size, unsummed, err := s.Read(buf)
		if err != nil {
			return // over: os.ErrDeadlineExceeded or closed
		}
		if answer, ok := read(buf[:size], unsummed); ok {
			found <- answer
			return
		}
	}
}

func closeAll(sockets []*kernel.PacketSocket) error {
	var errs []error
	for _, s := range sockets {
		if err := s.Close(); !errors.Is(err, os.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
