package e2e

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/miekg/dns"

	"github.com/fairlead/fairlead/deploy/internal/lab"
)

const (
	attackMessages    = 20_000
	attackConnections = 300 // above the limit of a container
)

// attackResolver is the program `attack CONTAINER`. From the network of a container it sends
// hostile messages to the embedded resolver and opens more connections than allowed. It keeps them
// open until it is interrupted.
func attackResolver() {
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, syscall.SIGINT)
	m, err := inside()
	if err == nil {
		err = attack(m)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	<-interrupted
}

func attack(m *lab.Machine) error {
	udp, err := m.Dial("udp", resolverAddress, time.Second)
	if err != nil {
		return err
	}

	for range attackMessages {
		_, _ = udp.Write(hostileMessage())
	}

	var held []net.Conn // open until the program exits
	for range attackConnections {
		conn, err := m.Dial("tcp", resolverAddress, queryLimit)
		if err != nil {
			return err
		}
		message := hostileMessage()
		length := len(message) + rand.IntN(5000) - 50 // usually wrong
		_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(max(length, 0))), message...))
		held = append(held, conn)
	}

	return os.WriteFile(fmt.Sprint("attacked-", len(held)), nil, 0o644)
}

// hostileMessage returns a malformed query: a name that points to itself, wrong counts, or bytes
// changed, removed or added.
func hostileMessage() []byte {
	m := new(dns.Msg).SetQuestion("web.example.org.", uint16(rand.IntN(1<<16)))
	data, _ := m.Pack()
	const counts, name = 4, 12
	switch rand.IntN(5) {
	case 0:
		data[name], data[name+1] = 0xc0, name
	case 1:
		binary.BigEndian.PutUint64(data[counts:], rand.Uint64())
	case 2:
		data = data[:rand.IntN(len(data))]
	case 3:
		data = append(data, make([]byte, rand.IntN(1300))...)
	}

	for range rand.IntN(4) {
		if len(data) > 0 {
			data[rand.IntN(len(data))] = byte(rand.IntN(256))
		}
	}

	return data
}
