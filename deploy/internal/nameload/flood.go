// Package nameload loads a name server with queries and renames. The scripts and the benchmarks use
// it.
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
	ahead           = 100             // pending queries
	responseTimeout = 5 * time.Second // a later response counts as lost
	header          = 12
)

// Flood is a load of queries for one name to one server.
type Flood struct {
	Name, Address string // the queried name and the expected address
	Count         int
	Rate          int // queries per second; 0: as fast as responses arrive
}

// Result is the result of a load.
type Result struct {
	Answered, Lost int
	Took           time.Duration
}

func (r Result) String() string {
	return fmt.Sprintf("%d answered, %d lost, %.0f a second", r.Answered, r.Lost, float64(r.Answered)/r.Took.Seconds())
}

// Run sends the queries over a connected UDP socket. An unexpected response is an error.
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
		_ = conn.SetReadDeadline(time.Now().Add(responseTimeout))
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

// wait waits until the next query is due.
func (f Flood) wait(start time.Time, asked int) {
	if f.Rate > 0 {
		time.Sleep(time.Until(start.Add(time.Duration(asked) * time.Second / time.Duration(f.Rate))))
	}
}

// check compares a response and completes its query. It does not unpack the message, which would
// cost more than the response itself.
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
	if code := answer[3] & 0xf; code != dns.RcodeSuccess ||
		string(answer[len(answer)-len(address):]) != string(address) {
		return fmt.Errorf("answered with code %s and %v, want %v", dns.RcodeToString[int(code)],
			answer[len(answer)-len(address):], address)
	}

	return nil
}
