// Package nameload asks a name server as fast as a busy container would, and changes names meanwhile. It is for the stories and the
// benchmarks.
package nameload

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/miekg/dns"
)

const (
	ahead    = 100             // questions that are on their way at the same time
	patience = 5 * time.Second // after which programs take a question for lost
	header   = 12
)

// Flood is questions for one name to one server.
type Flood struct {
	Name, Address string // what is asked for, and what must be answered
	Count         int
	Rate          int // a second; 0: as fast as they are answered
}

// Result is what became of them.
type Result struct {
	Answered, Lost int
	Took           time.Duration
}

func (r Result) String() string {
	return fmt.Sprintf("%d answered, %d lost, %.0f a second", r.Answered, r.Lost, float64(r.Answered)/r.Took.Seconds())
}

// Run asks over a connected UDP socket. An answer that says something else is an error.
func (f Flood) Run(conn net.Conn) (Result, error) {
	want, err := dns.NewRR(f.Name + ". 0 IN A " + f.Address)
	if err != nil {
		return Result{}, err
	}
	question, err := new(dns.Msg).SetQuestion(dns.Fqdn(f.Name), dns.TypeA).Pack()
	if err != nil {
		return Result{}, err
	}
	var result Result
	buf := make([]byte, 512)
	start, open := time.Now(), map[uint16]bool{}
	for asked := 0; asked < f.Count || len(open) > 0; {
		if asked < f.Count && len(open) < ahead {
			f.wait(start, asked)
			binary.BigEndian.PutUint16(question, uint16(asked))
			open[uint16(asked)] = true
			asked++
			if _, err := conn.Write(question); err != nil {
				return result, err
			}
			continue
		}
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		n, err := conn.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			result.Lost += len(open)
			clear(open)
			continue
		}
		if err == nil {
			err = check(buf[:n], want, open)
		}
		if err != nil {
			return result, err
		}
		result.Answered++
	}
	result.Took = time.Since(start)
	return result, nil
}

// wait waits until a question's turn has come.
func (f Flood) wait(start time.Time, asked int) {
	if f.Rate > 0 {
		time.Sleep(time.Until(start.Add(time.Duration(asked) * time.Second / time.Duration(f.Rate))))
	}
}

// check looks at an answer, and takes its question off those that are open. To unpack each would cost more than to answer it.
func check(answer []byte, want dns.RR, open map[uint16]bool) error {
	if len(answer) < header {
		return fmt.Errorf("%d bytes are no answer", len(answer))
	}
	id := binary.BigEndian.Uint16(answer)
	if !open[id] {
		return fmt.Errorf("an answer to a question that was not asked, or that was answered before: %d", id)
	}
	delete(open, id)
	address := want.(*dns.A).A.To4()
	if code := answer[3] & 0xf; code != dns.RcodeSuccess || string(answer[len(answer)-len(address):]) != string(address) {
		return fmt.Errorf("answered with code %s and %v, want %v", dns.RcodeToString[int(code)], answer[len(answer)-len(address):], address)
	}
	return nil
}
