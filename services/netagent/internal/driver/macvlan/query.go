package macvlan

import (
	"errors"
	"os"
	"sync"
	"time"

	"github.com/fairlead/fairlead/services/netagent/internal/kernel"
	"github.com/fairlead/fairlead/services/netagent/internal/network"
)

// maxFrame is larger than any response that the host waits for.
const maxFrame = 2048

// lanLinks returns the links on which the host receives frames of a network's LAN. These are the
// parent and, if there is one, the shim. The last one sends, as the shim's frames also reach the
// parent's other sub-interfaces.
func (d *Driver) lanLinks(n network.Network, parent kernel.Link) ([]kernel.Link, error) {
	shim, ok, err := d.host.Link(shimName(n))
	if err == nil && ok && shim.Up {
		return []kernel.Link{parent, shim}, nil
	}
	return []kernel.Link{parent}, err
}

// query is a request of the host to a LAN.
type query struct {
	by      []kernel.Link // all receive responses, the last one sends the request
	filter  kernel.FrameFilter
	request []byte
	times   int           // number of transmissions
	pause   time.Duration // between two transmissions
	limit   time.Duration // how long to wait for responses
}

// sendQuery sends a request repeatedly until a response arrives or the limit is reached. Without a
// response, ok is false. read reports whether a frame is a response.
func sendQuery[T any](host *kernel.Host, q query, read func(data []byte, unsummed bool) (T, bool)) (answer T,
	ok bool, err error) {
	end := time.Now().Add(q.limit)
	var sockets []*kernel.PacketSocket
	for _, link := range q.by {
		s, err := host.Packets(link.Index, q.filter)
		if err != nil {
			return answer, false, errors.Join(err, closeAll(sockets))
		}
		sockets = append(sockets, s)
		_ = s.SetReadDeadline(end) // packet sockets support deadlines
	}

	found := make(chan T, len(sockets))
	var all sync.WaitGroup
	for _, s := range sockets {
		all.Go(func() { readAnswer(s, read, found) })
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
			if err := on.Write(q.request); err != nil {
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

// readAnswer reads until a response arrives or the deadline of the socket passes.
func readAnswer[T any](s *kernel.PacketSocket, read func([]byte, bool) (T, bool), found chan<- T) {
	buf := make([]byte, maxFrame)
	for {
		size, unsummed, err := s.Read(buf)
		if err != nil {
			return // os.ErrDeadlineExceeded, or closed
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
